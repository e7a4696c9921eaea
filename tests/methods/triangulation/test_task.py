"""Training of the published networks: batches, losses, scores, pictures, and that they learn."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from marey.core import FormatError, InputError, MissingAssetError
from marey.engine.journal import read_metrics
from marey.engine.training import train
from marey.io.predictions import pose_rows, write_pose_rows
from marey.methods.triangulation.networks import load_network, prepare_images
from methods.triangulation.miniature import (
    JOINTS,
    small_algebraic,
    small_volumetric,
    training,
    write_miniature,
)

BASE = 6
"""Place of the pelvis among the network's joints."""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    found = tmp_path_factory.mktemp("mine")
    return found, write_miniature(found)


@pytest.fixture(scope="module")
def folder(mine):
    return mine[0]


@pytest.fixture(scope="module")
def algebraic(folder):
    return small_algebraic().task(folder)


@pytest.fixture(scope="module")
def volumetric(folder):
    return small_volumetric().task(folder)


def with_train(recipe, **changes):
    """The recipe with other samples for training."""
    return replace(recipe, train=replace(recipe.train, samples=replace(recipe.train.samples, **changes)))


def first(task, split="train", **changes):
    where = {"seed": 0, "rank": 0, "world": 1} | changes
    return next(iter(task.batches(split, **where)))["samples"]


def two(task):
    """Samples of a batch, few so that tests are fast."""
    return first(task, seed=3)[:2]


def test_batches__have_the_networks_joints_and_all_views_they_share(mine, algebraic):
    labels = mine[1]
    samples = [batch["samples"] for batch in islice(algebraic.batches("train", seed=0, rank=0, world=1), 3)]
    assert sorted(torch.cat([batch.index for batch in samples]).tolist()) == list(range(12))
    for batch in samples:  # moment 1 is seen by two cameras
        assert batch.images.shape == (4, 2 if 1 in batch.index else 4, 3, 64, 64)
        assert batch.present.all()
        rows = [np.flatnonzero(labels.images.moment[labels.image] == moment)[0] for moment in batch.index]
        expected = labels.values["joints"][rows][:, [JOINTS.index(name) for name in algebraic.skeleton.joints]]
        known = np.isfinite(expected).all(-1)
        assert np.array_equal(batch.valid.numpy(), known)
        assert np.array_equal(batch.joints.numpy()[known], expected[known])
    assert sum(int((~batch.valid).sum()) for batch in samples) == 2


def test_batches__are_shared_out_and_resumed(folder):
    task = with_train(small_algebraic(), randomize_n_views=True, min_n_views=2).task(folder)
    whole = [batch["samples"] for batch in islice(task.batches("train", seed=1, rank=0, world=1), 4)]
    resumed = first(task, seed=1, start=3)
    for rank in range(2):
        shard = first(task, seed=1, rank=rank, world=2, start=3)
        for name in ("index", "images", "rows", "joints", "projections"):
            assert torch.equal(getattr(shard, name), getattr(whole[3], name)[rank::2])
    assert torch.equal(resumed.images, whole[3].images)
    assert {batch.images.shape[1] for batch in whole} <= {2, 3, 4}
    other = first(task, seed=2, start=3)
    assert not torch.equal(other.index, resumed.index)


def test_validation__has_every_sample_once_at_one_process(algebraic):
    index = [
        [batch["samples"].index.tolist() for batch in algebraic.batches("validation", seed=0, rank=rank, world=2)]
        for rank in range(2)
    ]
    assert index == [[[0, 1, 2]], [[3]]]


def test_order__is_kept_without_shuffling(folder):
    recipe = small_algebraic()
    task = replace(recipe, train=replace(recipe.train, shuffle=False)).task(folder)
    index = [batch["samples"].index.tolist() for batch in islice(task.batches("train", seed=5, rank=0, world=1), 4)]
    assert index == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [0, 1, 2, 3]]


def estimated(task, samples, **inputs):
    images = prepare_images(samples.images, task.image)
    with torch.no_grad():
        return task.model(images, samples.projections, **inputs)


def test_loss__of_the_algebraic_network_is_in_centimetres_and_bends_at_400(algebraic):
    samples = two(algebraic)
    algebraic.model.eval()
    with torch.no_grad():
        losses = algebraic.loss({"samples": samples})
    squared = (100 * (estimated(algebraic, samples).joints - samples.joints)).square()[samples.valid]
    expected = torch.where(squared > 400, squared**0.1 * 400**0.9, squared).mean()
    assert list(losses) == ["mse-smooth"]
    torch.testing.assert_close(losses["mse-smooth"], expected)


def test_loss__of_the_volumetric_network_has_two_parts(volumetric):
    samples = two(volumetric)
    volumetric.model.eval()
    with torch.no_grad():
        losses = volumetric.loss({"samples": samples})
    output = estimated(volumetric, samples, centers=samples.centers)
    distance = (100 * (output.joints - samples.joints)).abs()[samples.valid].mean()
    torch.testing.assert_close(losses["mae"], distance)
    assert list(losses) == ["mae", "cross_entropy"]
    near = (output.grid.flatten(1, 3)[0] - samples.joints[0, BASE]).norm(dim=-1).argmin()
    probability = output.volumes[0, BASE].flatten()[near]
    assert 0 < float(losses["cross_entropy"]) < 0.01 * 14
    assert float(-0.01 * probability.log()) == pytest.approx(float(losses["cross_entropy"]), rel=0.2)


