"""Two cameras face each other 4 m apart; people stand between them, so that every pixel can be worked out by hand.

The left camera sits in the world's origin and looks along z; the right one, at (0, 0, 4), looks back. Both have a focal
length of 100 and the centre (50, 40): a point (x, y, 2) is at (50 + 50 x, 40 + 50 y) on the left, and at
(50 - 50 x, 40 + 50 y) on the right.
"""

import json

import cv2
import numpy as np
import pytest

from marey.core import CalibrationError, FormatError, InputError
from marey.data.folder import SOURCE, FolderOptions, read_splits
from marey.data.folder_axes import from_y_up
from marey.data.prepare.run import prepare_data_set
from marey.io.video import write_video

CALIBRATION = """
[left]
name = "left"
size = [ 100.0, 80.0]
matrix = [ [ 100.0, 0.0, 50.0], [ 0.0, 100.0, 40.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.0, 0.0, 0.0, 0.0]
rotation = [ 0.0, 0.0, 0.0]
translation = [ 0.0, 0.0, 0.0]

[right]
name = "right"
size = [ 100.0, 80.0]
matrix = [ [ 100.0, 0.0, 50.0], [ 0.0, 100.0, 40.0], [ 0.0, 0.0, 1.0]]
distortions = [ 0.0, 0.0, 0.0, 0.0]
rotation = [ 0.0, 3.141592653589793, 0.0]
translation = [ 0.0, 0.0, 4.0]
"""
TABLE = "frame,time,person,joint,x,y,z,sd_x,sd_y,sd_z,score,filled\n"
LABELS = (
    TABLE
    + "0,,0,pelvis,0.2,0,2,,,,1,0\n0,,0,head_top,0.2,-0.5,2,,,,1,0\n"
    + "0,,1,pelvis,-0.4,0.1,2,,,,1,0\n0,,1,head_top,-0.4,-0.3,2,,,,1,0\n"
    + "2,,0,pelvis,0.1,0,2,,,,1,0\n"
)


def write_images(folder, count=3):
    folder.mkdir(parents=True)
    for frame in range(count):
        cv2.imwrite(str(folder / f"{frame:03d}.png"), np.full((80, 100, 3), 40 * frame, np.uint8))


def recording(folder, *, views=True, calibration=True, labels=True):
    folder.mkdir(parents=True, exist_ok=True)
    if views:
        for name in ("left", "right"):
            write_images(folder / "views" / name)
    if calibration:
        (folder / "calibration.toml").write_text(CALIBRATION)
    if labels:
        (folder / "labels.csv").write_text(LABELS)
    return folder


def openpose(folder, frames):
    """People of each frame as lists of (x, y) of coco_18 joints by index; the file lists x, y, score of all 18."""
    folder.mkdir(parents=True)
    for frame, people in enumerate(frames):
        rows = []
        for person in people:
            flat = [0.0] * 54
            for joint, (x, y) in person.items():
                flat[3 * joint : 3 * joint + 3] = [float(x), float(y), 0.9]
            rows.append({"pose_keypoints_2d": flat})
        (folder / f"{folder.name}_{frame:012d}_keypoints.json").write_text(json.dumps({"people": rows}))


def prepared(path, **options):
    return prepare_data_set(SOURCE, path, path.parent / "out", FolderOptions(**options), again=True, show=False)


def notes(path):
    return json.loads((path.parent / "out" / "card.json").read_text("utf-8"))["notes"]


def test_prepare__views_calibration_and_joints(tmp_path):
    labels = prepared(recording(tmp_path / "walk"))
    assert labels.name == "walk"
    assert labels.images.path.tolist() == [
        f"../walk/views/{view}/{frame:03d}.png" for frame in range(3) for view in ("left", "right")
    ]
    assert labels.images.frame.tolist() == [0, 0, 1, 1, 2, 2]
    assert labels.images.size.tolist() == [[100, 80]] * 6
    assert labels.split.tolist() == ["train"] * 6
    assert labels.cameras.names == ("left", "right")
    assert labels.skeleton.joints == ("pelvis", "head_top")
    # rows: view by view; person 1 is unknown at frame 2
    assert labels.by_moment().tolist() == [[0, 3], [1, 4], [2, 5]]
    assert labels.person.tolist() == [0, 1, 0, 0, 1, 0]
    assert labels.images.frame[labels.image].tolist() == [0, 0, 2, 0, 0, 2]
    keypoints = labels.values["keypoints"]
    np.testing.assert_allclose(keypoints[0], [[60, 40], [60, 15]], atol=1e-4)
    np.testing.assert_allclose(keypoints[3], [[40, 40], [40, 15]], atol=1e-4)
    np.testing.assert_allclose(keypoints[4], [[70, 45], [70, 25]], atol=1e-4)
    assert np.isnan(keypoints[2, 1]).all()
    # the joints of person 1 span 0 x 20 pixels from (30, 25) on the left; 1.25 times that
    np.testing.assert_allclose(labels.values["box"][1], [30, 22.5, 0, 25], atol=1e-4)
    assert any("no keypoints" in note for note in notes(tmp_path / "walk"))


