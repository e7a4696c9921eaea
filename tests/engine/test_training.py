"""Training: many processes, interruptions, precisions, what is written, and what is refused."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.small_task import SmallRecipe, SmallTask, settings
from marey.core import InputError, MissingDependencyError, ShapeError, TrainingError
from marey.engine.checkpoints import read_checkpoint, steps_kept
from marey.engine.journal import read_metrics
from marey.engine.settings import Optimiser, ParameterGroup
from marey.engine.training import train
from marey.io.weights import read_card, read_weights

SCRIPT = Path(__file__).with_name("train_small.py")
STEADY = SmallRecipe(dropout=0.0)
"""Without random numbers in a step, which differ with the number of processes."""


def state_at(out: Path, step: int = 12) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint by name: model, average, optimiser."""
    state, _ = read_checkpoint(out / "checkpoints", step)
    moments = {
        f"optimiser/{number}/{name}": torch.as_tensor(value)
        for number, entry in state["optimiser"]["state"].items()
        for name, value in entry.items()
    }
    parts = {f"{part}/{name}": value for part in ("model", "average") for name, value in state[part].items()}
    return parts | moments


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    """Names whose bits are not the same."""
    assert first.keys() == second.keys()
    assert len(first) >= 8
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max(float((value - second[name]).abs().max()) for name, value in first.items())


