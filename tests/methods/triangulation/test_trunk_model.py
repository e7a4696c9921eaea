"""The heads on the trunk, on maps that are written down: what they say before they have learned anything."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.methods.triangulation.trunk_model import (
    AlgebraicHead,
    LiftedDensity,
    LiftedViews,
    Spread,
    TrunkAlgebraic,
    TrunkRansac,
    TrunkVolumetric,
    VolumetricHead,
    VolumetricHeadConfig,
    volume_grid,
)
from marey.nn.image_lifter import ImageLifter
from marey.nn.trunk import Trunk, TrunkConfig, TrunkMaps

SIDE, CELLS, KEYPOINTS = 128, 32, 26


def cameras(count):
    """Projections (count, 3, 4) of cameras 4 m from the vertical axis, 1 m above the origin, that look at it."""
    matrix = torch.tensor([[140.0, 0.0, 63.5], [0.0, 140.0, 63.5], [0.0, 0.0, 1.0]])
    found = []
    for number in range(count):
        angle = 0.4 + 1.2 * number
        across = torch.tensor([-math.sin(angle), math.cos(angle), 0.0])
        forward = -torch.tensor([math.cos(angle), math.sin(angle), 0.0])
        down = torch.tensor([0.0, 0.0, -1.0])
        rotation = torch.stack((across, down, forward))
        rotation[0] *= torch.linalg.det(rotation)
        center = torch.tensor([4 * math.cos(angle), 4 * math.sin(angle), 1.0])
        found.append(matrix @ torch.cat((rotation, -(rotation @ center)[:, None]), dim=1))
    return torch.stack(found)


def people(count):
    generator = torch.Generator().manual_seed(5)
    spread = torch.tensor([0.4, 0.4, 0.7])
    return (torch.rand(count, KEYPOINTS, 3, generator=generator) * 2 - 1) * spread + torch.tensor([0.0, 0.0, 1.0])


def pixels_of(joints, projections):
    seen = torch.einsum("vij,bkj->bvki", projections[..., :3], joints) + projections[:, None, :, 3]
    return seen[..., :2] / seen[..., 2:]


def maps_of(pixels, *, deviation=1.0):
    """What a trunk would say that is sure of pixels (B, V, K, 2): Gaussians of a deviation in cells."""
    places = (pixels.flatten(0, 1) + 0.5) / 4 - 0.5
    axis = torch.arange(CELLS, dtype=torch.float32)
    apart = [(axis - places[..., place, None]).square() for place in (0, 1)]
    heatmaps = -(apart[0][..., None, :] + apart[1][..., :, None]) / (2 * deviation**2)
    count = len(heatmaps)
    factors = torch.zeros(count, 3 * KEYPOINTS, CELLS, CELLS)
    return TrunkMaps(
        features=torch.zeros(count, 64, CELLS, CELLS),
        heatmaps=heatmaps,
        factors=factors,
        seen=torch.zeros(count, KEYPOINTS, CELLS, CELLS),
        parts=torch.zeros(count, 25, CELLS, CELLS),
        centers=torch.zeros(count, CELLS, CELLS),
        boxes=torch.zeros(count, 4, CELLS, CELLS),
    )


def unknown(batch, views):
    """Joints that the lifter hardly knows."""
    return LiftedViews(
        torch.zeros(batch, views, KEYPOINTS, 3), (100 * torch.eye(3)).expand(batch, views, KEYPOINTS, 3, 3)
    )


@pytest.mark.parametrize("views", [2, 3, 5])
def test_algebraic_head__before_training_triangulates_the_heatmaps(views):
    projections, joints = cameras(views), people(3)
    maps = maps_of(pixels_of(joints, projections))
    with torch.no_grad():
        output = AlgebraicHead()(maps, projections.expand(3, -1, -1, -1))
    assert output.joints.shape == (3, KEYPOINTS, 3)
    assert (output.joints - joints).norm(dim=-1).max() < 0.02
    assert (torch.linalg.eigvalsh(output.covariance) > 0).all()
    assert output.keypoints.shape == (3, views, KEYPOINTS, 2)


def test_algebraic_head__learns_not_to_follow_a_wrong_view():
    torch.manual_seed(0)
    projections, joints = cameras(4), people(4)
    pixels = pixels_of(joints, projections)
    pixels[:, 1, ::2] += 30.0
    maps, seen = maps_of(pixels), projections.expand(4, -1, -1, -1)
    head = AlgebraicHead()
    optimiser = torch.optim.Adam(head.parameters(), 3e-3)
    errors = []
    for _ in range(15):
        error = (head(maps, seen).joints - joints).norm(dim=-1).mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.8 * errors[0]


def test_algebraic_head__cameras_that_face_each_other_leave_derivatives_finite():
    projections = cameras(2)
    turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))  # half a turn about the vertical axis
    projections[1] = projections[0] @ turn
    joints = people(1)
    joints[:, ::2] = torch.tensor([0.0, 0.0, 1.0]) + torch.linspace(-1, 1, 13)[:, None] * torch.tensor(
        [math.cos(0.4), math.sin(0.4), 0.0]
    )  # on the line between them
    head = AlgebraicHead()
    output = head(maps_of(pixels_of(joints, projections)), projections[None])
    known = output.joints.isfinite().all(-1) & (output.joints.abs().sum(-1) < 100)
    assert not known.all()
    (output.joints[known].sum() + output.covariance[known].sum()).backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in head.parameters())


@pytest.mark.parametrize("views", [2, 4])
def test_volumetric_head__before_training_is_the_product_of_the_heatmaps(views):
    projections, joints = cameras(views), people(2)
    maps = maps_of(pixels_of(joints, projections))
    head = VolumetricHead(VolumetricHeadConfig(width=4, stem=8, trust=1.0)).eval()
    grid = volume_grid(head.config, torch.tensor([[0.0, 0.0, 1.0], [0.1, 0.0, 0.9]]), None)
    with torch.no_grad():
        output = head(maps, unknown(2, views), projections.expand(2, -1, -1, -1), grid)
    assert (output.joints - joints).norm(dim=-1).max() < 0.08  # the side of a voxel
    torch.testing.assert_close(output.volumes.sum((-3, -2, -1)), torch.ones(2, KEYPOINTS), atol=1e-4, rtol=0)
    assert (torch.linalg.eigvalsh(output.covariance) > 0).all()


def test_volumetric_head__turned_grid_gives_the_same_joints():
    projections, joints = cameras(3), people(1)
    maps = maps_of(pixels_of(joints, projections))
    head = VolumetricHead(VolumetricHeadConfig(width=4, stem=8, trust=1.0)).eval()
    center = torch.tensor([[0.0, 0.0, 1.0]])
    grids = (volume_grid(head.config, center, turn) for turn in (None, torch.tensor([0.7])))
    with torch.no_grad():
        straight, turned = (head(maps, unknown(1, 3), projections[None], grid).joints for grid in grids)
    assert (straight - turned).norm(dim=-1).max() < 0.02


@pytest.mark.parametrize("kind", ["algebraic", "volumetric"])
def test_heads__mixed_precision_leaves_the_geometry_alone(kind):
    projections, joints = cameras(3) + 0.0, people(1)
    shift = torch.tensor([30.0, -20.0, 0.0])  # far from the origin bfloat16 knows decimetres
    moved = projections.clone()
    moved[..., 3] = projections[..., 3] - projections[..., :3] @ shift
    maps = maps_of(pixels_of(joints, projections))
    head = AlgebraicHead() if kind == "algebraic" else VolumetricHead(VolumetricHeadConfig(width=4, stem=8)).eval()

    def estimate():
        if kind == "algebraic":
            return head(maps, moved[None]).joints
        grid = volume_grid(head.config, shift[None] + torch.tensor([0.0, 0.0, 1.0]), None)
        return head(maps, unknown(1, 3), moved[None], grid).joints

    with torch.no_grad():
        plain = estimate()
        with torch.autocast("cpu", torch.bfloat16):
            mixed = estimate()
    assert (plain - mixed).abs().max() < 0.005


def test_volumetric_head__one_view_is_deep_where_the_lifter_says():
    projections, joints = cameras(1), people(2)
    center = torch.tensor([[0.0, 0.0, 1.0], [0.1, 0.0, 0.9]])
    lifted = LiftedViews((joints - center[:, None])[:, None], (0.05**2 * torch.eye(3)).expand(2, 1, KEYPOINTS, 3, 3))
    head = VolumetricHead(VolumetricHeadConfig(width=4, stem=8, trust=1.0, center_deviation=0.02)).eval()
    grid = volume_grid(head.config, center, None)
    with torch.no_grad():
        output = head(maps_of(pixels_of(joints, projections)), lifted, projections.expand(2, -1, -1, -1), grid)
    assert (output.joints - joints).norm(dim=-1).max() < 0.1


def test_lifted_density__is_that_of_the_normal_distribution_about_the_middle():
    config = VolumetricHeadConfig(keypoints=1, volume_size=3, cuboid_side=2.0, center_deviation=0.3)
    grid = volume_grid(config, torch.tensor([[5.0, -3.0, 1.0]]), torch.tensor([0.4]))
    covariance = torch.tensor([[0.05, 0.01, 0.0], [0.01, 0.04, -0.02], [0.0, -0.02, 0.08]])
    middle = torch.tensor([0.2, -0.1, 0.3])
    density = LiftedDensity(config)
    with torch.no_grad():
        found = density(LiftedViews(middle[None, None, None], covariance[None, None, None]), grid)
        both = LiftedViews(middle.expand(1, 2, 1, 3), covariance.expand(1, 2, 1, 3, 3))
        density.dependence.fill_(1.0)  # views that say the same say nothing new
        twice = density(both, grid)
    wide = torch.distributions.MultivariateNormal(torch.tensor([5.2, -3.1, 1.3]), covariance + 0.3**2 * torch.eye(3))
    expected = (wide.log_prob(grid[0]).exp() * 2.0**3 + 0.05).log()
    torch.testing.assert_close(found[0, 0], expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(twice, found, atol=1e-4, rtol=1e-4)


def test_networks__say_what_they_need():
    trunk = Trunk(TrunkConfig(widths=(8, 8, 8, 8), units=(1, 1, 1, 1))).eval()
    images, projections = torch.rand(1, 1, 3, SIDE, SIDE), cameras(1)[None]
    with pytest.raises(InputError, match="needs 2 or more calibrated views and got 1; for one view use volumetric"):
        TrunkAlgebraic(trunk, AlgebraicHead())(images, projections)
    with pytest.raises(InputError, match="the method ransac needs 2 or more"):
        TrunkRansac(trunk)(images, projections)
    volumetric = TrunkVolumetric(trunk, ImageLifter(), VolumetricHead(VolumetricHeadConfig(width=4, stem=8))).eval()
    with pytest.raises(ShapeError, match=r"centers: expected \(1, 3\), got \(3,\)"):
        volumetric(images, projections, torch.zeros(3))
    with torch.no_grad():
        assert volumetric(images, projections, torch.tensor([[0.0, 0.0, 1.0]])).joints.isfinite().all()


def test_spread__by_number_of_views():
    spread = Spread(2)
    with torch.no_grad():
        spread.joints.copy_(torch.tensor([0.1, -0.2]))
        spread.views.copy_(torch.tensor([0.05, 0.4]))
    expected = {1: [0.5, 0.2], 2: [0.15, -0.15], 8: [0.25, -0.05]}
    for views, values in expected.items():
        torch.testing.assert_close(spread(torch.zeros(3, views, 3, 4)), torch.tensor(values))


@pytest.mark.parametrize("views", [1, 3])
def test_heads__wider_ellipsoids_where_the_spread_says(views):
    projections, joints = cameras(views)[None], people(1)
    maps = maps_of(pixels_of(joints, projections[0]))
    head = VolumetricHead(VolumetricHeadConfig(width=4, stem=8)).eval()
    grid = volume_grid(head.config, torch.tensor([[0.0, 0.0, 1.0]]), None)
    before = head(maps, unknown(1, views), projections, grid)
    with torch.no_grad():
        head.spread.joints[3] = math.log(2.0)
    after = head(maps, unknown(1, views), projections, grid)
    ratio = (after.covariance / before.covariance).diagonal(dim1=-2, dim2=-1)[0]
    expected = torch.ones(KEYPOINTS, 3)
    expected[3] = 4.0
    torch.testing.assert_close(ratio, expected)
    torch.testing.assert_close(after.joints, before.joints)
