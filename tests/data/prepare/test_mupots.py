import json
import pickle

import cv2
import numpy as np
import pytest

from marey.cli import evaluate
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import read_labels
from marey.data.prepare import mupots
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.io.predictions import pose_rows, read_pose_rows
from marey.metrics.protocols import protocol

scipy_io = pytest.importorskip("scipy.io", reason="the optional scipy is not installed")

INTRINSICS = {"TS1": (1500.0, 1490.0, 1000.0, 550.0), "TS2": (800.0, 810.0, 300.0, 200.0)}
FIELDS = ("annot2", "annot3", "univ_annot3", "isValidFrame")


def joints(sequence, frame, person):
    """(17, 3) millimetres in the camera, two people a metre apart, 3 to 4 m away."""
    rng = np.random.default_rng([int(sequence[2:]), frame, person])
    return rng.uniform(-400, 400, (17, 3)) + np.array([1000.0 * person - 500, 0, 3500])


def pixels(sequence, points):
    fx, fy, cx, cy = INTRINSICS[sequence]
    return np.stack([fx * points[:, 0] / points[:, 2] + cx, fy * points[:, 1] / points[:, 2] + cy], -1)


def annotations(sequence, valid):
    """`annot.mat`: struct (frames, people) of (2, 17) and (3, 17); who is not valid has zeros."""
    table = np.zeros(np.shape(valid), dtype=[(name, object) for name in FIELDS])
    for (frame, person), flag in np.ndenumerate(valid):
        points = joints(sequence, frame, person) * flag
        table[frame, person]["annot3"] = points.T
        table[frame, person]["univ_annot3"] = 1.1 * points.T
        table[frame, person]["annot2"] = pixels(sequence, points).T if flag else np.zeros((2, 17))
        table[frame, person]["isValidFrame"] = float(flag)
    return {"annotations": table}


VALID = {"TS1": [[1, 1], [0, 0], [0, 1]], "TS2": [[1], [1]]}


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    root = tmp_path_factory.mktemp("set") / "mupots"
    for name, valid in VALID.items():
        (root / name).mkdir(parents=True)
        scipy_io.savemat(root / name / "annot.mat", annotations(name, np.array(valid)))
        for frame in range(len(valid)):
            cv2.imwrite(str(root / name / f"img_{frame:06d}.jpg"), np.zeros((45, 80, 3), np.uint8))
    detections = {
        "TS1/img_000000.jpg": [[1.0, 2.0, 30.0, 40.0, 0.9], [5.0, 6.0, 7.0, 8.0, 0.1], [9.0, 1.0, 2.0, 3.0, 0.11]],
        "TS1/img_000001.jpg": [],
        "TS2/img_000001.jpg": [[4.0, 3.0, 2.0, 1.0, 0.5]],
    }
    (root / "yolov3_detections.pkl").write_bytes(pickle.dumps(detections, protocol=2))
    return root


def prepared(root, out, sequences=("TS1", "TS2")):
    options = mupots.MupotsOptions(sequences=sequences)
    return prepare_data_set(data_source("mupots"), root, out, options, show=False)


