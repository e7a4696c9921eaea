"""Human3.6M in the folders of Learnable Triangulation: a miniature of two subjects, prepared whole."""

import json

import cv2
import h5py
import numpy as np
import pytest

from data.prepare.h36m_files import (
    CAMERAS,
    write_cameras_h5,
    write_jpeg,
    write_masks,
    write_poses_h5,
)
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import read_labels
from marey.data.prepare.h36m import H36MOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source

WIDTH, HEIGHT = 48, 36
FRAMES = (0, 5, 10)
ACTIONS = ("Directions-2", "Greeting-2")
OPTIONS = H36MOptions(train_subjects=(1,), test_subjects=(11,), actions=ACTIONS)
FILES = {("S1", "Directions-2"): "Directions", ("S1", "Greeting-2"): "Greeting"}
FILES |= {("S11", "Directions-2"): "Directions", ("S11", "Greeting-2"): "Greeting"}
BOX = (10, 4, 21, 31)
"""Left, top, right, bottom: 11 wide, 27 high; squared around 15.5: 2 to 29."""
SQUARE = (2.0, 4.0, 27.0, 27.0)


def joints(subject, frame):
    """Joint j at (10 j, subject, frame) mm."""
    found = np.zeros((32, 3))
    found[:, 0], found[:, 1], found[:, 2] = 10 * np.arange(32), subject, frame
    return found


def camera(subject, place):
    """5 m before the origin, looking along z; every second one has a lens."""
    lens = ([-0.8, 0.25, -0.003], [-0.0009, -0.0016]) if place % 2 else ([0, 0, 0], [0, 0])
    return np.eye(3), [100 * place, subject, -5000], [60, 61], [23.5, 17.5], *lens


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "h36m"
    random = np.random.default_rng(0)
    for (subject, action), name in FILES.items():
        number = int(subject[1:])
        poses = np.stack([joints(number, frame) for frame in range(12)])
        write_poses_h5(root / "una-dinosauria-data/h36m" / subject / "MyPoses/3D_positions" / f"{name}.h5", poses)
        for place, view in enumerate(CAMERAS):
            if (subject, action, place) == ("S11", "Directions-2", 0):
                continue
            boxes = [BOX] * 12
            if (subject, action, place) == ("S1", "Greeting-2", 3):
                boxes[5] = None
            folder = root / "processed" / subject
            write_masks(folder / "MySegmentsMat/ground_truth_bb" / f"{name}.{view}.mat", boxes, (WIDTH, HEIGHT))
            for frame in FRAMES:
                smooth = cv2.resize(random.integers(0, 256, (4, 5, 3)).astype(np.uint8), (WIDTH, HEIGHT))
                write_jpeg(folder / action / "imageSequence" / view / f"img_{frame + 1:06d}.jpg", smooth)
    write_cameras_h5(root / "una-dinosauria-data/h36m/cameras.h5", [1, 11], camera)
    return root


def prepared(root, out, options=OPTIONS, **arguments):
    return prepare_data_set(data_source("h36m"), root, out, options, show=False, **arguments)


