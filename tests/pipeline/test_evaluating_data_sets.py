"""Methods on prepared data sets: the original's two files, worked out by hand."""

import json
import math
import pickle
import pickletools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from labelled_set import estimate_of, moments_set, pose_of
from marey.core import InputError, MissingAssetError, Requirements, Skeleton, skeleton
from marey.data.labelled_benchmark import DataChoice
from marey.data.moment_table import MomentOptions
from marey.data.precomputed_centers import PredictionFile
from marey.io.predictions_published import TRIANGULATION_JOINTS
from marey.pipeline import evaluating
from marey.pipeline.evaluating import evaluate_method

MOMENTS = [
    ("S9", "Walking-1", 0),
    ("S9", "Walking-1", 5),
    ("S9", "Walking-2", 0),
    ("S9", "Posing-1", 0),
    ("S11", "Posing-1", 0),
]
OFFSETS_MM = (10.0, 10.0, 40.0, 20.0, 50.0)
"""Of each sample's whole pose, along x."""
BONES = {"all": skeleton("h36m_17"), "short": Skeleton("short", ("pelvis", "left_knee", "left_elbow"), ((0, 1),))}


@dataclass(frozen=True, kw_only=True)
class Displaced:
    """Knows the truth by the place of the box; moves it along x, and one joint more."""

    bones: str = "all"
    weights: Path | None = None
    further_mm: float = 0.0
    """Of the first elbow, along y."""
    unknown: int = -1
    """A sample that is not found."""

    requires = Requirements(views=(1, None), evidence="images", calibration="full", temporal="frame")

    def __call__(self, observation):
        samples = (observation.boxes.corners[0, :, 0, 0] - 2).long().tolist()
        names = skeleton("h36m_17").joints
        poses = np.stack([pose_of(sample) + np.array([OFFSETS_MM[sample] / 1000, 0, 0]) for sample in samples])
        poses[:, names.index("left_elbow"), 1] += self.further_mm / 1000
        poses[np.array(samples) == self.unknown] = np.nan
        if observation.centers is not None:
            poses = poses - poses[:, :1] + observation.centers.numpy()
        bones = BONES[self.bones]
        picked = [names.index(name) for name in bones.joints if name in names]
        return estimate_of(poses[:, picked], bones, observation.cameras)


@pytest.fixture(autouse=True)
def displaced(monkeypatch):
    monkeypatch.setattr(evaluating, "ESTIMATORS", {"displaced": f"{__name__}:Displaced"})


@pytest.fixture
def folder(tmp_path):
    return moments_set(tmp_path / "h36m", MOMENTS)


def metric(out, cell="val"):
    return json.loads((out / cell / "metric.json").read_text("utf-8"))


def test_h36m__metric_json_is_the_one_of_the_original(folder, tmp_path):
    found = evaluate_method("displaced", str(folder), tmp_path / "out")
    table = metric(tmp_path / "out")
    assert set(table) == {"per_pose_error", "per_pose_error_relative"}
    absolute = table["per_pose_error"]
    # by frames, not by actions: Walking has three, its trials are one
    assert absolute["Average"]["Walking"] == pytest.approx((10 + 10 + 40) / 3)
    assert absolute["Average"]["Posing"] == pytest.approx((20 + 50) / 2)
    assert absolute["Average"]["Average"] == pytest.approx((10 + 10 + 40 + 20 + 50) / 5)
    assert absolute["S9"]["Average"] == pytest.approx((10 + 10 + 40 + 20) / 4)
    assert absolute["S9"]["Posing"] == pytest.approx(20)
    assert absolute["S11"]["Average"] == pytest.approx(50)
    assert table["per_pose_error_relative"]["Average"]["Average"] == pytest.approx(0, abs=1e-4)
    # subjects and actions without frames are there, and nothing is claimed of them
    assert set(absolute) == {"Average", "S1", "S5", "S6", "S7", "S8", "S9", "S11"}
    assert len(absolute["S9"]) == 16
    assert math.isnan(absolute["S1"]["Average"])
    assert math.isnan(absolute["S11"]["Walking"])
    assert math.isnan(absolute["Average"]["Eating"])
    assert found["val"]["h36m"].values["mpjpe_mm"] == pytest.approx(26.0)


def test_h36m__relative_errors_are_to_the_pelvis_of_each(folder, tmp_path):
    evaluate_method("displaced", str(folder), tmp_path / "out", changes=("further_mm=34.0",))
    relative = metric(tmp_path / "out")["per_pose_error_relative"]
    assert relative["Average"]["Average"] == pytest.approx(34 / 17, abs=1e-3)
    assert relative["S9"]["Walking"] == pytest.approx(34 / 17, abs=1e-3)


