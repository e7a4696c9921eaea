import numpy as np
import pytest
import torch

from marey.body.smpl_tree import POSED_JOINTS, SMPL_MIRROR, SMPL_TREE, average_joints, joints_of, mirrored_pose
from marey.core import ShapeError
from marey.geometry.rotations import rotvec_to_matrix


def random_poses(*batch, joints=24, seed=0, size=0.8):
    generator = torch.Generator().manual_seed(seed)
    return rotvec_to_matrix(size * torch.randn(*batch, joints, 3, generator=generator, dtype=torch.float64))


def test_tree__is_that_of_the_published_model():
    # kintree_table of SMPL, first row
    assert SMPL_TREE.parents == (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
    assert SMPL_TREE.joints[0] == "pelvis"
    assert POSED_JOINTS[:3] == ("left_hip", "right_hip", "spine1")
    assert [SMPL_TREE.joints[place] for place in SMPL_MIRROR[:5]] == [
        "pelvis",
        "right_hip",
        "left_hip",
        "spine1",
        "right_knee",
    ]


def test_average_joints__stand_in_a_t_with_the_left_side_at_x():
    places = dict(zip(SMPL_TREE.joints, average_joints().tolist(), strict=True))
    assert places["left_wrist"][0] > 0.6 > 0 > -0.6 > places["right_wrist"][0]
    assert places["head"][1] > 0.5 > -0.8 > places["left_ankle"][1]
    assert places["left_foot"][2] > places["left_ankle"][2]


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_joints_of__equal_a_walk_along_the_tree(batch):
    rotations, rest = random_poses(*batch), average_joints()
    found = joints_of(rotations, rest)
    assert found.shape == (*batch, 24, 3)
    for each, places in zip(rotations.reshape(-1, 24, 3, 3), found.reshape(-1, 24, 3), strict=True):
        turned, expected = [each[0].numpy()], [np.zeros(3)]
        for joint in range(1, 24):
            parent = SMPL_TREE.parents[joint]
            expected.append(expected[parent] + turned[parent] @ (rest[joint] - rest[parent]).numpy())
            turned.append(turned[parent] @ each[joint].numpy())
        np.testing.assert_allclose(places, expected, atol=1e-12)


def test_mirrored_pose__places_joints_in_the_mirror_image():
    rotations = random_poses(5)
    expected = joints_of(rotations, average_joints())[:, list(SMPL_MIRROR)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(joints_of(mirrored_pose(rotations), average_joints()), expected, atol=1e-14, rtol=0)


def test_mirrored_pose__twice_is_the_pose_itself_bit_for_bit():
    rotations = random_poses(2, 3)
    assert torch.equal(mirrored_pose(mirrored_pose(rotations)), rotations)
    assert torch.equal(mirrored_pose(rotations[..., 1:, :, :]), mirrored_pose(rotations)[..., 1:, :, :])


def test_mirrored_pose__other_numbers_of_joints_are_refused():
    with pytest.raises(ShapeError, match=r"expected \(..., 23, 3, 3\) or"):
        mirrored_pose(torch.zeros(2, 22, 3, 3))