def test_fetched__label_file_is_what_the_program_loads(root, tmp_path):
    prepared(root, tmp_path / "out")
    path = tmp_path / "out" / "human36m-multiview-labels-GTbboxes.npy"
    content = np.load(path, allow_pickle=True).item()  # as the program itself does
    assert content["subject_names"] == ["S1", "S11"]
    assert content["camera_names"] == list(CAMERAS)
    assert len(content["action_names"]) == 30
    assert content["action_names"][:2] == ["Directions-1", "Directions-2"]
    cameras = content["cameras"]
    assert cameras.shape == (2, 4)
    assert cameras.dtype == np.dtype([("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    assert cameras["t"][1, 2].tolist() == [[-200], [-11], [5000]]
    assert cameras["K"][0, 0].tolist() == [[60, 0, 23.5], [0, 61, 17.5], [0, 0, 1]]
    assert cameras["dist"][0, 1] == pytest.approx([-0.8, 0.25, -0.0009, -0.0016, -0.003])
    table = content["table"]
    assert table.dtype == np.dtype(
        [
            ("subject_idx", "i1"),
            ("action_idx", "i1"),
            ("frame_idx", "i2"),
            ("keypoints", "f4", (17, 3)),
            ("bbox_by_camera_tlbr", "i2", (4, 4)),
        ]
    )
    assert table.shape == (12,)
    assert table["subject_idx"].tolist() == [0] * 6 + [1] * 6
    assert table["action_idx"].tolist() == [1, 1, 1, 7, 7, 7] * 2
    assert table["frame_idx"].tolist() == [0, 5, 10] * 4
    order = (3, 2, 1, 6, 7, 8, 0, 12, 13, 15, 27, 26, 25, 17, 18, 19, 14)
    assert table["keypoints"][7].tolist() == [[10 * joint, 11, 5] for joint in order]
    boxes = table["bbox_by_camera_tlbr"]
    assert boxes[0].tolist() == [[4, 2, 31, 29]] * 4  # top, left, bottom, right
    assert boxes[6].tolist() == [[0, 0, 0, 0]] + [[4, 2, 31, 29]] * 3  # the camera that the data set lacks
    assert boxes[4].tolist() == [[4, 2, 31, 29]] * 3 + [[0, 0, 0, 0]]  # the mask without anybody


def test_fetched__labels(root, tmp_path):
    labels = prepared(root, tmp_path / "out")
    stored = read_labels(tmp_path / "out" / "labels.npz")
    assert len(labels) == len(stored) == 48 - 1 - 3
    assert stored.skeleton.name == "h36m_17"
    assert stored.cameras.is_pinhole
    assert stored.by_moment().shape == (12, 4)
    assert (stored.by_moment()[6:9, 0] == -1).all()
    row = int(stored.by_moment()[7, 2])
    image = stored.image[row]
    path = stored.images.path[image]
    assert path == "images/S11/Directions-2/imageSequence-undistorted/58860488/img_000006.jpg"
    assert (tmp_path / "out" / path).is_file()
    assert stored.images.size[image].tolist() == [WIDTH, HEIGHT]
    assert (stored.images.sequence[image], stored.images.frame[image]) == ("S11/Directions-2", 5)
    assert stored.camera_names()[image] == "58860488"
    assert stored.values["joints"][row, 10] == pytest.approx([0.150, 0.011, 0.005])  # head top, 15 of 32
    assert stored.values["box"][row].tolist() == list(SQUARE)
    assert (stored.values["subject"][row], stored.values["action"][row]) == ("S11", "Directions-2")
    assert set(stored.split[stored.image[stored.values["subject"] == "S1"]]) == {"train"}
    assert set(stored.split[stored.image[stored.values["subject"] == "S11"]]) == {"test"}
    notes = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))["notes"]
    assert any("S11 Directions-2: camera 54138969 lacks 3 of 3 images" in note for note in notes)
    assert any("S1 Greeting-2: 1 boxes of camera 60457274 are empty" in note for note in notes)


def test_fetched__images_are_straight(root, tmp_path):
    prepared(root, tmp_path / "out")
    below = "S1/Greeting-2/{}/{}/img_000011.jpg"

    def read(folder, name, view):
        return cv2.imread(str(folder / below.format(name, view))).astype(int)

    for place in (0, 2):  # no lens: the picture comes through, but for a second JPEG
        source = read(root / "processed", "imageSequence", CAMERAS[place])
        straight = read(tmp_path / "out" / "images", "imageSequence-undistorted", CAMERAS[place])
        assert abs(source - straight).max() <= 12
    source = read(root / "processed", "imageSequence", CAMERAS[1])
    straight = read(tmp_path / "out" / "images", "imageSequence-undistorted", CAMERAS[1])
    # where OpenCV would look, which here is less than 0.05 pixels away, so that its own function is a second opinion
    matrix = np.array([[60, 0, 23.5], [0, 61, 17.5], [0, 0, 1.0]])
    lens = np.array([-0.8, 0.25, -0.0009, -0.0016, -0.003])
    expected = cv2.undistort(source.astype(np.uint8), matrix, lens).astype(int)
    assert abs(expected - straight).mean() < 2.5
    assert abs(source - straight).mean() > 2 * abs(expected - straight).mean()


def test_fetched__images_as_they_are(root, tmp_path):
    labels = prepared(root, tmp_path / "out", H36MOptions(
        train_subjects=(1,), test_subjects=(), actions=("Greeting-2",), undistort="none", boxes="joints"
    ))  # fmt: skip
    assert not (tmp_path / "out" / "images").exists()
    assert not labels.cameras.is_pinhole
    path = labels.images.path[0]
    assert path == "../h36m/processed/S1/Greeting-2/imageSequence/54138969/img_000001.jpg"
    assert (tmp_path / "out" / path).resolve().is_file()
    # without a mask: joints at x 0..0.27 m, 5 m away: 23.5 to 23.5 + 60 0.27 / 5 = 26.74, a fifth larger and squared
    box = labels.values["box"][0]
    assert box[2] == box[3]
    assert box[2] in (4.0, 5.0)


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.jpg"))} | {
        name: (folder / name).read_bytes() for name in ("labels.npz", "human36m-multiview-labels-GTbboxes.npy")
    }


