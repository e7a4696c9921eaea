"""Prediction files as the published programs write them: with np.savez, pickle and json."""

import json
import pickle

import numpy as np
import pytest

from marey.core import FormatError, InputError, ShapeError, skeleton
from marey.io.predictions import pose_rows
from marey.io.predictions_published import (
    METRABS_JOINTS,
    only_asked_for,
    read_coco_labels,
    read_coco_predictions,
    read_metrabs_predictions,
    read_pw3d_predictions,
    read_triangulation_file,
    read_triangulation_results,
    write_triangulation_results,
)
from marey.metrics.protocols import protocol


def metrabs_file(folder, **changes):
    poses = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3) * 10
    arrays = {
        "image_path": np.array(
            [
                "h36m/S9/Images/Directions 1.54138969/frame_000064.jpg",
                "h36m/S11/Images/Photo.60457274/frame_000000.jpg",
            ]
        ),
        "coords3d_true": poses + 1, "coords3d_pred": poses, "coords3d_true_world": poses + 2,
        "coords3d_pred_world": poses + 3, "activity_name": np.array(["Directions", "Photo"]),
        "scene_name": np.array(["", ""]), "joint_validity_mask": np.ones((2, 17), dtype=bool),
        **changes,
    }  # fmt: skip
    path = folder / "predictions_h36m.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


def test_metrabs__human36m_is_read_in_the_world_in_metres(tmp_path):
    predictions, labels = read_metrabs_predictions(metrabs_file(tmp_path), "h36m")
    assert predictions.sequence.tolist() == ["S9/Directions 1.54138969", "S11/Photo.60457274"]
    assert predictions.frame.tolist() == [64, 0]
    assert predictions.joint_names[0] == "right_hip"
    assert predictions.joint_names[-1] == "pelvis"
    np.testing.assert_allclose(predictions.values["joints"][0, 1], [0.033, 0.043, 0.053], rtol=1e-12)
    np.testing.assert_allclose(labels.values["joints"][0, 0], [0.002, 0.012, 0.022], rtol=1e-12)
    assert labels.values["action"].tolist() == ["Directions", "Photo"]
    assert labels.values["subject"].tolist() == ["S9", "S11"]
    found = protocol("h36m-metrabs").score(predictions, labels)
    assert found.values["mpjpe_mm"] == pytest.approx(0, abs=1e-12)  # all off by 1 mm, the pelvis too


def test_metrabs__3dhp_is_read_in_the_camera_with_its_words(tmp_path):
    path = metrabs_file(
        tmp_path,
        image_path=np.array(["3dhp_downscaled/TS1/imageSequence/img_000001.jpg", "3dhp/TS5/img_000020.jpg"]),
        activity_name=np.array(["Sports", "Misc."]),
        scene_name=np.array([b"green-screen", b"outdoor"]),
    )
    predictions, labels = read_metrabs_predictions(path, "3dhp")
    assert predictions.sequence.tolist() == ["TS1", "TS5"]
    assert predictions.frame.tolist() == [0, 19]  # its images count from 1
    assert predictions.joint_names == METRABS_JOINTS["3dhp"]
    assert labels.values["activity"].tolist() == ["Sports", "Misc."]
    assert labels.values["scene"].tolist() == ["green-screen", "outdoor"]
    assert protocol("3dhp").score(predictions, labels).values["pck"] == 100


def test_metrabs__mupots_gets_pixels_and_places_in_the_frame(tmp_path):
    places = np.array([[500.0, 250.0, 2000.0], [-1000.0, 0.0, 4000.0]])
    pred = np.repeat(places[:, None], 17, axis=1)
    path = metrabs_file(tmp_path, image_path=np.array(["mupots/TS3/img_000007.jpg"] * 2), coords3d_pred=pred)
    camera = [[1000, 0, 960], [0, 1000, 540], [0, 0, 1]]
    predictions, labels = read_metrabs_predictions(path, "mupots", intrinsics={"TS3": camera})
    assert labels is None
    assert predictions.person.tolist() == [0, 1]
    assert predictions.values["keypoints"][:, 0].tolist() == [[1210, 665], [710, 540]]
    with pytest.raises(InputError, match="intrinsics: none for TS3"):
        read_metrabs_predictions(path, "mupots", intrinsics={"TS4": camera})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coords3d_pred_world": None}, "no predictions of MeTRAbs: lacks coords3d_pred_world"),
        ({"coords3d_pred_world": np.zeros((2, 14, 3))}, r"expected \(N, 17, 3\), got \(2, 14, 3\)"),
        ({"image_path": np.array(["h36m/S9/a.jpg"])}, "'image_path' has 1 entries for 2 poses"),
        ({"image_path": np.array(["h36m/S9/a.jpg"] * 2)}, "the name of 2 images holds no frame number"),
    ],
)
def test_metrabs__a_file_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(FormatError, match=message):
        read_metrabs_predictions(metrabs_file(tmp_path, **change), "h36m")