@pytest.fixture(scope="module")
def out(download, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    prepared(download, folder)
    return folder


def test_labels__are_the_valid_people_in_metres_in_the_camera(out):
    found = read_labels(out / "labels.npz")
    assert found.images.sequence[found.image].tolist() == ["TS1"] * 3 + ["TS2"] * 2
    assert found.images.frame[found.image].tolist() == [0, 0, 2, 0, 1]
    assert found.person.tolist() == [0, 1, 1, 0, 0]
    assert len(found.images) == 5  # the frame without anybody too
    assert found.images.size[0].tolist() == [80, 45]
    np.testing.assert_allclose(found.values["joints_camera"][2], joints("TS1", 2, 1) / 1000, atol=1e-12)
    np.testing.assert_allclose(found.values["joints_universal"][2], joints("TS1", 2, 1) * 1.1 / 1000, atol=1e-12)
    np.testing.assert_allclose(found.values["keypoints"][4], pixels("TS2", joints("TS2", 1, 0)), atol=1e-9)


def test_intrinsics__are_fitted_and_written_in_the_original_form(out):
    document = json.loads((out / "camera_intrinsics.json").read_text())
    assert list(document) == ["TS1", "TS2"]
    for name, (fx, fy, cx, cy) in INTRINSICS.items():
        np.testing.assert_allclose(document[name], [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], atol=1e-6)


def test_intrinsics__are_the_least_squares_of_noisy_points():
    """Against the closed form of a straight line through (X / Z, u), each axis alone."""
    rng = np.random.default_rng(5)
    points = joints("TS1", 0, 0)[None]
    noisy = pixels("TS1", points[0])[None] + rng.normal(size=(1, 17, 2))
    found = mupots.fitted_intrinsics(noisy, points / 1000)
    for axis in (0, 1):
        ray = points[0, :, axis] / points[0, :, 2]
        covariance = np.cov(ray, noisy[0, :, axis], bias=True)
        slope = covariance[0, 1] / covariance[0, 0]
        expected = [slope, noisy[0, :, axis].mean() - slope * ray.mean()]
        np.testing.assert_allclose([found[axis, axis], found[axis, 2]], expected, rtol=1e-9)


def test_intrinsics__without_points():
    with pytest.raises(InputError, match="do not tell a camera"):
        mupots.fitted_intrinsics(np.zeros((0, 17, 2)), np.zeros((0, 17, 3)))


def test_detections__above_the_confidence_one_a_row(out):
    found = read_labels(out / "detections.npz")
    np.testing.assert_array_equal(found.values["box"], [[1, 2, 30, 40], [9, 1, 2, 3], [4, 3, 2, 1]])
    assert found.values["score"].tolist() == [0.9, 0.11, 0.5]
    assert found.image.tolist() == [0, 0, 4]
    np.testing.assert_allclose(found.values["intrinsics"][2, 0], [800, 0, 300], atol=1e-6)


def metrabs_file(path, people):
    """A file of MeTRAbs's test run: millimetres, the pelvis last; truth is ones."""
    poses = np.array([joints(*who) + np.array([3.0, 0.0, 4.0]) for who in people])
    order = [*range(14), 15, 16, 14]
    np.savez(
        path,
        image_path=np.array([f"mupots/{name}/img_{frame:06d}.jpg".encode() for name, frame, _ in people]),
        coords3d_pred=poses[:, order].astype(np.float32),
        coords3d_true=np.ones((len(people), 17, 3), np.float32),
    )
    return path


def test_evaluate__scores_a_file_of_metrabs(out, tmp_path, capsys):
    """Everybody 3 mm right and 4 mm back, but for one who was not found; somebody where nobody is annotated."""
    people = [("TS1", 0, 1), ("TS1", 0, 0), ("TS1", 1, 0), ("TS2", 0, 0), ("TS2", 1, 0)]
    evaluate.run(
        evaluate.Options(
            predictions=metrabs_file(tmp_path / "predictions_mupots.npz", people),
            protocol="mupots",
            labels=out / "protocols/mupots.npz",
            out=tmp_path / "scores.json",
        )
    )
    assert "recall" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    values = scores["values"]
    assert values["metric/absolute/raw/mpjpe17_mm"] == pytest.approx(5.0, abs=1e-3)
    assert values["metric/relative/raw/mpjpe17_mm"] == pytest.approx(0.0, abs=1e-3)
    assert values["metric/absolute/raw/pck_matched"] == pytest.approx(100)
    assert values["metric/absolute/raw/pck_all"] == pytest.approx((100 * 2 / 3 + 100) / 2)
    assert values["recall"] == pytest.approx(100 * 4 / 5)
    assert scores["counts"] == {"people": 5, "matched": 4, "detections": 5}


def test_evaluate__without_intrinsics_says_where_they_are(out, tmp_path):
    path = metrabs_file(tmp_path / "predictions_mupots.npz", [("TS1", 0, 0)])
    with pytest.raises(InputError, match=r"need 'intrinsics'.*protocols/mupots\.npz"):
        evaluate.run(evaluate.Options(predictions=path, protocol="mupots"))


def test_protocol__detections_of_other_frames_are_refused(out):
    labels = read_pose_rows(out / "protocols/mupots.npz")
    rows = pose_rows(
        np.zeros((3, 17, 3)),
        joint_names=labels.joint_names,
        sequence=["TS1", "TS1", "TS2"],
        frame=[0, 3, 0],
        keypoints=np.zeros((3, 17, 2)),
    )
    with pytest.raises(InputError, match=r"1 are of frames without labels, rows 1 \(TS1 frame 3"):
        protocol("mupots").score(rows, labels)


def test_missing__names_file_source_and_licence(download, tmp_path):
    with pytest.raises(MissingAssetError, match=r"TS3.*MuPoTS-3D.*SingleShotMultiPerson.*non-commercial"):
        prepared(download, tmp_path / "o", ("TS1", "TS3"))
    with pytest.raises(InputError, match="no TS21"):
        prepared(download, tmp_path / "p", ("TS21",))


def test_annotation__damaged(tmp_path):
    table = annotations("TS1", np.array([[1, 1]]))
    table["annotations"][0, 1]["annot3"] = np.zeros((3, 14))
    scipy_io.savemat(tmp_path / "annot.mat", table)
    with pytest.raises(FormatError, match=r"annotations\(1,2\).annot3': expected numbers"):
        mupots.read_film(tmp_path / "annot.mat")
    scipy_io.savemat(tmp_path / "annot.mat", {"annotations": np.zeros((3, 2))})
    with pytest.raises(FormatError, match="expected a struct for each frame and person"):
        mupots.read_film(tmp_path / "annot.mat")


def test_annotation__of_one_frame_and_person(tmp_path):
    scipy_io.savemat(tmp_path / "annot.mat", annotations("TS1", np.array([[1]])))
    assert mupots.read_film(tmp_path / "annot.mat").joints.shape == (1, 17, 3)
