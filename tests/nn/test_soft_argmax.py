"""Soft-argmax against sums written out, and its covariance against the moments of drawn points."""

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.nn.soft_argmax import covariance_2d, covariance_3d, soft_argmax_2d, soft_argmax_3d


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_positions_2d__are_the_mean_pixel(batch):
    maps = noise(*batch, 5, 7)
    found = soft_argmax_2d(maps)
    weights = maps.exp() / maps.exp().sum((-1, -2), keepdim=True)
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    expected = torch.stack(((weights * x).sum((-1, -2)), (weights * y).sum((-1, -2))), -1)
    torch.testing.assert_close(found.positions, expected)
    torch.testing.assert_close(found.distribution, weights)


def test_covariance_2d__is_the_second_moment():
    maps = noise(3, 6, 8)
    found = soft_argmax_2d(maps)
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    places = torch.stack((x, y), -1).double() - found.positions[:, None, None]
    expected = torch.einsum("nhw,nhwi,nhwj->nij", found.distribution, places, places)
    torch.testing.assert_close(covariance_2d(found), expected)


@pytest.mark.parametrize("batch", [(2,), (1, 2)])
def test_positions_3d__and_covariance_far_from_the_origin(batch):
    volumes = noise(*batch, 4, 3, 4, 5)
    coordinates = noise(*batch, 3, 4, 5, 3, seed=1) + 1000
    found = soft_argmax_3d(volumes, coordinates=coordinates)
    weights = volumes.flatten(-3).softmax(-1)
    places = coordinates.flatten(-4, -2)
    torch.testing.assert_close(found.positions, weights @ places)
    apart = places[..., None, :, :] - found.positions[..., None, :]
    expected = torch.einsum("...jn,...jni,...jnk->...jik", weights, apart, apart)
    torch.testing.assert_close(covariance_3d(found, coordinates), expected, rtol=1e-7, atol=1e-9)


def test_positions_3d__single_precision_keeps_its_digits_over_large_volumes():
    volumes = noise(1, 3, 48, 48, 48)
    axis = torch.linspace(-1.25, 1.25, 48, dtype=torch.float64)
    coordinates = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)[None] + 0.8
    exact = soft_argmax_3d(volumes, coordinates=coordinates)
    found = soft_argmax_3d(volumes.float(), coordinates=coordinates.float())
    torch.testing.assert_close(found.positions.double(), exact.positions, atol=2e-6, rtol=0)
    spread = covariance_3d(found, coordinates.float()).double()
    torch.testing.assert_close(spread, covariance_3d(exact, coordinates), atol=4e-6, rtol=0)


def test_positions_3d__without_coordinates_count_voxels():
    volumes = torch.full((1, 1, 4, 5, 6), -50.0)
    volumes[0, 0, 1, 2, 3] = 50
    torch.testing.assert_close(soft_argmax_3d(volumes).positions, torch.tensor([[[1.0, 2.0, 3.0]]]))


def test_relu__of_a_map_without_a_positive_value_is_unknown():
    maps = torch.stack((-torch.ones(3, 3), torch.eye(3)))
    found = soft_argmax_2d(maps, normalisation="relu").positions
    assert found[0].isnan().all()
    assert found[1].tolist() == [1, 1]


def test_derivative__in_double_precision():
    maps = noise(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: soft_argmax_2d(values).positions, maps)
    assert torch.autograd.gradcheck(lambda values: covariance_2d(soft_argmax_2d(values)), maps)


def test_errors__say_what_was_expected():
    with pytest.raises(InputError, match="expected softmax or relu, got 'max'"):
        soft_argmax_2d(torch.zeros(2, 2), normalisation="max")
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., 2, 2, 2, 3\)"):
        soft_argmax_3d(torch.zeros(1, 2, 2, 2), coordinates=torch.zeros(3, 2, 2, 3))
