import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, MareyError, Skeleton, skeleton
from marey.io.openpose import MAX_PEOPLE, read_openpose_folder


def person(points):
    return {"person_id": [-1], "pose_keypoints_2d": np.asarray(points, float).ravel().tolist(), "face_keypoints_2d": []}


def frame(*people):
    return json.dumps({"version": 1.3, "people": [person(points) for points in people]})


def points(count, seed=0):
    random = np.random.default_rng(seed)
    return np.concatenate([random.uniform(10, 500, (count, 2)), random.uniform(0.1, 1, (count, 1))], 1)


def standing(name):
    """A frontal stick figure with the joints of a skeleton where a body has them."""
    place = {
        "nose": (100, 40), "left_eye": (104, 36), "right_eye": (96, 36), "left_ear": (110, 40), "right_ear": (90, 40),
        "neck": (100, 60), "head_top": (100, 15), "left_shoulder": (120, 60), "right_shoulder": (80, 60),
        "left_elbow": (130, 95), "right_elbow": (70, 95), "left_wrist": (135, 130), "right_wrist": (65, 130),
        "pelvis": (100, 130), "left_hip": (110, 130), "right_hip": (90, 130), "left_knee": (112, 180),
        "right_knee": (88, 180), "left_ankle": (112, 230), "right_ankle": (88, 230), "left_big_toe": (116, 240),
        "right_big_toe": (84, 240), "left_small_toe": (120, 240), "right_small_toe": (80, 240),
        "left_heel": (110, 236), "right_heel": (90, 236),
    }  # fmt: skip
    return np.array([(*place[joint], 0.9) for joint in skeleton(name).joints])


def test_read__people_missing_joints_and_gap(tmp_path):
    two, one = points(17, 1), points(17, 2)
    two[3] = 0
    (tmp_path / "walk_000000000005_keypoints.json").write_text(frame(one, two))
    (tmp_path / "walk_000000000007_keypoints.json").write_text(frame(one))
    (tmp_path / "walk_000000000008_keypoints.json").write_text(frame())
    (tmp_path / "annotations.json").write_text("{}")
    found = read_openpose_folder(tmp_path)
    assert found.skeleton.name == "coco_17"
    assert found.frame_numbers.tolist() == [5, 6, 7, 8]
    assert found.positions.shape == (4, 2, 17, 2)
    assert found.positions.dtype == np.float32
    np.testing.assert_allclose(found.positions[0, 0], one[:, :2], rtol=1e-6)
    np.testing.assert_allclose(found.score[2, 0], one[:, 2], rtol=1e-6)
    assert np.isnan(found.positions[0, 1, 3]).all()
    assert found.score[0, 1, 3] == 0
    assert np.isnan(found.positions[[1, 3]]).all()
    assert not found.score[[1, 3]].any()


def test_read__scores_beyond_one_negative_and_not_finite(tmp_path):
    values = points(17)
    values[0, 2], values[1, 2], values[2, 0], values[4, 2] = 1.7, -1, np.nan, 0
    (tmp_path / "1.json").write_text(frame(values))
    found = read_openpose_folder(tmp_path)
    assert found.score[0, 0, [0, 1, 2, 4]].tolist() == [1, 0, 0, 0]
    assert np.isnan(found.positions[0, 0, [1, 2, 4]]).all()


def test_read__corrupt_file_is_a_gap_and_named(tmp_path):
    for number in range(6):
        (tmp_path / f"cam.{number:03}.json").write_text(frame(points(17)))
    (tmp_path / "cam.002.json").write_text(frame(points(17))[:40])
    (tmp_path / "cam.003.json").write_text(frame(points(18)))
    with pytest.warns(UserWarning, match=r"cam\.002\.json .*cam\.003\.json \(18 joints where the others have 17\)"):
        found = read_openpose_folder(tmp_path)
    assert np.isnan(found.positions[2:4]).all()
    assert np.isfinite(found.positions[[0, 1, 4, 5]]).all()
    assert any("2 of 6 files are broken" in note for note in found.notes)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"people": 3}', '{"people": [3]}', '{"people": [{"pose_keypoints_2d": [1, 2]}]}', "[" * 100_000,
     '{"people": [{"pose_keypoints_2d": ["a", 2, 3]}]}', '{"people": [{"pose_keypoints_2d": {"a": 1}}]}'],
)  # fmt: skip
def test_read__all_corrupt_is_a_format_error(tmp_path, content):
    (tmp_path / "1.json").write_text(content)
    with pytest.raises(FormatError, match=r"1\.json.*none of the files can be read"):
        read_openpose_folder(tmp_path)