LABELS = pose_rows(sequence=["S9-a", "S9-a", "S9-b"], frame=[0, 5, 0], benchmark="multiview")


def pickled(folder, document, name="results.pkl"):
    path = folder / name
    path.write_bytes(pickle.dumps(document, protocol=4))
    return path


@pytest.mark.parametrize(("joints", "last"), [(17, "head"), (16, "left_wrist")])
def test_triangulation__rows_are_those_of_the_labels(tmp_path, joints, last):
    poses = np.arange(2 * joints * 3, dtype=np.float32).reshape(2, joints, 3)
    path = pickled(tmp_path, {"keypoints_3d": poses, "indexes": np.array([2, 0])})
    rows = read_triangulation_results(path, LABELS)
    assert (rows.sequence.tolist(), rows.frame.tolist()) == (["S9-b", "S9-a"], [0, 0])
    assert (rows.joint_names[6], rows.joint_names[-1]) == ("pelvis", last)
    assert rows.benchmark == "multiview"
    np.testing.assert_allclose(rows.values["joints"][0, 1], [0.003, 0.004, 0.005], rtol=1e-12)
    centimetres = read_triangulation_results(path, LABELS, millimetres=False)
    np.testing.assert_allclose(centimetres.values["joints"][0, 1], [0.03, 0.04, 0.05], rtol=1e-12)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"keypoints_3d": np.zeros((1, 17, 3))}, "expected a dict with 'keypoints_3d' and 'indexes'"),
        ({"keypoints_3d": np.zeros((1, 17)), "indexes": np.zeros(1, int)}, r"expected \(N, J, 3\), got \(1, 17\)"),
        ({"keypoints_3d": np.zeros((2, 17, 3)), "indexes": np.zeros(1, int)}, r"'indexes': expected \(2,\) integers"),
        ({"keypoints_3d": np.zeros((2, 17, 3)), "indexes": np.array([0, 3])}, r"rows \[1\] have indices such as 3"),
        ({"keypoints_3d": np.zeros((1, 5, 3)), "indexes": np.array([0])}, "5 joints; known are 17"),
    ],
)
def test_triangulation__a_file_that_does_not_fit_is_refused(tmp_path, document, message):
    with pytest.raises(FormatError, match=message):
        read_triangulation_results(pickled(tmp_path, document), LABELS)


def test_triangulation__joints_of_another_kind_are_named(tmp_path):
    document = {"keypoints_3d": np.zeros((1, 17, 3)), "indexes": np.array([0])}
    names = skeleton("coco_17").joints
    assert read_triangulation_results(pickled(tmp_path, document), LABELS, joint_names=names).joint_names == names
    with pytest.raises(FormatError, match="17 joints; expected 1: nose"):
        read_triangulation_results(pickled(tmp_path, document), LABELS, joint_names=("nose",))


def test_triangulation__what_single_views_tell_is_read_too(tmp_path):
    document = {
        "keypoints_3d": np.zeros((2, 17, 3)), "indexes": np.array([1, 0]),
        "keypoints_2d": np.arange(2 * 4 * 17 * 2).reshape(2, 4, 17, 2), "confidences": np.full((2, 4, 17), 0.5),
    }  # fmt: skip
    found = read_triangulation_file(pickled(tmp_path, document))
    assert found.views["view_keypoints"][0, 1, 0].tolist() == [34, 35]
    assert found.views["view_weights"].shape == (2, 4, 17)
    rows = read_triangulation_results(pickled(tmp_path, document), LABELS)
    assert rows.values["view_keypoints"].shape == (2, 4, 17, 2)
    for key, shape, words in (
        ("keypoints_2d", (2, 17, 2), r"expected \(2, V, 17, 2\)"),
        ("confidences", (2, 4, 16), r"expected \(2, V, 17\)"),
    ):
        with pytest.raises(FormatError, match=f"'{key}': {words}"):
            read_triangulation_file(pickled(tmp_path, document | {key: np.zeros(shape)}))


def test_triangulation__is_written_in_its_order_and_units(tmp_path):
    names = skeleton("h36m_17").joints
    joints = np.zeros((2, 17, 3))
    joints[:, names.index("right_ankle")] = [[0.001, 0, 0], [0.002, 0, 0]]
    rows = pose_rows(joints, joint_names=names, sequence=["a", "a"], frame=[0, 1])
    for millimetres, scale in ((True, 1.0), (False, 0.1)):
        write_triangulation_results(tmp_path / "results.pkl", rows, np.array([4, 2]), millimetres=millimetres)
        document = pickle.loads((tmp_path / "results.pkl").read_bytes())
        assert list(document) == ["keypoints_3d", "indexes"]
        assert document["keypoints_3d"].dtype == np.float32
        np.testing.assert_allclose(document["keypoints_3d"][:, 0, 0], [scale, 2 * scale], rtol=1e-6)
        assert document["indexes"].tolist() == [4, 2]
    with pytest.raises(ShapeError, match=r"indices: expected \(2,\), one a row, got \(1,\)"):
        write_triangulation_results(tmp_path / "results.pkl", rows, np.array([4]))


