"""Body parameters as AMASS keeps them, against archives made with NumPy alone."""

import math

import numpy as np
import pytest
import torch

from marey.core import BodyState, FormatError, InputError, JointTree, Motion, ShapeError
from marey.io.amass import POSE_JOINTS, read_amass_npz, smpl_pose_of, write_amass_npz

QUARTER = math.pi / 2


def archive(tmp_path, **arrays):
    np.savez(tmp_path / "motion.npz", **arrays)
    return tmp_path / "motion.npz"


def smplh(**changes):
    poses = np.zeros((3, 156))
    poses[1, 3:6] = [QUARTER, 0, 0]  # the left hip, joint 1, turned about x
    content = {
        "poses": poses,
        "trans": np.arange(9.0).reshape(3, 3),
        "betas": np.arange(16.0),
        "dmpls": np.ones((3, 8)),
        "gender": np.array(b"female"),
        "mocap_framerate": np.array(120.0),
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def test_read_amass_npz__smplh(tmp_path):
    found = read_amass_npz(archive(tmp_path, **smplh()))
    assert (found.model, found.fps, found.gender) == ("smplh", 120.0, "female")
    assert found.body.pose.shape == (3, 51, 3, 3)
    expected = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(found.body.pose[1, 0], expected)
    torch.testing.assert_close(found.body.orientation, torch.eye(3, dtype=torch.float64).expand(3, 3, 3))
    assert found.body.translation.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert found.body.shape[2].tolist() == list(range(16))
    assert found.soft_tissue.shape == (3, 8)


def test_read_amass_npz__smplx_in_parts(tmp_path):
    body, hands = np.zeros((2, 63)), np.zeros((2, 90))
    hands[0, :3] = [0, QUARTER, 0]
    parts = {
        "root_orient": np.array([[0, 0, QUARTER], [0, 0, 0]]),
        "pose_body": body,
        "pose_hand": hands,
        "pose_jaw": np.zeros((2, 3)),
        "pose_eye": np.zeros((2, 6)),
    }
    common = {"trans": np.zeros((2, 3)), "mocap_frame_rate": np.array([30]), "gender": "neutral"}
    found = read_amass_npz(archive(tmp_path, **parts, **common, surface_model_type="smplx"))
    assert (found.model, found.fps, found.body.shape.shape) == ("smplx", 30.0, (2, 0))
    first_finger = POSE_JOINTS["smplx"].index("left_index1") - 1
    expected = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(found.body.pose[0, first_finger], expected)
    torch.testing.assert_close(
        found.body.orientation[0], torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"poses": np.zeros((3, 100))}, "poses of 100 numbers"),
        ({"poses": np.zeros(3)}, "expected \\(T, 3 x joints\\)"),
        ({"poses": None}, "neither 'poses'"),
        ({"trans": np.zeros((2, 3))}, "'trans' is float64 \\(2, 3\\)"),
        ({"trans": None}, "'trans' is missing"),
        ({"mocap_framerate": None}, "no frame rate"),
        ({"mocap_framerate": np.array(-1.0)}, "above 0"),
        ({"poses": np.full((3, 156), np.nan)}, "not finite"),
        ({"dmpls": np.ones((2, 8))}, "dmpls"),
        ({"gender": np.array(3)}, "'gender'"),
        ({"poses": np.array([{}], dtype=object)}, "pickled"),
    ],
)
def test_read_amass_npz__malformed(tmp_path, changes, message):
    with pytest.raises(FormatError, match=message):
        read_amass_npz(archive(tmp_path, **smplh(**changes)))


def test_read_amass_npz__absent(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_amass_npz(tmp_path / "absent.npz")


def state(joints, frames=2):
    return BodyState(
        orientation=torch.eye(3).expand(frames, 3, 3),
        pose=torch.eye(3).repeat(frames, joints, 1, 1),
        shape=torch.arange(10.0).expand(frames, 10),
        translation=torch.tensor([[0.0, 1.0, 2.0]]).expand(frames, 3),
    )


def test_write_amass_npz__what_numpy_reads(tmp_path):
    body = state(21)
    body.pose[1, 3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # the left knee, joint 4 of the pose
    write_amass_npz(tmp_path / "m.npz", body, fps=60.0, gender="male")
    with np.load(tmp_path / "m.npz", allow_pickle=False) as found:
        assert found["poses"].shape == (2, 156)
        np.testing.assert_allclose(found["poses"][1, 12:15], [QUARTER, 0, 0], atol=1e-7)
        assert np.abs(np.delete(found["poses"][1], range(12, 15))).max() < 1e-7
        assert found["trans"].tolist() == [[0, 1, 2], [0, 1, 2]]
        assert found["betas"].tolist() == list(range(10))
        assert found["mocap_framerate"] == 60
        assert str(found["gender"]) == "male"


def test_write_amass_npz__hands_of_smpl_are_lost_aloud(tmp_path):
    body = state(23)
    body.pose[0, 21] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    with pytest.warns(UserWarning, match="smplh has no left_hand"):
        write_amass_npz(tmp_path / "m.npz", body, fps=60.0)


def test_write_amass_npz__errors(tmp_path):
    with pytest.raises(ShapeError, match="7 joints after the root"):
        write_amass_npz(tmp_path / "m.npz", state(7), fps=60.0)
    with pytest.raises(ShapeError, match="one person"):
        write_amass_npz(tmp_path / "m.npz", state(21)[0], fps=60.0)
    with pytest.raises(InputError, match="frames per second"):
        write_amass_npz(tmp_path / "m.npz", state(21), fps=0.0)
    gap = state(21)
    gap.pose[0, 0] = torch.nan
    with pytest.raises(InputError, match="has no gaps"):
        write_amass_npz(tmp_path / "m.npz", gap, fps=60.0)
    assert not list(tmp_path.iterdir())


def test_write_amass_npz__smplx_comes_back(tmp_path):
    body = state(21)
    body.pose[1, 3] = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    write_amass_npz(tmp_path / "m.npz", body, fps=60.0, model="smplx")
    found = read_amass_npz(tmp_path / "m.npz")
    assert found.model == "smplx"
    torch.testing.assert_close(found.body.pose[:, :21].float(), body.pose)


def test_smpl_pose_of__by_name_and_with_z_up():
    tree = JointTree("t", ("pelvis", "lumbar", "left_hip", "left_knee", "left_heel"), (-1, 0, 0, 2, 3))
    rotations = torch.eye(3).repeat(2, 5, 1, 1)
    quarter = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    rotations[1, 1], rotations[1, 3] = quarter, quarter.T
    motion = Motion(
        tree=tree,
        offsets=torch.zeros(5, 3),
        rotations=rotations,
        translation=torch.tensor([[1.0, 2.0, 3.0]] * 2),
        fps=30.0,
    )
    body = smpl_pose_of(motion)
    spine1, left_knee = 2, 3  # of the pose, which begins after the root
    torch.testing.assert_close(body.pose[1, spine1], quarter)
    torch.testing.assert_close(body.pose[1, left_knee], quarter.T)
    torch.testing.assert_close(body.pose[0], torch.eye(3).expand(21, 3, 3))
    assert body.translation[0].tolist() == [1, -3, 2]  # what was up, y, is z
    assert (body.orientation[0] @ torch.tensor([0.0, 1.0, 0.0])).tolist() == [0, 0, 1]