def in_processes(out: Path, wishes: dict, *launcher: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(SCRIPT), str(out), json.dumps(wishes)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def test_train__two_processes_equal_one(tmp_path):
    wishes = {"recipe": {"dropout": 0.0}, "settings": {"precision": "64-true"}}
    done = in_processes(tmp_path / "two", wishes, *TORCHRUN)
    assert done.returncode == 0, done.stderr
    alone = SmallTask(STEADY)
    result = train(alone, settings(precision="64-true"), tmp_path / "one")
    told = [json.loads((tmp_path / "two" / f"rank-{rank}-of-2.json").read_text()) for rank in (0, 1)]
    assert [each["world"] for each in told] == [2, 2]
    assert len(alone.seen) == 12
    for first, second, whole in zip(told[0]["seen"], told[1]["seen"], alone.seen, strict=True):
        assert len(first) == len(second) == 8
        assert not set(first) & set(second)
        assert sorted(first + second) == sorted(whole)
    # sums in another order: a few units in the last place of float64
    assert largest_difference(state_at(tmp_path / "one"), state_at(tmp_path / "two")) < 1e-13
    assert told[0]["scores"] == told[1]["scores"]
    assert told[0]["scores"]["error"] == pytest.approx(result.scores["error"], rel=1e-12)
    with pytest.raises(TrainingError, match="processes was 2, is 1"):
        train(SmallTask(STEADY), settings(precision="64-true"), tmp_path / "two")


@pytest.mark.slow
def test_train__two_processes_accumulate_and_average_as_one(tmp_path):
    wishes = {"precision": "64-true", "accumulate": 3, "clip": 0.3, "warm_up": 4, "best": "error"}
    recipe = {"dropout": 0.0, "validation": 96}  # all rows in one batch: the second process has none to validate
    done = in_processes(tmp_path / "two", {"recipe": recipe, "settings": wishes}, *TORCHRUN)
    assert done.returncode == 0, done.stderr
    result = train(SmallTask(STEADY), settings(**wishes), tmp_path / "one")
    scores = [json.loads((tmp_path / "two" / f"rank-{rank}-of-2.json").read_text())["scores"] for rank in (0, 1)]
    assert scores[0] == scores[1] == {"error": pytest.approx(result.scores["error"], rel=1e-12)}
    assert largest_difference(state_at(tmp_path / "one"), state_at(tmp_path / "two")) < 1e-13


@pytest.mark.slow
def test_train__two_processes_stop_together_and_go_on(tmp_path):
    """One is asked; both stop where they next exchange votes, and no process waits for ever."""
    stopped = in_processes(tmp_path / "stopped", {"stop_at": 4}, *TORCHRUN)
    assert stopped.returncode != 0
    assert "training stopped after step 10 of 12" in stopped.stderr
    for name in ("stopped", "whole"):
        assert in_processes(tmp_path / name, {}, *TORCHRUN).returncode == 0
    assert differing(state_at(tmp_path / "whole"), state_at(tmp_path / "stopped")) == []


@pytest.mark.slow
@pytest.mark.parametrize("wishes", [{}, {"ema_decay": None, "validate_every": 0}])
def test_train__two_processes_agree_on_the_statistics_of_normalisation(tmp_path, wishes):
    done = in_processes(tmp_path, {"recipe": {"normalise": True}, "settings": wishes}, *TORCHRUN)
    assert done.returncode == 0, done.stderr
    states = [json.loads((tmp_path / f"rank-{rank}-of-2.json").read_text())["state"] for rank in (0, 1)]
    assert states[0]["0.running_mean"] != [0.0] * 6
    assert states[0] == states[1]
    exported = read_weights(tmp_path / "weights")["0.running_mean"]
    assert exported.tolist() == torch.tensor(states[0]["0.running_mean"]).half().float().tolist()


@pytest.mark.slow
def test_train__two_processes_with_a_part_that_no_loss_depends_on(tmp_path):
    done = in_processes(tmp_path / "a", {"recipe": {"idle": True}}, *TORCHRUN)
    assert "set training.unused_parameters = true" in done.stderr
    wishes = {"recipe": {"idle": True}, "settings": {"unused_parameters": True}}
    done = in_processes(tmp_path / "b", wishes, *TORCHRUN)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_train__fewer_processes_than_asked_for(tmp_path):
    done = in_processes(tmp_path, {"settings": {"devices": 3}}, *TORCHRUN)
    assert "devices: the settings say 3, torchrun started 2; leave the setting out" in done.stderr


def test_train__killed_and_resumed_is_bit_equal(tmp_path):
    killed = in_processes(tmp_path / "killed", {"kill_at": 9})
    assert killed.returncode == -9
    assert steps_kept(tmp_path / "killed" / "checkpoints") == [4, 8]
    again = SmallTask(SmallRecipe())
    result = train(again, settings(), tmp_path / "killed")
    assert result.resumed == 8
    assert len(again.seen) == 4
    train(SmallTask(SmallRecipe()), settings(), tmp_path / "whole")
    assert differing(state_at(tmp_path / "whole"), state_at(tmp_path / "killed")) == []
    shards = [next((tmp_path / name / "weights").glob("*.safetensors")) for name in ("whole", "killed")]
    assert shards[0].read_bytes() == shards[1].read_bytes()
    steps = [(line["step"], line["kind"]) for line in read_metrics(tmp_path / "killed")]
    assert steps == [(line["step"], line["kind"]) for line in read_metrics(tmp_path / "whole")]


def test_train__asked_to_stop_keeps_a_checkpoint_and_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 7 of 12; the checkpoint is in .*checkpoints"):
        train(SmallTask(SmallRecipe(), stop_at=6), settings(), tmp_path / "stopped")
    assert train(SmallTask(SmallRecipe()), settings(), tmp_path / "stopped").resumed == 7
    train(SmallTask(SmallRecipe()), settings(), tmp_path / "whole")
    assert differing(state_at(tmp_path / "whole"), state_at(tmp_path / "stopped")) == []


@pytest.mark.parametrize("algorithm", ["adam-tensorflow", "sgd", "rmsprop"])
def test_train__goes_on_bit_by_bit_with_any_optimiser(tmp_path, algorithm):
    wishes = {"optimiser": Optimiser(algorithm=algorithm, learning_rate=0.01, momentum=0.9), "ema_decay": None}
    with pytest.raises(KeyboardInterrupt):
        train(SmallTask(SmallRecipe(), stop_at=6), settings(**wishes), tmp_path / "stopped")
    for name in ("stopped", "whole"):
        train(SmallTask(SmallRecipe()), settings(**wishes), tmp_path / name)
    assert differing(state_at(tmp_path / "whole"), state_at(tmp_path / "stopped")) == []


def test_train__learns(tmp_path):
    result = train(SmallTask(STEADY), settings(steps=150, validate_every=10, ema_decay=None), tmp_path)
    scores = [line["error"] for line in read_metrics(tmp_path) if line["kind"] == "validation"]
    assert scores[-1] == result.scores["error"] < 0.4 * scores[0]


def test_train__another_seed_or_dropout_gives_other_weights(tmp_path):
    """What makes the other tests able to fail."""
    for name, recipe, seed in (("a", SmallRecipe(), 5), ("b", SmallRecipe(), 6), ("c", STEADY, 5)):
        train(SmallTask(recipe), settings(seed=seed), tmp_path / name)
    first = state_at(tmp_path / "a")
    assert len(differing(first, state_at(tmp_path / "b"))) > 10
    assert len(differing(first, state_at(tmp_path / "c"))) > 10


def test_train__two_half_batches_equal_a_whole_one(tmp_path):
    wishes = {"precision": "64-true", "clip": 0.5}
    train(SmallTask(SmallRecipe(dropout=0.0, batch=16)), settings(**wishes), tmp_path / "whole")
    train(SmallTask(SmallRecipe(dropout=0.0, batch=8)), settings(**wishes, accumulate=2), tmp_path / "halves")
    # 96 rows are 6 batches of 16 and 12 of 8: the same rows in every step
    assert largest_difference(state_at(tmp_path / "whole"), state_at(tmp_path / "halves")) < 1e-13


def test_train__a_damaged_checkpoint_is_passed_over(tmp_path):
    train(SmallTask(SmallRecipe()), settings(keep=3), tmp_path)
    expected = state_at(tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000012.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"step-00000012\.pt: damaged.*an older checkpoint is taken"):
        result = train(SmallTask(SmallRecipe()), settings(keep=3), tmp_path)
    assert result.resumed == 8
    assert differing(expected, state_at(tmp_path)) == []


def test_train__a_checkpoint_without_its_note_is_none(tmp_path):
    train(SmallTask(SmallRecipe()), settings(), tmp_path)
    (tmp_path / "checkpoints" / "step-00000012.json").unlink()
    assert train(SmallTask(SmallRecipe()), settings(), tmp_path).resumed == 8


@pytest.mark.parametrize(("precision", "bound"), [("bf16-mixed", 0.05), ("64-true", 1e-4)])
def test_train__in_other_precisions(tmp_path, precision, bound):
    for name, wish in (("usual", "32-true"), ("other", precision)):
        train(SmallTask(STEADY), settings(precision=wish), tmp_path / name)
    usual, other = (read_checkpoint(tmp_path / name / "checkpoints", 12)[0]["model"] for name in ("usual", "other"))
    assert 0 < largest_difference(usual, other) < bound
    expected = torch.float64 if precision == "64-true" else torch.float32
    assert {value.dtype for value in other.values()} == {expected}


def test_train__losses_that_are_no_numbers_end_it_after_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingError, match="step 10: not finite: square, absolute, grad_norm"):
        train(SmallTask(SmallRecipe(), poison_at=9), settings(), tmp_path)
    assert steps_kept(tmp_path / "checkpoints") == [4, 8]
    assert all(value.isfinite().all() for value in state_at(tmp_path, 8).values())


