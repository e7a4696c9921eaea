import math
from dataclasses import replace

import pytest
import torch

from body.people import FPS, figures, joints_of, joints_of_pose, standing
from marey.body.angles import joint_angles
from marey.body.kinematics import KinematicsConfig, inverse_kinematics
from marey.body.trees import body_tree, part_of
from marey.core import InputError, ShapeError, skeleton
from marey.core.motion import Motion
from marey.core.skeletons import skeleton_names
from marey.geometry.rotations import geodesic_angle, matrix_to_rotvec, rotvec_to_matrix


def _distance(motion, positions, names="body_25b"):
    """(T, J) metres between the joints of a motion and positions (T, J, 3)."""
    measured = torch.tensor(body_tree(skeleton(names)).measured)
    return (motion.positions()[:, measured >= 0] - positions[:, measured[measured >= 0]]).norm(dim=-1)


@pytest.mark.parametrize("name", skeleton_names())
def test_positions__of_every_skeleton_come_back(name):
    body = body_tree(skeleton(name))
    generator = torch.Generator().manual_seed(1)
    turns = 0.2 * torch.randn(1, len(body.tree), 3, generator=generator, dtype=torch.float64)
    wave = torch.linspace(-1, 1, 12, dtype=torch.float64)[:, None, None]
    motion = Motion(
        tree=body.tree,
        offsets=1.8 * body.rest_offsets,
        rotations=rotvec_to_matrix(wave * turns),
        translation=torch.zeros(12, 3, dtype=torch.float64),
        fps=FPS,
    )
    places = torch.full((12, 1, len(skeleton(name)), 3), torch.nan, dtype=torch.float64)
    for place, source in enumerate(body.measured):
        if source >= 0:
            places[:, 0, source] = motion.positions()[:, place]
    (found,) = inverse_kinematics(joints_of(places, name), fps=FPS)
    error = _distance(found, places[:, 0], name)
    assert error.mean() < 0.003
    assert error.max() < 0.015


def test_noise__is_averaged_over_the_joints_of_a_person():
    joints, truth, _ = figures(40, noise=0.01)
    (motion,) = inverse_kinematics(joints, fps=FPS)
    noisy = (joints.positions - truth)[:, 0].norm(dim=-1).mean()
    assert _distance(motion, truth[:, 0]).mean() < 0.75 * noisy


def test_bones__of_the_figure_are_found():
    joints, truth, _ = figures(40, people=2, noise=0.01)
    motions = inverse_kinematics(joints, fps=FPS)
    known = skeleton("body_25b")
    for person, motion in enumerate(motions):
        for end, start in (("left_knee", "left_hip"), ("right_ankle", "right_knee"), ("left_wrist", "left_elbow")):
            length = (truth[0, person, known.index(end)] - truth[0, person, known.index(start)]).norm()
            found = motion.offsets[motion.tree.joints.index(end)].norm()
            assert abs(found - length) < 0.006


def test_people__are_solved_as_if_alone():
    joints, _, _ = figures(12, people=2, noise=0.005)
    together = inverse_kinematics(joints, fps=FPS)
    for person, motion in enumerate(together):
        (alone,) = inverse_kinematics(joints[:, person : person + 1], fps=FPS)
        torch.testing.assert_close(motion.positions(), alone.positions(), atol=1e-4, rtol=0)
        assert motion.name == f"person_{person}"


def test_rigid_motion__moves_the_person_and_bends_nothing():
    joints, _, _ = figures(8, noise=0.005)
    turn = rotvec_to_matrix(torch.tensor([0.4, -1.9, 0.8], dtype=torch.float64))
    move = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    turned = replace(joints, positions=joints.positions @ turn.mT + move, covariance=turn @ joints.covariance @ turn.mT)
    (before,), (after,) = inverse_kinematics(joints, fps=FPS), inverse_kinematics(turned, fps=FPS)
    limbs = [
        place for place, name in enumerate(before.tree.joints) if part_of(name) in ("knee", "ankle", "elbow", "wrist")
    ]
    moved = before.positions() @ turn.mT + move
    torch.testing.assert_close(after.positions()[:, limbs], moved[:, limbs], atol=2e-3, rtol=0)
    torch.testing.assert_close(after.offsets[limbs], before.offsets[limbs], atol=1e-3, rtol=0)
    hinges = [place for place, name in enumerate(before.tree.joints) if part_of(name) in ("knee", "elbow")]
    assert geodesic_angle(before.rotations[:, hinges], after.rotations[:, hinges]).max() < 0.02
    # how far the pelvis tilts is told by little, so by rounding
    assert geodesic_angle(turn @ before.rotations[:, 0], after.rotations[:, 0]).max() < 0.25


