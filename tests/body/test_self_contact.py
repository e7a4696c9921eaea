import pytest
import torch

from marey.body.joint_limits import joint_limits
from marey.body.self_contact import depth_of_contact
from marey.body.smpl_tree import POSED_JOINTS, average_joints
from marey.geometry.rotations import rotvec_to_matrix

LIMITS = joint_limits()


def pose_with(**rotvecs):
    vectors = torch.zeros(23, 3, dtype=torch.float64)
    for joint, degrees in rotvecs.items():
        vectors[POSED_JOINTS.index(joint)] = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return rotvec_to_matrix(vectors)


def test_depth__people_who_stand_touch_nothing():
    assert depth_of_contact(LIMITS.pose(LIMITS.standing)) < 0
    assert depth_of_contact(pose_with()) < -0.02


@pytest.mark.parametrize(
    "pose",
    [
        pose_with(left_shoulder=(0, 0, -110)),  # the straight arm through the thigh
        pose_with(left_elbow=(0, -150, 0), left_shoulder=(0, -90, 0)),  # the forearm through the chest
        pose_with(left_hip=(0, 0, -8), right_hip=(0, 0, 8)),  # the shanks through each other
        pose_with(left_hip=(0, 0, -20), right_hip=(0, 0, 20)),  # the thighs through each other
        pose_with(right_shoulder=(0, 0, -60), right_elbow=(0, 0, -133)),  # the hand through the head
    ],
)
def test_depth__limbs_in_the_body(pose):
    assert depth_of_contact(pose) > 0.02


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_depth__any_batch_and_smaller_people(batch):
    poses = LIMITS.pose(LIMITS.standing).expand(*batch, 23, 3, 3)
    assert depth_of_contact(poses).shape == batch
    crossed = pose_with(left_hip=(0, 0, -8), right_hip=(0, 0, 8))
    assert depth_of_contact(crossed, average_joints(1.5)) > 0