def test_fetched__the_same_whatever_the_number_of_workers(root, tmp_path):
    prepared(root, tmp_path / "one")
    prepared(root, tmp_path / "four", workers=4)
    assert everything(tmp_path / "one") == everything(tmp_path / "four")
    assert len(everything(tmp_path / "one")) == 44 + 2


def test_fetched__interrupted_and_gone_on_with(root, tmp_path):
    prepared(root, tmp_path / "whole")
    broken = root / "processed/S1/Greeting-2/imageSequence" / CAMERAS[1] / "img_000006.jpg"
    picture = broken.read_bytes()
    broken.write_bytes(picture[:300])
    with pytest.raises((FormatError, InputError), match=r"img_000006\.jpg"):
        prepared(root, tmp_path / "out")
    assert not (tmp_path / "out" / "labels.npz").exists()
    done = tmp_path / "out/images/S1/Directions-2/imageSequence-undistorted" / CAMERAS[0] / "img_000001.jpg"
    before = done.stat().st_mtime_ns
    broken.write_bytes(picture)
    prepared(root, tmp_path / "out")
    assert done.stat().st_mtime_ns == before
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob(".*.jpg"))


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ("una-dinosauria-data/h36m/cameras.h5", r"cameras\.h5: not found.*vision\.imar\.ro.*non-commercial"),
        ("una-dinosauria-data/h36m/S11/MyPoses/3D_positions/Greeting.h5", r"Greeting\.h5: not found"),
        (
            "processed/S11/MySegmentsMat/ground_truth_bb/Greeting.58860488.mat",
            r"masks of people's boxes \(--boxes joints does without\)",
        ),
    ],
)
def test_fetched__missing_file_is_named(root, tmp_path, absent, message):
    (root / absent).unlink()
    with pytest.raises(MissingAssetError, match=message):
        prepared(root, tmp_path / "out")


def test_fetched__missing_camera_is_named_unless_the_data_set_lacks_it(root, tmp_path):
    folder = root / "processed/S11/Greeting-2/imageSequence" / CAMERAS[0]
    for picture in folder.iterdir():
        picture.unlink()
    with pytest.raises(MissingAssetError, match=r"no img_000001\.jpg"):
        prepared(root, tmp_path / "out")
    folder.rmdir()
    with pytest.raises(MissingAssetError, match="folder of images of S11 Greeting-2, camera 54138969"):
        prepared(root, tmp_path / "other")


def test_fetched__poses_of_another_take_are_refused(root, tmp_path):
    path = root / "una-dinosauria-data/h36m/S1/MyPoses/3D_positions/Greeting.h5"
    with h5py.File(path, "r+") as file:
        del file["3D_positions"]
        file["3D_positions"] = np.zeros((96, 7))
    with pytest.raises(FormatError, match=r"7 poses, but frame 10 \(from 0\)"):
        prepared(root, tmp_path / "out")