def test_h36m__results_pkl_is_plain_data_in_its_order_and_unit(folder, tmp_path):
    evaluate_method("displaced", str(folder), tmp_path / "out", limit=3)
    stream = (tmp_path / "out" / "val" / "results.pkl").read_bytes()
    document = pickle.loads(stream)
    assert set(document) == {"keypoints_3d", "indexes"}
    assert document["indexes"].tolist() == [0, 1, 2]
    assert document["keypoints_3d"].dtype == np.float32
    assert document["keypoints_3d"].shape == (3, 17, 3)
    pelvis = document["keypoints_3d"][:, TRIANGULATION_JOINTS.index("pelvis")]
    np.testing.assert_allclose(pelvis, [[10, 0, 0], [1010, 0, 0], [2040, 0, 0]], atol=1e-3)
    words = [argument for _, argument, _ in pickletools.genops(stream) if isinstance(argument, str)]
    assert "numpy.core.multiarray" in words  # which NumPy 1 has too
    assert not any("_core" in word for word in words)


def test_h36m__the_published_choice_of_samples(folder, tmp_path):
    """Two moments of damaged actions go; of the others every second stays."""
    damaged = moments_set(
        tmp_path / "damaged", [("S9", "Waiting-1", 0), ("S9", "Waiting-1", 5), *MOMENTS[2:]], missing=((4, 0),)
    )
    choice = DataChoice(moments=MomentOptions(damaged=False, every=2, views=("0",)))
    evaluate_method("displaced", str(damaged), tmp_path / "out", choice=choice)
    assert metric(tmp_path / "out", "val_views_cam0")["per_pose_error"]["Average"]["Average"] == pytest.approx(40)


def test_h36m__joints_that_are_not_predicted_are_told_and_the_rest_is_scored(folder, tmp_path):
    found = evaluate_method("displaced", str(folder), tmp_path / "out", changes=("bones=short",))["val"]
    assert "lacks the joints" in found["h36m"]
    assert found["common-joints"].values["mpjpe_mm"] == pytest.approx(26.0)
    assert found["common-joints"].counts["joints"] == 3
    document = json.loads((tmp_path / "out" / "scores.json").read_text("utf-8"))["cells"]["val"]
    assert "lacks the joints" in document["h36m"]["not_scored"]
    assert not (tmp_path / "out" / "val" / "metric.json").exists()
    assert (tmp_path / "out" / "val" / "results.pkl").exists()


def test_h36m__a_pose_that_was_not_found_is_named_not_averaged_away(folder, tmp_path):
    found = evaluate_method("displaced", str(folder), tmp_path / "out", changes=("unknown=1",))["val"]
    assert "S9/Walking-1 frame 5 person 0" in found["h36m"]
    assert found["common-joints"].counts["missing"] == 17
    assert not (tmp_path / "out" / "val" / "metric.json").exists()


def test_own__is_scored_by_sequence(tmp_path):
    own = moments_set(tmp_path / "own", [("", "walk", 0), ("", "walk", 1), ("", "sit", 0)], name="own", split="train")
    choice = DataChoice(moments=MomentOptions(split="train"))
    found = evaluate_method("displaced", str(own), tmp_path / "out", choice=choice)["train"]
    assert found["common-joints"].values == pytest.approx({"mpjpe_mm": 20.0, "mpjpe_relative_mm": 0.0}, abs=1e-4)
    assert metric(tmp_path / "out", "train")["per_pose_error"]["Average"] == pytest.approx(
        {"Average": 20.0, "walk": 10.0, "sit": 40.0}
    )


