"""Predict to a file, score the file, compare two files."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from marey.core import CalibrationError, FormatError, InputError, MissingAssetError, Observation, skeleton
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.engine.evaluation import (
    LABELS,
    PREDICTIONS,
    Metric,
    compare,
    comparison_document,
    natural_clusters,
    predict,
    read_predicted,
    rows_of,
    score,
)
from marey.io.predictions import pose_rows, read_pose_rows
from marey.methods.classical import ClassicalEstimator
from marey.metrics.comparison import Comparison
from marey.metrics.protocols import protocol


class Figures:
    """One figure before four cameras: every frame of the recording is a sample, seen by some of the cameras."""

    name = "figures"
    cells = {"four": range(4), "two": range(2)}  # noqa: RUF012 - a table, never changed

    def __init__(self, frames=12):
        config = KeypointCaptureConfig(frames=frames, skeleton="coco_17", shuffle=False, fps=5.0)
        self.capture = make_keypoint_capture(config)

    def samples(self, cell, start=0, stop=None):
        views = list(self.cells[cell])
        for place in range(*slice(start, stop).indices(self.capture.truth.batch_shape[0])):
            keypoints = self.capture.detections.keypoints[:, place : place + 1, :1]
            yield Observation(keypoints=keypoints[views], cameras=self.capture.cameras[views], start=place)

    def labels(self, cell):
        joints = self.capture.truth.positions[:, 0].numpy()
        return pose_rows(
            joints,
            joint_names=skeleton("coco_17").joints,
            sequence=[cell] * len(joints),
            frame=range(len(joints)),
            benchmark="figures v1",
        )


class Counting:
    """An estimator that counts how often it is called, and may be stopped."""

    requires = ClassicalEstimator.requires

    def __init__(self, stop_at=None):
        self.calls, self.stop_at, self.inner = 0, stop_at, ClassicalEstimator()

    def __call__(self, observation):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return self.inner(observation)


SETTINGS = {"method": "classical"}


@pytest.fixture(scope="module")
def figures():
    return Figures()


@pytest.fixture
def predicted(figures, tmp_path):
    predict(ClassicalEstimator(), figures, "four", tmp_path / "four", settings=SETTINGS, chunk=5)
    return tmp_path / "four"


def test_predict__rows_are_the_estimates_in_the_order_of_the_labels(figures, predicted):
    rows, labels = read_predicted(predicted)
    assert rows.benchmark == labels.benchmark == "figures v1"
    assert rows.frame.tolist() == list(range(12))
    for place, observation in enumerate(figures.samples("four")):
        expected = ClassicalEstimator()(observation).joints
        np.testing.assert_array_equal(rows.values["joints"][place], expected.positions[0, 0].numpy())
        np.testing.assert_array_equal(rows.values["joints_covariance"][place], expected.covariance[0, 0].numpy())
    assert np.linalg.norm(rows.values["joints"] - labels.values["joints"], axis=-1).mean() < 0.05
    card = json.loads((predicted / f"{PREDICTIONS}.json").read_text("utf-8"))
    assert (card["benchmark"], card["cell"], card["samples"], card["settings"]) == ("figures v1", "four", 12, SETTINGS)
    assert {path.name for path in predicted.iterdir()} == {PREDICTIONS, f"{PREDICTIONS}.json", LABELS}


def test_predict__interrupted__goes_on_and_ends_with_the_same_bytes(figures, predicted, tmp_path):
    stopped, done = Counting(stop_at=8), []
    with pytest.raises(KeyboardInterrupt):
        predict(stopped, figures, "four", tmp_path / "again", settings=SETTINGS, chunk=5, done=done.append)
    assert done == [5]
    assert not (tmp_path / "again" / PREDICTIONS).exists()
    with pytest.raises(MissingAssetError, match=r"predict first, or finish a prediction that was interrupted"):
        score(tmp_path / "again", ["uncertainty"])
    resumed = Counting()
    predict(resumed, figures, "four", tmp_path / "again", settings=SETTINGS, chunk=5, done=done.append)
    assert resumed.calls == 7  # the first five are kept, the two of the stopped chunk are made again
    assert done == [5, 5, 5, 2]
    first, second = read_pose_rows(predicted / PREDICTIONS), read_pose_rows(tmp_path / "again" / PREDICTIONS)
    for key, array in first.values.items():
        np.testing.assert_array_equal(array, second.values[key])


def test_predict__gone_on_with_in_other_chunks__has_every_row_once(figures, predicted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict(Counting(stop_at=8), figures, "four", tmp_path / "again", settings=SETTINGS, chunk=5)
    predict(Counting(), figures, "four", tmp_path / "again", settings=SETTINGS, chunk=4)
    first, second = read_pose_rows(predicted / PREDICTIONS), read_pose_rows(tmp_path / "again" / PREDICTIONS)
    assert second.frame.tolist() == list(range(12))
    np.testing.assert_array_equal(first.values["joints"], second.values["joints"])


def test_predict__keeps_keypoints_and_weights_of_views__as_many_as_the_widest_sample_has(figures, tmp_path):
    class Blinded(Figures):
        """The last frames are seen by two cameras only."""

        def samples(self, cell, start=0, stop=None):
            for observation in super().samples(cell, start, stop):
                pair = replace(observation, keypoints=observation.keypoints[:2], cameras=observation.cameras[:2])
                yield pair if observation.start >= 8 else observation

    predict(ClassicalEstimator(), Blinded(), "four", tmp_path / "four", settings=SETTINGS, chunk=5)
    rows, _ = read_predicted(tmp_path / "four")
    names = list(figures.capture.cameras.names)
    assert rows.values["view_names"].tolist() == [names] * 8 + [[*names[:2], "", ""]] * 4
    found = rows.values["view_keypoints"]
    expected = figures.capture.detections.keypoints.positions[:, :, 0].transpose(0, 1).numpy()
    np.testing.assert_array_equal(found[:8], expected[:8])
    np.testing.assert_array_equal(found[8:, :2], expected[8:, :2])
    assert np.isnan(found[8:, 2:]).all()
    assert np.isnan(rows.values["view_weights"][8:, 2:]).all()
    assert np.nanmax(rows.values["view_weights"][8:, :2]) <= 1


def test_predict__finished__is_not_made_again(figures, predicted):
    estimator, done = Counting(), []
    predict(estimator, figures, "four", predicted, settings=SETTINGS, chunk=5, done=done.append)
    assert (estimator.calls, done) == (0, [12])


def test_predict__other_settings__are_refused(figures, predicted, tmp_path):
    with pytest.raises(InputError, match=r"predictions\.npz was made with other settings.*choose another --out"):
        predict(ClassicalEstimator(), figures, "four", predicted, settings={"method": "other"})
    with pytest.raises(KeyboardInterrupt):
        predict(Counting(stop_at=8), figures, "four", tmp_path / "cut", settings=SETTINGS, chunk=5)
    with pytest.raises(InputError, match=r"interrupted and had other settings; remove it"):
        predict(ClassicalEstimator(), figures, "four", tmp_path / "cut", settings=SETTINGS, limit=3, chunk=5)


def test_predict__limit(figures, tmp_path):
    predict(ClassicalEstimator(), figures, "two", tmp_path, settings=SETTINGS, limit=3)
    rows, labels = read_predicted(tmp_path)
    assert len(rows) == len(labels) == 3
    with pytest.raises(InputError, match=r"limit: expected 1 or more samples, got 0"):
        predict(ClassicalEstimator(), figures, "two", tmp_path, settings=SETTINGS, limit=0)


def test_predict__what_the_estimator_raises_comes_through_and_leaves_no_file(figures, tmp_path):
    class Blind(Figures):
        def samples(self, cell, start=0, stop=None):
            for observation in super().samples(cell, start, stop):
                yield replace(observation, cameras=None)

    with pytest.raises(CalibrationError, match="needs calibrated cameras"):
        predict(ClassicalEstimator(), Blind(frames=2), "two", tmp_path, settings=SETTINGS)
    assert not (tmp_path / PREDICTIONS).exists()


def test_rows__people_and_frames_must_be_those_of_the_labels(figures):
    estimates = [ClassicalEstimator()(observation) for observation in figures.samples("two", 0, 3)]
    labels = figures.labels("two")
    with pytest.raises(InputError, match=r"expected one person in each of 2 frames, as labelled, got \[\(1, 1\)"):
        rows_of(estimates, labels[np.arange(2)])
    together = figures.capture.detections.keypoints[:, :3, :1]
    one = ClassicalEstimator()(Observation(keypoints=together, cameras=figures.capture.cameras))
    assert len(rows_of([one], labels[np.arange(3)])) == 3  # an observation of several frames


def test_score__says_how_good_and_how_honest(predicted):
    found = score(predicted, ["uncertainty", "synthetic"])
    values = found["uncertainty"].values
    assert 1 < values["mpjpe_absolute_mm"] < 50
    assert values["coverage_50_percent"] < values["coverage_80_percent"] <= values["coverage_95_percent"]
    assert 75 < values["coverage_90_percent"] <= 100
    assert values["energy_score_mm"] < values["mpjpe_absolute_mm"]
    assert found["synthetic"].values["mpjpe_mm"] < 50


def test_score__needs_the_files_only(predicted):
    """Without the benchmark, the estimator or any data: in a process that cannot import them."""
    code = f"""
