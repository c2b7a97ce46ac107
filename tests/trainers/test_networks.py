import itertools
import math

import pytest
import torch
from monai.networks.blocks import Convolution
from torch import nn

from trainers.errors import InputError
from trainers.networks import NetworkSpec, build_network, check_network
from trainers.networks.layers import ConvBesideCopies, MaxPool, tiled_max
from trainers.networks.pooling import fixed_factors, pool_factors
from trainers.networks.unet import CONV, ConvBlock
from trainers.networks.unet_config import DESIGNS

SMALL = (4, 8, 16)


def small(name):
    return NetworkSpec(name=name, arguments={"features": SMALL})


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_flat_volumes_are_pooled_in_plane_first():
    assert pool_factors((24, 24, 16), 2) == [(2, 2, 2), (2, 2, 2)]
    assert pool_factors((32, 32, 8), 2) == [(2, 2, 1), (2, 2, 2)]
    assert pool_factors((32, 32), 2) == [(2, 2), (2, 2)]


@pytest.mark.parametrize(
    ("name", "patch", "expected"),
    [
        ("no-new-net", (80, 80, 48), [(1, 1, 1), (2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16)]),
        ("acdc-net", (192, 192, 48), [(1, 1, 1), (2, 2, 1), (4, 4, 2), (8, 8, 4), (16, 16, 8)]),
        ("acdc-net", (48, 48, 64), [(1, 1, 1), (2, 2, 1), (4, 4, 2), (8, 8, 4), (16, 16, 8)]),
        ("acdc-net", (192, 192), [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16)]),
    ],
)
def test_sub_sampling_relative_to_the_input(name, patch, expected):
    pools = DESIGNS[name].pools(patch)
    start = (1,) * len(patch)
    products = itertools.accumulate(
        pools, lambda total, factors: tuple(map(math.prod, zip(total, factors, strict=True))), initial=start
    )
    assert list(products) == expected


