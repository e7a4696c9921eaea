import json

import numpy as np
import pytest

from marey.cli.evaluate import Options, run
from marey.cli.main import main
from marey.core import InputError
from marey.core.skeletons import skeleton
from marey.io.predictions import pose_rows, write_pose_rows
from marey.metrics.protocols.pw3d import JOINTS


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
