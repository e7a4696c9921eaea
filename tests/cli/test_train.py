"""`marey train`, with a small task of the tests."""

import json
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
import torch

from engine.small_task import INPUTS, OUTPUTS, SmallRecipe, SmallTask
from marey.cli.main import main
from marey.engine.journal import read_metrics
from marey.io.weights import read_card

SMALL = "engine.small_task:SmallRecipe"


@dataclass(frozen=True, kw_only=True)
class Unset(SmallRecipe):
    """A recipe whose model starts from torch's global generator."""

    def task(self, data):
        task = super().task(data)
        task.model = torch.nn.Linear(INPUTS, OUTPUTS)
        return task


@dataclass(frozen=True, kw_only=True)
class Stopping(SmallRecipe):
    """A recipe that is asked to stop in its third step."""

    def task(self, data):
        return SmallTask(self, stop_at=2)


def test_train__says_what_it_wrote_and_goes_on(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", SMALL, "--out", str(out), "--set", "dropout=0.1", "training.log_every=3", "--set", "width=8"]
    assert main([*words, "--steps", "6"]) == 0
    printed = capsys.readouterr().out
    for name in ("checkpoints/", "metrics.jsonl", "recipe.toml", "tensorboard/", "weights/"):
        assert f"wrote {out / name}".rstrip("/") in printed
    assert "weights of step 6, error " in printed
    card = read_card(out / "weights")
    assert (card["method"], card["recipe"], card["width"], card["dropout"]) == (SMALL, "default", 8, 0.1)
    assert [line["step"] for line in read_metrics(out) if line["kind"] == "train"] == [3, 4, 6]

    assert main([*words, "--steps", "6"]) == 0
    assert "went on from step 6" in capsys.readouterr().out
    assert main(["train", SMALL, "--out", str(out), "--recipe", str(out / "recipe.toml")]) == 0
    assert main([*words, "--steps", "8"]) == 2
    assert "training.steps was 6, is 8" in capsys.readouterr().err
    assert main([*words, "--steps", "8", "--anyway"]) == 0
    assert main([*words, "--steps", "4", "--fresh"]) == 0
    assert read_card(out / "weights")["steps"] == 4


def test_train__the_first_weights_follow_from_the_seed(tmp_path):
    for name, state in (("a", 1), ("b", 2)):
        torch.manual_seed(state)
        assert main(["train", "cli.test_train:Unset", "--out", str(tmp_path / name), "--steps", "2"]) == 0
    cards = [read_card(tmp_path / name / "weights") for name in ("a", "b")]
    assert cards[0]["shards"] == cards[1]["shards"]


def test_train__preview_draws_and_does_not_train(tmp_path, capsys):
    assert main(["train", SMALL, "--out", str(tmp_path / "run"), "--preview"]) == 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["preview.png"]
    assert f"wrote {tmp_path / 'run' / 'preview.png'}" in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / "run" / "preview.png"))
    assert picture.shape[0] > 4 * 128
    assert np.ptp(picture) > 100


def test_train__data_is_the_tasks(tmp_path, capsys):
    (tmp_path / "scale.txt").write_text("1e30")
    words = ["train", SMALL, "--out", str(tmp_path / "run"), "--data", str(tmp_path), "--steps", "2"]
    assert main(words) == 2
    assert "not finite: square" in capsys.readouterr().err


def test_train__interrupted_says_how_it_goes_on(tmp_path, capsys):
    assert main(["train", "cli.test_train:Stopping", "--out", str(tmp_path)]) == 130
    told = capsys.readouterr().err
    assert "interrupted; training stopped after step 3 of 12" in told
    assert "the same command goes on from there" in told
    assert json.loads((tmp_path / "checkpoints" / "step-00000003.json").read_text())["step"] == 3


@pytest.mark.slow
def test_train__the_lifter_learns(tmp_path, capsys):
    assert main(["train", "lifting", "--recipe", "small", "--out", str(tmp_path), "--steps", "60"]) == 0
    losses = [line["loss"] for line in read_metrics(tmp_path) if line["kind"] == "train"]
    assert losses[-1] < losses[0]
