"""Methods on benchmarks by name."""

import json

import numpy as np
import pytest

from marey.core import CalibrationError, InputError, MissingAssetError, Observation, skeleton
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.io.predictions import pose_rows
from marey.metrics.protocols import PROTOCOLS
from marey.pipeline import evaluating
from marey.pipeline.evaluating import (
    BENCHMARKS,
    DATA_PROTOCOLS,
    ESTIMATORS,
    OWN_PROTOCOLS,
    Measure,
    evaluate_method,
    protocols_of,
)


class Figures:
    """A figure before four cameras; the cell `blind` tells nothing of them."""

    name = "figures"
    cells = dict.fromkeys(("four", "blind"))
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=5, skeleton="coco_17", shuffle=False))

    def samples(self, cell, start=0, stop=None):
        keypoints = self.capture.detections.keypoints[:, start:stop, :1]
        yield Observation(keypoints=keypoints, cameras=None if cell == "blind" else self.capture.cameras)

    def labels(self, cell):
        joints = self.capture.truth.positions[:, 0].numpy()
        keys = {"sequence": [cell] * 5, "frame": range(5), "benchmark": "figures v1"}
        return pose_rows(joints, joint_names=skeleton("coco_17").joints, **keys)


@pytest.fixture
def figures(monkeypatch):
    """One line makes a benchmark known, as one line makes a method known."""
    table = {"figures": Measure(f"{__name__}:Figures", ("synthetic", "uncertainty"))}
    monkeypatch.setattr(evaluating, "BENCHMARKS", table)


def test_evaluate__scores_every_cell_that_the_method_takes_and_tells_the_others(figures, tmp_path):
    found = evaluate_method("classical", "figures", tmp_path)
    assert found["four"]["synthetic"].values["mpjpe_mm"] < 50
    assert found["blind"] == "triangulation needs calibrated cameras; pass a calibration file"
    document = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert (document["method"], document["benchmark"]) == ("classical", "figures")
    assert document["cells"]["blind"] == {"not_run": found["blind"]}
    scores = document["cells"]["four"]
    assert scores["uncertainty"]["card"]["name"] == "uncertainty"
    assert scores["synthetic"]["values"]["mpjpe_mm"] == found["four"]["synthetic"].values["mpjpe_mm"]
    card = json.loads((tmp_path / "four" / "predictions.npz.json").read_text("utf-8"))
    assert card["settings"]["estimator"] == {"compiled": False, "triangulation": "robust"}


def test_evaluate__a_cell_that_was_asked_for_must_work(figures, tmp_path):
    with pytest.raises(CalibrationError, match="needs calibrated cameras"):
        evaluate_method("classical", "figures", tmp_path, cells=("blind",))


@pytest.mark.parametrize(
    ("method", "benchmark", "cells", "message"),
    [
        ("clasical", "figures", (), r"method: expected one of classical, monocular.*, got 'clasical'"),
        ("classical", "figures", ("five",), r"cell: no five in figures; there are: four, blind"),
    ],
)
def test_evaluate__names_that_are_not_there(figures, tmp_path, method, benchmark, cells, message):
    with pytest.raises(InputError, match=message):
        evaluate_method(method, benchmark, tmp_path / "out", cells=cells)
    assert not (tmp_path / "out").exists()


def test_evaluate__a_benchmark_that_is_not_there(figures, tmp_path):
    with pytest.raises(MissingAssetError, match=r"there is no figure.labels\.npz.* Benchmarks of their own: figures"):
        evaluate_method("classical", "figure", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_lifted__one_view_with_keypoints_only():
    """The lifter makes the guess; the figure stands where its keypoints and an adult's size put it."""
    estimator = evaluating._made(ESTIMATORS, "monocular", "method")
    capture = Figures.capture
    keypoints, camera = capture.detections.keypoints[:1, :, :1], capture.cameras[:1]
    joints = estimator(Observation(keypoints=keypoints, cameras=camera)).joints
    error = np.linalg.norm(joints.positions.numpy() - capture.truth.positions.numpy(), axis=-1)
    assert np.median(error) < 0.5


def test_tables__lead_somewhere():
    for target in (*ESTIMATORS.values(), *(measure.target for measure in BENCHMARKS.values())):
        assert callable(evaluating._load(target))
    assert protocols_of("synthetic v1") == ("synthetic", "uncertainty")
    assert protocols_of("h36m official, steps 5/64")[0] == "h36m"
    assert protocols_of("") == ()
    for protocols in (*DATA_PROTOCOLS.values(), OWN_PROTOCOLS):
        assert set(protocols) <= set(PROTOCOLS)
