"""Training the lifter that looks at the picture: what it begins as, what it is compared with, and that it learns."""

from dataclasses import replace

import pytest
import torch

from marey.core import InputError
from marey.detect.lifting import shipped_lifter
from marey.engine.training import train
from marey.io.weights import load_weights
from marey.methods.triangulation.lifter_recipe import image_lifter, small
from marey.nn.image_lifter import ImageLifter


@pytest.fixture(scope="module")
def task():
    return small().task()


def batch(task, split="train"):
    return next(iter(task.batches(split, seed=0, rank=0, world=1)))


def test_shipped_size__begins_as_the_shipped_lifter(tmp_path):
    begun = image_lifter().task().model.lifter.state_dict()
    assert all(torch.equal(begun[name], values) for name, values in shipped_lifter().state_dict().items())
    with pytest.raises(InputError, match="leave out --data"):
        small().task(tmp_path)


def test_scores__are_those_of_the_joints_about_the_hips():
    task = small().task()
    first = batch(task, "validation")
    joints = first["samples"].joints
    about = joints - joints[:, [11, 12]].mean(1, keepdim=True)
    for weight in (task.model.eval().lifter.mean.weight, task.model.lifter.mean.bias):
        torch.nn.init.zeros_(weight)  # everything at the hips
    with torch.no_grad():
        found = task.validate(first)
    torch.testing.assert_close(found["mpjpe_mm"] / found["count"], 1000 * about.norm(dim=-1).mean())


def test_steps__lower_the_loss(task):
    torch.manual_seed(0)
    first = batch(task)
    optimiser = torch.optim.Adam(task.model.train().parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = sum(task.loss(first).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_preview__shows_truth_and_estimate(task):
    with torch.no_grad():
        pictures = task.preview(batch(task, "validation"))
    assert {name: picture.shape for name, picture in pictures.items()} == {
        "truth": (256, 256, 3),
        "estimate": (256, 256, 3),
    }


@pytest.mark.slow
def test_training__goes_on_where_it_stopped_and_is_loaded(tmp_path):
    recipe = small()
    recipe.task()  # loads what is shipped, which draws random numbers the first time

    def begun():
        torch.manual_seed(0)
        return recipe.task()

    once = train(begun(), recipe.training, tmp_path / "once")
    half = replace(recipe.training, steps=2, validate_every=0)
    train(begun(), half, tmp_path / "twice")
    twice = train(begun(), recipe.training, tmp_path / "twice", anyway=True)
    assert twice.resumed == 2
    assert once.scores == twice.scores
    load_weights(ImageLifter(recipe.network), twice.weights)