def test_prepare__a_second_run_sees_what_has_changed(tmp_path):
    folder = recording(tmp_path / "walk", calibration=False)
    labels = prepared(folder)
    assert labels.cameras is None
    assert labels.images.camera.tolist() == [-1] * 6
    assert "keypoints" not in labels.values
    assert any("no calibration" in note for note in notes(folder))
    (folder / "calibration.toml").write_text(CALIBRATION)
    assert prepared(folder).cameras is not None
    assert not any("no calibration" in note for note in notes(folder))


def test_prepare__several_recordings_share_a_calibration_and_are_split(tmp_path):
    root = tmp_path / "set"
    for name in ("run", "walk 2", "walk 10"):
        recording(root / name, calibration=False)
    (root / "calibration.toml").write_text(CALIBRATION)
    (root / "splits.toml").write_text('validation = ["walk 2"]\ntest = ["run"]\n')
    labels = prepared(root, step=2)
    assert np.unique(labels.images.sequence).tolist() == ["run", "walk 10", "walk 2"]
    assert labels.of_split("test").images.sequence.tolist() == ["run"] * 4
    assert labels.of_split("validation").images.frame.tolist() == [0, 0, 2, 2]
    assert labels.of_split("train").images.sequence.tolist() == ["walk 10"] * 4
    assert labels.by_moment().shape == (9, 2)


def test_prepare__keypoints_go_to_the_nearest_person(tmp_path):
    folder = recording(tmp_path / "walk")
    (folder / "labels.csv").write_text(LABELS.replace("pelvis", "nose").replace("head_top", "neck"))
    # slot 0 is person 1 on the left, slot 1 person 0; on the right a stranger far away stands first
    openpose(folder / "keypoints" / "left", [[{0: (31, 45), 1: (30, 26)}, {0: (61, 41), 1: (60, 15)}], [], []])
    openpose(folder / "keypoints" / "right", [[{0: (2, 79), 1: (2, 70)}, {0: (41, 41)}, {0: (69, 44)}], [], []])
    labels = prepared(folder)
    keypoints = labels.values["keypoints"]
    np.testing.assert_allclose(keypoints[0], [[61, 41], [60, 15]], atol=1e-4)
    np.testing.assert_allclose(keypoints[1], [[31, 45], [30, 26]], atol=1e-4)
    np.testing.assert_allclose(keypoints[3], [[41, 41], [40, 15]], atol=1e-4)  # its neck is projected
    np.testing.assert_allclose(keypoints[4, 0], [69, 44], atol=1e-4)
    assert any("nearest" in note for note in notes(folder))


def test_prepare__keypoints_alone_number_people_in_each_view(tmp_path):
    folder = recording(tmp_path / "walk", views=False, labels=False)
    openpose(folder / "keypoints" / "left", [[{0: (31, 45)}, {0: (61, 41)}], [{0: (32, 45)}]])
    openpose(folder / "keypoints" / "right", [[{0: (41, 41)}], [{0: (42, 41)}]])
    labels = prepared(folder)
    assert labels.images.path.tolist() == [""] * 4
    assert labels.images.size.tolist() == [[100, 80]] * 4
    assert labels.person.tolist() == [0, 1, 0, 2, 2]
    assert labels.skeleton.name == "coco_18"
    assert "joints" not in labels.values
    assert any("in each view apart" in note for note in notes(folder))


