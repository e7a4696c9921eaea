"""Files of data sets, made with NumPy and json alone, on their way to joints and keypoints."""

import json

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.io.human_data import JOINTS
from marey.io.npz import read_estimate_npz
from marey.pipeline.conversion import convert
from marey.pipeline.conversion_parts import Unstated
from marey.pipeline.dataset_conversion import (
    OF_HUMAN36M,
    joints_from_human_data,
    joints_from_videopose,
    views_from_coco,
    views_from_coco_annotations,
    views_from_human_data,
    views_from_videopose,
)

NOSE, LEFT_HIP = 55, 1
AT_50 = Unstated(fps=50)


def objects(path, **members):
    np.savez(path, **{name: np.array(value, dtype=object) for name, value in members.items()})
    return path


def standing(joints=32, frames=3):
    """Joints of Human3.6M's own order, the k-th at (k, 0, 0): only their order matters."""
    positions = np.zeros((frames, joints, 3), np.float32)
    positions[..., 0] = np.arange(joints)
    return positions


def test_videopose3d__joints_of_human36m(tmp_path):
    source = objects(
        tmp_path / "data_3d.npz", positions_3d={"S1": {"Walk": standing()}, "S5": {"Walk": standing() + 1}}
    )
    with pytest.warns(UserWarning, match="does not state its frame rate; 30 per second are taken, --fps"):
        done = convert(source, tmp_path / "walk.csv")
    assert (done.kind, done.source) == ("joints", "videopose3d")
    rows = [line.split(",") for line in (tmp_path / "walk.csv").read_text().splitlines()[1:]]
    found = {(row[2], row[3]): float(row[4]) for row in rows if row[0] == "2"}
    # places in the 32: hips 1 and 6, knees 2 and 7, head 15, left wrist 19, right wrist 27
    assert found["0", "right_hip"] == 1
    assert found["0", "left_knee"] == 7
    assert found["0", "head_top"] == 15
    assert (found["0", "left_wrist"], found["0", "right_wrist"]) == (19, 27)
    assert found["1", "right_hip"] == 2
    assert len(found) == 2 * 17 == 2 * len(OF_HUMAN36M)


def test_videopose3d__what_the_joints_are_is_said(tmp_path):
    source = objects(tmp_path / "a.npz", positions_3d={"a": {"b": standing(25)}})
    with pytest.raises(InputError, match=r"does not name its 25 joints; say with --skeleton .* body_25 or body_25b"):
        convert(source, tmp_path / "a.csv", fps=50)
    with pytest.raises(InputError, match="25 joints, but skeleton coco_17 has 17"):
        convert(source, tmp_path / "a.csv", fps=50, skeleton="coco_17")
    convert(source, tmp_path / "b.npz", fps=50, skeleton="body_25")
    found = read_estimate_npz(tmp_path / "b.npz")
    assert (found.joints.skeleton.name, found.fps) == ("body_25", 50)
    odd = objects(tmp_path / "b.npz", positions_3d={"a": {"b": standing(5)}})
    with pytest.raises(InputError, match="no skeleton that is known has as many"):
        joints_from_videopose(odd, AT_50)


def test_videopose3d__unknown_joints_stay_unknown(tmp_path):
    positions = standing(17)
    positions[1, 3] = np.nan
    joints = joints_from_videopose(objects(tmp_path / "a.npz", positions_3d={"a": {"b": positions}}), AT_50).joints
    assert joints.positions[1, 0, 3].isnan().all()
    assert joints.score[:, 0, 3].tolist() == [1, 0, 1]
    assert joints.covariance.isnan().all()


def test_videopose3d__several_actions_are_named(tmp_path):
    source = objects(tmp_path / "a.npz", positions_3d={"S1": {"Eating": standing(), "Walking": standing()}})
    with pytest.raises(InputError, match=r"2 actions \(Eating, Walking\), and a recording is one"):
        joints_from_videopose(source)
    source = objects(tmp_path / "a.npz", positions_3d={"S1": {"a": standing()}, "S2": {"a": standing(frames=2)}})
    with pytest.raises(FormatError, match="differ in frames or joints"):
        joints_from_videopose(source)


