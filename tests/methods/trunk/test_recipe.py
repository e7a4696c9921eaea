"""The trunk's task: its streams, and that it learns."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from marey.core import InputError
from marey.engine.training import train
from marey.methods.trunk.recipe import TrunkRecipe, small
from marey.methods.trunk.samples import keypoint_names
from marey.methods.trunk.stream import Share


@pytest.fixture(scope="module")
def task():
    return small().task()


def first(batches):
    return next(iter(batches))["samples"]


def test_batches__are_shared_out_and_resumed(task):
    whole = first(task.batches("train", seed=1, rank=0, world=1, start=3))
    halves = [first(task.batches("train", seed=1, rank=rank, world=2, start=3)) for rank in range(2)]
    assert len(whole.images) == 16
    assert torch.equal(whole.images[0:12:2], halves[0].images[:6])
    assert torch.equal(whole.images[1:12:2], halves[1].images[:6])
    assert torch.equal(whole.keypoints[1:12:2], halves[1].keypoints[:6])


def test_splits_and_shares__have_no_picture_in_common(task):
    train_ones = first(task.batches("train", seed=0, rank=0, world=1)).images
    others = [
        first(task.batches("validation", seed=0, rank=0, world=1)).images,
        first(task.batches("train", seed=1, rank=0, world=1)).images,
    ]
    for images in others:
        assert not (train_ones[:12, None] == images[None, :12]).flatten(2).all(-1).any()


def test_preview__shows_labels_and_what_was_found(task):
    batch = next(iter(task.batches("train", seed=0, rank=0, world=1)))
    with torch.no_grad():
        pictures = task.preview(batch)
    assert list(pictures) == ["labels", "keypoints", "parts", "parts_found"]
    assert all(picture.shape == (192, 192, 3) and picture.dtype == "uint8" for picture in pictures.values())
    assert (pictures["labels"] != pictures["keypoints"]).any()
    background = (pictures["parts"] == 24).all(-1)
    assert 0.2 < background.mean() < 1


@pytest.mark.slow
def test_training__lowers_the_error(tmp_path):
    recipe = small()
    task = recipe.task()
    batch = {"samples": first(task.batches("validation", seed=0, rank=0, world=1))}
    with torch.no_grad():
        before = task.validate(batch)
    result = train(task, recipe.training, tmp_path)
    assert result.scores["error_px"] < 0.9 * float(before["error_px"] / before["count"])


def test_errors__say_what_was_expected(task, tmp_path):
    with pytest.raises(InputError, match="expected train or validation, got 'test'"):
        task.batches("test", seed=0, rank=0, world=1)
    with pytest.raises(InputError, match="multiples of the 5 processes"):
        task.batches("train", seed=0, rank=0, world=5)
    with pytest.raises(InputError, match="leave out --data"):
        TrunkRecipe(shares=(Share(tier="easy", framing="person", pictures=2),)).task(tmp_path)


def test_mirrored_batches__follow_those_that_are_rendered():
    task = replace(small(), mirrored=True).task()
    stream = iter(task.batches("train", seed=1, rank=0, world=1))
    rendered, mirrored = (next(stream)["samples"] for _ in range(2))
    assert torch.equal(mirrored.images, rendered.images.flip(-1))
    nose, left, right = (keypoint_names().index(name) for name in ("nose", "left_wrist", "right_wrist"))
    width = rendered.images.shape[-1]
    for of, to in ((nose, nose), (left, right), (right, left)):
        expected = width - 1 - rendered.keypoints[:12, of, 0]
        torch.testing.assert_close(mirrored.keypoints[:12, to, 0], expected)
    started = first(task.batches("train", seed=1, rank=0, world=1, start=1))
    assert torch.equal(started.images, mirrored.images)


@pytest.mark.slow
def test_batches__are_the_same_from_workers():
    kept = [
        list(islice(replace(small(), workers=workers).task().batches("train", seed=1, rank=0, world=1), 5))
        for workers in (0, 2)
    ]
    for alone, made in zip(*kept, strict=True):
        assert torch.equal(alone["samples"].images, made["samples"].images)
