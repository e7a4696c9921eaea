"""The network on the trunk learns, goes on and is written with its card."""

import pytest
import torch

from marey.core import InputError
from marey.detect.trunk import shipped_trunk
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.engine.training import train
from marey.io.weights import read_card
from marey.methods.metrabs.networks import load_network
from marey.methods.metrabs.trunk_recipe import small


@pytest.fixture(scope="module")
def task():
    return small().task()


def test_loss__all_parts_learn(task):
    batch = next(iter(task.batches("train", seed=0, rank=0, world=1)))
    task.model.train()
    losses = task.loss(batch)
    task.model.eval()
    assert set(losses) == {"distance", "likelihood", "depth", "heatmap", "pixels", "visibility", "coverage"}
    sum(losses.values()).backward()
    derivatives = {name: weight.grad for name, weight in task.model.named_parameters()}
    assert all(grad is None or grad.isfinite().all() for grad in derivatives.values())
    for name in (
        "head.volume.weight",
        "head.spread",
        "head.distance",
        "trunk.stem.0.weight",
        "lifter.to_lifter.weight",
    ):
        assert derivatives[name].abs().max() > 0, name


def test_task__leaves_what_others_share_alone(task):
    assert not any(
        weight.requires_grad for weight in (*shipped_trunk().parameters(), *shipped_image_lifter().parameters())
    )
    assert all(weight.requires_grad for weight in task.model.parameters())
    assert task.model.trunk.stem[0].weight.data_ptr() != shipped_trunk().stem[0].weight.data_ptr()


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
    network = load_network(done.weights)
    assert network.skeleton.name == "halpe_26"
    assert network.module.head.config == recipe.network
