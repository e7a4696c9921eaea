import numpy as np
import pytest
import torch

from body.people import FPS, figures, joints_of
from marey.core import Estimate, InputError, JointTree, Motion
from marey.io.bvh import read_bvh
from marey.io.mot import read_mot
from marey.io.npz import read_estimate_npz, write_estimate_npz
from marey.io.trc import read_trc
from marey.pipeline.conversion import convert
from marey.pipeline.motion_conversion import write_motion_amass

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
        done = convert(tmp_path / "estimate.npz", tmp_path / "walk.trc")
    assert done.files == (tmp_path / "walk_0.trc", tmp_path / "walk_1.trc")
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
    with pytest.raises(InputError, match="states its unit, or needs none; leave out unit"):
        convert(estimate[1], tmp_path / "walk.bvh", unit="mm")


def amass(tmp_path, **changes):
    """Two frames of SMPL-H, made with NumPy alone: the person stands, then bends the left knee by 90 degrees."""
    poses = np.zeros((2, 156))
    poses[:, 0] = np.pi / 2  # what the model has along y is along z of the world
    poses[1, 12:15] = [np.pi / 2, 0, 0]  # joint 4, the left knee
    content = {
        "poses": poses,
        "trans": np.array([[1.0, 2.0, 0.9], [1.0, 2.5, 0.9]]),
        "betas": np.zeros(16),
        "gender": np.array("female"),
        "mocap_framerate": np.array(120.0),
    }
    np.savez(tmp_path / "walk.npz", **(content | changes))
    return tmp_path / "walk.npz"


def test_amass__becomes_a_motion_on_average_bones(tmp_path):
    with pytest.warns(UserWarning, match="AMASS holds no bones: those of an average person of 1.7 m"):
        done = convert(amass(tmp_path), tmp_path / "walk.bvh")
    assert (done.kind, done.source, done.target) == ("motion", "amass", "bvh")
    assert done.content == "1 motions of 22 joints in 2 frames"
    motion = read_bvh(tmp_path / "walk.bvh", unit="cm")
    assert motion.fps == pytest.approx(120)
    places = motion.positions()[:, [motion.tree.joints.index(f"left_{joint}") for joint in ("hip", "knee", "ankle")]]
    # z of the file is up and -y is forward, so the pelvis stands at x, z, -y; 0.0884 m = 1.7 m x 0.052 to the left hip
    torch.testing.assert_close(places[0, 0], torch.tensor([1.0884, 0.9, -2.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(places[1, 0], torch.tensor([1.0884, 0.9, -2.5]), atol=1e-4, rtol=0)
    # 0.245 statures down to the knee; the shank of 0.246 hangs, and then points backwards
    torch.testing.assert_close(places[0, 2] - places[0, 0], torch.tensor([0, -0.8347, 0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(places[1, 2] - places[1, 0], torch.tensor([0, -0.4165, -0.4182]), atol=1e-4, rtol=0)


def test_amass__turned_hands_are_told(tmp_path):
    poses = np.zeros((2, 156))
    poses[0, 70] = 1.0
    with pytest.warns(UserWarning, match="hands and face are left out"):
        convert(amass(tmp_path, poses=poses), tmp_path / "walk.glb")


def test_amass__goes_to_joints_too(tmp_path):
    with pytest.warns(UserWarning, match="no bones"):
        done = convert(amass(tmp_path), tmp_path / "walk.csv")
    assert done.target == "csv"
    rows = [line.split(",") for line in (tmp_path / "walk.csv").read_text().splitlines()]
    knee = next(row for row in rows if row[0] == "1" and row[3] == "left_knee")
    assert [float(cell) for cell in knee[4:7]] == pytest.approx([1.0884, 0.4835, -2.5], abs=1e-4)


def test_estimate__becomes_poses_of_smpl_h(estimate, tmp_path):
    _, file = estimate
    convert(file, tmp_path / "smpl.npz", to_format="amass")
    convert(file, tmp_path / "walk.bvh")
    motion = read_bvh(tmp_path / "walk.bvh", unit="cm")
    with np.load(tmp_path / "smpl.npz", allow_pickle=False) as archive:
        assert archive["poses"].shape == (5, 156)
        assert archive["mocap_framerate"] == FPS
        assert archive["betas"].tolist() == [0] * 16
        x, y, z = motion.translation.double().numpy().T
        np.testing.assert_allclose(archive["trans"], np.stack((x, -z, y), axis=1), atol=1e-4)
        angles = np.linalg.norm(archive["poses"][:, 12:15], axis=-1)  # of the left knee
    knee = motion.rotations[:, motion.tree.joints.index("left_knee")]
    expected = ((torch.diagonal(knee, dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).acos()
    np.testing.assert_allclose(angles, expected.numpy(), atol=1e-3)


BVH = """HIERARCHY
ROOT {root}
{{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT {left}
  {{
    OFFSET 10 -45 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {{
      OFFSET 0 -40 0
    }}
  }}
}}
MOTION
Frames: 1
Frame Time: 0.02
0 90 0 0 0 0 0 0 0
"""


def test_amass__foreign_names_and_rest_poses_are_refused(tmp_path):
    (tmp_path / "a.bvh").write_text(BVH.format(root="Hips", left="LeftLeg"))
    with pytest.raises(InputError, match="no left_knee, right_knee, left_elbow, right_elbow, but Hips, LeftLeg"):
        convert(tmp_path / "a.bvh", tmp_path / "a.npz", to_format="amass")
    limbs = ("left_knee", "right_knee", "left_elbow", "right_elbow")
    tree = JointTree("hanging", ("pelvis", *limbs), (-1, 0, 0, 0, 0))
    offsets = torch.tensor([[0.0, 0, 0], [0, -0.4, 0], [0, -0.4, 0], [0.1, -0.3, 0], [-0.1, -0.3, 0]])
    hanging = Motion(
        tree=tree, offsets=offsets, rotations=torch.eye(3).repeat(1, 5, 1, 1), translation=torch.zeros(1, 3), fps=30.0
    )
    with pytest.raises(InputError, match="the bones to left_elbow, right_elbow do not point as SMPL's do"):
        write_motion_amass(tmp_path / "a.npz", hanging)
    assert not (tmp_path / "a.npz").exists()


def test_angles__are_written_only(tmp_path):
    (tmp_path / "a.mot").write_text("Coordinates\nendheader\ntime\n0\n")
    with pytest.raises(InputError, match=r"mot can be written, not read; angles do not say where joints are"):
        convert(tmp_path / "a.mot", tmp_path / "a.csv")


def test_rate__of_a_file_that_states_it(estimate, tmp_path):
    with pytest.raises(InputError, match="states its frame rate, or needs none; leave out fps"):
        convert(estimate[1], tmp_path / "walk.csv", fps=50)
