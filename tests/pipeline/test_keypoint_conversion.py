"""Keypoints of views from format to format, checked by their text."""

import json

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.io.npz import write_estimate_npz
from marey.pipeline.conversion import convert
from marey.pipeline.keypoint_conversion import keypoint_formats_of
from pipeline.recordings import recorded

CALISCOPE = """sync_index,port,frame_time,point_id,img_loc_x,img_loc_y
3,0,0.1,0,101.5,200.25
3,2,0.1,0,310.25,99.5
5,0,0.2,0,103.5,202.25
"""


def openpose(folder, frames):
    """One person in each frame, whose 17 joints all lie at (frame, 2)."""
    folder.mkdir(parents=True)
    for frame in frames:
        person = {"pose_keypoints_2d": [frame, 2, 0.5] * 17}
        (folder / f"v_{frame:012d}_keypoints.json").write_text(json.dumps({"people": [person]}))
    return folder


def test_openpose__becomes_coco_with_frame_numbers_as_image_ids(tmp_path):
    done = convert(openpose(tmp_path / "left", [7, 8, 9]), tmp_path / "a.json")
    assert (done.kind, done.source, done.target) == ("keypoints", "openpose", "coco")
    assert done.content == "17 keypoints of up to 1 people in 3 frames of left"
    entries = json.loads((tmp_path / "a.json").read_text())
    assert entries[1] == {"image_id": 8, "category_id": 1, "keypoints": [8.0, 2.0, 0.5] * 17, "score": 0.5}


def test_caliscope__views_become_folders_that_estimate_takes(tmp_path):
    (tmp_path / "xy_HOLISTIC.csv").write_text(CALISCOPE)
    done = convert(tmp_path / "xy_HOLISTIC.csv", tmp_path / "views", to_format="openpose")
    assert done.source == "caliscope-points"
    assert done.files == (tmp_path / "views" / "cam_0", tmp_path / "views" / "cam_2")
    names = sorted(file.name for file in (tmp_path / "views" / "cam_0").iterdir())
    assert names == [f"cam_0_{frame:012d}_keypoints.json" for frame in (3, 4, 5)]
    (person,) = json.loads((tmp_path / "views" / "cam_2" / "cam_2_000000000003_keypoints.json").read_text())["people"]
    assert person["pose_keypoints_2d"][:6] == [310.25, 99.5, 1.0, 0, 0, 0]
    empty = json.loads((tmp_path / "views" / "cam_0" / "cam_0_000000000004_keypoints.json").read_text())
    assert empty["people"] == []


def test_estimate__gives_its_keypoints(tmp_path):
    write_estimate_npz(tmp_path / "estimate.npz", recorded())
    with pytest.warns(UserWarning, match=r"one file a view: c_front\.json, c_side\.json"):
        done = convert(tmp_path / "estimate.npz", tmp_path / "c.json")
    assert (done.target, done.files) == ("coco", (tmp_path / "c_front.json", tmp_path / "c_side.json"))
    assert [entry["image_id"] for entry in json.loads((tmp_path / "c_side.json").read_text())] == [10, 11]
    convert(tmp_path / "estimate.npz", tmp_path / "two.npz", to_format="videopose2d")
    archive = np.load(tmp_path / "two.npz", allow_pickle=True)
    assert archive["positions_2d"].item()["side"]["custom"][0][0, 0].tolist() == [5, 5]
    with pytest.warns(UserWarning, match="one file a view"):
        convert(tmp_path / "estimate.npz", tmp_path / "h.npz", to_format="humandata")
    with np.load(tmp_path / "h_side.npz", allow_pickle=False) as archive:
        assert archive["keypoints3d_original"][0, 57].tolist() == [-2, 1, 7, 1]


def test_estimate__without_keypoints_or_cameras(tmp_path):
    write_estimate_npz(tmp_path / "estimate.npz", recorded(keypoints=None))
    for name in ("coco", "humandata", "openpose", "videopose2d"):
        with pytest.raises(InputError, match="there are no keypoints in images, only joints"):
            convert(tmp_path / "estimate.npz", tmp_path / "x", to_format=name)
    convert(tmp_path / "estimate.npz", tmp_path / "x.npz", to_format="videopose3d")
    assert np.load(tmp_path / "x.npz", allow_pickle=True)["positions_3d"].item()["person_0"]["recording"].shape == (
        3,
        17,
        3,
    )


def test_estimate__to_npz_keeps_everything(tmp_path):
    write_estimate_npz(tmp_path / "a.npz", recorded())
    convert(tmp_path / "a.npz", tmp_path / "b.npz")
    with np.load(tmp_path / "b.npz", allow_pickle=False) as archive:
        assert archive["keypoints"].shape == (2, 3, 1, 17, 2)
        assert archive["camera_names"].tolist() == ["front", "side"]


def test_human_data__of_keypoints_alone(tmp_path):
    convert(openpose(tmp_path / "left", [0, 1]), tmp_path / "h.npz", to_format="humandata")
    with np.load(tmp_path / "h.npz", allow_pickle=False) as archive:
        assert archive["image_path"].tolist() == ["left/000000", "left/000001"]
        assert archive["keypoints2d_original"][1, 55].tolist() == [1, 2, 0.5]
        assert "keypoints3d_original" not in archive.files


def test_keypoints__do_not_become_joints_and_it_is_said_what_does(tmp_path):
    file = openpose(tmp_path / "left", [0])
    with pytest.raises(InputError, match=r"keypoints cannot become 'trc'.*`marey estimate` makes joints of keypoints"):
        convert(file, tmp_path / "a.trc")


def test_openpose__image_ids_that_are_no_frames(tmp_path):
    entry = {"category_id": 1, "keypoints": [1, 2, 1] * 17, "score": 1}
    (tmp_path / "a.json").write_text(json.dumps([entry | {"image_id": number} for number in (900_000, 3, 4)]))
    convert(tmp_path / "a.json", tmp_path / "v", to_format="openpose")
    names = sorted(file.name for file in (tmp_path / "v").iterdir())
    assert names == [f"v_{number:012d}_keypoints.json" for number in (3, 4, 900_000)]
    (tmp_path / "a.json").write_text(json.dumps([entry | {"image_id": -1}]))
    with pytest.raises(InputError, match="negative image ids"):
        convert(tmp_path / "a.json", tmp_path / "w", to_format="openpose")


@pytest.mark.parametrize(
    ("name", "text", "formats"),
    [
        ("a.json", '[{"image_id": 1, "keypoints": []}]', ["coco"]),
        ("a.json", " [ ] ", ["coco"]),
        ("a.json", "[1, 2]", []),
        ("a.json", '{"info": {}, "images": []}', ["coco-annotations"]),
        ("a.json", '{"cameras": []}', []),
        ("a.csv", "sync_index,port\n", ["caliscope-points"]),
        ("a.csv", "frame,time\n", []),
        ("a.txt", "sync_index,port\n", []),
        ("a.npz", "no archive", []),
    ],
)
def test_keypoint_formats_of__content(tmp_path, name, text, formats):
    (tmp_path / name).write_text(text)
    assert keypoint_formats_of(tmp_path / name) == formats
    assert keypoint_formats_of(tmp_path / "absent.json") == []


def test_convert__coco_that_is_none(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(FormatError, match="not COCO results"):
        convert(tmp_path / "a.json", tmp_path / "b.json", from_format="coco")