def test_loss__in_training_turns_the_cuboid(volumetric):
    samples = two(volumetric)
    volumetric.model.train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            found.append(float(volumetric.loss({"samples": samples})["cross_entropy"]))
    volumetric.model.eval()
    assert found[0] == found[1] != found[2]


def test_loss__of_single_views_is_relative_to_the_base_joint(folder):
    recipe = with_train(small_volumetric(), randomize_n_views=True, max_n_views=1)
    task = recipe.task(folder)
    task.model.eval()
    samples = first(task)[:2]
    assert samples.images.shape[1] == 1
    with torch.no_grad():
        loss = task.loss({"samples": samples})["mae"]
    joints = estimated(task, samples, centers=samples.centers).joints
    error = joints - samples.joints
    others = torch.arange(17) != BASE
    error[:, others] -= error[:, BASE, None].clone()
    torch.testing.assert_close(loss, (100 * error).abs()[samples.valid].mean())


def test_validate__is_in_millimetres_absolute_and_relative(algebraic):
    samples = first(algebraic, "validation")
    algebraic.model.eval()
    scores = algebraic.validate({"samples": samples})
    error = estimated(algebraic, samples).joints.double() - samples.joints
    relative = error - error[:, BASE, None]
    assert int(scores["count"]) == 3
    torch.testing.assert_close(scores["mpjpe_mm"], 1000 * error.norm(dim=-1).mean(1).sum())
    torch.testing.assert_close(scores["relative_mpjpe_mm"], 1000 * relative.norm(dim=-1).mean(1).sum())


def test_preview__shows_keypoints_and_what_is_inside(algebraic, volumetric):
    pictures = {}
    for task in (algebraic, volumetric):
        task.model.eval()
        with torch.no_grad():
            pictures[task] = task.preview({"samples": two(task)})
    assert list(pictures[algebraic]) == ["keypoints", "heatmaps", "confidences"]
    assert list(pictures[volumetric]) == ["keypoints", "volumes"]
    views = two(algebraic).images.shape[1]
    assert pictures[algebraic]["keypoints"].shape == (2 * 195 - 3, views * 195 - 3, 3)
    assert pictures[algebraic]["heatmaps"].shape == (2 * views * 51 - 3, 17 * 51 - 3, 3)
    assert pictures[volumetric]["volumes"].shape == (2 * 3 * 51 - 3, 17 * 51 - 3, 3)
    for name, picture in (pictures[algebraic] | pictures[volumetric]).items():
        assert picture.dtype == np.uint8
        assert picture.std() > 0, name
    truth = np.all(pictures[volumetric]["keypoints"] == (90, 200, 120), axis=-1)
    cuboid = np.all(pictures[volumetric]["keypoints"] == (120, 120, 130), axis=-1)
    assert truth.sum() > 100
    assert cuboid.sum() > 50


def test_pelvis__of_predictions_is_matched_by_frame(folder, tmp_path):
    frames = np.array([5, 3, 9, 0, 7])
    pelvis = np.zeros((5, 1, 3))
    pelvis[:, 0, 2] = frames
    rows = pose_rows(pelvis, joint_names=("pelvis",), sequence=np.full(5, "walk"), frame=frames)
    write_pose_rows(tmp_path / "found.npz", rows)
    recipe = replace(small_volumetric(), use_gt_pelvis=False)
    recipe = replace(recipe, train=replace(recipe.train, pelvis=str(tmp_path / "found.npz")))
    everywhere = pose_rows(
        np.zeros((4, 1, 3)), joint_names=("pelvis",), sequence=np.full(4, "walk"), frame=np.arange(12, 16)
    )
    write_pose_rows(tmp_path / "validation.npz", everywhere)
    recipe = replace(recipe, validation=replace(recipe.validation, pelvis=str(tmp_path / "validation.npz")))
    with pytest.warns(UserWarning, match="7 of 12 rows of the labels have no predicted pelvis"):
        task = recipe.task(folder)
    assert task.splits["train"].usable.tolist() == [0, 3, 5, 7, 9]
    samples = first(task)
    assert torch.equal(samples.centers[:, 2], samples.index.float())


