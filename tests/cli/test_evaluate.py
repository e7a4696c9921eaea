import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from labelled_set import estimate_of, moments_set, pose_of
from marey.cli.evaluate import Options, run
from marey.cli.main import main
from marey.core import InputError, Requirements
from marey.core.skeletons import skeleton
from marey.io.predictions import pose_rows, write_pose_rows
from marey.metrics.protocols.pw3d import JOINTS
from marey.pipeline import evaluating


def test_run__prints_numbers_and_card_and_writes_json(tmp_path, capsys):
    joints = np.random.default_rng(0).normal(size=(2, 24, 3))
    rows = pose_rows(joints, joint_names=JOINTS, sequence=["walk", "walk"], frame=[0, 1])
    write_pose_rows(tmp_path / "poses.npz", rows)
    paths = {"predictions": tmp_path / "poses.npz", "labels": tmp_path / "poses.npz", "out": tmp_path / "scores.json"}
    run(Options(protocol="3dpw-challenge", **paths))
    printed = capsys.readouterr().out
    assert "mpjpe_mm          0.000" in printed
    assert "pelvis on pelvis" in printed
    assert "2 rows" in printed
    assert json.loads((tmp_path / "scores.json").read_text("utf-8"))["values"]["pck"] == 100


def _predictions(folder, name, *, error, seed):
    """What `marey evaluate METHOD` leaves: predictions, a card that names benchmark and labels, and these."""
    random = np.random.default_rng(0)
    truth, names = random.normal(scale=0.4, size=(30, 17, 3)), skeleton("coco_17").joints
    keys = {"joint_names": names, "sequence": ["cell"] * 30, "frame": range(30), "benchmark": "synthetic v1"}
    found = truth + np.random.default_rng(seed).normal(scale=error, size=truth.shape)
    place = folder / name
    place.mkdir()
    spread = np.broadcast_to(error**2 * np.eye(3), (30, 17, 3, 3))
    write_pose_rows(place / "predictions.npz", pose_rows(found, joints_covariance=spread, **keys))
    write_pose_rows(place / "labels.npz", pose_rows(truth, **keys))
    card = {"benchmark": "synthetic v1", "labels": "labels.npz"}
    (place / "predictions.npz.json").write_text(json.dumps(card), "utf-8")
    return place


def test_run__predictions_of_a_benchmark_need_neither_protocol_nor_labels(tmp_path, capsys):
    place = _predictions(tmp_path, "a", error=0.02, seed=1)
    run(Options(predictions=place / "predictions.npz", out=tmp_path / "scores.json"))
    printed = capsys.readouterr().out
    assert "coverage_90_percent" in printed
    assert "middle of the hips" in printed
    assert set(json.loads((tmp_path / "scores.json").read_text("utf-8"))) == {"synthetic", "uncertainty"}


def test_run__compare_says_who_beats_whom_and_by_how_much(tmp_path, capsys):
    near, far = _predictions(tmp_path, "a", error=0.02, seed=1), _predictions(tmp_path, "b", error=0.03, seed=2)
    assert main(["evaluate", "--compare", str(near), str(far), "--out", str(tmp_path / "verdict.json")]) == 0
    printed = capsys.readouterr().out
    assert "mpjpe_mm" in printed
    assert "first beats second" in printed
    assert "30 rows in 30 independent groups" in printed
    found = json.loads((tmp_path / "verdict.json").read_text("utf-8"))["uncertainty"]["energy_score_mm"]
    assert found["verdict"] == "first beats second"
    assert found["low"] < found["difference"] < found["high"] < 0


def test_run__compare_of_the_same__is_undecided(tmp_path, capsys):
    place = _predictions(tmp_path, "a", error=0.02, seed=1)
    run(Options(compare=(place, place)))
    assert "beats" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"expected one of METHOD, --predictions and --compare, got none"),
        ({"method": "classical", "predictions": "a"}, r"got method, predictions"),
        ({"method": "classical"}, r"pass --benchmark and --out"),
        ({"predictions": "none"}, r"protocol: pass --protocol"),
    ],
)
def test_run__what_is_asked_for_must_be_one_thing(tmp_path, given, message):
    if "predictions" in given:
        given = given | {"predictions": tmp_path / given["predictions"]}
    with pytest.raises(InputError, match=message):
        run(Options(**given))


@pytest.fixture
def data_set(tmp_path, monkeypatch):
    """Three moments of a data set, and a method that knows it."""
    moments = [("S9", "Walking-1", 0), ("S9", "Walking-1", 5), ("S11", "Posing-2", 7)]
    monkeypatch.setattr(evaluating, "ESTIMATORS", {"still": f"{__name__}:Still"})
    return moments_set(tmp_path / "set", moments)


@dataclass(frozen=True, kw_only=True)
class Still:
    """Knows the truth by the place of the box, but for `away_mm` along z."""

    away_mm: float = 0.0
    weights: Path | None = None

    requires = Requirements(views=(1, None), evidence="images", calibration="full", temporal="frame")

    def __call__(self, observation):
        samples = (observation.boxes.corners[0, :, 0, 0] - 2).long().tolist()
        poses = np.stack([pose_of(sample) for sample in samples]) + np.array([0, 0, self.away_mm / 1000])
        return estimate_of(poses, skeleton("h36m_17"), observation.cameras)


def test_run__a_data_set_with_its_options(data_set, tmp_path, capsys):
    given = ["evaluate", "still", "--benchmark", str(data_set), "--out", str(tmp_path / "out")]
    chosen = ["--split", "val", "--views", "1", "--every", "2", "--set", "away_mm=20", "--weights", "net.pth"]
    assert main([*given, *chosen]) == 0
    assert "h36m         mpjpe_mm                   20.000" in capsys.readouterr().out
    cell = tmp_path / "out" / "val_views_cam1"
    assert {path.name for path in cell.iterdir()} == {
        "labels.npz", "metric.json", "predictions.npz", "predictions.npz.json", "results.pkl",
    }  # fmt: skip
    table = json.loads((cell / "metric.json").read_text("utf-8"))["per_pose_error"]
    assert table["Average"]["Average"] == pytest.approx(20)
    settings = json.loads((cell / "predictions.npz.json").read_text("utf-8"))["settings"]
    assert settings["estimator"] == {"away_mm": 20.0, "weights": "net.pth"}
    assert settings["data"]["moments"]["views"] == ["1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--views", "7"], "views: h36m has no '7'"),
        (["--every", "0"], "every: expected 1 or more, got 0"),
        (["--centers-labels", "a.npy"], "--centers-labels goes with --centers FILE"),
        (["--centers", "none.npz"], "none.npz does not exist"),
        (["--set", "far=1"], "still: --set far=1: unknown setting 'far'"),
    ],
)
def test_run__options_of_a_data_set_that_are_wrong(data_set, tmp_path, capsys, arguments, message):
    given = ["evaluate", "still", "--benchmark", str(data_set), "--out", str(tmp_path / "out")]
    assert main([*given, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_run__centers_of_the_labels(data_set, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Still, "__call__", _noting(Still.__call__, seen))
    given = ["evaluate", "still", "--benchmark", str(data_set), "--out", str(tmp_path / "out")]
    assert main([*given, "--centers", "labels"]) == 0
    assert torch.cat(seen)[:, 0].tolist() == [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]


def _noting(call, seen):
    def noted(self, observation):
        seen.append(observation.centers)
        return call(self, observation)

    return noted
