"""The lifter that looks at the picture: before training it is the lifter, and turns with the world."""

import pytest
import torch

from marey.core import Cameras, Keypoints2D, skeleton
from marey.detect.lifting import lift_keypoints, shipped_lifter
from marey.nn.image_lifter import ImageLifter, ImageLifterConfig
from marey.nn.lifter import LifterConfig
from marey.nn.trunk import TrunkMaps, read_keypoints

CELLS, KEYPOINTS = 32, 26
INTRINSICS = torch.tensor([[140.0, 0.0, 60.0], [0.0, 142.0, 66.0], [0.0, 0.0, 1.0]])
ROTATION = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
TRANSLATION = torch.tensor([0.1, 1.0, 4.0])


def projections(count):
    return (INTRINSICS @ torch.cat((ROTATION, TRANSLATION[:, None]), dim=1)).expand(count, 3, 4)


def maps(count, seed=0):
    """People somewhere in the picture, as Gaussians of one cell; some keypoints are hardly visible."""
    draws = torch.Generator().manual_seed(seed)
    places = 6 + 20 * torch.rand(count, KEYPOINTS, 2, generator=draws)
    axis = torch.arange(CELLS, dtype=torch.float32)
    apart = [(axis - places[..., place, None]).square() for place in (0, 1)]
    return TrunkMaps(
        features=torch.randn(count, 64, CELLS, CELLS, generator=draws),
        heatmaps=-(apart[0][..., None, :] + apart[1][..., :, None]) / 2,
        factors=torch.randn(count, 3 * KEYPOINTS, 1, 1, generator=draws).expand(-1, -1, CELLS, CELLS),
        seen=2 * torch.randn(count, KEYPOINTS, 1, 1, generator=draws).expand(-1, -1, CELLS, CELLS),
        parts=torch.randn(count, 25, CELLS, CELLS, generator=draws),
        centers=torch.zeros(count, CELLS, CELLS),
        boxes=torch.zeros(count, 4, CELLS, CELLS),
    )


def test_untrained__is_the_lifter_on_the_keypoints():
    start, seen = shipped_lifter(), maps(3)
    network = ImageLifter(ImageLifterConfig(lifter=start.config)).eval()
    network.lifter.load_state_dict(start.state_dict())
    with torch.no_grad():
        found = network(seen, projections(3))
        said = read_keypoints(seen)
    keypoints = Keypoints2D(
        skeleton=skeleton("halpe_26"),
        positions=said.positions[None, :, None],
        covariance=said.covariance[None, :, None],
        score=said.seen.sigmoid()[None, :, None],
    )
    cameras = Cameras(intrinsics=INTRINSICS[None], distortion=torch.zeros(1, 5), image_size=torch.tensor([[128, 128]]))
    joints, covariance = lift_keypoints(keypoints, cameras)
    torch.testing.assert_close(found.positions, joints[0, :, 0] @ ROTATION, atol=1e-4, rtol=0)
    turned = ROTATION.T @ covariance[0, :, 0] @ ROTATION
    torch.testing.assert_close(found.covariance, turned, atol=1e-4, rtol=1e-3)
    assert found.known.all()


def test_what_is_seen__changes_the_joints_once_learned():
    network = ImageLifter(ImageLifterConfig(lifter=LifterConfig(width=32, blocks=1), width=32)).eval()
    torch.nn.init.normal_(network.to_lifter.weight)
    first, second = maps(2), maps(2)._replace(features=maps(2, seed=1).features)
    with torch.no_grad():
        one, other = (network(seen, projections(2)).positions for seen in (first, second))
    assert (one - other).norm(dim=-1).mean() > 0.01


def test_too_little_seen__is_open_and_says_so():
    network = ImageLifter(ImageLifterConfig(lifter=LifterConfig(width=32, blocks=1), width=32)).eval()
    seen = maps(2)
    point = torch.zeros_like(seen.heatmaps)
    point[..., 16, 16] = 50.0  # everything at one place is no person
    with torch.no_grad():
        found = network(seen._replace(heatmaps=point), projections(2))
    assert not found.known.any()
    assert (found.positions == 0).all()
    torch.testing.assert_close(found.covariance, torch.eye(3).expand(2, KEYPOINTS, 3, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients__are_finite_and_reach_what_is_learned(autocast):
    network = ImageLifter(ImageLifterConfig(lifter=LifterConfig(width=32, blocks=1), width=32))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = network(maps(2), projections(2))
        assert found.positions.dtype == found.covariance.dtype == torch.float32
    (found.positions.square().sum() + found.covariance.square().sum()).backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())
    assert network.to_lifter.weight.grad.abs().sum() > 0
