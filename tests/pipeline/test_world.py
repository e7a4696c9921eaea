"""Up is where heads are, and y-up files keep distances and handedness."""

import pytest
import torch

from marey.core import Joints3D, skeleton
from marey.pipeline.world import find_up, to_y_up

AXES = ("x", "y", "z", "-x", "-y", "-z")


def standing(axis: str, *, tilt: float = 0.0) -> Joints3D:
    """Five frames of somebody whose head is 1.6 m above the feet along an axis."""
    coco = skeleton("coco_17")
    positions = 0.1 * torch.randn(5, 1, 17, 3, generator=torch.Generator().manual_seed(0))
    up = torch.zeros(3)
    up["xyz".index(axis[-1])] = -1.0 if axis.startswith("-") else 1.0
    for joint, height in (("nose", 1.6), ("left_shoulder", 1.4), ("right_shoulder", 1.4)):
        positions[:, :, coco.index(joint)] += height * up
    positions[..., 0] += tilt * positions.norm(dim=-1)
    nowhere = torch.zeros(5, 1, 17)
    return Joints3D(
        positions=positions,
        covariance=torch.eye(3).expand(5, 1, 17, 3, 3),
        score=nowhere,
        filled=nowhere.bool(),
        skeleton=coco,
    )


@pytest.mark.parametrize("axis", AXES)
def test_find_up__along_the_body(axis):
    assert find_up(standing(axis))[0] == axis


def test_find_up__nobody_is_z():
    joints = standing("x").map(lambda t: torch.full_like(t, torch.nan) if t.is_floating_point() else t)
    assert find_up(joints) == ("z", "Up is taken to be z: nobody is seen from head to foot.")
    assert find_up(joints, otherwise="-y")[0] == "-y"


@pytest.mark.parametrize("axis", AXES)
def test_to_y_up__is_a_rotation_that_raises_the_axis(axis):
    identity = torch.eye(3)
    turned = to_y_up(identity, axis)  # row i: where axis i goes
    assert torch.linalg.det(turned) == pytest.approx(1.0)
    torch.testing.assert_close(turned @ turned.T, identity)
    sign = -1.0 if axis.startswith("-") else 1.0
    torch.testing.assert_close(sign * turned["xyz".index(axis[-1])], torch.tensor([0.0, 1.0, 0.0]))
