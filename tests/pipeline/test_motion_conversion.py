import numpy as np
import pytest
import torch

from body.people import FPS, figures, joints_of
from marey.core import Estimate, InputError, skeleton
from marey.io.bvh import read_bvh
from marey.io.mot import read_mot
from marey.io.npz import read_estimate_npz, write_estimate_npz
from marey.io.trc import read_trc
from marey.pipeline.conversion import convert
from marey.pipeline.conversion_parts import named_skeleton

TRC = """PathFileType\t4\t(X/Y/Z)\twalk.trc
DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames
50\t50\t2\t6\tm\t50\t1\t2
Frame#\tTime\tRHip\t\t\tLHip\t\t\tRShoulder\t\t\tLShoulder\t\t\tRKnee\t\t\tLKnee\t\t
\t\tX1\tY1\tZ1\tX2\tY2\tZ2\tX3\tY3\tZ3\tX4\tY4\tZ4\tX5\tY5\tZ5\tX6\tY6\tZ6
1\t0.00\t-0.1\t0.9\t0\t0.1\t0.9\t0\t-0.2\t1.4\t0\t0.2\t1.4\t0\t-0.1\t0.5\t0\t0.1\t0.5\t0
2\t0.02\t-0.1\t0.9\t0\t0.1\t0.9\t0\t-0.2\t1.4\t0\t0.2\t1.4\t0\t-0.1\t0.5\t0\t0.1\t0.5\t0
"""


@pytest.fixture
def estimate(tmp_path):
    """An estimate of one walking figure in a world with y up, and its file."""
    joints, _, _ = figures(5)
    result = Estimate(joints=joints, fps=FPS, frames=tuple(range(5)), provenance={"world_up": "y"})
    write_estimate_npz(tmp_path / "estimate.npz", result)
    return result, tmp_path / "estimate.npz"


def test_estimate__becomes_a_motion_whose_joints_are_where_they_were(estimate, tmp_path):
    result, file = estimate
    done = convert(file, tmp_path / "walk.bvh")
    assert (done.kind, done.source, done.target) == ("joints", "npz", "bvh")
    motion = read_bvh(tmp_path / "walk.bvh", unit="cm")
    places = [motion.tree.joints.index(joint) for joint in result.joints.skeleton.joints]
    error = (motion.positions()[:, places] - result.joints.positions[:, 0].float()).norm(dim=-1)
    assert error.mean() < 0.005


def test_estimate__becomes_angles_of_opensim(estimate, tmp_path):
    convert(estimate[1], tmp_path / "walk.mot")
    table = read_mot(tmp_path / "walk.mot")
    assert table.in_degrees
    assert {"pelvis_ty", "knee_angle_r", "arm_flex_l", "lumbar_extension"} <= set(table.names)
    height = table.values[:, table.names.index("pelvis_ty")]
    assert ((height > 0.6) & (height < 1.2)).all()


def test_markers_of_another_program__become_a_motion(tmp_path):
    (tmp_path / "walk.trc").write_text(TRC)
    convert(tmp_path / "walk.trc", tmp_path / "walk.bvh")
    motion = read_bvh(tmp_path / "walk.bvh", unit="cm")
    assert motion.fps == pytest.approx(50)
    knee = motion.positions()[0, motion.tree.joints.index("left_knee")]
    torch.testing.assert_close(knee, torch.tensor([0.1, 0.5, 0.0]), atol=0.01, rtol=0)


def test_markers_without_hips__are_told_by_name(tmp_path):
    (tmp_path / "walk.trc").write_text(TRC.replace("RHip", "TAIL").replace("LHip", "FOOT"))
    with pytest.raises(InputError, match="no left_hip, right_hip"):
        convert(tmp_path / "walk.trc", tmp_path / "walk.bvh")


def test_motion__becomes_joints_but_no_angles(estimate, tmp_path):
    convert(estimate[1], tmp_path / "walk.bvh")
    convert(tmp_path / "walk.bvh", tmp_path / "walk.trc")
    assert "left_knee" in read_trc(tmp_path / "walk.trc").names
    with pytest.raises(InputError, match="motion cannot become 'mot'"):
        convert(tmp_path / "walk.bvh", tmp_path / "walk.mot", to_format="mot")


def test_several_people__get_a_file_each(tmp_path):
    joints, _, _ = figures(2, people=2)
    result = Estimate(joints=joints, fps=FPS, frames=(0, 1), provenance={"world_up": "y"})
    write_estimate_npz(tmp_path / "estimate.npz", result)
    with pytest.warns(UserWarning, match=r"walk_0\.trc, walk_1\.trc"):
        convert(tmp_path / "estimate.npz", tmp_path / "walk.trc")
    found = read_trc(tmp_path / "walk_1.trc").positions
    np.testing.assert_allclose(found, joints.positions[:, 1].numpy(), atol=1e-5)


def test_nobody__is_told(tmp_path):
    joints = joints_of(torch.full((2, 1, 25, 3), torch.nan), "body_25b")
    result = Estimate(joints=joints, fps=FPS, frames=(0, 1), provenance={"world_up": "y"})
    write_estimate_npz(tmp_path / "estimate.npz", result)
    for name in ("walk.bvh", "walk.trc"):
        with pytest.raises(InputError, match="nobody"):
            convert(tmp_path / "estimate.npz", tmp_path / name)


def test_joints__go_through_csv_and_c3d(estimate, tmp_path):
    result, file = estimate
    convert(file, tmp_path / "walk.csv")
    convert(tmp_path / "walk.csv", tmp_path / "walk.c3d")
    convert(tmp_path / "walk.c3d", tmp_path / "again.npz")
    again = read_estimate_npz(tmp_path / "again.npz")
    assert again.joints.skeleton.name == "body_25b"
    assert again.fps == pytest.approx(FPS)
    torch.testing.assert_close(again.joints.positions.double(), result.joints.positions, atol=1e-4, rtol=0)


def test_unit__of_a_file_that_states_it(estimate, tmp_path):
    with pytest.raises(InputError, match="states its unit"):
        convert(estimate[1], tmp_path / "walk.bvh", unit="mm")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("RHip", "right_hip"),
        ("LBigToe", "left_big_toe"),
        ("R_KNEE", "right_knee"),
        ("LeftElbow", "left_elbow"),
        ("Head", "head_top"),
        ("Neck", "neck"),
        ("Nose", "nose"),
        ("left_wrist", "left_wrist"),
        ("Rib", "rib"),
    ],
)
def test_names__of_other_programs(theirs, ours):
    assert named_skeleton([theirs]).joints == (ours,)


def test_skeleton__is_known_by_its_joints():
    assert named_skeleton(skeleton("halpe_26").joints).name == "halpe_26"
