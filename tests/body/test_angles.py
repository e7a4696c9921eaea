import math

import pytest
import torch

from body.people import FPS, joints_of_pose, standing
from marey.body.angles import joint_angles
from marey.body.kinematics import inverse_kinematics
from marey.body.trees import body_tree
from marey.core import InputError, skeleton
from marey.core.motion import Motion
from marey.geometry.rotations import rotvec_to_matrix

X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
LEFT_DOWN, RIGHT_DOWN = (0.0, 0.0, -math.pi / 2), (0.0, 0.0, math.pi / 2)


def _motion(turns, name="mediapipe_33", frames=1, covariance=None):
    """A person at rest but for joints turned by rotation vectors in the axes of a motion: x left, y up, z forward."""
    body = body_tree(skeleton(name))
    rotations = torch.eye(3, dtype=torch.float64).repeat(frames, len(body.tree), 1, 1)
    for joint, chain in turns.items():
        for turn in chain if isinstance(chain, list) else [chain]:
            step = rotvec_to_matrix(torch.as_tensor(turn, dtype=torch.float64))
            place = body.tree.joints.index(joint)
            rotations[:, place] = rotations[:, place] @ step
    return Motion(
        tree=body.tree,
        offsets=1.7 * body.rest_offsets,
        rotations=rotations,
        translation=torch.zeros(frames, 3, dtype=torch.float64),
        fps=FPS,
        covariance=covariance,
    )


def _degrees(motion, name):
    angles = joint_angles(motion)
    return round(float(angles.values[0, angles.index(name)].rad2deg()), 6)


def _about(axis, degrees):
    return tuple(math.radians(degrees) * part for part in axis)


@pytest.mark.parametrize(
    ("joint", "axis", "name"),
    [
        ("right_hip", (-1, 0, 0), "hip_flexion_r"),  # the thigh forwards
        ("left_hip", (-1, 0, 0), "hip_flexion_l"),
        ("right_hip", (0, 0, 1), "hip_adduction_r"),  # the right thigh to the left
        ("left_hip", (0, 0, -1), "hip_adduction_l"),
        ("right_hip", (0, 1, 0), "hip_rotation_r"),  # the right toes to the left
        ("left_hip", (0, -1, 0), "hip_rotation_l"),
        ("right_knee", (1, 0, 0), "knee_angle_r"),  # the shank backwards
        ("left_knee", (1, 0, 0), "knee_angle_l"),
        ("right_ankle", (-1, 0, 0), "ankle_angle_r"),  # the toes upwards
        ("left_ankle", (-1, 0, 0), "ankle_angle_l"),
        ("pelvis", (0, 1, 0), "pelvis_rotation"),  # turned to the left
        ("lumbar", (-1, 0, 0), "lumbar_extension"),  # the chest backwards
        ("lumbar", (0, 0, 1), "lumbar_bending"),  # the head to the right
        ("lumbar", (0, 1, 0), "lumbar_rotation"),  # the chest to the left
        ("head", (-1, 0, 0), "neck_extension"),
        ("head", (0, 1, 0), "neck_rotation"),
        ("right_elbow", (0, 1, 0), "elbow_flex_r"),
        ("left_elbow", (0, -1, 0), "elbow_flex_l"),
    ],
)
def test_sign__of_one_turn(joint, axis, name):
    angle = _degrees(_motion({joint: _about(axis, 25)}), name)
    base = _degrees(_motion({}), name)
    assert angle - base == pytest.approx(25)
    assert base == pytest.approx(-90 if name == "pelvis_rotation" else 0)


@pytest.mark.parametrize(("side", "down"), [("left", LEFT_DOWN), ("right", RIGHT_DOWN)])
def test_arm__hanging_down_is_the_zero(side, down):
    motion = _motion({f"{side}_shoulder": down})
    for name in ("arm_flex", "arm_add", "arm_rot", "shoulder_elevation"):
        assert _degrees(motion, f"{name}_{side[0]}") == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("side", "down"), [("left", LEFT_DOWN), ("right", RIGHT_DOWN)])
def test_arm__raised_forwards(side, down):
    motion = _motion({f"{side}_shoulder": [_about(X, -50), down]})
    letter = side[0]
    assert _degrees(motion, f"arm_flex_{letter}") == pytest.approx(50)
    assert _degrees(motion, f"shoulder_elevation_{letter}") == pytest.approx(50)
    assert _degrees(motion, f"shoulder_plane_{letter}") == pytest.approx(90)


@pytest.mark.parametrize(("side", "sign", "down"), [("left", 1, LEFT_DOWN), ("right", -1, RIGHT_DOWN)])
def test_arm__raised_sideways(side, sign, down):
    motion = _motion({f"{side}_shoulder": [_about(Z, 40 * sign), down]})
    letter = side[0]
    assert _degrees(motion, f"arm_add_{letter}") == pytest.approx(-40)
    assert _degrees(motion, f"shoulder_elevation_{letter}") == pytest.approx(40)
    assert _degrees(motion, f"shoulder_plane_{letter}") == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("side", "sign", "down"), [("left", -1, LEFT_DOWN), ("right", 1, RIGHT_DOWN)])