def test_prepare__one_person_alone_is_the_same_in_all_views(tmp_path):
    folder = recording(tmp_path / "walk", views=False, labels=False)
    for name in ("left", "right"):
        openpose(folder / "keypoints" / name, [[{0: (31, 45)}], [], [{0: (41, 41)}]])
    assert prepared(folder).by_moment().tolist() == [[0, 2], [1, 3]]


def test_prepare__coco_annotations_name_their_images(tmp_path):
    folder = recording(tmp_path / "walk", labels=False)
    flat = [0] * 51
    flat[:3] = [33, 22, 2]
    document = {
        "images": [{"id": 5, "file_name": "002.png", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 1, "keypoints": flat, "bbox": [0, 0, 9, 9]}],
    }
    (folder / "keypoints").mkdir()
    (folder / "keypoints" / "right.json").write_text(json.dumps(document))
    labels = prepared(folder)
    assert labels.images.path[labels.image].tolist() == ["../walk/views/right/002.png"]
    assert labels.values["keypoints"][0, 0].tolist() == [33, 22]
    document["images"][0]["file_name"] = "009.png"
    (folder / "keypoints" / "right.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match=r"image '009\.png' is none of the 3 frames of its view"):
        prepared(folder)
    (folder / "keypoints" / "right.json").rename(folder / "keypoints" / "top.json")
    with pytest.raises(InputError, match=r"top\.json has the name of no view; they are: left, right"):
        prepared(folder)


def test_prepare__frames_of_videos_are_written_when_asked_for(tmp_path):
    folder = recording(tmp_path / "walk", views=False)
    (folder / "views").mkdir()
    for name in ("left", "right"):
        pictures = [np.full((80, 100, 3), 60 * frame, np.uint8) for frame in range(4)]
        write_video(folder / "views" / f"{name}.mp4", pictures, fps=10)
    assert set(prepared(folder, step=2).images.path.tolist()) == {""}
    assert any("left.mp4 were not written" in note for note in notes(folder))
    with pytest.raises(InputError, match="pass --fresh"):
        prepared(folder, step=2, images=True)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    labels = prepared(folder, step=2, images=True)
    assert labels.images.path.tolist() == [
        f"images/walk/{view}/{frame:06d}.jpg" for frame in (0, 2) for view in ("left", "right")
    ]
    assert sorted(path.name for path in (tmp_path / "out/images/walk/left").iterdir()) == ["000000.jpg", "000002.jpg"]
    picture = cv2.imread(str(tmp_path / "out" / labels.images.path[3]))
    assert abs(float(picture.mean()) - 120) < 6


TRC = (
    "PathFileType\t4\t(X/Y/Z)\tperson.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames\n"
    "10\t10\t2\t2\tmm\t10\t1\t2\n"
    "Frame#\tTime\tNose\t\t\tNeck\t\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "\n"
    "1\t0\t{}\n"
    "2\t0.1\t{}\n"
)


def test_prepare__marker_files_are_turned_to_fit_the_keypoints(tmp_path):
    folder = recording(tmp_path / "walk", labels=False)
    # up is -y in this world, which is half a turn about x away from y up: (x, y, z) is (x, -y, -z) in the file
    row = "\t".join(map(str, [-200, 0, -2000, -200, 500, -2000]))
    (folder / "person.trc").write_text(TRC.format(row, row))
    labels = prepared(folder, up="-y")
    np.testing.assert_allclose(labels.values["joints"][0], [[-0.2, 0, 2], [-0.2, -0.5, 2]], atol=1e-9)
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    openpose(folder / "keypoints" / "left", [[{0: (40, 40), 1: (40, 15)}]] * 3)
    openpose(folder / "keypoints" / "right", [[]] * 3)
    again = prepared(folder)
    np.testing.assert_allclose(again.values["joints"], labels.values["joints"], atol=1e-9)
    assert any("turned from y up to -y up: projected, they lie 0.0 pixels" in note for note in notes(folder))
    assert again.images.frame[again.image].tolist() == [0, 1, 0, 1]  # TRC counts from 1


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("y", [1, 2, 3]),
        ("z", [3, 1, 2]),
        ("x", [2, 3, 1]),
        ("-y", [1, -2, -3]),
        ("-z", [-3, 1, -2]),
        ("-x", [-2, -3, 1]),
    ],
)
def test_from_y_up__is_a_rotation_that_sends_y_to_the_axis(up, expected):
    assert from_y_up(np.array([1.0, 2, 3]), up).tolist() == expected
    turn = np.stack([from_y_up(axis, up) for axis in np.eye(3)], axis=1)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)
    sign, axis = (-1, up[1]) if up.startswith("-") else (1, up)
    assert turn[:, 1].tolist() == [sign * (axis == name) for name in "xyz"]


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda folder: (folder / "person.trc").write_text(TRC), InputError, "3D joints in more than one form"),
        (lambda folder: (folder / "cameras.json").write_text("{}"), InputError, "two calibrations"),
        (lambda folder: (folder / "labels.csv").write_text("a,b\n"), FormatError, "expected the columns frame,time"),
        (lambda folder: write_images(folder / "views" / "top"), CalibrationError, "calibration is of other cameras"),
        (lambda folder: (folder / "splits.toml").write_text("["), FormatError, "not TOML"),
    ],
)
def test_prepare__what_does_not_go_together_is_told(tmp_path, spoil, error, message):
    folder = recording(tmp_path / "walk")
    spoil(folder)
    with pytest.raises(error, match=message):
        prepared(folder)