def test_start__from_a_backbone_and_from_a_whole_network(folder, tmp_path, algebraic):
    state = algebraic.model.state_dict()
    backbone = {f"module.{name.removeprefix('backbone.')}": value for name, value in state.items()}
    backbone["module.final_layer.weight"] = torch.full((16, 256, 1, 1), 0.5)
    backbone["module.final_layer.bias"] = torch.full((16,), 2.0)
    torch.save(backbone, tmp_path / "backbone.pth")
    recipe = replace(small_algebraic(), init_backbone=True, backbone_weights=str(tmp_path / "backbone.pth"))
    task = recipe.task(folder)
    assert torch.equal(task.model.backbone.conv1.weight, algebraic.model.backbone.conv1.weight)
    assert (task.model.backbone.final_layer.bias == torch.tensor([2.0] * 16 + [0.0])).all()
    assert task.start["partly"] == ["final_layer.weight", "final_layer.bias"]
    torch.save(state, tmp_path / "weights.pth")
    whole = replace(small_algebraic(), weights=str(tmp_path / "weights.pth")).task(folder)
    assert all(torch.equal(value, state[name]) for name, value in whole.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in whole.model.parameters())
    other = replace(small_volumetric(), weights=str(tmp_path / "weights.pth"))
    with pytest.raises(FormatError, match="does not fit VolumetricNet"):
        other.task(folder)


def test_errors__say_what_was_expected(folder, algebraic):
    with pytest.raises(InputError, match="expected train or validation, got 'test'"):
        algebraic.batches("test", seed=0, rank=0, world=1)
    with pytest.raises(InputError, match="batch: expected a multiple of the 3 processes, got 4"):
        algebraic.batches("train", seed=0, rank=0, world=3)
    with pytest.raises(MissingAssetError, match=r"labels: expected .*labels\.npz.*--data"):
        small_algebraic().task(None)
    with pytest.raises(MissingAssetError, match=r"predicted pelvis: .*set use_gt_pelvis=true"):
        replace(small_volumetric(), use_gt_pelvis=False).task(folder)
    with pytest.raises(MissingAssetError, match=r"weights of the backbone: .*init_backbone=false"):
        replace(small_algebraic(), init_backbone=True, backbone_weights="absent.pth").task(folder)
    with pytest.raises(InputError, match=r"base_joint: expected one of the network's right_ankle, .*; got 'left_ear'"):
        replace(small_algebraic(), base_joint="left_ear").task(folder)
    with pytest.raises(InputError, match="train: expected 40 or more samples with 2 or more views"):
        replace(small_algebraic(), batch=40).task(folder)
    with pytest.raises(InputError, match=r"train\.samples\.min_n_views: the algebraic network needs 2 views"):
        with_train(small_algebraic(), randomize_n_views=True).task(folder)
    with pytest.raises(InputError, match="cuboid_center: mine labels no joint 'left_ear'; there are: pelvis"):
        replace(small_volumetric(), cuboid_center=("left_ear",)).task(folder)
    recipe = small_algebraic()
    with pytest.raises(InputError, match="no images of the splits test; there are: train, validation"):
        replace(recipe, validation=replace(recipe.validation, splits=("test",))).task(folder)
    five = replace(recipe.network, backbone=replace(recipe.network.backbone, joints=5))
    with pytest.raises(InputError, match=r"network\.backbone\.joints: expected 17, the joints of the labels, got 5"):
        replace(recipe, joints=(), network=five).task(folder)


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_algebraic, small_volumetric])
def test_training__goes_on_where_it_was_stopped(folder, tmp_path, make):
    recipe = make()
    task = recipe.task(folder)
    start = {name: value.clone() for name, value in task.model.state_dict().items()}
    whole = train(task, recipe.training, tmp_path / "whole")
    halfway = recipe.task(folder)
    halfway.model.load_state_dict(start)
    train(halfway, replace(recipe.training, steps=2), tmp_path / "parts")
    second = train(recipe.task(folder), recipe.training, tmp_path / "parts", anyway=True)
    assert (second.resumed, second.step) == (2, 4)
    assert second.scores == whole.scores
    card = json.loads((tmp_path / "whole" / "weights" / "card.json").read_text())
    assert card["data"]["train"] == {
        "labels": "mine 1",
        "split": "train",
        "samples": 12,
        "views": ["54138969", "55011271", "58860488", "60457274"],
    }
    kind = "algebraic" if make is small_algebraic else "volumetric"
    loaded = load_network(kind, tmp_path / "whole" / "weights")
    assert loaded.skeleton.joints == task.skeleton.joints
    assert loaded.image.side == (64, 64)
    assert loaded.module.config == recipe.network


@pytest.mark.slow
@pytest.mark.parametrize("make", [small_algebraic, small_volumetric])
def test_training__lowers_the_error(folder, tmp_path, make):
    recipe = make()
    # two moments in two views again and again; published heatmaps are too sharp to begin with random weights
    network = (
        replace(recipe.network, heatmap_multiplier=10.0)
        if make is small_algebraic
        else replace(recipe.network, volume_multiplier=3.0)
    )
    samples = replace(recipe.train.samples, cameras=("58860488", "60457274"))
    recipe = replace(
        recipe,
        network=network,
        criterion="mae",
        batch=2,
        train=replace(recipe.train, samples=samples, shuffle=False),
        training=training(steps=80, validate_every=0, checkpoint_every=0, optimiser=recipe.training.optimiser),
    )
    torch.manual_seed(0)
    task = recipe.task(folder)
    task.splits["train"] = task.splits["train"]._replace(usable=torch.tensor([2, 3]))
    train(task, recipe.training, tmp_path)
    losses = [line["loss/mae"] for line in read_metrics(tmp_path) if line["kind"] == "train"]
    assert len(losses) == 80
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:2])
