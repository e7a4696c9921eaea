"""Volumes against `grid_sample`, and what a view that does not see a voxel counts."""

import math

import pytest
import torch
from torch.nn import functional

import marey.nn.volumes as room
from marey.core import InputError, ShapeError
from marey.nn.volumes import cuboid_grid, project_voxels, rotate_grid, unproject

AGGREGATIONS = ("sum", "mean", "max", "softmax", "confidence")


def ring(views, *, distance=4.0, dtype=torch.float64):
    """Projections (V, 3, 4) to maps of 20 columns and 16 rows, the cameras looking at the origin; z is up."""
    angles = torch.arange(views, dtype=dtype) * (2 * math.pi / views)
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    rotation = torch.stack(
        (-angles.sin(), angles.cos(), zero, zero, zero, -one, -angles.cos(), -angles.sin(), zero), -1
    ).view(views, 3, 3)
    translation = torch.tensor([0.0, 0.0, distance], dtype=dtype).expand(views, 3)
    lens = torch.tensor([[30.0, 0.0, 9.5], [0.0, 30.0, 7.5], [0.0, 0.0, 1.0]], dtype=dtype)
    return lens @ torch.cat((rotation, translation[..., None]), -1)


def scene(batch=2, views=3, channels=4, size=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(batch, views, channels, 16, 20, generator=generator, dtype=dtype)
    centers = torch.rand(batch, 3, generator=generator, dtype=dtype) - 0.5
    return features, ring(views).to(dtype).expand(batch, -1, -1, -1), cuboid_grid(centers, side=2.5, size=size)


def sampled(features, projections, grid):
    """The slow twin: `grid_sample`, a view at a time; values (B, V, C, N), zero behind a camera."""
    points = grid.flatten(1, 3)
    views = []
    for view in range(features.shape[1]):
        pixels, in_front = (part[:, 0] for part in project_voxels(points, projections[:, view : view + 1]))
        height, width = features.shape[-2:]
        places = (pixels + 0.5) / torch.tensor([width, height], dtype=pixels.dtype) * 2 - 1
        values = functional.grid_sample(features[:, view], places[:, None], align_corners=False)[:, :, 0]
        views.append(values * in_front[:, None])
    return torch.stack(views, dim=1)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("block", [7, 4096])
def test_unproject__equals_sampling_every_view(monkeypatch, aggregation, block):
    monkeypatch.setattr(room, "BLOCK", block)
    features, projections, grid = scene()
    confidences = torch.rand(2, 3, 4, dtype=torch.float64) if aggregation == "confidence" else None
    found = unproject(features, projections, grid, aggregation=aggregation, confidences=confidences, skip_unseen=False)
    values = sampled(features, projections, grid)
    expected = {
        "sum": lambda: values.sum(1),
        "mean": lambda: values.mean(1),
        "max": lambda: values.amax(1),
        "softmax": lambda: (values * values.softmax(1)).sum(1),
        "confidence": lambda: (values * confidences[..., None]).sum(1),
    }[aggregation]()
    assert found.shape == (2, 4, 6, 6, 6)
    torch.testing.assert_close(found.flatten(2), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("skip_unseen", [False, True])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("views", [1, 3])
def test_unproject__the_same_with_and_without_a_derivative(monkeypatch, views, aggregation, skip_unseen):
    monkeypatch.setattr(room, "BLOCK", 31)
    features, projections, _ = scene(views=views)
    grid = cuboid_grid(torch.tensor([[0.3, -0.2, 0.1], [2.5, 0.0, 0.0]], dtype=torch.float64), side=4.0, size=6)
    confidences = torch.rand(2, views, 4, dtype=torch.float64) if aggregation == "confidence" else None
    options = {"aggregation": aggregation, "confidences": confidences, "skip_unseen": skip_unseen}
    found = unproject(features, projections, grid, **options)
    recorded = unproject(features.clone().requires_grad_(), projections, grid, **options)
    assert recorded.requires_grad
    torch.testing.assert_close(found, recorded.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 60.0, 80.0, 1e4])
def test_softmax__of_values_however_large(scale):
    _, projections, _ = scene(batch=1, dtype=torch.float32)
    values = scale * torch.tensor([[-1.0, 0.3, 1.0, 0.9], [-0.99, -0.4, -1.0, 0.9], [-0.98, 0.1, 0.0, -0.9]])
    grid = cuboid_grid(torch.zeros(1, 3), side=0.4, size=3)  # seen everywhere by all
    found = unproject(values[None, :, :, None, None].expand(1, 3, 4, 16, 20), projections, grid)
    expected = (values.double() * values.double().softmax(0)).sum(0)
    assert found.shape == (1, 4, 3, 3, 3)
    torch.testing.assert_close(
        found.double(), expected[:, None, None, None].expand_as(found), rtol=1e-5, atol=1e-6 * scale
    )


def test_softmax__of_features_that_are_not_numbers():
    features, projections, grid = scene(batch=1)
    features[:, 1, 2] = torch.nan
    found = unproject(features, projections, grid)
    assert found[:, 2].isnan().any()
    assert found[:, [0, 1, 3]].isfinite().all()


def test_result__lies_channels_last():
    features, projections, grid = scene()
    found = unproject(features, projections, grid)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("aggregation", ["mean", "max", "softmax"])
def test_view_that_sees_nothing__changes_nothing(aggregation):
    features, projections, grid = scene(batch=1, views=3)
    blind = projections.clone()
    blind[:, 2, :, 3] -= 100 * blind[:, 2, :, 2].new_tensor([0.0, 0.0, 1.0])  # everything lies behind it
    found = unproject(features, blind, grid, aggregation=aggregation)
    expected = unproject(features[:, :2], projections[:, :2], grid, aggregation=aggregation)
    torch.testing.assert_close(found, expected)


def test_voxels_that_no_view_sees__are_zero():
    features, projections, _ = scene(batch=1)
    far = cuboid_grid(torch.tensor([[0.0, 0.0, 500.0]], dtype=torch.float64), side=1.0, size=3)
    for aggregation in ("sum", "mean", "max", "softmax"):
        assert not unproject(features, projections, far, aggregation=aggregation).any()


def test_projections_that_are_not_numbers__are_views_that_see_nothing():
    features, projections, grid = scene(batch=1)
    spoilt = projections.clone()
    spoilt[:, 1] = torch.nan
    found = unproject(features, spoilt, grid, aggregation="softmax")
    expected = unproject(features[:, [0, 2]], projections[:, [0, 2]], grid, aggregation="softmax")
    torch.testing.assert_close(found, expected)


def test_derivatives__in_double_precision(monkeypatch):
    monkeypatch.setattr(room, "BLOCK", 3)
    features, projections, grid = scene(batch=1, views=2, channels=1, size=2)
    features = features.requires_grad_()
    turned = (grid + 0.013).requires_grad_()
    cameras = projections.clone().requires_grad_()
    assert torch.autograd.gradcheck(unproject, (features, cameras, turned))


def test_derivatives__with_voxels_behind_a_camera():
    features, projections, grid = scene(batch=1, views=2, channels=1, size=4)
    features, near = features.requires_grad_(), (3 * grid).requires_grad_()
    assert (project_voxels(near.flatten(1, 3), projections).in_front.logical_not()).any()
    gradients = torch.autograd.grad(unproject(features, projections, near).sum(), (features, near))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_order_of_views__does_not_matter():
    features, projections, grid = scene()
    for aggregation in ("sum", "mean", "max", "softmax"):
        found = unproject(features.flip(1), projections.flip(1), grid, aggregation=aggregation)
        torch.testing.assert_close(found, unproject(features, projections, grid, aggregation=aggregation))


def test_cuboid__has_both_faces_and_its_axes_in_order():
    grid = cuboid_grid(torch.tensor([1.0, 2.0, 3.0]), side=2.0, size=3)
    assert grid.shape == (3, 3, 3, 3)
    assert grid[0, 0, 0].tolist() == [0, 1, 2]
    assert grid[2, 2, 2].tolist() == [2, 3, 4]
    assert grid[2, 0, 1].tolist() == [2, 1, 3]


def test_rotated_grid__turns_about_its_centre():
    center = torch.tensor([5.0, 0.0, 0.0])
    grid = cuboid_grid(center, side=2.0, size=3)
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    turned = rotate_grid(grid, quarter, center)
    assert turned[1, 1, 1].tolist() == [5, 0, 0]
    assert turned[2, 1, 1].tolist() == [5, 1, 0]


def test_errors__say_what_was_expected():
    features, projections, grid = scene()
    with pytest.raises(ShapeError, match=r"projections: expected \(2, 3, 3, 4\)"):
        unproject(features, projections[:, :2], grid)
    with pytest.raises(ShapeError, match=r"grid: expected \(2, X, Y, Z, 3\)"):
        unproject(features, projections, grid[:1])
    with pytest.raises(ShapeError, match="features: expected"):
        unproject(features[0], projections, grid)
    with pytest.raises(InputError, match="expected one of sum"):
        unproject(features, projections, grid, aggregation="median")
    with pytest.raises(InputError, match="confidences belong to"):
        unproject(features, projections, grid, aggregation="confidence")
    with pytest.raises(InputError, match="at least 2 voxels"):
        cuboid_grid(torch.zeros(3), side=1.0, size=1)