@pytest.mark.parametrize(
    ("wishes", "recipe", "words"),
    [
        ({"seed": 6}, {}, "training.seed was 5, is 6"),
        ({"accumulate": 2}, {}, "training.accumulate was 1, is 2"),
        ({"optimiser": Optimiser(learning_rate=0.1)}, {}, "training.optimiser.learning_rate was 0.02, is 0.1"),
        ({}, {"width": 8}, "width was not there, is 8"),
    ],
)
def test_train__another_run_is_refused_unless_told(tmp_path, wishes, recipe, words):
    train(SmallTask(STEADY), settings(steps=4), tmp_path)
    with pytest.raises(TrainingError, match=words):
        train(SmallTask(STEADY), settings(steps=4, **wishes), tmp_path, recipe=recipe)
    result = train(SmallTask(STEADY), settings(steps=6, **wishes), tmp_path, recipe=recipe, anyway=True)
    assert result.resumed == 4
    rates = [line["learning_rate/all"] for line in read_metrics(tmp_path) if line["kind"] == "train"]
    assert rates[-1] == settings(**wishes).optimiser.learning_rate  # what is told anew counts


def test_train__settings_of_the_run_only_may_change(tmp_path):
    train(SmallTask(SmallRecipe()), settings(), tmp_path)
    result = train(SmallTask(SmallRecipe()), settings(log_every=1, keep=5, validate_every=0), tmp_path)
    assert result.resumed == 12


def test_train__fresh_removes_the_earlier_run(tmp_path):
    train(SmallTask(SmallRecipe()), settings(), tmp_path)
    result = train(SmallTask(SmallRecipe()), settings(steps=4, seed=6), tmp_path, fresh=True)
    assert result.resumed == 0
    assert steps_kept(tmp_path / "checkpoints") == [4]
    assert max(line["step"] for line in read_metrics(tmp_path)) == 4


