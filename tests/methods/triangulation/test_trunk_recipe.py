"""Training the heads on the trunk: what a task streams, says, and that it learns."""

from dataclasses import replace

import pytest
import torch

from marey.core import InputError
from marey.engine.training import train
from marey.methods.triangulation.networks import ENTRY, load_network
from marey.methods.triangulation.trunk_recipe import small


@pytest.fixture(scope="module")
def task():
    return small("volumetric").task()


def test_validation__shares_no_person_with_training(task):
    first = [
        next(iter(task.batches(split, seed=0, rank=0, world=1)))["samples"].joints for split in ("train", "validation")
    ]
    assert (torch.cdist(*(joints.flatten(1) for joints in first)) > 0.1).all()


def test_errors__say_what_was_expected(task, tmp_path):
    with pytest.raises(InputError, match="expected train or validation, got 'test'"):
        task.batches("test", seed=0, rank=0, world=1)
    with pytest.raises(InputError, match="multiples of the 3 processes, got 4 people"):
        task.batches("train", seed=0, rank=0, world=3)
    with pytest.raises(InputError, match="leave out --data"):
        small("algebraic").task(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["algebraic", "volumetric"])
def test_training__goes_on_where_it_stopped_and_is_loaded(kind, tmp_path):
    recipe = small(kind)
    recipe.task()  # loads what is shipped, which draws random numbers the first time

    def begun():
        torch.manual_seed(0)
        return recipe.task()

    once = train(begun(), recipe.training, tmp_path / "once")
    half = replace(recipe.training, steps=2, validate_every=0)
    train(begun(), half, tmp_path / "twice")
    again = begun()
    twice = train(again, recipe.training, tmp_path / "twice", anyway=True)
    assert twice.resumed == 2
    assert once.scores == twice.scores
    assert again.card()[ENTRY]["kind"] == kind
    loaded = load_network(kind, twice.weights)
    assert loaded.learned.state_dict().keys() == again.model.state_dict().keys()


def test_preview__shows_truth_and_estimate(task):
    batch = next(iter(task.batches("validation", seed=0, rank=0, world=1)))
    with torch.no_grad():
        pictures = task.preview(batch)
    assert list(pictures) == ["truth", "estimate"]
    assert all(picture.shape == (256, 512, 3) for picture in pictures.values())
    assert (pictures["truth"] != pictures["estimate"]).any()