def test_prepare__a_folder_without_recordings_says_what_is_expected(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recording; expected a folder 'views'"):
        prepared(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('train = ["a"]\ntest = ["c"]', InputError, "the recording 'c' is not there; there are: a, b"),
        ('train = ["a"]\ntest = ["a"]', InputError, "the recording 'a' comes twice"),
        ('dev = ["a"]', FormatError, "expected lists called train, validation, test, got 'dev'"),
        ('test = "a"', FormatError, "expected lists called"),
    ],
)
def test_read_splits__what_is_wrong(tmp_path, text, error, message):
    (tmp_path / "splits.toml").write_text(text)
    with pytest.raises(error, match=message):
        read_splits(tmp_path / "splits.toml", ["a", "b"])


def test_prepare__frames_of_slightly_other_size_than_the_calibration(tmp_path):
    folder = recording(tmp_path / "walk", labels=False)
    for view in ("left", "right"):
        cv2.imwrite(str(folder / "views" / view / "000.png"), np.zeros((80, 99, 3), np.uint8))
        cv2.imwrite(str(folder / "views" / view / "001.png"), np.zeros((80, 99, 3), np.uint8))
        (folder / "views" / view / "002.png").unlink()
        openpose(folder / "keypoints" / view, [[{0: (40, 40)}], [{0: (40, 40)}]])
    with pytest.warns(UserWarning, match="its frames are 99x80"):
        labels = prepared(folder)
    # scaled to the width and centred in height: u = (40.5) 0.99 - 0.5, v = (40.5) 0.99 - 0.5 + (80 - 79.2) / 2
    np.testing.assert_allclose(labels.values["keypoints"][0, 0], [39.595, 39.995], atol=1e-4)
    np.testing.assert_allclose(labels.cameras.intrinsics[0].numpy()[0], [99, 0, 49.495], atol=1e-4)
    assert labels.images.size.tolist() == [[99, 80]] * 4


@pytest.mark.realdata
def test_prepare__a_real_recording_of_four_cameras(tmp_path, shared_data):
    demo = shared_data / "pose2sim_demo"
    folder = tmp_path / "balancing"
    folder.mkdir()
    (folder / "views").symlink_to(demo / "balancing" / "videos")
    (folder / "keypoints").symlink_to(demo / "balancing" / "pose")
    (folder / "calibration.toml").symlink_to(demo / "calibration" / "Calib_qualisys.toml")
    (folder / "person.trc").symlink_to(demo / "balancing" / "pose-3d" / "reference_raw.trc")
    with pytest.warns(UserWarning, match="its frames are 1080x1920"):
        labels = prepared(folder, step=10)
    assert len(labels.images) == 4 * 5  # keypoints of 50 frames
    assert labels.by_moment().shape == (5, 4)
    assert labels.skeleton.joints[0] == "right_hip"
    told = next(note for note in notes(folder) if "pixels from keypoints" in note)
    assert "turned from y up to z up" in told
    assert float(told.split("lie ")[1].split()[0]) < 20
    box = labels.values["box"]
    assert (box[:, 3] > 400).all()  # he fills a good part of the 1920 lines