def test_train__exports_the_averaged_weights_with_a_card(tmp_path):
    task = SmallTask(SmallRecipe())
    result = train(task, settings(), tmp_path, recipe={"method": "small", "width": 16})
    state, _ = read_checkpoint(tmp_path / "checkpoints", 12)
    exported = read_weights(result.weights)
    for name, value in task.model.state_dict().items():
        assert torch.equal(value, state["average"][name])
        assert torch.equal(exported[name], value.half().float())
        assert not torch.equal(value, state["model"][name])
    assert not task.model.training
    card = read_card(result.weights)
    assert (card["method"], card["width"], card["steps"], card["seed"]) == ("small", 16, 12, 5)
    assert card["data"] == {"name": "random rows", "rows": 96}
    assert card["scores"] == result.scores
    assert card["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(("best_is", "choose"), [("lowest", min), ("highest", max)])
def test_train__exports_the_best_weights_if_a_score_is_named(tmp_path, best_is, choose):
    wishes = {"best": "error", "best_is": best_is, "validate_every": 1, "keep": 1, "ema_decay": None}
    task = SmallTask(STEADY)
    result = train(task, settings(optimiser=Optimiser(learning_rate=0.3), **wishes), tmp_path)
    scores = {line["step"]: line["error"] for line in read_metrics(tmp_path) if line["kind"] == "validation"}
    assert result.step == choose(scores, key=scores.get)
    assert result.scores["error"] == scores[result.step]
    assert set(steps_kept(tmp_path / "checkpoints")) == {result.step, 12}
    with torch.no_grad():
        errors = [task.validate(batch) for batch in task.batches("validation", seed=0, rank=0, world=1)]
    mean = sum(float(each["error"]) for each in errors) / 96
    assert mean == pytest.approx(result.scores["error"], rel=1e-6)


def test_train__the_callers_random_numbers_stay(tmp_path):
    task = SmallTask(SmallRecipe())
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    train(task, settings(steps=2), tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]  # noqa: NPY002


class Drawing(SmallTask):
    def loss(self, batch):
        self.drawn = [*getattr(self, "drawn", ()), (torch.rand(()).item(), np.random.rand(), random.random())]  # noqa: NPY002
        return super().loss(batch)


def test_train__random_numbers_of_a_step_are_its_own_and_come_again(tmp_path):
    tasks = [Drawing(SmallRecipe()) for _ in range(3)]
    for number, (task, seed) in enumerate(zip(tasks, (5, 5, 6), strict=True)):
        train(task, settings(seed=seed, accumulate=2), tmp_path / str(number))
    for of_a_generator in zip(*tasks[0].drawn, strict=True):
        assert len(set(of_a_generator)) == 24
    assert tasks[0].drawn == tasks[1].drawn
    assert tasks[0].drawn != tasks[2].drawn


def test_train__tensorboard_has_numbers_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(SmallTask(SmallRecipe()), settings(preview_every=6), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("validation/error")] == [4, 8, 12]
    lines = {line["step"]: line["loss"] for line in read_metrics(tmp_path) if line["kind"] == "train"}
    assert {event.step: pytest.approx(event.value, rel=1e-6) for event in events.Scalars("train/loss")} == lines
    assert [event.step for event in events.Images("truth")] == [6, 12]


class NoCount(SmallTask):
    def validate(self, batch):
        return {"error": torch.tensor(0.0)}


class NotScalar(SmallTask):
    def loss(self, batch):
        return {"square": (self.model(batch["inputs"]) - batch["truth"]).square()}


class Nothing(SmallTask):
    def loss(self, batch):
        return {}


class Ending(SmallTask):
    def batches(self, split, **where):
        stream = super().batches(split, **where)
        return stream if split != "train" else (next(stream) for _ in range(3))


class Unvalidated(SmallTask):
    def batches(self, split, **where):
        return super().batches(split, **where) if split == "train" else ()


@pytest.mark.parametrize(
    ("task", "wishes", "error", "message"),
    [
        (NoCount, {}, ShapeError, "the same named sums each time and 'count', got error"),
        (NotScalar, {}, ShapeError, r"expected scalars, means over the batch, got \(16, 3\) for 'square'"),
        (Nothing, {}, ShapeError, "one or more named losses"),
        (Ending, {}, InputError, "ended in step 4; expected an endless stream"),
        (Unvalidated, {}, InputError, "the split 'validation' has no row"),
        (SmallTask, {"best": "accuracy"}, InputError, "the task validates error, not 'accuracy'"),
        (SmallTask, {"accelerator": "cuda"}, InputError, "training on cuda"),
        (
            SmallTask,
            {"optimiser": Optimiser(groups=(ParameterGroup(prefix="head", learning_rate=1),))},
            InputError,
            "no parameter begins with 'head'; they begin with 0, 3",
        ),
    ],
)
def test_train__says_what_is_wrong(tmp_path, task, wishes, error, message):
    if wishes.get("accelerator") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has what the test expects to be missing")
    with pytest.raises(error, match=message):
        train(task(STEADY), settings(**wishes), tmp_path)


@pytest.mark.parametrize("package", ["lightning_fabric", "torch.utils.tensorboard"])
def test_train__without_the_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r'pip install "marey\[train\]"'):
        train(SmallTask(STEADY), settings(), tmp_path)


def test_train__where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write into"):
        train(SmallTask(STEADY), settings(), tmp_path / "file")
