import pytest
import torch

from trainers.networks import build_network
from trainers.pooling import pool_factors


def test_flat_volumes_are_pooled_in_plane_first():
    assert pool_factors((24, 24, 16), 2) == [(2, 2, 2), (2, 2, 2)]
    assert pool_factors((32, 32, 8), 2) == [(2, 2, 1), (2, 2, 2)]


def test_a_patch_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="25×24×16"):
        pool_factors((25, 24, 16), 2)


def test_tiny_by_hand():
    network = build_network("tiny", channels=2, maps=3, shape=(24, 24, 16))
    assert network(torch.zeros(2, 2, 24, 24, 16)).shape == (2, 3, 24, 24, 16)

    def block(a, b):
        # Two 3×3×3 convolutions without bias, each with the scale and shift of its norm.
        return 27 * a * b + 2 * b + 27 * b * b + 2 * b

    expected = block(2, 8) + block(8, 16) + block(16, 32) + block(16 + 32, 16) + block(8 + 16, 8) + 8 * 3 + 3
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_cases_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    network = build_network("tiny", 1, 1, (16, 16, 8))
    images = torch.randn(2, 1, 16, 16, 8)
    alone = torch.cat([network(torch.cat([image[None]] * 2))[:1] for image in images])
    assert torch.allclose(network(images), alone, atol=1e-5)