def test_read__crowd_beyond_the_limit_is_a_broken_file(tmp_path):
    (tmp_path / "1.json").write_text(frame(*[points(17)] * (MAX_PEOPLE + 1)))
    with pytest.raises(FormatError, match=f"{MAX_PEOPLE + 1} people"):
        read_openpose_folder(tmp_path)


@pytest.mark.parametrize("name", ["body_25", "body_25b"])
def test_read__tells_body_25_from_body_25b(tmp_path, name):
    (tmp_path / "1.json").write_text(frame(standing(name)))
    found = read_openpose_folder(tmp_path)
    assert found.skeleton.name == name
    assert f"told to be {name}" in found.notes[-1]


def test_read__25_joints_never_seen_together_is_assumed_with_a_note(tmp_path):
    values = np.zeros((25, 3))
    values[3] = 100, 100, 1
    (tmp_path / "1.json").write_text(frame(values))
    found = read_openpose_folder(tmp_path)
    assert found.skeleton.name == "body_25"
    assert "taken for body_25" in found.notes[-1]


@pytest.mark.parametrize(("count", "name"), [(18, "coco_18"), (26, "halpe_26"), (33, "mediapipe_33")])
def test_read__joint_count_names_the_skeleton(tmp_path, count, name):
    (tmp_path / "1.json").write_text(frame(points(count)))
    assert read_openpose_folder(tmp_path).skeleton.name == name


def test_read__skeleton_argument_by_name_and_by_value(tmp_path):
    (tmp_path / "1.json").write_text(frame(points(25)))
    assert read_openpose_folder(tmp_path, skeleton="body_25b").skeleton.name == "body_25b"
    own = Skeleton("own", tuple(f"joint_{place}" for place in range(25)), ())
    assert read_openpose_folder(tmp_path, skeleton=own).skeleton is own
    with pytest.raises(FormatError, match="25 joints, but skeleton coco_17 has 17"):
        read_openpose_folder(tmp_path, skeleton="coco_17")


def test_read__unknown_joint_count_asks_for_the_skeleton(tmp_path):
    (tmp_path / "1.json").write_text(frame(points(7)))
    with pytest.raises(FormatError, match=r"7 joints, known are .* pass skeleton="):
        read_openpose_folder(tmp_path)


def test_read__nobody_anywhere_has_no_slots(tmp_path):
    (tmp_path / "1.json").write_text(frame())
    found = read_openpose_folder(tmp_path, skeleton="coco_17")
    assert found.positions.shape == (1, 0, 17, 2)
    assert read_openpose_folder(tmp_path).positions.shape[1] == 0


def test_read__time_stamps_for_names_are_taken_in_order(tmp_path):
    for stamp in (1684923847293, 1684923857293, 1684923867293):
        (tmp_path / f"{stamp}.json").write_text(frame(points(17)))
    found = read_openpose_folder(tmp_path)
    assert found.frame_numbers.tolist() == [0, 1, 2]
    assert "natural order" in found.notes[0]


def test_read__two_cameras_in_one_folder(tmp_path):
    (tmp_path / "left_0001.json").write_text(frame(points(17)))
    (tmp_path / "right_0001.json").write_text(frame(points(17)))
    with pytest.raises(FormatError, match=r"frame 1 is there twice \(left_0001\.json, right_0001\.json\)"):
        read_openpose_folder(tmp_path)


def test_read__no_folder_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"no \.json file"):
        read_openpose_folder(tmp_path)
    with pytest.raises(InputError, match="cannot read the folder"):
        read_openpose_folder(tmp_path / "absent")


VALID = frame(points(17), points(17, 1)).encode()


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=40), st.integers(0, len(VALID)), st.integers(0, 200))
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    folder = tmp_path_factory.mktemp("json")
    (folder / "0.json").write_bytes(VALID[:place] + junk + VALID[place + cut :])
    try:
        found = read_openpose_folder(folder, skeleton="coco_17")
    except MareyError:
        return
    assert np.isfinite(found.positions[found.score > 0]).all()
    assert np.isnan(found.positions[found.score == 0]).all()


@pytest.mark.realdata
@pytest.mark.parametrize(("trial", "frames"), [("static", 12), ("balancing", 50)])
def test_read__real_recording_is_body_25b(shared_data, trial, frames):
    for view in (1, 2, 3, 4):
        found = read_openpose_folder(shared_data / "pose2sim_demo" / trial / "pose" / f"cam0{view}_json")
        assert found.skeleton.name == "body_25b"
        assert found.frame_numbers.tolist() == list(range(frames))
        nose = found.positions[:, 0, found.skeleton.index("nose"), 1]
        toe = found.positions[:, 0, found.skeleton.index("left_big_toe"), 1]
        assert np.nanmedian(nose) < np.nanmedian(toe)
