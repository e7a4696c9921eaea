"""The head on the trunk learns, goes on and is written with its card."""

import pytest
import torch

from marey.core import InputError
from marey.engine.training import train
from marey.io.weights import load_weights, read_card
from marey.methods.metrabs.trunk_model import MetricHead
from marey.methods.metrabs.trunk_recipe import small


@pytest.fixture(scope="module")
def task():
    return small().task()


def test_loss__learns_and_leaves_trunk_and_lifter_alone(task):
    batch = next(iter(task.batches("train", seed=0, rank=0, world=1)))
    losses = task.loss(batch)
    assert set(losses) == {"distance", "likelihood", "depth", "coverage"}
    sum(losses.values()).backward()
    derivatives = {name: weight.grad for name, weight in task.model.named_parameters()}
    assert all(grad is None or grad.isfinite().all() for grad in derivatives.values())
    for name in ("volume.weight", "spread", "distance"):
        assert derivatives[name].abs().max() > 0, name
    assert all(weight.grad is None for weight in (*task.trunk.parameters(), *task.lifter.parameters()))


def test_validate__counts_people(task):
    batch = next(iter(task.batches("validation", seed=0, rank=0, world=1)))
    with torch.no_grad():
        told = task.validate(batch)
    assert int(told["count"]) == 4
    assert 0 <= float(told["coverage_90"]) <= 4
    assert 20 < float(told["mpjpe_mm"]) / 4 < 2000
    assert 0 <= float(told["depth_error"]) <= 4


def test_preview__shows_truth_and_estimate(task):
    batch = next(iter(task.batches("validation", seed=0, rank=0, world=1)))
    shown = task.preview(batch)
    assert set(shown) == {"truth", "estimate"}
    assert all(picture.shape == (256, 256, 3) for picture in shown.values())


def test_errors__say_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="leave out --data"):
        small().task(tmp_path)


@pytest.mark.slow
def test_training__goes_on_where_it_stopped_and_is_loaded(tmp_path):
    torch.manual_seed(0)
    recipe = small()
    done = train(recipe.task(), recipe.training, tmp_path / "run")
    assert done.step == 4
    card = read_card(done.weights)
    assert card["data"]["metrabs"]["on"] == "trunk"
    head = MetricHead(recipe.network)
    load_weights(head, done.weights)