def test_mirror__swaps_the_sides():
    joints, _, _ = figures(8, noise=0.005)
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    mirrored = joints_of(joints.positions[:, :, list(joints.skeleton.mirror)] * flip, "body_25b")
    before, after = (joint_angles(inverse_kinematics(each, fps=FPS)[0]) for each in (joints, mirrored))
    for name in ("hip_flexion", "hip_adduction", "knee_angle", "arm_flex", "elbow_flex", "ankle_angle"):
        here, there = before.values[:, before.index(f"{name}_l")], after.values[:, after.index(f"{name}_r")]
        torch.testing.assert_close(here, there, atol=1e-2, rtol=0)


def test_missing_wrist__is_where_other_frames_say_with_less_certainty():
    joints, truth, _ = figures(30, noise=0.003)
    wrist = joints.skeleton.index("left_wrist")
    positions = joints.positions.clone()
    positions[12:18, :, wrist] = torch.nan
    (motion,) = inverse_kinematics(joints_of(positions, "body_25b"), fps=FPS)
    place, elbow = (motion.tree.joints.index(name) for name in ("left_wrist", "left_elbow"))
    assert (motion.positions()[:, place] - truth[:, 0, wrist]).norm(dim=-1).max() < 0.06
    spread = motion.covariance[:, elbow].diagonal(dim1=-2, dim2=-1).sum(-1)
    assert spread[12:18].min() > 2 * spread[:12].max()


def test_joint_that_is_never_seen__gets_the_length_of_an_average_person():
    joints, _, _ = figures(6)
    positions = joints.positions.clone()
    positions[:, :, joints.skeleton.index("right_wrist")] = torch.nan
    (motion,) = inverse_kinematics(joints_of(positions, "body_25b"), fps=FPS)
    lengths = {name: float(motion.offsets[motion.tree.joints.index(name)].norm()) for name in motion.tree.joints}
    assert motion.positions().isfinite().all()
    assert abs(lengths["right_wrist"] - lengths["left_wrist"]) < 0.02


def test_straight_arm__leaves_its_twist_open():
    (motion,) = inverse_kinematics(joints_of_pose(standing(3)), fps=FPS)
    angles = joint_angles(motion)
    twist = angles.deviation[:, angles.index("arm_rot_l")]
    flexion = angles.values[:, angles.index("elbow_flex_l")]
    assert motion.positions().isfinite().all()
    assert twist.min() > math.radians(25)
    assert flexion.abs().max() < math.radians(3)


def test_straight_arm__takes_its_twist_from_the_frames_around():
    bend = torch.linspace(0, 2 * math.pi, 31).cos().add(1).numpy() / 2  # bent, straight in the middle, bent
    pose = standing(31, elbow=bend[:, None], shoulder=0.6)
    positions = joints_of_pose(pose).positions.clone()
    # the arm turned inwards by 30 degrees about its own length
    names = skeleton("body_25b")
    shoulder, elbow, wrist = (names.index(f"left_{part}") for part in ("shoulder", "elbow", "wrist"))
    along = torch.nn.functional.normalize(positions[:, 0, elbow] - positions[:, 0, shoulder], dim=-1)
    turn = rotvec_to_matrix(math.radians(30) * along)
    forearm = positions[:, 0, wrist] - positions[:, 0, elbow]
    positions[:, 0, wrist] = positions[:, 0, elbow] + (turn @ forearm[..., None])[..., 0]
    (motion,) = inverse_kinematics(joints_of(positions, "body_25b"), fps=FPS)
    angles = joint_angles(motion)
    twist = angles.values[:, angles.index("arm_rot_l")].rad2deg()
    assert twist[[0, 30]].abs().min() > 22
    assert (twist[15] - twist[[0, 30]].mean()).abs() < 10


