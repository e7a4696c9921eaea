import pytest
import torch

from marey.body.ground import clearances, support
from marey.body.smpl_tree import SMPL_TREE, average_joints


def standing(height=0.0):
    """Joints of the rest pose whose feet are at a height."""
    places = average_joints() + torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    return places - torch.tensor([0.0, clearances(places).amin().item() - height, 0.0], dtype=torch.float64)


def test_clearances__of_people_who_stand():
    above = dict(zip(SMPL_TREE.joints, clearances(standing()).tolist(), strict=True))
    assert min(above, key=above.__getitem__) in ("left_foot", "right_foot", "left_ankle", "right_ankle")
    assert 0.0 <= above["left_ankle"] < 0.05
    assert above["left_knee"] > 0.3


@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_support__is_on_both_feet_and_follows_the_height(batch):
    height, share = support(standing(0.3).expand(*batch, 24, 3))
    assert height.shape == batch
    assert ((height - 0.3).abs() < 0.02).all()
    torch.testing.assert_close(share.sum(-1), torch.ones(batch, dtype=torch.float64))
    sides = {
        side: [k for k, name in enumerate(SMPL_TREE.joints) if name.startswith(side)] for side in ("left", "right")
    }
    for side in sides.values():
        torch.testing.assert_close(
            share[..., side].sum(-1), torch.full(batch, 0.5, dtype=torch.float64), atol=1e-6, rtol=0
        )


def test_support__is_on_the_foot_that_stands():
    places = standing()
    lifted = [place for place, name in enumerate(SMPL_TREE.joints) if name in ("left_ankle", "left_foot", "left_knee")]
    places[lifted, 1] += 0.2
    _, share = support(places)
    right = [place for place, name in enumerate(SMPL_TREE.joints) if name in ("right_ankle", "right_foot")]
    assert share[right].sum() > 0.999
