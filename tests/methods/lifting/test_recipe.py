"""The lifter is trained: shards, splits, and a short run that learns."""

import dataclasses
from itertools import islice

import pytest
import torch

from marey.body.motion_splits import split_of
from marey.core import InputError
from marey.engine.training import train
from marey.io.settings_toml import changed, plain_settings
from marey.io.weights import load_weights
from marey.methods.lifting.recipe import LiftingRecipe, default, read_clips, small
from marey.nn.lifter import Lifter


def joints(batches, count=None):
    return torch.cat([batch["samples"].joints for batch in islice(batches, count)])


def task(batch=32, validation=50):
    return dataclasses.replace(small(), batch=batch, validation=validation).task()


def in_any_order(values):
    return values.flatten(1)[:, 0].sort().values


def test_batches__shards_of_two_are_the_batch_of_one():
    whole = joints(task().batches("train", seed=3, rank=0, world=1, start=5), 1)
    shards = [joints(task().batches("train", seed=3, rank=rank, world=2, start=5), 1) for rank in (0, 1)]
    assert [len(shard) for shard in shards] == [16, 16]
    torch.testing.assert_close(in_any_order(torch.cat(shards)), in_any_order(whole), rtol=0, atol=1e-5)


def test_batches__go_on_from_anywhere():
    stream = joints(task().batches("train", seed=3, rank=0, world=1), 3)
    torch.testing.assert_close(
        stream[64:], joints(task().batches("train", seed=3, rank=0, world=1, start=2), 1), rtol=0, atol=1e-5
    )
    assert not torch.allclose(stream[:32], joints(task().batches("train", seed=4, rank=0, world=1), 1))


def test_batches__validation_is_every_sample_once():
    whole = joints(task().batches("validation", seed=3, rank=0, world=1))
    shards = [joints(task().batches("validation", seed=3, rank=rank, world=2)) for rank in (0, 1)]
    assert len(whole) == 50
    torch.testing.assert_close(in_any_order(torch.cat(shards)), in_any_order(whole), rtol=0, atol=1e-5)
    training = joints(task().batches("train", seed=3, rank=0, world=1), 2)
    assert not set(whole[:, 0, 0].tolist()) & set(training[:, 0, 0].tolist())


def test_batches__what_cannot_be():
    with pytest.raises(InputError, match="multiple of the 3 processes"):
        task().batches("train", seed=0, rank=0, world=3)
    with pytest.raises(InputError, match="got 'test'"):
        task().batches("test", seed=0, rank=0, world=1)


def test_validate__sums_and_counts():
    made = task()
    batch = next(iter(made.batches("validation", seed=0, rank=0, world=1)))
    scores = made.validate(batch)
    view = batch["samples"].view
    assert scores["count"] == view.known.sum()
    with torch.no_grad():
        lifted = made.model(view.points, view.deviation, view.score, view.size)
    counted = batch["samples"].there & view.known[:, None]
    error = (lifted.positions - batch["samples"].joints).norm(dim=-1)
    each = [float(row[there].mean()) for row, there in zip(error, counted, strict=True) if there.any()]
    assert float(scores["mpjpe_mm"]) == pytest.approx(1000 * sum(each), rel=1e-4)
    assert 0 <= scores["coverage_90"] <= scores["count"]


def test_recipe__as_toml_and_back():
    recipe = default()
    assert changed(LiftingRecipe(), plain_settings(recipe), where="test") == recipe
    assert default() != small()


@pytest.mark.realdata
def test_clips__training_and_benchmark_share_no_motion(shared_data):
    training, benchmark = (read_clips(shared_data, default().motions, split) for split in ("training", "benchmark"))
    assert {split_of(name) for name in training.names} == {"training"}
    assert {split_of(name) for name in benchmark.names} == {"benchmark"}
    apart = torch.cdist(training.quaternions.flatten(1), benchmark.quaternions.flatten(1))
    assert apart.min() > 0
    assert task().card()["recorded_motions"] == []


def test_clips__of_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        default().task(tmp_path)


@pytest.mark.slow
def test_train__a_short_run_learns(tmp_path):
    pytest.importorskip("lightning_fabric")
    recipe = small()
    made = recipe.task()
    before = sum(part.sum() for part in validated(made, recipe).values())
    result = train(made, recipe.training, tmp_path, recipe={"recipe": "small"})
    after = result.scores
    assert after["mpjpe_mm"] < 300  # the mean pose is 360 mm off
    assert after["mpjpe_mm"] < 0.75 * before
    assert 0.8 < after["coverage_90"] < 0.99
    loaded = Lifter(recipe.network)
    load_weights(loaded, result.weights)
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, made.model.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


def validated(made, recipe):
    """The error before training."""
    with torch.no_grad():
        batch = next(iter(made.batches("validation", seed=recipe.training.seed, rank=0, world=1)))
        scores = made.validate(batch)
    return {"mpjpe_mm": scores["mpjpe_mm"] / scores["count"]}


def test_preview__shows_keypoints_and_joints_from_three_sides():
    task = small().task()
    pictures = task.preview(next(iter(task.batches("train", seed=0, rank=0, world=4))))
    assert list(pictures) == ["keypoints", "from_the_camera", "from_the_side", "from_above"]
    assert all(picture.shape == (220, 220, 3) and (picture != 24).any() for picture in pictures.values())