def test_covariance__covers_the_errors_of_hinges():
    ratios = []
    for seed in range(4):
        joints, _, pose = figures(25, noise=0.01, seed=seed)
        (motion,) = inverse_kinematics(joints, fps=FPS)
        angles = joint_angles(motion)
        for side, letter in enumerate("lr"):
            for name, true in (("knee_angle", pose.knee), ("elbow_flex", pose.elbow)):
                column = angles.index(f"{name}_{letter}")
                error = angles.values[:, column] - torch.from_numpy(true[side, :, 0])
                ratios.append(error / angles.deviation[:, column])
    ratio = torch.cat(ratios)
    assert 0.6 < ratio.square().mean().sqrt() < 1.2
    assert (ratio.abs() < 2).double().mean() > 0.92


def test_frames_without_trunk__stay_unknown():
    joints, _, _ = figures(9)
    positions = joints.positions.clone()
    positions[4] = torch.nan
    positions[5, :, 7:] = torch.nan  # shoulders and head only
    positions[6, :, :13] = torch.nan  # legs only
    (motion,) = inverse_kinematics(joints_of(positions, "body_25b"), fps=FPS)
    assert motion.known.tolist() == [True, True, True, True, False, True, False, True, True]
    assert motion.rotations[4].isnan().all()
    assert motion.covariance[6].isnan().all()


def test_one_frame__is_enough():
    joints, truth, _ = figures(1)
    (motion,) = inverse_kinematics(joints, fps=FPS)
    assert motion.length == 1
    assert _distance(motion, truth[:, 0]).mean() < 0.005


def test_somebody_unknown__has_nan_throughout():
    joints, _, _ = figures(3, people=2)
    positions = joints.positions.clone()
    positions[:, 1] = torch.nan
    known, unknown = inverse_kinematics(joints_of(positions, "body_25b"), fps=FPS)
    assert known.known.all()
    assert not unknown.known.any()
    assert unknown.rotations.isnan().all()
    assert unknown.offsets.isfinite().all()


@pytest.mark.parametrize(("frames", "people"), [(0, 1), (3, 0), (0, 0)])
def test_nothing__gives_nothing(frames, people):
    motions = inverse_kinematics(joints_of(torch.zeros(frames, people, 25, 3), "body_25b"), fps=FPS)
    assert len(motions) == people
    assert all(motion.length == frames for motion in motions)


def test_joints_without_covariance__count_alike():
    joints, truth, _ = figures(5)
    bare = replace(joints, covariance=torch.full_like(joints.covariance, torch.nan))
    (motion,) = inverse_kinematics(bare, fps=FPS)
    assert _distance(motion, truth[:, 0]).mean() < 0.005


def test_uncertain_joint__gives_way():
    joints, truth, _ = figures(10)
    wrist = joints.skeleton.index("left_wrist")
    positions, covariance = joints.positions.clone(), joints.covariance.clone()
    positions[5, 0, wrist] += 0.2
    covariance[5, 0, wrist] = 0.2**2 * torch.eye(3, dtype=torch.float64)
    (motion,) = inverse_kinematics(replace(joints, positions=positions, covariance=covariance), fps=FPS)
    place = motion.positions()[5, motion.tree.joints.index("left_wrist")]
    assert (place - truth[5, 0, wrist]).norm() < 0.6 * (positions[5, 0, wrist] - truth[5, 0, wrist]).norm()


def test_rotations__are_rotations_that_go_on_smoothly():
    joints, _, _ = figures(60)
    (motion,) = inverse_kinematics(joints, fps=FPS)
    identity = torch.eye(3, dtype=torch.float64).expand_as(motion.rotations)
    torch.testing.assert_close(motion.rotations @ motion.rotations.mT, identity, atol=1e-6, rtol=0)
    steps = matrix_to_rotvec(motion.rotations[:-1].mT @ motion.rotations[1:]).norm(dim=-1)
    assert steps.max() < 0.6


@pytest.mark.parametrize("fps", [0.0, -1.0, math.inf, math.nan])
def test_frame_rate__that_is_none(fps):
    with pytest.raises(InputError, match="fps"):
        inverse_kinematics(figures(1)[0], fps=fps)


def test_joints__of_one_frame_only():
    with pytest.raises(ShapeError, match=r"\(T, P\)"):
        inverse_kinematics(figures(1)[0][0], fps=FPS)


@pytest.mark.parametrize("field", ["asymmetry", "memory", "largest", "unknown_deviation"])
def test_settings__that_are_not_positive(field):
    with pytest.raises(InputError, match=field):
        KinematicsConfig(**{field: 0.0})