def test_triangulation__other_joints_are_written_as_they_come(tmp_path):
    joints = np.arange(6.0).reshape(1, 2, 3)
    rows = pose_rows(joints, joint_names=("nose", "pelvis"), sequence=["a"], frame=[0])
    write_triangulation_results(tmp_path / "results.pkl", rows, np.array([0]))
    document = pickle.loads((tmp_path / "results.pkl").read_bytes())
    assert document["keypoints_3d"].tolist() == [[[0, 1000, 2000], [3000, 4000, 5000]]]


class Harmful:
    def __reduce__(self):
        return print, ("run",)


def test_pickles__run_nobodys_code(tmp_path, capsys):
    for read in (lambda path: read_triangulation_results(path, LABELS), read_pw3d_predictions):
        with pytest.raises(FormatError, match="print"):
            read(pickled(tmp_path, Harmful(), "bad.pkl"))
    assert capsys.readouterr().out == ""


def test_3dpw__a_folder_of_splits_is_read(tmp_path):
    joints = np.zeros((2, 3, 24, 3))
    joints[1, 2, 5] = (1, 2, 3)
    (tmp_path / "test").mkdir()
    (tmp_path / "train").mkdir()
    pickled(tmp_path / "test", {"jointPositions": joints}, "downtown_walking_00.pkl")
    pickled(tmp_path / "train", {"jointPositions": joints[:1, :1].tolist()}, "courtyard_box_00.pkl")
    rows = read_pw3d_predictions(tmp_path)
    assert len(rows) == 7
    assert rows.joint_names[5] == "right_knee"
    place = (rows.sequence == "downtown_walking_00") & (rows.frame == 2) & (rows.person == 1)
    assert rows.values["joints"][place][0, 5].tolist() == [1, 2, 3]
    labels = pose_rows(sequence=["downtown_walking_00"] * 2, frame=[0, 2], person=[1, 1])
    kept = read_pw3d_predictions(tmp_path, labels=labels)
    assert (kept.frame.tolist(), kept.person.tolist()) == ([0, 2], [1, 1])
    assert len(only_asked_for(rows, labels)) == 2


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"poses": [1]}, "expected a dict with 'jointPositions'"),
        ({"jointPositions": np.zeros((2, 3, 14, 3))}, r"expected \(people, frames, 24, 3\), got \(2, 3, 14, 3\)"),
        ({"jointPositions": [[1, 2], [3]]}, "no array of numbers"),
    ],
)
def test_3dpw__a_file_that_does_not_fit_is_refused(tmp_path, document, message):
    with pytest.raises(FormatError, match=message):
        read_pw3d_predictions(pickled(tmp_path, document))


def test_3dpw__an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no \.pkl files"):
        read_pw3d_predictions(tmp_path)


def test_coco__labels_name_the_images_without_people(tmp_path):
    person = {
        "id": 9, "image_id": 4, "category_id": 1, "iscrowd": 0, "area": 500.0, "bbox": [10, 20, 30, 40],
        "num_keypoints": 1, "keypoints": [12, 25, 2] + [0, 0, 0] * 16,
    }  # fmt: skip
    images = [{"id": place, "file_name": f"{place}.jpg", "width": 64, "height": 64} for place in (4, 6)]
    path = tmp_path / "person_keypoints.json"
    path.write_text(json.dumps({"images": images, "annotations": [person]}), encoding="utf-8")
    labels = read_coco_labels(path)
    assert (labels.frame.tolist(), labels.person.tolist()) == ([4, 6], [0, -1])
    assert labels.values["box"][0].tolist() == [10, 20, 40, 60]
    assert labels.values["keypoints"][0, 0].tolist() == [12, 25]
    assert np.isnan(labels.values["keypoints"][0, 1:]).all()
    found = {"image_id": 4, "category_id": 1, "score": 0.5, "keypoints": [12, 25, 1] * 17}
    (tmp_path / "results.json").write_text(json.dumps([found]), encoding="utf-8")
    predictions = read_coco_predictions(tmp_path / "results.json")
    assert predictions.values["score"].tolist() == [0.5]
    assert protocol("coco-keypoints").score(predictions, labels).values["ap"] == pytest.approx(100)
    wrong = found | {"image_id": 6, "score": 0.9}
    (tmp_path / "results.json").write_text(json.dumps([found, wrong]), encoding="utf-8")
    predictions = read_coco_predictions(tmp_path / "results.json")
    assert protocol("coco-keypoints").score(predictions, labels).values["ap"] == pytest.approx(50)
