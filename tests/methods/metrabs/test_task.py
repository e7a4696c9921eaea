"""Training on a miniature: what batches hold, what is learned from them, and how a run goes on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from marey.core import InputError, MissingAssetError, skeleton
from marey.data.augmentation import AppearanceOptions
from marey.data.training_crops import CropAugmentation
from marey.engine.training import train
from marey.io.weights import write_weights
from marey.methods.metrabs.model import MetrabsNet
from marey.methods.metrabs.networks import LoadedNetwork, describe
from marey.methods.metrabs.recipe import H36M_BONES, H36M_JOINTS, MPI_BONES, MPI_JOINTS, small
from marey.methods.metrabs.samples import CropSamples, PeopleSet
from marey.methods.metrabs.task import bound_kernels, network_skeleton, weak_joints, weak_weights
from methods.metrabs.crowd import H36M, PICTURE_JOINTS, network, poses, recipe, write_sets


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crowd")
    write_sets(folder)
    return folder


def first(task, split="train", **where):
    return next(iter(task.batches(split, **{"seed": 0, "rank": 0, "world": 1, **where})))


def same(one: CropSamples, other: CropSamples) -> bool:
    pairs = zip(one.tensors(), other.tensors(), strict=True)
    return all(torch.equal(a.nan_to_num(nan=-1), b.nan_to_num(nan=-1)) for a, b in pairs)


class TestBatches:
    def test_validation__crops_show_joints_where_their_cameras_see_them(self, data):
        task = recipe().task(data)
        people = first(task, "validation")["people"]
        truth = poses(10, 1)[8:][:, H36M.indices(H36M_JOINTS)]
        # the camera turned towards the person: distances stay, and the root lies ahead
        found = people.joints.double().numpy()
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(truth, axis=-1), rtol=1e-5)
        projected = people.joints @ people.intrinsics.mT
        np.testing.assert_allclose(people.keypoints, projected[..., :2] / projected[..., 2:], rtol=1e-4)
        assert people.keypoints.min() > 0
        assert people.keypoints.max() < 64
        place = people.keypoints[0, H36M_JOINTS.index("head_top")].round().long()
        assert people.images[0, :, place[1], place[0]].max() > 60

    def test_training__shards_of_two_processes_are_those_of_one(self, data):
        changed = recipe(crops=CropAugmentation(), appearance=AppearanceOptions())
        task = changed.task(data)
        whole = first(task, start=3)
        parts = [first(task, start=3, rank=rank, world=2) for rank in (0, 1)]
        for name in ("people", "pictures"):
            for rank, part in enumerate(parts):
                assert same(part[name], whole[name][torch.arange(rank, len(whole[name].images), 2)])
        assert whole["step"] == 3

    def test_training__a_stream_starts_anywhere(self, data):
        task = recipe(crops=CropAugmentation()).task(data)
        stream = iter(task.batches("train", seed=4, rank=0, world=1))
        third = [next(stream) for _ in range(3)][2]
        assert same(third["people"], first(task, seed=4, start=2)["people"])
        assert not same(third["people"], first(task, seed=5, start=2)["people"])

    @pytest.mark.slow
    def test_training__workers_make_the_same(self, data):
        changed = recipe(crops=CropAugmentation())
        stream = iter(replace(changed, workers=2).task(data).batches("train", seed=0, rank=0, world=1))
        made = [next(stream) for _ in range(3)][2]
        assert same(made["people"], first(changed.task(data), start=2)["people"])

    def test_mirrored__joints_of_the_left_are_right(self, data):
        plain = first(recipe().task(data))["people"]
        mirrored = first(recipe(crops=CropAugmentation(geometric=False, mirrored=1.0)).task(data))["people"]
        swap = list(network_skeleton(H36M_JOINTS).mirror)
        flipped = plain.joints[:, swap] * torch.tensor([-1.0, 1, 1])
        np.testing.assert_allclose(mirrored.joints, flipped, atol=1e-5)
        pixels = plain.images.flip(-1).roll(1, -1)[..., 1:].int()  # about half the side, which is a pixel
        assert (mirrored.images[..., 1:].int() - pixels).abs().float().mean() < 1

    def test_pictures__have_the_joints_that_the_network_has(self, data):
        task = recipe().task(data)
        assert task.weak.joints == PICTURE_JOINTS[:-1]
        pictures = first(task)["pictures"]
        assert pictures.keypoints.shape == (2, 6, 2)
        assert pictures.joints.isnan().all()

    def test_universal__scales_joints_and_keeps_projections(self, data):
        plain, other = (first(recipe(universal_skeleton=on).task(data))["people"] for on in (False, True))
        known = plain.joints.isfinite()
        np.testing.assert_allclose(other.joints[known], 1.1 * plain.joints[known], rtol=1e-4)
        np.testing.assert_array_equal(other.keypoints, plain.keypoints)

    def test_background__changes_what_is_not_the_person(self, data):
        shown = PeopleSet(labels="space", count=4, up="z", background=1.0)
        plain, other = (
            first(recipe(people=(chosen,), backgrounds="inria").task(data))["people"].images.float()
            for chosen in (replace(shown, background=0.0), shown)
        )
        corner = (slice(None), slice(None), 2, 2)
        assert (other[corner] - torch.tensor([10.0, 90, 200])).abs().max() < 12  # of a JPEG
        assert (plain[:, :, 32, 28:36] - other[:, :, 32, 28:36]).abs().max() == 0

    def test_parts__show_less(self, data):
        crops = CropAugmentation(geometric=False, mirrored=0.0, parts=1.0)
        plain, part = (first(recipe(crops=one).task(data))["people"] for one in (recipe().crops, crops))
        assert (part.intrinsics[:, 0, 0] > 1.2 * plain.intrinsics[:, 0, 0]).all()

    @pytest.mark.slow
    def test_synthetic__needs_no_data(self):
        task = small().task(None)
        batch = first(task)
        assert batch["people"].images.shape == (4, 3, 64, 64)
        assert batch["people"].joints.isfinite().all()
        assert "pictures" not in batch
        assert task.card()["synthetic"] == {"easy": 4}


class TestLosses:
    @pytest.mark.parametrize(
        ("recovery", "names"),
        [
            ("metrabs", {"joints", "keypoints", "absolute", "weak_keypoints", "weak_joints"}),
            ("metro", {"joints", "weak_joints"}),
            ("bone-lengths", {"keypoints", "depth", "weak_keypoints"}),
            ("true-root-depth", {"keypoints", "depth", "weak_keypoints"}),
        ],
    )
    def test_loss__of_each_network(self, data, recovery, names):
        task = recipe(network=network(recovery)).task(data)
        found = task.loss(first(task))
        assert set(found) == names
        torch.stack([*found.values()]).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in task.model.parameters())

    def test_points__start_from_weights_and_their_joints_learn_too(self, data, tmp_path):
        config = network("metrabs", points=5, points_and_joints=True)
        with pytest.raises(InputError, match="how joints are made of them"):
            recipe(network=config).task(data)
        made = MetrabsNet(config)
        made.combination.copy_(torch.full((5, 17), 0.2))
        told = describe(LoadedNetwork(module=made, skeleton=network_skeleton(H36M_JOINTS)))
        write_weights(tmp_path / "points", made.state_dict(), {"metrabs": told})
        task = recipe(network=config, weights=str(tmp_path / "points")).task(data)
        torch.stack([*task.loss(first(task)).values()]).sum().backward()
        learned = task.model.heads.conv_final.weight.grad.flatten(1).norm(dim=1)
        assert (learned > 0).all()

    def test_absolute__counts_after_some_steps(self, data):
        task = recipe(absolute_weight=0.5, squared_absolute_weight=True, absolute_after=2).task(data)
        task.model.eval()
        batch = first(task)
        with torch.no_grad():
            before, after = (task.loss({**batch, "step": step}) for step in (2, 3))
        assert before["absolute"] == 0
        once = replace(task.recipe, squared_absolute_weight=False)
        task.recipe = once
        with torch.no_grad():
            assert torch.allclose(task.loss({**batch, "step": 3})["absolute"], 2 * after["absolute"])

    def test_projections__of_the_later_recipe(self, data):
        changed = recipe(
            losses="projections", mean_relative=True, random_mix=True, joined_pass=True, ghost_batch=2,
            weak_perspective_until=1, frozen_norms=1, largest_kernel=0.5,
        )  # fmt: skip
        task = changed.task(data)
        found = task.loss(first(task))
        assert set(found) == {"joints", "projection", "absolute", "weak_projection"}
        assert all(value.isfinite() for value in found.values())
        kernels = [part.weight for part in task.model.modules() if isinstance(part, torch.nn.Conv2d)]
        assert max(float(kernel.detach().flatten(1).norm(dim=1).max()) for kernel in kernels) < 0.5001

    def test_last_steps__leave_running_statistics_alone(self, data):
        task = recipe(frozen_norms=2).task(data)
        norm = task.model.backbone.bn1
        for step, moves in ((1, True), (2, False), (3, False)):
            before = norm.running_mean.clone()
            task.model.train()
            task.loss({**first(task), "step": step})
            assert torch.equal(norm.running_mean, before) != moves

    def test_joined_pass__normalises_all_together(self, data):
        task, joined = (recipe(joined_pass=on).task(data) for on in (False, True))
        joined.model.load_state_dict(task.model.state_dict())
        batch = first(task)
        with torch.no_grad():
            apart, together = task.loss(batch), joined.loss(batch)
        assert apart["joints"] != together["joints"]
        assert int(task.model.backbone.bn1.num_batches_tracked) == 2
        assert int(joined.model.backbone.bn1.num_batches_tracked) == 1


class TestTask:
    def test_epochs__set_the_steps_and_the_decay(self, data):
        training = recipe(epochs=3, weight_decay=3e-3).task(data).training
        assert training.steps == 6  # 8 people, 4 in a batch
        assert training.optimiser.weight_decay == pytest.approx(3e-3 / (1e-3 * 6**0.5))

    def test_decay__takes_a_share_of_each_weight_that_the_rate_does_not_change(self, data):
        """One step of AdamW without gradients, as the published program subtracts it."""
        training = recipe(epochs=None, weight_decay=3e-3).task(data).training
        weight = torch.nn.Parameter(torch.ones(1))
        weight.grad = torch.zeros(1)
        decay = training.optimiser.weight_decay
        torch.optim.AdamW([weight], lr=0.5 * 1e-3, weight_decay=decay).step()  # half-way down the schedule
        assert float(weight.detach()) == pytest.approx(1 - 0.5 * 3e-3 / 4**0.5, rel=1e-6)

    def test_bone_lengths__are_the_means_of_the_training_people(self, data):
        config = recipe(network=network("bone-lengths")).task(data).model.config
        joints = poses(10, 1)[:8][:, H36M.indices(H36M_JOINTS)]
        joints[0, H36M_JOINTS.index("left_wrist")] = np.nan
        ends = np.array(H36M_BONES)
        lengths = np.nanmean(np.linalg.norm(joints[:, ends[:, 0]] - joints[:, ends[:, 1]], axis=-1), axis=0)
        np.testing.assert_allclose(config.bone_lengths, lengths, rtol=1e-5)

    @pytest.mark.parametrize("recovery", ["metrabs", "metro", "bone-lengths", "bone-lengths-true", "true-root-depth"])
    def test_validate__scores_of_the_truth(self, data, recovery, monkeypatch):
        task = recipe(network=network(recovery)).task(data)
        task.model.eval()
        batch = first(task, "validation")
        with torch.no_grad():
            scores = task.validate(batch)
        assert scores["count"] == 2
        assert ("absolute_mpjpe_mm" in scores) == (recovery != "metro")
        exact = batch["people"].joints
        monkeypatch.setattr(task, "_estimated", lambda people: 1.02 * exact)
        scores = task.validate(batch)
        rooted = exact - exact[:, -1:]
        assert scores["mpjpe_mm"] == pytest.approx(20 * float(rooted.norm(dim=-1).mean(1).sum()), rel=1e-4)
        assert scores["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-3)
        assert scores["pck_150"] == 200

    def test_preview__shows_crops_of_both_kinds(self, data):
        task = recipe(preview_items=2).task(data)
        task.model.eval()
        with torch.no_grad():
            found = task.preview(first(task))
        assert found["people"].shape == (384, 387, 3)
        assert found["pictures"].shape == (192, 387, 3)

    @pytest.mark.parametrize(
        ("changes", "error", "message"),
        [
            ({"people": (PeopleSet(labels="flat"),)}, InputError, "expected labels with joints in space"),
            ({"people": (PeopleSet(labels="none"),)}, MissingAssetError, "run `marey data prepare`"),
            ({"people": (PeopleSet(labels="space", splits=("test",)),)}, InputError, "there are: train, validation"),
            ({"pictures": (PeopleSet(labels="space"),)}, InputError, "expected labels with keypoints"),
            ({"init_backbone": True}, MissingAssetError, "init_backbone=false"),
            ({"objects": "none.npz", "appearance": AppearanceOptions()}, MissingAssetError, "none.npz"),
        ],
    )
    def test_task__says_what_does_not_fit(self, data, changes, error, message):
        with pytest.raises(error, match=message):
            recipe(**changes).task(data)

    @pytest.mark.parametrize("world", [2, 3])
    def test_batches__that_cannot_be_shared_out_are_refused(self, data, world):
        task = recipe(pictures=(PeopleSet(labels="flat", count=3),)).task(data)
        with pytest.raises(InputError, match=f"multiples of the {world} processes"):
            first(task, world=world)


class TestJoints:
    def test_bones__are_links_of_the_skeletons(self):
        for bones, joints, name in ((H36M_BONES, H36M_JOINTS, "h36m_17"), (MPI_BONES, MPI_JOINTS, "mpi_inf_3dhp_17")):
            own = skeleton(name)
            links = {frozenset((own.joints[a], own.joints[b])) for a, b in own.links}
            assert {frozenset((joints[a], joints[b])) for a, b in bones} == links
            assert len(bones) == len(links)

    def test_weak_weights__own_name_first_then_those_of_all_sets(self):
        network_joints = replace(
            H36M, joints=("neck", "neck_h36m", "left_hip_h36m", "left_hip_smpl", "pelvis"), links=()
        )
        labelled = replace(H36M, joints=("left_hip", "thorax", "neck"), links=())
        weak = weak_joints([labelled], network_joints)
        assert weak.joints == ("left_hip", "neck")
        assert weak_weights(weak, network_joints).tolist() == [[0, 0, 0.5, 0.5, 0], [1, 0, 0, 0, 0]]

    def test_bound_kernels__shrinks_outputs_that_are_too_large(self):
        layer = torch.nn.Conv2d(1, 2, 1, bias=False)
        layer.weight.data = torch.tensor([3.0, 0.5]).view(2, 1, 1, 1)
        bound_kernels(torch.nn.Sequential(layer), 2.0)
        assert layer.weight.flatten().tolist() == [2.0, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize("recovery", ["metrabs", "metro"])
def test_training__lowers_the_error_and_goes_on_where_it_stopped(data, tmp_path, recovery):
    torch.manual_seed(0)
    training = replace(recipe().training, steps=60, validate_every=30, checkpoint_every=30)
    made = recipe(network=network(recovery), validation=PeopleSet(labels="space"), training=training, absolute_after=20)
    task = made.task(data)
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    with torch.no_grad():
        task.model.eval()
        before = [task.validate(batch) for batch in task.batches("validation", seed=0, rank=0, world=1)]
    start = float(sum(one["mpjpe_mm"] for one in before) / sum(one["count"] for one in before))
    result = train(task, task.training, tmp_path / "whole")
    assert result.scores["mpjpe_mm"] < 0.5 * start
    other = made.task(data)
    other.model.load_state_dict(state)
    train(other, replace(task.training, steps=30, schedule=task.training.schedule), tmp_path / "parts")
    again = made.task(data)
    resumed = train(again, task.training, tmp_path / "parts", anyway=True)
    assert resumed.resumed == 30
    for one, two in zip(task.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)
