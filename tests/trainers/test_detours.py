"""The detours of the CPU: what torch itself computes, in value and gradient, and not by its slow ways."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from trainers.cpu_kernels import CpuKernels
from trainers.forward import place
from trainers.networks import NetworkSpec, build_network

LAYERS = {
    "conv": lambda: nn.Conv3d(4, 6, 3, padding=1),
    "conv by name": lambda: nn.Conv3d(4, 6, 3, padding="same"),
    "strided": lambda: nn.Conv3d(4, 6, 3, stride=2, padding=1, bias=False),
    "grouped": lambda: nn.Conv3d(4, 6, 3, padding=1, groups=2),
    "one voxel": lambda: nn.Conv3d(4, 6, 1),
    "one voxel, strided": lambda: nn.Conv3d(4, 6, 1, stride=2),
    "one voxel, grouped": lambda: nn.Conv3d(4, 6, 1, groups=2),
    "one voxel, padded": lambda: nn.Conv3d(4, 6, 1, padding=1),
    "up": lambda: nn.ConvTranspose3d(4, 6, 2, stride=2),
    "up, padded": lambda: nn.ConvTranspose3d(4, 6, 3, stride=2, padding=1, output_padding=1),
    "instance norm": lambda: nn.InstanceNorm3d(4, affine=True),
    "instance norm, bare": lambda: nn.InstanceNorm3d(4, eps=1e-3),
    "instance norm, running": lambda: nn.InstanceNorm3d(4, track_running_stats=True),
    "group norm": lambda: nn.GroupNorm(2, 4),
}


@pytest.mark.parametrize("shape", [(1, 4, 6, 4, 8), (2, 4, 6, 4, 8), (1, 4, 5, 4, 8)])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("layout", [torch.channels_last_3d, torch.contiguous_format])
def test_a_layer_gives_what_torch_gives_in_value_and_gradient(name, shape, layout):
    torch.manual_seed(0)
    layer = LAYERS[name]().to(memory_format=layout)
    images = torch.randn(shape).to(memory_format=layout).requires_grad_()
    found = []
    for context in (torch.enable_grad(), CpuKernels()):
        with context:
            result = layer(images)
        found.append((result, *torch.autograd.grad(result.pow(3).sum(), (images, *layer.parameters()))))
    for expected, got in zip(*found, strict=True):
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "named", [{}, {"padding": 1}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"padding": "same"}]
)
@pytest.mark.parametrize("shape", [(1, 4, 6, 6, 8), (4, 6, 6, 8)], ids=["batch of one", "no batch"])
def test_a_convolution_called_by_itself_is_torchs_own(named, shape):
    torch.manual_seed(0)
    images, weight = torch.randn(shape), torch.randn(6, 4, 3, 3, 3)
    expected = torch.conv3d(images, weight, **named)
    with CpuKernels():
        assert torch.allclose(torch.conv3d(images, weight, **named), expected, rtol=1e-4, atol=1e-4)


DYN_UNET = {"name": "DynUNet", "kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}


@pytest.mark.parametrize("given", ["tiny", DYN_UNET], ids=str)
def test_a_network_alone_in_its_batch_takes_no_slow_convolution(given):
    network = build_network(NetworkSpec.model_validate(given), 1, 1, (8, 8, 8))
    network, computing = place(network, "fp32", "sigmoid", (8, 8, 8), torch.device("cpu"))
    images = torch.randn(1, 1, 8, 8, 8)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        computing.logits(network, images)
    with profile(activities=[ProfilerActivity.CPU]) as without:
        network(images)
    assert not slow(seen)
    assert slow(without)


def slow(seen):
    return [event.key for event in seen.key_averages() if "slow_conv" in event.key]