def test_fetched__frame_beyond_16_bits_is_refused(root, tmp_path):
    for view in CAMERAS:
        folder = root / "processed/S1/Greeting-2/imageSequence" / view
        (folder / "img_000011.jpg").rename(folder / "img_033000.jpg")
    name = "una-dinosauria-data/h36m/S1/MyPoses/3D_positions/Greeting.h5"
    write_poses_h5(root / name, np.zeros((33000, 32, 3)))
    options = H36MOptions(train_subjects=(1,), test_subjects=(), actions=("Greeting-2",), boxes="joints")
    with pytest.raises(InputError, match=r"frame: rows .* are beyond 32767"):
        prepared(root, tmp_path / "out", options)


def test_options__that_make_no_sense():
    with pytest.raises(InputError, match="subjects: expected each of"):
        H36MOptions(train_subjects=(1, 2))
    with pytest.raises(InputError, match="subjects: expected each of"):
        H36MOptions(train_subjects=(9,))
    with pytest.raises(InputError, match="actions: no Dancing-1"):
        H36MOptions(actions=("Dancing-1",))
    with pytest.raises(InputError, match="partial: is about crops"):
        H36MOptions(partial=True)
    with pytest.raises(InputError, match="train_step"):
        H36MOptions(test_step=0)


def test_nothing_there__says_what_to_download(tmp_path):
    (tmp_path / "h36m").mkdir()
    with pytest.raises(MissingAssetError, match=r"metadata\.xml: not found.*processed.*h36m-fetch"):
        prepared(tmp_path / "h36m", tmp_path / "out")


DETECTED = H36MOptions(**{**vars(OPTIONS), "boxes": "detections", "undistort": "none"})


def write_detections(root, boxes, names):
    (root / "extra").mkdir()
    (root / "extra/train_MRCNN.json").write_text(json.dumps(boxes), encoding="utf-8")
    (root / "extra/train_MRCNN.txt").write_text("\n".join([*names, ""]), encoding="utf-8")


def test_fetched__detected_boxes_in_place_of_the_masks(root, tmp_path):
    name = "/data/processed/S1/Greeting-2/imageSequence/60457274/img_{:06d}.jpg"
    # pixels are counted with the last: 9 wide and 5 high from 10, 4; squared about 6.5: 2 to 11
    write_detections(root, [[10, 4, 18, 8, 0.9], [0, 0, 3, 3, 0.5]], [name.format(6), name.format(100)])
    labels = prepared(root, tmp_path / "out", DETECTED)
    assert len(labels) == 45  # the mask without anybody is replaced by the detection
    frame, camera = labels.images.frame[labels.image], labels.camera_names()[labels.image]
    sequence = labels.images.sequence[labels.image]
    row = np.flatnonzero((sequence == "S1/Greeting-2") & (frame == 5) & (camera == "60457274"))
    assert labels.values["box"][int(row[0])].tolist() == [10, 2, 9, 9]
    others = np.delete(labels.values["box"], row, axis=0)
    assert np.unique(others, axis=0).tolist() == [list(SQUARE)]
    assert (tmp_path / "out/human36m-multiview-labels-detected-bboxes.npy").is_file()


@pytest.mark.parametrize(
    ("boxes", "names", "message"),
    [
        ([[1, 2, 3, 4, 5]], [], "1 boxes, but train_MRCNN.txt names 0 images"),
        ([[1, 2, 3, 4]], ["a"], "expected boxes of left, top, right, bottom, confidence"),
        ([[1, 2, 3, 4, 5]], ["a.jpg"], "'a.jpg' is no"),
        ([[1, 2, 3, 4, 5], [1]], ["a", "b"], "not a JSON list of boxes"),
    ],
)
def test_fetched__damaged_detections(root, tmp_path, boxes, names, message):
    write_detections(root, boxes, names)
    with pytest.raises(FormatError, match=message):
        prepared(root, tmp_path / "out", DETECTED)


def test_fetched__detections_that_are_not_there(root, tmp_path):
    with pytest.raises(MissingAssetError, match=r"list of detected boxes, with NAME\.txt"):
        prepared(root, tmp_path / "out", DETECTED)