def test_settings__are_in_the_card_and_other_ones_are_another_prediction(folder, tmp_path):
    weights = tmp_path / "net.pth"
    evaluate_method("displaced", str(folder), tmp_path / "out", changes=(f"weights={weights}",))
    card = json.loads((tmp_path / "out" / "val" / "predictions.npz.json").read_text("utf-8"))
    assert card["settings"]["estimator"]["weights"] == str(weights)
    assert card["settings"]["data"]["moments"]["every"] == 1
    with pytest.raises(InputError, match="made with other settings"):
        evaluate_method("displaced", str(folder), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("wights=a", r"displaced: --set wights=a: unknown setting 'wights'; did you mean 'weights'\?"),
        ("further_mm=far", r"further_mm: expected float, got 'far'"),
        ("further_mm", r"expected FIELD=VALUE"),
    ],
)
def test_settings__that_are_none(folder, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        evaluate_method("displaced", str(folder), tmp_path / "out", changes=(change,))
    assert not (tmp_path / "out").exists()


def test_synthetic__has_cells_instead_of_splits(tmp_path):
    choice = DataChoice(moments=MomentOptions(split="train"))
    with pytest.raises(InputError, match="this benchmark has cells instead"):
        evaluate_method("displaced", "synthetic", tmp_path / "out", choice=choice)


def test_benchmark__that_is_nowhere(tmp_path):
    with pytest.raises(MissingAssetError, match=r"there is no .*labels\.npz.* Benchmarks of their own: synthetic"):
        evaluate_method("displaced", str(tmp_path / "none"), tmp_path / "out")


def published(path, poses, indexes):
    """A results.pkl as the original's train.py dumps it: joints (N, 17, 3) in millimetres, places in the data set."""
    path.write_bytes(pickle.dumps({"keypoints_3d": np.float32(poses), "indexes": np.int64(indexes)}))
    return path


def test_centers__of_a_published_file_come_to_their_samples(folder, tmp_path):
    """Shuffled, as its training split is; every pelvis lies at (1000 + place, 2000, 3000) mm."""
    poses = np.zeros((5, 17, 3))
    order = [3, 1, 4, 0, 2]
    poses[:, TRIANGULATION_JOINTS.index("pelvis")] = [[1000 + place, 2000, 3000] for place in order]
    file = PredictionFile(path=published(tmp_path / "val.pkl", poses, order))
    choice = DataChoice(centers=file, moments=MomentOptions(every=2))
    evaluate_method("displaced", str(folder), tmp_path / "out", choice=choice)
    with (tmp_path / "out" / "val" / "results.pkl").open("rb") as stream:
        joints = pickle.load(stream)["keypoints_3d"]
    pelvis = joints[:, TRIANGULATION_JOINTS.index("pelvis")]
    np.testing.assert_allclose(pelvis, [[1000, 2000, 3000], [1002, 2000, 3000], [1004, 2000, 3000]], atol=1e-3)


def test_centers__of_a_file_with_other_rows_need_the_labels_that_it_was_made_with(folder, tmp_path):
    """Three poses fit no choice of the five samples; by its own label file two of them are found by name."""
    poses = np.zeros((3, 17, 3))
    poses[:, TRIANGULATION_JOINTS.index("pelvis"), 0] = [500, 600, 700]
    path = published(tmp_path / "val.pkl", poses, [0, 1, 2])
    alone = DataChoice(centers=PredictionFile(path=path))
    with pytest.raises(InputError, match=r"val\.pkl: 3 poses, but val of these labels has 5 samples"):
        evaluate_method("displaced", str(folder), tmp_path / "out", choice=alone)
    labels = label_file(
        tmp_path / "labels.npy", [("S9", "Walking-1", 5), ("S9", "Walking-1", 99), ("S11", "Posing-1", 0)]
    )
    choice = DataChoice(centers=PredictionFile(path=path, labels=labels))
    with pytest.warns(UserWarning, match="3 of 5 rows of the labels have no predicted pelvis"):
        evaluate_method("displaced", str(folder), tmp_path / "other", choice=choice)
    joints = np.load(tmp_path / "other" / "val" / "predictions.npz")["joints"][:, 0, 0]
    np.testing.assert_allclose(joints, [np.nan, 0.5, np.nan, np.nan, 0.7], atol=1e-6)


def label_file(path, moments):
    """The original's label file, by the words of its preparation."""
    subjects, actions = ["S1", "S9", "S11"], ["Posing-1", "Walking-1"]
    fields = [("subject_idx", "i1"), ("action_idx", "i1"), ("frame_idx", "i2"), ("keypoints", "f4", (17, 3))]
    table = np.zeros(len(moments), dtype=[*fields, ("bbox_by_camera_tlbr", "i2", (1, 4))])
    for row, (subject, action, frame) in enumerate(moments):
        table[row]["subject_idx"], table[row]["action_idx"] = subjects.index(subject), actions.index(action)
        table[row]["frame_idx"] = frame
    table["bbox_by_camera_tlbr"] = [0, 0, 10, 10]
    cameras = np.zeros((3, 1), dtype=[("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", 5)])
    names = {"subject_names": subjects, "camera_names": ["54138969"], "action_names": actions}
    np.save(path, {**names, "cameras": cameras, "table": table})
    return path


def test_centers__of_our_own_rows(folder, tmp_path):
    evaluate_method("displaced", str(folder), tmp_path / "first")
    choice = DataChoice(centers=PredictionFile(path=tmp_path / "first" / "val" / "predictions.npz"))
    found = evaluate_method("displaced", str(folder), tmp_path / "second", choice=choice)["val"]
    assert found["h36m"].values["mpjpe_mm"] == pytest.approx(26.0)


def test_centers__that_are_not_there(folder, tmp_path):
    choice = DataChoice(centers=PredictionFile(path=tmp_path / "none.pkl"))
    with pytest.raises(MissingAssetError, match=r"none\.pkl does not exist"):
        evaluate_method("displaced", str(folder), tmp_path / "out", choice=choice)