def two_views(**metadata):
    views = [np.full((3, 17, 2), 4.0), np.full((2, 17, 2), 8.0)]
    known = {"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": [[1], [2]]}
    return {"positions_2d": {"S1": {"a": views}}, "metadata": known | metadata}


def test_videopose2d__views_of_different_lengths(tmp_path):
    found = views_from_videopose(objects(tmp_path / "a.npz", **two_views()))
    assert found.keypoints.skeleton.name == "coco_17"
    assert (found.names, found.sizes, found.frames) == (("view_0", "view_1"), ((0, 0), (0, 0)), (0, 1, 2))
    assert found.keypoints.positions[0, 2, 0, 5].tolist() == [4, 4]
    assert found.keypoints.positions[1, 2].isnan().all()
    assert found.keypoints.score[:, 2, 0, 0].tolist() == [1, 0]


def test_videopose2d__own_videos_are_views(tmp_path):
    left, right = np.full((3, 17, 2), 4.0), np.full((3, 17, 3), 8.0)
    metadata = {"layout_name": "h36m_17", "num_joints": 17, "keypoints_symmetry": [[1], [2]]}
    metadata["video_metadata"] = {"left.mp4": {"w": 640, "h": 480}, "right.mp4": {"w": 320, "h": 240}}
    videos = {"right.mp4": {"custom": [right]}, "left.mp4": {"custom": [left]}}
    found = views_from_videopose(objects(tmp_path / "a.npz", positions_2d=videos, metadata=metadata))
    assert (found.names, found.sizes) == (("left.mp4", "right.mp4"), ((640, 480), (320, 240)))
    assert found.keypoints.skeleton.name == "h36m_17"
    assert found.keypoints.batch_shape == (2, 3, 1)
    assert found.keypoints.positions[:, 0, 0, 0, 0].tolist() == [4, 8]


def test_videopose2d__views_that_do_not_go_together(tmp_path):
    content = two_views()
    content["positions_2d"]["S1"]["a"].append(np.zeros((90, 17, 2)))
    with pytest.raises(FormatError, match="views that differ in number, frames or joints"):
        views_from_videopose(objects(tmp_path / "a.npz", **content))


def human_data(path, **changes):
    """Two people in each of two images, of whom hips and noses are known."""
    mask = np.zeros(190, np.uint8)
    mask[[LEFT_HIP, NOSE]] = 1
    joints = np.zeros((4, 190, 4))
    joints[:, LEFT_HIP] = [[0.1, 0.2, 3, 1], [1.1, 0.2, 3, 1], [0.2, 0.2, 3, 0.5], [0, 0, 0, 0]]
    joints[:, NOSE] = [0.0, -0.5, 3, 1]
    pixels = np.zeros((4, 190, 3))
    pixels[:, NOSE] = [320, 100, 0.9]
    content = {
        "image_path": np.array(["c/0007.png", "c/0007.png", "c/0008.png", "c/0008.png"]),
        "keypoints3d_original": joints,
        "keypoints3d_original_mask": mask,
        "keypoints2d_original": pixels,
        "keypoints2d_original_mask": mask,
    }
    np.savez(path, **{name: value for name, value in (content | changes).items() if value is not None})
    return path


def test_human_data__entries_of_one_image_are_the_people_of_a_frame(tmp_path):
    assert (JOINTS[LEFT_HIP], JOINTS[NOSE]) == ("left_hip", "nose")
    with pytest.warns(UserWarning, match="does not say who is who"):
        found = joints_from_human_data(human_data(tmp_path / "h.npz"), AT_50)
    assert (found.frames, found.fps, found.joints.batch_shape) == ((7, 8), 50, (2, 2))
    assert found.joints.skeleton.joints == ("left_hip", "nose")
    assert found.joints.positions[:, 0, 0].tolist() == [[0.1, 0.2, 3], [0.2, 0.2, 3]]
    assert found.joints.positions[1, 1, 0].isnan().all()  # confidence 0
    assert found.joints.score[:, :, 0].tolist() == [[1, 1], [0.5, 0]]
    assert found.provenance["world_up"] == "-y"  # of a camera


def test_human_data__without_paths_each_entry_is_a_frame(tmp_path):
    found = joints_from_human_data(human_data(tmp_path / "h.npz", image_path=None), AT_50)
    assert (found.frames, found.joints.batch_shape) == ((0, 1, 2, 3), (4, 1))


