"""CMU Panoptic: a miniature of two sequences, written from the words of its documentation, prepared whole."""

import json

import cv2
import numpy as np
import pytest

from data.prepare.h36m_files import write_jpeg, write_video
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.cmu import CMUOptions, read_published_cmu_labels
from marey.data.prepare.cmu_files import read_detections, read_people
from marey.data.prepare.cmu_sequences import FRAMES, camera_id, frames_in
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source

SIZE = (96, 64)
FIRST, SECOND = "171204_pose2", "171204_pose5"
OPTIONS = CMUOptions(train_sequences=(FIRST,), validation_sequences=(SECOND,))
FAR = 37699
"""Of the last frames of 171204_pose2: beyond 16 bits."""


def camera(name, kind="hd", along=0.0):
    """Looks along the dome's z from 3 m before its middle; focal length 60, centimetres."""
    return {
        "name": name,
        "type": kind,
        "resolution": list(SIZE),
        "panel": int(name[:2]),
        "node": int(name[3:]),
        "K": [[60, 0, 48], [0, 60, 32], [0, 0, 1]],
        "distCoef": [0, 0, 0, 0, 0],
        "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "t": [[-along], [0], [300]],
    }


def body(number, x, confidence=0.9, **changed):
    """19 joints around (x, 0, 0) cm: joint j at (x + j, -10 j, 0)."""
    values = [[x + joint, -10.0 * joint, 0.0, changed.get(f"joint{joint}", confidence)] for joint in range(19)]
    return {"id": number, "joints19": [value for joint in values for value in joint]}


def write_pose(root, sequence, frame, *bodies):
    path = root / sequence / "hdPose3d_stage1_coco19" / f"body3DScene_{frame:08d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"version": 0.7, "univTime": 1.5, "fpsType": "hd_29_97", "bodies": list(bodies)}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_calibration(root, sequence, *cameras):
    path = root / sequence / f"calibration_{sequence}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"calibDataSource": "x", "cameras": list(cameras)}), encoding="utf-8")


def image_of(root, sequence, name, frame):
    return root / sequence / "hdImgs" / name / f"{name}_{frame:08d}.jpg"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "cmu"
    # the first sequence lists its cameras in another order than the second, and has one that the second lacks
    write_calibration(
        root,
        FIRST,
        camera("00_24", along=40),
        camera("50_01", "kinect-color"),
        camera("00_03"),
        camera("00_10", along=-40),
    )
    write_calibration(root, SECOND, camera("00_03", along=5), camera("00_24", along=45), camera("01_01", "vga"))
    write_pose(root, FIRST, 349, body(0, 0))  # before the first listed frame
    write_pose(root, FIRST, 350, body(0, 0), body(4, 60))
    write_pose(root, FIRST, 351)
    write_pose(root, FIRST, FAR, body(4, 20, joint5=0.0, joint6=-1.0))
    write_pose(root, SECOND, 400, body(0, 0))
    for name in ("00_03", "00_10", "00_24"):
        for frame in (349, 350, 351, FAR):
            write_jpeg(image_of(root, FIRST, name, frame), np.full((64, 96), 90, dtype=np.uint8))
    for name in ("00_03", "00_24"):
        write_jpeg(image_of(root, SECOND, name, 400), np.full((64, 96), 90, dtype=np.uint8))
    return root


def prepared(root, out, options=OPTIONS, **arguments):
    return prepare_data_set(data_source("cmu"), root, out, options, show=False, **arguments)