@pytest.mark.parametrize(
    ("name", "patch", "words"),
    [
        ("tiny", (25, 24, 16), "25×24×16 voxels cannot be halved 2 times by the network; choose sizes divisible by 4"),
        ("no-new-net", (80, 80, 40), "cannot be halved 4 times by the network; choose sizes divisible by 16"),
        ("acdc-net", (192, 192, 12), "choose sizes divisible by 16×16×8"),
        ("acdc-net", (40, 48), "a patch of 40×48 voxels cannot be halved 4 times .* divisible by 16"),
        ("no-new-net", (16, 16, 16), "16×16×16 voxels is one voxel after 4 poolings"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(name, patch, words):
    spec = NetworkSpec(name=name)
    with pytest.raises(ValueError, match=words):
        spec.check_patch(patch)
    for refuse in (check_network, build_network):
        with pytest.raises(InputError, match=f"network {name}: .*{words}"):
            refuse(spec, 1, 1, patch)


def test_fixed_factors_by_hand():
    assert fixed_factors((8, 8, 4), 2, flat_steps=1) == [(2, 2, 1), (2, 2, 2)]
    assert fixed_factors((8, 8, 4), 2, flat_steps=0) == [(2, 2, 2), (2, 2, 2)]


def block(a, b, c, first=27, second=27, extra=2):
    """Two convolutions without bias, each with the scale and shift of its norm (and the slope of its PReLU)."""
    return first * a * b + extra * b + second * b * c + extra * c


def test_tiny_by_hand():
    network = build_network(NetworkSpec(name="tiny"), channels=2, maps=3, shape=(24, 24, 16))
    down = block(2, 8, 8) + block(8, 16, 16) + block(16, 32, 32)
    up = block(16 + 32, 16, 16) + block(8 + 16, 8, 8)
    assert count(network) == down + up + 8 * 3 + 3


def test_tiny_in_two_dimensions_by_hand():
    network = build_network(NetworkSpec(name="tiny"), channels=2, maps=3, shape=(24, 16))
    down = block(2, 8, 8, 9, 9) + block(8, 16, 16, 9, 9) + block(16, 32, 32, 9, 9)
    up = block(16 + 32, 16, 16, 9, 9) + block(8 + 16, 8, 8, 9, 9)
    assert count(network) == down + up + 8 * 3 + 3


def test_no_new_net_by_hand():
    with torch.device("meta"):
        network = build_network(NetworkSpec(name="no-new-net"), channels=4, maps=1, shape=(80, 80, 48))
    down = block(4, 30, 30) + block(30, 60, 60) + block(60, 120, 120) + block(120, 240, 240)
    bottom = block(240, 480, 240)
    up = block(240 + 240, 240, 120) + block(120 + 120, 120, 60) + block(60 + 60, 60, 30) + block(30 + 30, 30, 30)
    assert count(network) == down + bottom + up + 30 + 1


def test_acdc_net_by_hand():
    with torch.device("meta"):
        network = build_network(NetworkSpec(name="acdc-net"), channels=1, maps=4, shape=(192, 192, 48))
    widths = [(1, 16), (16, 32), (32, 64), (64, 128), (128, 256), (384, 128), (192, 64), (96, 32), (48, 16)]
    # 3×3×3, then 3×3×1; a slope a channel beside scale and shift.
    assert count(network) == sum(block(a, b, b, second=9, extra=3) for a, b in widths) + 16 * 4 + 4


@pytest.mark.parametrize("name", ["tiny", "no-new-net", "acdc-net"])
def test_a_block_does_what_monai_does_with_the_same_weights(name):
    design = DESIGNS[name]
    torch.manual_seed(0)
    ours = ConvBlock((2, 4, 3), design, dims=3)
    activation = {"leaky_relu": lambda _: "leakyrelu", "prelu": lambda out: ("prelu", {"num_parameters": out})}
    theirs = nn.Sequential(
        *(
            Convolution(
                spatial_dims=3,
                in_channels=width,
                out_channels=out,
                kernel_size=kernel,
                adn_ordering="NA",
                norm=(design.norm, {"affine": True}),
                act=activation[design.activation](out),
                bias=False,
            )
            for width, out, kernel in zip((2, 4), (4, 3), design.kernels(3), strict=True)
        )
    )
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn(parameter.shape))
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
    images = torch.randn(2, 2, 6, 6, 4)
    assert torch.allclose(ours(images), theirs(images), atol=1e-5)


@pytest.mark.parametrize("name", ["tiny", "no-new-net", "acdc-net"])
@pytest.mark.parametrize("patch", [(8, 8, 8), (16, 8)], ids=["3-D", "2-D"])
def test_logits_have_the_image_s_size_and_every_weight_learns(name, patch):
    torch.manual_seed(0)
    network = build_network(small(name), channels=2, maps=3, shape=patch)
    logits = network(torch.randn(2, 2, *patch))
    assert logits.shape == (2, 3, *patch)
    assert (logits < 0).any()
    assert (logits > 0).any()
    logits.square().mean().backward()
    for parameter in network.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


@pytest.mark.parametrize("kernel", [(3, 3, 3), (3, 3, 1), (3, 3)])
@pytest.mark.parametrize("pool", [(2, 2, 2), (2, 2, 1), (1, 2, 4)])
def test_a_convolution_beside_copies_is_that_of_what_is_copied_and_put_together(kernel, pool):
    torch.manual_seed(0)
    pool, axes = pool[: len(kernel)], len(kernel)
    padding = tuple(size // 2 for size in kernel)
    conv = CONV[axes](3 + 2, 4, kernel_size=kernel, padding=padding, bias=False).double()
    skip = torch.randn(2, 3, *(4 * factor for factor in pool), dtype=torch.float64, requires_grad=True)
    below = torch.randn(2, 2, *(4 for _ in pool), dtype=torch.float64, requires_grad=True)
    copied = below
    for axis, factor in enumerate(pool, start=2):
        copied = copied.repeat_interleave(factor, axis)
    found = []
    for result in (conv(torch.cat([skip, copied], dim=1)), ConvBesideCopies(conv, 3, pool).double()((skip, below))):
        gradients = torch.autograd.grad(result.pow(3).sum(), (skip, below, conv.weight))
        found.append((result, *gradients))
    for expected, got in zip(*found, strict=True):
        assert torch.allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["tiny", "no-new-net", "acdc-net"])
@pytest.mark.parametrize("training", [True, False])
def test_cases_of_a_batch_mix_in_batch_norm_alone(name, training):
    torch.manual_seed(0)
    network = build_network(small(name), 1, 1, (8, 8, 8)).train(training)
    images = torch.randn(2, 1, 8, 8, 8)
    alone = torch.cat([network(image[None]) for image in images])
    mixes = name == "acdc-net"
    assert torch.allclose(network(images), alone, atol=1e-5) == (not (mixes and training))


@pytest.mark.parametrize("pool", [(2, 2), (2, 2, 1), (2, 2, 2), (1, 2, 4)])
def test_the_pooling_for_a_gpu_is_torchs_own_in_value_and_gradient(pool):
    torch.manual_seed(0)
    image = torch.randn(2, 3, *(8 for _ in pool), requires_grad=True)
    weight = torch.randn_like(MaxPool(pool)(image))
    found = []
    for pooled in (MaxPool(pool)(image), tiled_max(image, pool)):
        (gradient,) = torch.autograd.grad((pooled * weight).sum(), image)
        found.append((pooled, gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
