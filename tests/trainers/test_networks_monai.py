"""MONAI's networks: what their source says of them is so, those that fit train, the others are refused."""

import importlib.util
import inspect

import monai.networks.nets
import pytest
import torch

from docs.networks import TRIED, mixes_cases
from trainers.errors import InputError
from trainers.networks import NetworkSpec, build_network, check_network
from trainers.networks.monai_signatures import find_network, network_names

DYNUNET = {"name": "DynUNet", "kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}


@pytest.mark.parametrize("name", network_names())
def test_the_arguments_read_from_the_source_are_the_class_s(name):
    parameters = dict(inspect.signature(getattr(monai.networks.nets, name)).parameters)
    open_ended = {key for key, one in parameters.items() if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    signature = find_network(name)
    if open_ended:
        assert set(signature.known) >= set(parameters) - open_ended
    else:
        assert list(signature.known) == list(parameters)
    without_default = {key for key, one in parameters.items() if one.default is one.empty}
    assert signature.required == without_default - open_ended


@pytest.mark.parametrize("given", TRIED, ids=lambda given: given["name"])
@pytest.mark.parametrize("patch", [(16, 16, 32), (32, 32)], ids=["3-D", "2-D"])
def test_a_step_is_trained(given, patch):
    torch.manual_seed(0)
    spec = NetworkSpec.model_validate(given)
    check_network(spec, 2, 3, patch)
    network = build_network(spec, 2, 3, patch)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    images = torch.randn(2, 2, *patch)
    logits = network(images)
    assert logits.shape == (2, 3, *patch)
    before = logits.square().mean()
    before.backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in network.parameters())
    optimizer.step()
    with torch.no_grad():
        assert network(images).square().mean() < before


@pytest.mark.parametrize("given", TRIED, ids=lambda given: given["name"])
def test_mixing_the_cases_is_told(given):
    torch.manual_seed(0)
    network = build_network(NetworkSpec.model_validate(given), 1, 1, (32, 32))
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        apart = torch.cat([network(image[None]) for image in images])
        assert torch.allclose(network(images), apart, atol=1e-4) != mixes_cases(network)


@pytest.mark.parametrize(
    ("given", "patch", "words"),
    [
        (DYNUNET | {"deep_supervision": True}, (32, 32), "returns 1×2×3×32×32 for .*, expected 1×3×32×32"),
        ("BasicUNetPlusPlus", (32, 32), "returns a list, expected one tensor of logits; .*deep supervision"),
        ({"name": "SegResNetDS", "dsdepth": 2}, (32, 32), "returns a list"),
        ("DenseNet121", (64, 64), "returns 1×3 for images of 1×2×64×64, expected 1×3×64×64"),
        ("BasicUNet", (16, 16), "fails on images of 1×2×16×16: Expected more than 1 spatial element"),
        ({"name": "UNet", "channels": [4, 8, 16], "strides": [2, 2]}, (30, 30), "fails on images of 1×2×30×30"),
        (DYNUNET | {"strides": [1, 2]}, (32, 32), "network DynUNet.* should be the same.*; mend its arguments"),
        ({"name": "BasicUNet", "act": "nope"}, (32, 32), "Unsupported option 'NOPE'"),
    ],
)
def test_what_gives_no_logits_of_the_image_s_size_is_refused(given, patch, words):
    with pytest.raises(InputError, match=words):
        check_network(NetworkSpec.model_validate(given), 2, 3, patch)


def test_batch_norm_over_one_voxel_needs_a_second_case():
    spec = NetworkSpec.model_validate({"name": "UNet", "channels": [4, 8], "strides": [2], "norm": "batch"})
    with pytest.raises(InputError, match="more than 1 value per channel"):
        check_network(spec, 1, 1, (2, 2))
    check_network(spec, 1, 1, (2, 2), batch_size=2)


@pytest.mark.parametrize("given", ["UNETR", {"name": "SwinUNETR", "feature_size": 12}], ids=["UNETR", "SwinUNETR"])
@pytest.mark.parametrize("patch", [(64, 32, 32), (64, 32)], ids=["3-D", "2-D"])
def test_attention_works_where_its_package_is_there(given, patch):
    spec = NetworkSpec.model_validate(given)
    if importlib.util.find_spec("einops"):
        check_network(spec, 1, 2, patch)
    else:
        with pytest.raises(InputError, match=r"lacks a package: .*einops.*; install it"):
            check_network(spec, 1, 2, patch)


def test_arguments_that_a_network_changes_stay_as_they_were_given():
    spec = NetworkSpec.model_validate({"name": "BasicUNet", "norm": ["batch", {"momentum": 0.5}]})
    build_network(spec, 1, 1, (32, 32))
    assert spec.arguments == {"norm": ("batch", {"momentum": 0.5})}
