import math

import torch

from marey.body.limb_axes import with_anatomical_limbs
from marey.body.smpl_tree import SMPL_TREE, average_joints, joints_of
from marey.geometry.rotations import rotvec_to_matrix

PARENTS = [max(parent, 0) for parent in SMPL_TREE.parents]


def orientations_of(**rotvecs):
    """(T, 24, 3, 3) in the world, of rotations (T, 3), radians, of the joints named."""
    frames = len(next(iter(rotvecs.values())))
    vectors = torch.zeros(frames, 24, 3, dtype=torch.float64)
    for joint, values in rotvecs.items():
        vectors[:, SMPL_TREE.joints.index(joint)] = torch.as_tensor(values, dtype=torch.float64)
    turned = []
    for place, local in enumerate(rotvec_to_matrix(vectors).unbind(1)):
        turned.append(local if place == 0 else turned[SMPL_TREE.parents[place]] @ local)
    return torch.stack(turned, 1)


def local(orientations):
    return torch.cat((orientations[:, :1], orientations[:, PARENTS[1:]].mT @ orientations[:, 1:]), 1)


X = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
Y = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
BEND = torch.linspace(0.1, 1.2, 20, dtype=torch.float64)[:, None]


def test_hinges__bend_about_smpls_axes_and_joints_stay():
    tilted = torch.tensor([0.0, -math.cos(0.5), math.sin(0.5)], dtype=torch.float64)  # turned about the arm by -0.5
    swung = torch.tensor([0.3, 0.2, -0.9], dtype=torch.float64).expand(20, 3)
    before = orientations_of(left_elbow=BEND * tilted, left_shoulder=swung)
    after = with_anatomical_limbs(before)
    # arm and forearm are turned by -0.5, the hand is not: half of the difference becomes the forearm's
    expected = rotvec_to_matrix(BEND * Y * -1) @ rotvec_to_matrix(0.25 * X)
    elbow = local(after)[:, SMPL_TREE.joints.index("left_elbow")]
    torch.testing.assert_close(elbow, expected, atol=1e-9, rtol=0)
    rest = average_joints()
    torch.testing.assert_close(joints_of(local(after), rest), joints_of(local(before), rest), atol=1e-9, rtol=0)
    others = [place for place, name in enumerate(SMPL_TREE.joints) if name not in ("left_shoulder", "left_elbow")]
    torch.testing.assert_close(after[:, others], before[:, others], atol=0, rtol=0)


def test_knees__bend_about_x_on_either_side():
    for side in ("left", "right"):
        tilted = torch.tensor([math.cos(0.3), 0.0, math.sin(0.3)], dtype=torch.float64)
        after = local(with_anatomical_limbs(orientations_of(**{f"{side}_knee": BEND * tilted})))
        knee = after[:, SMPL_TREE.joints.index(f"{side}_knee")]
        torch.testing.assert_close(knee, rotvec_to_matrix(BEND * X), atol=1e-9, rtol=0)


def test_hinges__that_hardly_bend_or_are_none_are_left():
    few = orientations_of(left_elbow=0.05 * BEND * torch.tensor([0.0, -0.8, 0.6]))
    torch.testing.assert_close(with_anatomical_limbs(few), few, atol=0, rtol=0)
    ball = orientations_of(left_elbow=torch.cat((0.4 * (9 * BEND).sin(), -BEND, 0.3 * (7 * BEND).cos()), 1))
    torch.testing.assert_close(with_anatomical_limbs(ball), ball, atol=0, rtol=0)


def test_forearm__gets_half_of_the_turn_of_the_hand():
    turn = torch.cat((BEND - 0.6, 0 * BEND, 0 * BEND), 1)
    after = local(with_anatomical_limbs(orientations_of(right_wrist=turn, right_elbow=BEND * Y)))
    wrist = after[:, SMPL_TREE.joints.index("right_wrist")]
    torch.testing.assert_close(wrist, rotvec_to_matrix(turn / 2), atol=1e-9, rtol=0)
    elbow = after[:, SMPL_TREE.joints.index("right_elbow")]
    expected = rotvec_to_matrix(BEND * Y) @ rotvec_to_matrix(turn / 2)
    torch.testing.assert_close(elbow, expected, atol=1e-9, rtol=0)