def test_human_data__in_images_only_is_keypoints(tmp_path):
    source = human_data(tmp_path / "h.npz", keypoints3d_original=None, keypoints3d_original_mask=None)
    with pytest.warns(UserWarning, match="who is who"):
        done = convert(source, tmp_path / "views", to_format="openpose")
    assert (done.kind, done.source) == ("keypoints", "humandata")
    document = json.loads((tmp_path / "views" / "views_000000000008_keypoints.json").read_text())
    assert [person["pose_keypoints_2d"] for person in document["people"]] == [[0, 0, 0, 320, 100, 0.9]] * 2
    with pytest.raises(FormatError, match="no 3D keypoints in it"):
        joints_from_human_data(source)


def test_human_data__of_several_sequences(tmp_path):
    paths = np.array(["a/0.png", "a/1.png", "b/0.png", "b/1.png"])
    with pytest.raises(InputError, match=r"images of 2 folders \(a, b\), and a recording is one sequence"):
        views_from_human_data(human_data(tmp_path / "h.npz", image_path=paths))


def result(image, x, score=0.5, joint_score=1.0):
    return {"image_id": image, "category_id": 1, "keypoints": [x, 2, joint_score] * 17, "score": score}


def write_json(path, document):
    path.write_text(json.dumps(document))
    return path


def test_coco__image_ids_are_frames_and_people_stand_in_the_file_s_order(tmp_path):
    file = write_json(tmp_path / "left.json", [result(12, 1), result(10, 2), result(12, 3), result(13, 4)])
    found = views_from_coco(file)
    assert (found.names, found.frames) == (("left",), (10, 12, 13))
    assert found.keypoints.batch_shape == (1, 3, 2)
    assert found.keypoints.positions[0, :, 0, 0, 0].tolist() == [2, 1, 4]
    assert found.keypoints.positions[0, 1, 1, 0, 0] == 3
    assert found.keypoints.positions[0, 0, 1].isnan().all()
    assert found.keypoints.score[0, 0, :, 0].tolist() == [1, 0]


def test_coco__scores_of_people_where_joints_have_none(tmp_path):
    found = views_from_coco(write_json(tmp_path / "a.json", [result(1, 5, score=0.25, joint_score=0)]))
    assert found.keypoints.score.unique().tolist() == [0.25]


def test_coco__a_crowd_among_single_people_is_refused(tmp_path):
    crowd = [result(0, 1)] * 200 + [result(image, 1) for image in range(1, 200)]
    with pytest.raises(FormatError, match="200 people in one image, and 399 in 200 images"):
        views_from_coco(write_json(tmp_path / "a.json", crowd))


def test_coco_annotations__hidden_joints_count_and_sizes_are_kept(tmp_path):
    keypoints = [10, 20, 2, 30, 40, 1] + [0, 0, 0] * 15
    document = {
        "images": [{"id": 785, "file_name": "a.jpg", "width": 640, "height": 425}],
        "annotations": [{"id": 1, "image_id": 785, "category_id": 1, "keypoints": keypoints}],
    }
    found = views_from_coco_annotations(write_json(tmp_path / "a.json", document))
    assert (found.frames, found.sizes) == ((785,), ((640, 425),))
    assert found.keypoints.positions[0, 0, 0, 1].tolist() == [30, 40]
    assert found.keypoints.score[0, 0, 0, :3].tolist() == [1, 1, 0]


@pytest.mark.realdata
def test_coco_annotations__a_real_file_becomes_openpose(shared_data, tmp_path):
    done = convert(shared_data / "images" / "coco_annotations.json", tmp_path / "view", to_format="openpose")
    assert done.source == "coco-annotations"
    (file,) = (tmp_path / "view").iterdir()
    assert file.name == "view_000000000785_keypoints.json"
    source = json.loads((shared_data / "images" / "coco_annotations.json").read_text())
    theirs = np.reshape(source["annotations"][0]["keypoints"], (17, 3))
    ours = np.reshape(json.loads(file.read_text())["people"][0]["pose_keypoints_2d"], (17, 3))
    np.testing.assert_array_equal(ours[:, :2], theirs[:, :2])
