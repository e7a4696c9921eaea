"""The miniature is a MATLAB file of nested structs, as the words of the data set describe its annotations."""

import json

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.mpii import MpiiOptions, single_boxes
from marey.data.prepare.mpii_annotations import read_mpii
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import DATA_SETS

WIDTH, HEIGHT = 400, 300


def points(places, hidden=()):
    """Points of joints: id -> (x, y)."""
    rows = [(float(x), float(y), joint, "0" if joint in hidden else "1") for joint, (x, y) in places.items()]
    return {"point": np.array(rows, dtype=[("x", object), ("y", object), ("id", object), ("is_visible", object)])}


def everything(left, top):
    """All 16 joints of a person: joint j at (left + 5 j, top + 4 j)."""
    return {joint: (left + 5 * joint, top + 4 * joint) for joint in range(16)}


def structs(rows, fields):
    array = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for place, row in enumerate(rows):
        for field in fields:
            array[0, place][field] = row.get(field, np.zeros((0, 0)))
    return array


RECT = ("scale", "objpos", "annopoints")


def write_annotations(root):
    """Picture 0: two people, the second alone. 1: for testing. 2: two people with few joints and all of them.
    3: nobody with joints."""
    person = {"scale": 0.5, "objpos": {"x": 100.0, "y": 120.0}, "annopoints": points(everything(60, 80), hidden=(0,))}
    other = {"scale": 1.0, "objpos": {"x": 250.0, "y": 150.0}, "annopoints": points({0: (240, 180), 9: (250, 90)})}
    wide = {"scale": 0.4, "objpos": {"x": 90.0, "y": 100.0}, "annopoints": points(everything(50, 60))}
    far = {"scale": 0.4, "objpos": {"x": 300.0, "y": 100.0}, "annopoints": points(everything(250, 60))}
    pictures = [
        {"image": {"name": "a.jpg"}, "annorect": structs([person, other], RECT)},
        {"image": {"name": "b.jpg"}, "annorect": structs([{"scale": 1.0}], RECT)},
        {"image": {"name": "c.jpg"}, "annorect": structs([wide, {"scale": 1.0}, far], RECT)},
        {"image": {"name": "d.jpg"}, "annorect": np.zeros((0, 0))},
    ]
    single = np.empty((4, 1), dtype=object)
    for place, who in enumerate(([[1]], np.zeros((0, 0)), [[3]], np.zeros((0, 0)))):
        single[place, 0] = np.array(who)
    release = {
        "annolist": structs(pictures, ("image", "annorect")),
        "img_train": np.array([[1, 0, 1, 1]], dtype=np.uint8),
        "single_person": single,
    }
    savemat(root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "mpii"
    (root / "images").mkdir(parents=True)
    write_annotations(root)
    ramp = np.broadcast_to(np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None], (HEIGHT, WIDTH, 3))
    for name in ("a.jpg", "c.jpg"):
        cv2.imwrite(str(root / "images" / name), ramp)
    return root


def prepared(root, **options):
    return prepare_data_set(DATA_SETS["mpii"], root, root.parent / "out", MpiiOptions(**options), show=False)


def test_read_mpii__people_joints_and_who_stands_alone(root):
    found = read_mpii(root / "mpii_human_pose_v1_u12_1.mat")
    assert found.names == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert found.train.tolist() == [True, False, True, True]
    assert found.image.tolist() == [0, 0, 2, 2]
    assert found.place.tolist() == [0, 1, 0, 2]
    assert found.single.tolist() == [True, False, False, True]
    assert found.keypoints[0, 3].tolist() == [75, 92]
    assert found.visible[0].tolist() == [False] + [True] * 15
    assert np.isfinite(found.keypoints[1]).all(-1).nonzero()[0].tolist() == [0, 9]
    assert found.center.tolist() == [[100, 120], [250, 150], [90, 100], [300, 100]]
    assert found.scale.tolist() == [0.5, 1.0, 0.4, 0.4]


def test_single_boxes__a_square_of_200_pixels_a_unit_shifted_down():
    # side 100, middle (100, 120 + 7.5): from (50, 77.5)
    np.testing.assert_allclose(single_boxes(np.array([[100.0, 120]]), np.array([0.5])), [[50, 77.5, 100, 100]])


def test_prepare__single_people_in_their_pictures(root):
    labels = prepared(root, crops=False)
    assert labels.images.path.tolist() == ["../mpii/images/a.jpg", "../mpii/images/c.jpg"]
    assert labels.images.size.tolist() == [[400, 300]] * 2
    assert labels.images.frame.tolist() == [0, 2]
    assert labels.split.tolist() == ["train"] * 2
    assert labels.person.tolist() == [0, 2]
    np.testing.assert_allclose(labels.values["box"], [[50, 77.5, 100, 100], [260, 66, 80, 80]])
    assert labels.skeleton.joints == (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    )  # fmt: skip
    # source joints 0-5 and 10-15
    assert labels.values["keypoints"][0, :, 0].tolist() == [60, 65, 70, 75, 80, 85, 110, 115, 120, 125, 130, 135]
    assert labels.values["visible"][0].tolist() == [False] + [True] * 11
    assert len(labels.skeleton.links) == 8


