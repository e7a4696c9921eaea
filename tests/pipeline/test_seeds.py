"""Several seeds averaged, on files that another program could have written."""

import json

import numpy as np
import pytest

from marey.cli.main import main
from marey.core import InputError, MissingAssetError
from marey.pipeline.scoring import score_seeds

OFF_MM = (10.0, 20.0, 60.0)


@pytest.fixture
def path(tmp_path):
    truth = np.arange(17 * 3.0).reshape(1, 17, 3)
    for seed, off in enumerate(OFF_MM, start=1):
        found = truth.copy()
        found[0, 3, 0] += 17 * off
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        np.savez(
            folder / "predictions_h36m.npz",
            image_path=np.array(["h36m/S9/Images/Posing.1/frame_000064.jpg"]),
            coords3d_pred_world=found,
            coords3d_true_world=truth,
            activity_name=np.array(["Posing"]),
        )
    return tmp_path / "seed1" / "predictions_h36m.npz"


def test_score_seeds__mean_and_sample_deviation(path):
    found = score_seeds(path, 3, protocol_name="h36m-metrabs")
    assert found.mean["mpjpe_mm"] == pytest.approx(30.0)
    assert found.deviation["mpjpe_mm"] == pytest.approx((400 + 100 + 900) ** 0.5 / 2**0.5)
    assert [scores.values["mpjpe_mm"] for scores in found.seeds] == pytest.approx(OFF_MM)


def test_score_seeds__what_is_missing_is_told(path, tmp_path):
    with pytest.raises(MissingAssetError, match="seed4"):
        score_seeds(path, 4, protocol_name="h36m-metrabs")
    with pytest.raises(InputError, match="'seed1' in the path"):
        score_seeds(tmp_path / "seed2" / "predictions_h36m.npz", 3, protocol_name="h36m-metrabs")


def test_command__prints_and_writes_the_mean(path, tmp_path, capsys):
    words = ["--predictions", str(path), "--seeds", "2", "--protocol", "h36m-metrabs", "--out", str(tmp_path / "o")]
    assert main(["evaluate", *words]) == 0
    said = capsys.readouterr().out
    assert "of 2 seeds" in said
    assert "15.000 +- 7.071" in said
    assert json.loads((tmp_path / "o").read_text("utf-8"))["h36m-metrabs"]["mean"]["mpjpe_mm"] == pytest.approx(15)