def test_cmu__everybody_in_every_frame(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    assert labels.skeleton.name == "panoptic_19"
    keys = set(
        zip(
            labels.images.sequence[labels.image].tolist(),
            labels.images.frame[labels.image].tolist(),
            labels.person.tolist(),
            labels.camera_names()[labels.image].tolist(),
            strict=True,
        )
    )
    first = {
        (FIRST, *moment, name) for moment in ((350, 0), (350, 4), (FAR, 4)) for name in ("00_03", "00_10", "00_24")
    }
    assert keys == first | {(SECOND, 400, 0, name) for name in ("00_03", "00_24")}
    assert set(labels.split[labels.images.sequence == FIRST]) == {"train"}
    assert set(labels.split[labels.images.sequence == SECOND]) == {"validation"}
    assert len(labels.images) == 3 + 3 + 3 + 2  # two people at one moment share their images; nobody is in 351
    empty = np.flatnonzero(labels.images.frame == 351)
    assert len(empty) == 3
    assert not np.isin(labels.image, empty).any()


def test_cmu__metres_order_and_confidence(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    row = int(np.flatnonzero(labels.images.frame[labels.image] == FAR)[0])
    joints = labels.values["joints"][row]
    assert joints[0] == pytest.approx([0.2, 0, 0])
    left_eye, left_ear = labels.skeleton.index("left_eye"), labels.skeleton.index("left_ear")
    assert joints[left_eye] == pytest.approx([0.35, -1.5, 0])  # 15 and 16 are the left side, officially
    assert joints[left_ear] == pytest.approx([0.36, -1.6, 0])
    assert np.isnan(joints[[5, 6]]).all()
    assert np.isfinite(joints[[0, 1, 2, 3, 4, *range(7, 19)]]).all()
    strict = prepared(root, tmp_path / "strict", CMUOptions(**{**vars(OPTIONS), "least_confidence": 0.95}))
    assert len(strict) == 0


def test_cmu__cameras_by_name_whatever_their_order(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    along = {("171204_pose2", "00_03"): 0.0, ("171204_pose2", "00_10"): -0.4, ("171204_pose2", "00_24"): 0.4}
    along |= {("171204_pose5", "00_03"): 0.05, ("171204_pose5", "00_24"): 0.45}
    names = zip(labels.images.sequence.tolist(), labels.camera_names().tolist(), strict=True)
    for image, key in enumerate(names):
        place = labels.cameras[int(labels.images.camera[image])].centers.tolist()
        assert place == pytest.approx([along[key], 0, -3])
        sequence, name = key
        path = f"../cmu/{sequence}/hdImgs/{name}/{name}_{labels.images.frame[image]:08d}.jpg"
        assert labels.images.path[image] == path
        assert (tmp_path / "out" / path).resolve().is_file()
    assert labels.by_moment().shape == (4, 3)
    assert (labels.by_moment() >= 0).sum(-1).tolist() == [3, 3, 3, 2]


def test_cmu__boxes_around_the_joints_that_are_known(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    names = labels.camera_names()[labels.image]
    row = int(np.flatnonzero((labels.images.frame[labels.image] == 350) & (labels.person == 4) & (names == "00_03"))[0])
    # x 60..78 cm, y -180..0, 3 m away: pixels 60..63.6 and -4..32; a fifth larger about the middle
    assert labels.values["box"][row] == pytest.approx([59.64, -7.6, 4.32, 43.2], abs=1e-4)


def test_cmu__chosen_and_ignored_cameras(root, tmp_path):
    chosen = prepared(root, tmp_path / "a", CMUOptions(**{**vars(OPTIONS), "cameras": (3, 24)}))
    assert set(chosen.camera_names()) == {"00_03", "00_24"}
    ignored = prepared(root, tmp_path / "b", CMUOptions(**{**vars(OPTIONS), "ignored_cameras": (3, 10)}))
    assert set(ignored.camera_names()) == {"00_24"}
    with pytest.raises(InputError, match=r"none of .* is left; it has 00_03, 00_10, 00_24"):
        prepared(root, tmp_path / "c", CMUOptions(**{**vars(OPTIONS), "cameras": (7,)}))


def test_cmu__all_frames_and_steps(root, tmp_path):
    everything = prepared(root, tmp_path / "a", CMUOptions(**{**vars(OPTIONS), "frames": "all"}))
    assert np.unique(everything.images.frame).tolist() == [349, 350, 351, 400, FAR]
    thinned = prepared(root, tmp_path / "b", CMUOptions(**{**vars(OPTIONS), "frames": "all", "step": 3}))
    assert np.unique(thinned.images.frame).tolist() == [349, 400, FAR]


def test_cmu__images_from_videos(root, tmp_path):
    for picture in (root / SECOND / "hdImgs").rglob("*.jpg"):
        picture.unlink()
    for frame in (2, 4, 6):
        write_pose(root, SECOND, frame, body(0, 0))
    for name in ("00_03", "00_24"):
        write_video(root / SECOND / "hdVideos" / f"hd_{name}.mp4", [0, 40, 80, 120, 160, 200], SIZE)
    options = CMUOptions(train_sequences=(), validation_sequences=(SECOND,), frames="all")
    labels = prepared(root, tmp_path / "out", options, workers=2)
    assert np.unique(labels.images.frame).tolist() == [2, 4]  # 6 and 400 are beyond the end
    path = "images/171204_pose5/hdImgs/00_24/00_24_00000004.jpg"
    assert path in labels.images.path.tolist()
    assert abs(cv2.imread(str(tmp_path / "out" / path)).astype(float).mean() - 160) < 6
    notes = json.loads((tmp_path / "out/card.json").read_text(encoding="utf-8"))["notes"]
    assert "171204_pose5: camera 00_03 has no image for 2 of 4 rows" in notes


def test_cmu__detected_boxes_go_to_whom_they_lie_on(root, tmp_path):
    rows = {name: [[] for _ in range(401)] for name in ("00_03", "00_10", "00_24")}
    # around the person at x = 60 cm; the one at 0 is not found, and a stranger far away is
    rows["00_03"][350] = [[59, -8, 65, 34, 0.9], [0, 0, 5, 5, 0.8]]
    rows["00_24"][400] = [36, -10, 48, 36, 0.7]  # one box without a list around it, as the fork stores it
    for sequence, names in ((FIRST, ("00_03", "00_10", "00_24")), (SECOND, ("00_03", "00_24"))):
        for name in names:
            path = root / sequence / "detections" / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(rows[name]), encoding="utf-8")
    labels = prepared(root, tmp_path / "out", CMUOptions(**{**vars(OPTIONS), "boxes": "detections"}))
    names, frames = labels.camera_names()[labels.image], labels.images.frame[labels.image]

    def box(frame, person, name):
        row = np.flatnonzero((frames == frame) & (labels.person == person) & (names == name))
        return labels.values["box"][int(row[0])].tolist()

    assert box(350, 4, "00_03") == [59, -8, 6, 42]
    assert box(350, 0, "00_03") == pytest.approx([47.64, -7.6, 4.32, 43.2], abs=1e-4)
    assert box(400, 0, "00_24") == [36, -10, 12, 46]


def test_cmu__camera_without_images_is_noted(root, tmp_path):
    for frame in (349, 350, 351, FAR):
        image_of(root, FIRST, "00_10", frame).unlink()
    labels = prepared(root, tmp_path / "out")
    assert set(labels.camera_names()) == {"00_03", "00_24"}
    notes = json.loads((tmp_path / "out/card.json").read_text(encoding="utf-8"))["notes"]
    assert "171204_pose2: camera 00_10 has no image for 4 of 4 rows" in notes


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (f"{FIRST}/calibration_{FIRST}.json", "the calibration of CMU Panoptic.*domedb.*non-commercial"),
        (f"{SECOND}/hdPose3d_stage1_coco19", "folder of poses of 171204_pose5"),
        (f"{SECOND}/hdImgs", "no image of a frame with poses"),
        (SECOND, "sequence 171204_pose5 of CMU Panoptic"),
    ],
)
def test_cmu__missing_file_is_named(root, tmp_path, absent, message):
    (root / absent).rename(root / "elsewhere")
    with pytest.raises(MissingAssetError, match=message):
        prepared(root, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file, or cut off"),
        ("[]", "no list of objects under 'bodies'"),
        ('{"bodies": [{"id": 0, "joints19": [1, 2]}]}', "expected 76 finite numbers"),
        ('{"bodies": [{"id": "0", "joints19": []}]}', "a body with the id '0'"),
        ('{"bodies": [{"id": -1}]}', "a body with the id -1"),
        ('{"bodies": [{"id": 0}]}', "no list of numbers"),
        (json.dumps({"bodies": [body(1, 0), body(1, 5)]}), r"the ids \[1, 1\] repeat"),
        (json.dumps({"bodies": [body(1, float("nan"))]}), "expected 76 finite numbers"),
    ],
)
def test_people__damaged_files(tmp_path, text, message):
    (tmp_path / "body3DScene_00000001.json").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_people(tmp_path / "body3DScene_00000001.json")