def test_prepare__crops_are_small_pictures_of_each_person(root):
    labels = prepared(root)
    out = root.parent / "out"
    assert labels.images.path.tolist() == ["images/mpii_000000000000_0.jpg", "images/mpii_000000000002_2.jpg"]
    crop = cv2.imread(str(out / labels.images.path[0]))
    assert crop.shape[1::-1] == tuple(labels.images.size[0])
    # nothing is enlarged; the square of side 100 turned by 30 degrees, with room, ends at the left and upper border
    # of the picture: side 100 * (cos 30 + sin 30) * 1.1 / 0.85^2 = 207.98, from (100, 127.5) - 103.99
    np.testing.assert_allclose(labels.values["box"][0, 2:], [100, 100], atol=0.5)
    np.testing.assert_allclose(labels.values["keypoints"][0, 1] - labels.values["box"][0, :2], [15, 6.5], atol=0.5)
    assert 200 <= crop.shape[1] <= 206
    assert 206 <= crop.shape[0] <= 210
    x = labels.values["keypoints"][0, 5, 0]  # at 85 of 400 pixels of the ramp
    assert abs(float(crop[100, round(x), 0]) - 85 / 399 * 255) < 4


def test_prepare__detected_people_get_the_detection_they_overlap_most(root):
    # picture a: the joints of person 0 span 75 x 60 from (60, 80); 1.25 times: (50.625, 72.5, 93.75, 75).
    # person 1 has two joints only. picture c: the two people lie 200 pixels apart; the detection is the second's.
    detections = {
        "images/a.jpg": [[50, 70, 95, 80, 0.9], [52, 72, 90, 75, 0.4], [230, 80, 30, 110, 0.99]],
        "images/c.jpg": [[245, 55, 90, 70, 0.6], [0, 250, 20, 20, 0.9]],
    }
    (root / "yolov3_detections.json").write_text(json.dumps(detections))
    labels = prepared(root, rule="detected", crops=False)
    assert labels.skeleton.joints[6:] == ("right_wrist", "right_elbow", "left_elbow", "left_wrist")
    assert labels.images.frame[labels.image].tolist() == [0, 2]
    assert labels.person.tolist() == [0, 2]
    np.testing.assert_allclose(labels.values["box"], [[50, 70, 95, 80], [245, 55, 90, 70]])


def test_prepare__pictures_without_detections_are_told(root):
    (root / "yolov3_detections.json").write_text(json.dumps({"mpii/images/a.jpg": [[50, 70, 95, 80, 0.9]]}))
    assert prepared(root, rule="detected", crops=False).person.tolist() == [0]
    card = json.loads((root.parent / "out" / "card.json").read_text("utf-8"))
    assert card["notes"] == ["1 pictures are not in the file of detections; nobody was taken from them."]


def test_prepare__names_of_crops_do_not_collide(root):
    labels = prepared(root, rule="annotated")
    assert labels.images.path.tolist() == [
        "images/mpii_000000000000_0.jpg",
        "images/mpii_000000000002_0.jpg",
        "images/mpii_000000000002_2.jpg",
    ]
    assert sorted(path.name for path in (root.parent / "out" / "images").iterdir()) == [
        path.removeprefix("images/") for path in labels.images.path
    ]


def test_prepare__all_joints_counted_from_one(root):
    labels = prepared(root, rule="annotated", crops=False, joints="all", from_one=True)
    assert len(labels.skeleton) == 16
    assert labels.values["keypoints"][0, 7].tolist() == [94, 107]
    np.testing.assert_allclose(labels.values["box"][0], [49.625, 71.5, 93.75, 75])


def test_prepare__people_outside_of_their_pictures_are_left_out_and_told(root):
    for name in ("a.jpg", "c.jpg"):
        cv2.imwrite(str(root / "images" / name), np.zeros((300, 200, 3), np.uint8))
    labels = prepared(root, rule="annotated", crops=False)
    assert labels.person.tolist() == [0, 0]
    card = json.loads((root.parent / "out" / "card.json").read_text("utf-8"))
    assert card["notes"] == ["1 people were left out: their boxes are empty or lie outside of their pictures."]


@pytest.mark.parametrize(
    ("missing", "options"),
    [("mpii_human_pose_v1_u12_1.mat", {}), ("images/c.jpg", {}), (None, {"rule": "detected"})],
)
def test_prepare__a_missing_file_is_named_with_its_source(root, missing, options):
    if missing:
        (root / missing).unlink()
    with pytest.raises(MissingAssetError, match=r"not found, the .* of MPII Human Pose\. Download it from .*mpi-inf"):
        prepared(root, **options)


def test_prepare__another_matlab_file_is_refused(root):
    savemat(root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": {"annolist": np.zeros((1, 2))}})
    with pytest.raises(FormatError, match="not the annotations of MPII Human Pose"):
        prepared(root)
    savemat(root / "mpii_human_pose_v1_u12_1.mat", {"other": 1})
    with pytest.raises((FormatError, InputError), match="RELEASE"):
        prepare_data_set(DATA_SETS["mpii"], root, root.parent / "new", MpiiOptions(), show=False)