import sys
for name in ("marey.data", "marey.methods", "marey.detect"):
    sys.modules[name] = None
from marey.engine.evaluation import score
print(round(score({str(predicted)!r}, ["uncertainty"])["uncertainty"].values["known_percent"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "100", done.stderr


def _rows(shift=0.0, *, seed=1, count=40, sequence=None, spread=0.01):
    random = np.random.default_rng(0)
    truth = random.normal(size=(count, 3, 3))
    noise = np.random.default_rng(seed).normal(scale=spread, size=truth.shape)
    keys = {
        "joint_names": ("a", "b", "c"),
        "sequence": ["s"] * count if sequence is None else sequence,
        "frame": range(count),
        "benchmark": "box v1",
    }
    covariance = np.broadcast_to(1e-4 * np.eye(3), (count, 3, 3, 3))
    return pose_rows(truth + noise + shift, joints_covariance=covariance, **keys), pose_rows(truth, **keys)


def test_compare__a_better_method_beats_and_the_order_turns_it():
    (near, labels), (far, _) = _rows(), _rows(0.02, seed=2)
    ruler = protocol("uncertainty")
    found = {metric.name: metric for metric in compare(near, far, labels, ruler=ruler)}
    assert {found[name].verdict for name in ("mpjpe_absolute_mm", "nll", "energy_score_mm")} == {"first beats second"}
    assert found["mpjpe_absolute_mm"].comparison.difference < -5
    turned = {metric.name: metric for metric in compare(far, near, labels, ruler=ruler)}
    assert turned["nll"].verdict == "second beats first"
    assert found["coverage_90_percent"].verdict == "neither"
    document = json.loads(json.dumps(comparison_document(list(found.values()))))
    assert document["nll"]["verdict"] == "first beats second"
    assert document["nll"]["low"] < document["nll"]["difference"] < document["nll"]["high"] < 0


def test_compare__the_same_method__is_undecided():
    (first, labels), (second, _) = _rows(seed=3), _rows(seed=4)
    found = {metric.name: metric for metric in compare(first, second, labels, ruler=protocol("uncertainty"))}
    assert found["mpjpe_absolute_mm"].verdict == "undecided"


def test_compare__joints_that_one_does_not_know_count_for_neither():
    """What one leaves out are its hardest joints: it must not win by that."""
    (first, labels), (second, _) = _rows(), _rows()
    hard = np.linalg.norm(first.values["joints"] - labels.values["joints"], axis=-1) > 0.015
    first.values["joints"][hard] = np.nan
    metric = compare(first, second, labels, ruler=protocol("uncertainty"))[0]
    assert metric.name == "mpjpe_absolute_mm"
    assert metric.comparison.difference == 0.0
    assert metric.verdict == "undecided"


def test_compare__sequences_are_drawn_as_wholes():
    sequence = [f"walk{place // 10}" for place in range(40)]
    (first, labels), (second, _) = _rows(sequence=sequence), _rows(0.01, seed=2, sequence=sequence)
    assert compare(first, second, labels, ruler=protocol("uncertainty"))[0].comparison.clusters == 4
    alone = compare(first, second, labels, ruler=protocol("uncertainty"), clusters=np.arange(40))
    assert alone[0].comparison.clusters == 40
    assert natural_clusters(labels).tolist() == sequence


def test_compare__other_rows_are_refused():
    (first, labels), (second, _) = _rows(), _rows()
    with pytest.raises(InputError, match=r"none for 1 labels, rows 39"):
        compare(first, second[np.arange(39)], labels, ruler=protocol("uncertainty"))


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict"),
    [
        ("mpjpe_mm", -2.0, -1.0, "first beats second"),
        ("mpjpe_mm", 1.0, 2.0, "second beats first"),
        ("mpjpe_mm", -1.0, 2.0, "undecided"),
        ("mpjpe_mm", 0.0, 2.0, "undecided"),
        ("pck", 1.0, 2.0, "first beats second"),
        ("auc", -2.0, -1.0, "second beats first"),
        ("coverage_90_pct", 1.0, 2.0, "neither"),
    ],
)
def test_verdict__needs_an_interval_without_zero(name, low, high, verdict):
    comparison = Comparison(
        difference=(low + high) / 2,
        low=low,
        high=high,
        level=0.95,
        first=0,
        second=0,
        samples=9,
        clusters=9,
        left_out=0,
    )
    assert Metric(name=name, comparison=comparison).verdict == verdict


def test_read_card__damaged__says_so(predicted, figures):
    (predicted / f"{PREDICTIONS}.json").write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match=r"not JSON.*predict again"):
        predict(ClassicalEstimator(), figures, "four", predicted, settings=SETTINGS)