@pytest.mark.parametrize("text", ["{}", "[[1, 2, 3]]", "[[[1, 2, 3, 4, 5], [1]]]", '[["a", "b", "c", "d", "e"]]', "["])
def test_detections__damaged_files(tmp_path, text):
    (tmp_path / "00_03.json").write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=r"00_03\.json"):
        read_detections(tmp_path / "00_03.json")


def test_cmu__interrupted_and_gone_on_with(root, tmp_path):
    path = write_pose(root, SECOND, 400, body(0, 0))
    text = path.read_text(encoding="utf-8")
    path.write_text(text[:50], encoding="utf-8")
    with pytest.raises(FormatError, match="body3DScene_00000400"):
        prepared(root, tmp_path / "out")
    parts = {part: part.stat().st_mtime_ns for part in (tmp_path / "out" / "parts").glob("*.npz")}
    assert len(parts) == 1
    path.write_text(text, encoding="utf-8")
    again = prepared(root, tmp_path / "out")
    assert len(again) == 11
    prepared(root, tmp_path / "whole", workers=3)
    assert (tmp_path / "out/labels.npz").read_bytes() == (tmp_path / "whole/labels.npz").read_bytes()


def test_lists__are_those_of_the_specification():
    assert sum(end - start for ranges in FRAMES.values() for start, end in ranges) == 166_820
    assert frames_in(((2, 4), (6, 7)), np.arange(8)).tolist() == [False, False, True, True, False, False, True, False]
    assert frames_in((), np.arange(3)).all()
    assert [camera_id(name) for name in ("00_00", "00_24", "01_01", "vga")] == [0, 24, 101, -1]


