import json
import math

import pytest
import torch

from marey.body.joint_limits import joint_limits
from marey.body.recorded_motions import RecordedPoses, find_motions, read_motion
from marey.body.smpl_tree import mirrored_pose
from marey.core import InputError, ShapeError
from marey.geometry.rotations import geodesic_angle

STILL = [1, 0, 0, 0]


def clip(elbow=0.0, frames=3):
    """The DeepMimic humanoid with hanging arms, the left elbow bent."""
    row = [0.1, 0, 0.9, 0, *STILL, *STILL, *STILL, *STILL, 0, *STILL, *STILL, 0, *STILL, 0, *STILL, *STILL, elbow]
    return json.dumps({"Loop": "none", "Frames": [row] * frames})


def folder_of_clips(tmp_path, *names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(clip())
    return tmp_path


def test_find_motions__by_split_in_natural_order(tmp_path):
    folder = folder_of_clips(
        tmp_path, "a/humanoid3d_walk.txt", "humanoid3d_kick.txt", "a/01_01.amc", "x.csv", "jog.bvh"
    )
    assert [path.name for path in find_motions(folder)] == [
        "01_01.amc",
        "humanoid3d_walk.txt",
        "humanoid3d_kick.txt",
        "jog.bvh",
    ]
    assert [path.name for path in find_motions(folder, split="training")] == ["01_01.amc", "humanoid3d_walk.txt"]
    assert [path.name for path in find_motions(folder, split="benchmark")] == ["humanoid3d_kick.txt", "jog.bvh"]


def test_find_motions__nothing(tmp_path):
    with pytest.raises(InputError, match="no such folder of motions"):
        find_motions(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no motion for training in it; expected \.bvh, \.amc"):
        find_motions(folder_of_clips(tmp_path, "humanoid3d_kick.txt"), split="training")


def test_read_motion__skeleton_of_an_amc(tmp_path):
    for name in ("07_02.amc", "1.asf", "2.asf"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=r"expected its skeleton beside it, as 07_02\.asf or 07\.asf"):
        read_motion(tmp_path / "07_02.amc")
    with pytest.raises(InputError, match=r"expected a motion whose name ends in \.bvh"):
        read_motion(tmp_path / "07.fbx")


def test_recorded_poses__are_those_of_the_files_and_their_mirror_images(tmp_path):
    (tmp_path / "humanoid3d_bend.txt").write_text(clip(elbow=1.0))
    sampler = RecordedPoses.of([read_motion(tmp_path / "humanoid3d_bend.txt")])
    assert sampler.numbers == 2
    pose = sampler(torch.tensor([[0.0, 0.9], [0.99, 0.1]], dtype=torch.float64))
    torch.testing.assert_close(mirrored_pose(pose[:1]), pose[1:], atol=1e-9, rtol=0)
    still = torch.eye(3, dtype=torch.float64)
    # of the pose as it is the left elbow is bent by one radian, of its mirror image the right one
    assert geodesic_angle(pose[0, 17], still).item() == pytest.approx(1.0)
    assert geodesic_angle(pose[0, 18], still).item() == pytest.approx(0.0, abs=1e-6)
    assert geodesic_angle(pose[1, 18], still).item() == pytest.approx(1.0)
    # and the arms hang: a quarter turn from the T-pose
    assert geodesic_angle(pose[0, 15], still).item() == pytest.approx(math.pi / 2)


def test_recorded_poses__are_brought_into_the_limits(tmp_path):
    (tmp_path / "a.txt").write_text(clip(elbow=-1.0))  # backwards
    pose = RecordedPoses.of([read_motion(tmp_path / "a.txt")])(torch.tensor([[0.5, 0.9]], dtype=torch.float64))
    assert joint_limits().inside(pose).all()


def test_recorded_poses__refusals():
    with pytest.raises(InputError, match="no frame in which a person is known"):
        RecordedPoses.of([])
    with pytest.raises(ShapeError, match=r"recorded: expected \(F, 23, 3\)"):
        RecordedPoses(recorded=torch.zeros(0, 23, 3))