def test_arm__turned_inwards(side, sign, down):
    motion = _motion({f"{side}_shoulder": [_about(Y, 30 * sign), down]})
    assert _degrees(motion, f"arm_rot_{side[0]}") == pytest.approx(30)


@pytest.mark.parametrize(
    ("axis", "name"),
    [
        ((1, 0, 0), "pro_sup_r"),  # the thumb downwards
        ((0, 1, 0), "wrist_dev_r"),  # the fingers to the thumb's side, forwards
        ((0, 0, 1), "wrist_flex_r"),  # the fingers to the palm's side, downwards from an arm stretched out
    ],
)
def test_hand__of_a_stretched_arm(axis, name):
    assert _degrees(_motion({"right_wrist": _about(axis, 20)}), name) == pytest.approx(20)


def test_pelvis__has_no_angle_where_it_looks_along_x_of_the_world():
    motion = _motion({"pelvis": _about(Y, 90)})
    for name in ("pelvis_tilt", "pelvis_list", "pelvis_rotation"):
        assert _degrees(motion, name) == pytest.approx(0, abs=1e-5)


def test_pelvis__turning_round_goes_on_without_jumps():
    motion = _motion({}, frames=41)
    turn = torch.linspace(0, 4 * math.pi, 41, dtype=torch.float64)[:, None] * torch.tensor(Y, dtype=torch.float64)
    motion.rotations[:, 0] = rotvec_to_matrix(turn)
    motion.rotations[7] = torch.nan
    angles = joint_angles(motion)
    rotation = angles.values[:, angles.index("pelvis_rotation")]
    assert rotation[7].isnan()
    assert float(rotation[-1] - rotation[0]) == pytest.approx(4 * math.pi)


def test_angles__that_no_point_tells_are_left_out():
    few = joint_angles(_motion({}, "coco_17")).names
    assert not [name for name in few if name.startswith(("ankle", "pro_sup", "wrist"))]
    assert {"knee_angle_r", "arm_rot_l", "neck_rotation"} <= set(few)
    assert {"pro_sup_l", "wrist_flex_r", "ankle_angle_l"} <= set(joint_angles(_motion({})).names)
    assert not [name for name in joint_angles(_motion({}, "h36m_17")).names if name.startswith("neck")]


def test_deviation__is_that_of_small_random_turns():
    turns = {
        "left_hip": _about((0.6, 0.0, -0.8), 40),
        "left_shoulder": [_about(X, -60), _about(Z, 25), LEFT_DOWN],
        "right_shoulder": [_about(X, -30), _about(Z, -20), RIGHT_DOWN],
        "pelvis": _about(Y, 130),
        "left_elbow": _about(Y, -70),
    }
    still = _motion(turns, "body_25b")
    generator = torch.Generator().manual_seed(0)
    root = 0.01 * torch.randn(len(still.tree), 3, 3, generator=generator, dtype=torch.float64)
    many = _motion(turns, "body_25b", frames=4000)
    noise = torch.randn(4000, len(still.tree), 3, 1, generator=generator, dtype=torch.float64)
    many.rotations[:] = many.rotations @ rotvec_to_matrix((root @ noise)[..., 0])
    stated = joint_angles(_motion(turns, "body_25b", covariance=(root @ root.mT)[None])).deviation[0]
    scatter = joint_angles(many).values.std(0)
    torch.testing.assert_close(stated, scatter, rtol=0.06, atol=1e-4)


def test_deviation__is_bounded_and_absent_without_covariance():
    angles = joint_angles(_motion({"left_shoulder": LEFT_DOWN}))
    assert angles.deviation.isnan().all()
    body = body_tree(skeleton("mediapipe_33"))
    wide = 100 * torch.eye(3, dtype=torch.float64).repeat(1, len(body.tree), 1, 1)
    largest = joint_angles(_motion({"left_shoulder": LEFT_DOWN}, covariance=wide)).deviation
    assert largest.max() == pytest.approx(math.pi / math.sqrt(3))


def test_angles__of_a_figure_come_through_the_inverse_kinematics():
    pose = standing(1, heading=math.pi / 2, lean=0.3, hip=0.6, knee=0.9, shoulder=0.7, spread=0.2, elbow=1.1)
    (motion,) = inverse_kinematics(joints_of_pose(pose), fps=FPS)
    angles = joint_angles(motion)
    found = {name: float(value) for name, value in zip(angles.names, angles.values[0], strict=True)}
    for letter in "lr":
        assert found[f"knee_angle_{letter}"] == pytest.approx(0.9, abs=0.03)
        assert found[f"elbow_flex_{letter}"] == pytest.approx(1.1, abs=0.03)
        assert found[f"hip_flexion_{letter}"] + found["pelvis_tilt"] == pytest.approx(0.6, abs=0.05)
    assert found["pelvis_rotation"] == pytest.approx(0, abs=0.02)
    assert found["pelvis_tilt"] + found["lumbar_extension"] == pytest.approx(-0.3, abs=0.1)


def test_angle__of_no_name():
    with pytest.raises(InputError, match="no angle 'tail'"):
        joint_angles(_motion({})).index("tail")