def test_published__labels_of_the_fork(tmp_path):
    row = np.dtype(
        [
            ("action_idx", "i1"),
            ("person_id", "i1"),
            ("frame_name", "i2"),
            ("keypoints", "f4", (19, 4)),
            ("bbox_by_camera_tlbr", "i2", (2, 5)),
        ]
    )
    table = np.zeros(2, dtype=row)
    table["action_idx"], table["frame_name"] = [0, 1], [350, 400]
    table["keypoints"] = 1
    table["bbox_by_camera_tlbr"] = [10, 20, 40, 80, 1]
    cameras = np.zeros((2, 2), dtype=[("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    names = {"camera_names": ["00_03", "00_24"], "action_names": [FIRST, SECOND], "person_ids": [0]}
    np.save(tmp_path / "labels.npy", {**names, "cameras": cameras, "table": table})
    labels = read_published_cmu_labels(tmp_path / "labels.npy", images="../cmu")
    assert labels.images.path[3] == "../cmu/171204_pose5/hdImgs/00_24/00_24_00000400.jpg"
    assert labels.split.tolist() == ["train", "train", "validation", "validation"]
    assert labels.values["box"][0].tolist() == [10, 20, 30, 60]
    assert labels.values["joints"][0, 0] == pytest.approx([0.01, 0.01, 0.01])
    lists = {"test": {FIRST: ((300, 351),)}}
    listed = read_published_cmu_labels(tmp_path / "labels.npy", frames=lists)
    assert listed.images.frame.tolist() == [350, 350]
    assert set(listed.split) == {"test"}


def test_options__that_make_no_sense():
    with pytest.raises(InputError, match="expected each once"):
        CMUOptions(test_sequences=("171204_pose5",))
    with pytest.raises(InputError, match="step"):
        CMUOptions(step=0)


def test_cmu__frames_of_a_list_of_ones_own(root, tmp_path):
    """Ranges end before their second number: of the first sequence 349 stays; the second is not listed, and whole."""
    path = tmp_path / "frames.yaml"
    path.write_text(f"train:\n  - {FIRST}:\n    - [300, 350]\n", encoding="utf-8")
    labels = prepared(root, tmp_path / "out", CMUOptions(**{**vars(OPTIONS), "frames_file": str(path)}))
    images = set(zip(labels.images.sequence.tolist(), labels.images.frame.tolist(), strict=True))
    assert images == {(FIRST, 349), (SECOND, 400)}
    assert labels.version.startswith("frames of frames.yaml, step 1")
    with pytest.raises(InputError, match="frames_file"):
        CMUOptions(frames="all", frames_file=str(path))
