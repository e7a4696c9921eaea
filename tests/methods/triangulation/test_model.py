"""What the networks of triangulation do beyond what was published: views, covariances, wrong input."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    BackboneConfig,
    RansacConfig,
    RansacNet,
    VolumetricConfig,
    VolumetricNet,
)
from marey.methods.triangulation.quirks import Quirks

SMALL = BackboneConfig(depth=18, joints=3)


def rig(views, batch=1, side=128):
    """Projections (B, V, 3, 4) of cameras 4 m around the origin to images of some pixels a side; z is up, metres."""
    angles = torch.arange(views) * (2 * math.pi / (views + 0.5))
    zero, one = torch.zeros(views), torch.ones(views)
    turn = (-angles.sin(), angles.cos(), zero, zero, zero, -one, -angles.cos(), -angles.sin(), zero)
    rotation = torch.stack(turn, -1).view(views, 3, 3)
    translation = torch.tensor([0.0, 0.0, 4.0]).expand(views, 3)
    middle = (side - 1) / 2
    lens = torch.tensor([[1.5 * side, 0.0, middle], [0.0, 1.5 * side, middle], [0.0, 0.0, 1.0]])
    return (lens @ torch.cat((rotation, translation[..., None]), -1)).expand(batch, -1, -1, -1)


def images(batch=1, views=3):
    return torch.randn(batch, views, 3, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def volumetric():
    torch.manual_seed(0)
    return VolumetricNet(VolumetricConfig(backbone=SMALL, volume_size=32, v2v_width=8, feature_channels=4)).eval()


def heatmaps_at(places):
    """(1, V, 1, 32, 32): one high pixel (column, row) in each view."""
    maps = torch.zeros(1, len(places), 1, 32, 32)
    for view, (column, row) in enumerate(places):
        maps[0, view, 0, row, column] = 10
    return maps


def seen_at(point, projections):
    homogeneous = projections[0, :, :, :3] @ point + projections[0, :, :, 3]
    return homogeneous[:, :2] / homogeneous[:, 2:]


@pytest.mark.parametrize("kind", ["algebraic", "ransac"])
def test_keypoints__correspond_by_the_centres_of_pixels(kind):
    projections = rig(4)
    point = torch.tensor([0.05, -0.1, 0.2])
    places = ((seen_at(point, projections) + 0.5) / 4 - 0.5).round().int().tolist()
    if kind == "algebraic":
        network = AlgebraicNet(AlgebraicConfig(backbone=BackboneConfig(depth=18, joints=1), use_confidences=False))
    else:
        network = RansacNet(RansacConfig(backbone=BackboneConfig(depth=18, joints=1)))
    found = network.from_heatmaps(heatmaps_at(places), projections)
    expected = (torch.tensor(places) + 0.5) * 4 - 0.5
    torch.testing.assert_close(found.keypoints[0, :, 0], expected, rtol=0, atol=1e-3)
    assert (found.joints[0, 0] - point).norm() < 0.04  # maps have pixels of 8 cm here
    assert torch.linalg.eigvalsh(found.covariance.double()).min() > 0


def test_ransac__leaves_out_the_view_that_is_wrong():
    projections = rig(4)
    pixels = seen_at(torch.zeros(3), projections)
    places = ((pixels + 0.5) / 4 - 0.5).round().int().tolist()
    places[2] = [2, 29]
    network = RansacNet(RansacConfig(backbone=BackboneConfig(depth=18, joints=1)))
    found = network.from_heatmaps(heatmaps_at(places), projections)
    assert found.confidences[0, :, 0].tolist() == [1, 1, 0, 1]


def test_published_ransac__draws_pairs_of_different_views():
    network = RansacNet(RansacConfig(backbone=SMALL, quirks=Quirks.published())).eval()
    found = network(images(views=3), rig(3))
    assert found.joints.shape == (1, 3, 3)
    assert (found.confidences.sum(1) >= 2).all()


@pytest.mark.parametrize("views", [1, 2, 5])
def test_volumetric__any_number_of_views(volumetric, views):
    with torch.inference_mode():
        found = volumetric(images(2, views), rig(views, 2), torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.1, -0.2]]))
    assert found.joints.shape == (2, 3, 3)
    assert found.features.shape == (2, views, 4, 32, 32)
    assert found.grid.shape == (2, 32, 32, 32, 3)
    assert torch.linalg.eigvalsh(found.covariance.double()).min() > 0


def test_volumetric__order_of_views_does_not_matter(volumetric):
    centers = torch.zeros(1, 3)
    with torch.inference_mode():
        found = volumetric(images(), rig(3), centers)
        other = volumetric(images().flip(1), rig(3).flip(1), centers)
    torch.testing.assert_close(found.joints, other.joints, rtol=0, atol=1e-4)


def test_volumetric__turned_cuboid_is_about_its_centre(volumetric):
    center = torch.tensor([[0.5, 0.2, 0.1]])
    with torch.inference_mode():
        found = volumetric(images(), rig(3), center, turns=torch.tensor([0.7]))
    torch.testing.assert_close(found.grid.mean((1, 2, 3)), center, rtol=0, atol=1e-5)
    reach = (found.grid - center.view(1, 1, 1, 1, 3)).norm(dim=-1).amax()
    assert reach.item() == pytest.approx(1.25 * 3**0.5, rel=1e-5)


def test_volumetric__person_out_of_everybody_s_sight_is_finite(volumetric):
    with torch.inference_mode():
        found = volumetric(images(), rig(3), torch.tensor([[0.0, 0.0, 90.0]]))
    assert found.joints.isfinite().all()


def test_volumetric__mixed_precision_leaves_the_geometry_alone(volumetric):
    shift = torch.tensor([300.0, -200.0, 0.0])  # there bfloat16 knows metres
    projections = rig(3)
    moved = torch.cat((projections[..., :3], projections[..., 3:] - projections[..., :3] @ shift[:, None]), dim=-1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        near = volumetric(images(), projections, torch.zeros(1, 3))
        far = volumetric(images(), moved, shift[None])
    assert far.joints.dtype == torch.float32
    torch.testing.assert_close(far.grid - shift, near.grid, atol=1e-4, rtol=0)
    torch.testing.assert_close(far.joints - shift, near.joints, atol=0.02, rtol=0)


def test_training__has_finite_derivatives():
    torch.manual_seed(0)
    network = AlgebraicNet(AlgebraicConfig(backbone=SMALL, heatmap_multiplier=5)).train()
    network(images(2), rig(3, 2)).joints.square().sum().backward()
    assert all(value.grad.isfinite().all() for value in network.parameters() if value.grad is not None)


def test_confidences_of_zero__are_equal_weights():
    network = AlgebraicNet(AlgebraicConfig(backbone=SMALL)).eval()
    places = ((seen_at(torch.tensor([0.1, 0.0, 0.2]), rig(3)) + 0.5) / 4 - 0.5).round().int().tolist()
    found = network.from_heatmaps(heatmaps_at(places), rig(3), torch.zeros(1, 3, 1))
    alike = network.from_heatmaps(heatmaps_at(places), rig(3))
    torch.testing.assert_close(found.joints, alike.joints, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: AlgebraicNet(AlgebraicConfig(backbone=SMALL)),
                                  lambda: RansacNet(RansacConfig(backbone=SMALL))])  # fmt: skip
def test_one_view__says_what_to_use(make):
    with pytest.raises(InputError, match=r"needs 2 or more calibrated views and got 1; for one view use volumetric"):
        make()(images(views=1), rig(1))


def test_errors__say_what_was_expected(volumetric):
    with pytest.raises(ShapeError, match=r"images: expected \(B, V, 3, H, W\)"):
        volumetric(images()[0], rig(3), torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"projections: expected \(1, 3, 3, 4\)"):
        volumetric(images(), rig(2), torch.zeros(1, 3))
    with pytest.raises(ShapeError, match=r"centers: expected \(1, 3\)"):
        volumetric(images(), rig(3), torch.zeros(2, 3))
