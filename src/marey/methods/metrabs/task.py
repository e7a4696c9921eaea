"""The task of training MeTRAbs: crops of people known in space, and of people known in pictures only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marey.core import Batch, Image, InputError, MissingAssetError, Skeleton, skeleton, skeleton_names
from marey.data.augmentation import AppearanceOptions
from marey.data.prepare.voc_occluders import read_occluders
from marey.engine.settings import TrainingSettings
from marey.engine.streams import in_order, made_ahead
from marey.methods.metrabs.bone_lengths import mean_bone_lengths
from marey.methods.metrabs.heatmaps import is_reliable
from marey.methods.metrabs.losses import (
    Guess,
    People,
    Pictures,
    depth_terms,
    joint_terms,
    placed_terms,
    projected,
    projected_terms,
    weak_joint_terms,
    weak_keypoint_terms,
    weak_projection_terms,
    with_higher_hips,
)
from marey.methods.metrabs.model import HeadPlaces, MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import ENTRY, LoadedNetwork, describe
from marey.methods.metrabs.preview import crops_preview
from marey.methods.metrabs.recipe import MetrabsRecipe
from marey.methods.metrabs.reconstruction import combined, reconstruct_absolute
from marey.methods.metrabs.samples import (
    CropSamples,
    CropSet,
    CropStyle,
    PeopleSet,
    Scenery,
    labelled_joints,
    open_people,
    open_pictures,
    person_free_pictures,
)
from marey.methods.metrabs.starting import start_backbone, start_network, start_on_trunk
from marey.methods.metrabs.stream import CropStream, Share, SyntheticPeople, synthetic_joints
from marey.metrics.aligned import procrustes_errors
from marey.metrics.correct import linear_auc_scores, pck_hits
from marey.metrics.joints import joint_errors
from marey.nn.ghost_norm import use_ghost_norm
from marey.nn.precision import full_precision

SPLITS = ("train", "validation")
_CORRECT = 0.15
"""Metres."""
_THREADS = 4


class MetrabsTask:
    """A `TrainingTask`: people in crops.

    Args:
        recipe: What is trained on what.
        data: Folder of the data.

    Raises:
        InputError: labels, options and network do not fit together, or there is nothing to train on.
        MissingAssetError: a file is absent.
        FormatError: a file is malformed, or weights are of another network.
    """

    def __init__(self, recipe: MetrabsRecipe, data: Path | None = None) -> None:
        self.recipe, self._data = recipe, data
        self.skeleton = network_skeleton(recipe.network.joints)
        """The joints that the network learns."""
        scenery = _scenery(recipe, data)
        self.people = [self._opened(chosen, scenery) for chosen in recipe.people]
        self.weak = weak_joints([labelled_joints(chosen, data) for chosen in recipe.pictures], self.skeleton)
        """The joints of pictures that the network has."""
        self.pictures = [replace(open_pictures(chosen, data, self.weak), scenery=scenery) for chosen in recipe.pictures]
        self.validation = None if recipe.people == () and data is None else self._opened(recipe.validation, Scenery())
        self._weights = weak_weights(self.weak, self.skeleton)
        self.training = self._settled()
        """The recipe's, with the steps and the decay of weights that its data make of `epochs` and `weight_decay`."""
        self.model, self.start = self._network()
        """What is trained, and what it started from."""

    def card(self) -> dict[str, Any]:
        """What the data are, and what the network is to whoever loads it."""
        sets = {"people": self.people, "pictures": self.pictures}
        told = {
            name: [{"labels": f"{one.labels.name} {one.labels.version}".strip(), "rows": len(one)} for one in opened]
            for name, opened in sets.items()
        }
        network = describe(LoadedNetwork(module=self.model, skeleton=self.skeleton))
        synthetic = {"synthetic": dict(self.recipe.synthetic)} if self.recipe.synthetic else {}
        return {ENTRY: network, "start": self.start, **told, **synthetic}

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards; no crop depends on the number of processes.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        if split not in SPLITS:
            raise InputError(f"split: expected train or validation, got '{split}'")
        if split == "validation":
            return self._validation_batches(seed=seed, rank=rank, world=world)
        stream = self._stream(seed=seed, rank=rank, world=world)
        make: Any = stream.maker
        made: Iterator[Batch] = made_ahead(make, start, workers=self.recipe.workers)
        return made

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms of `marey.methods.metrabs.losses`, means over what is known in the shard."""
        people: CropSamples = batch["people"]
        pictures: CropSamples | None = batch.get("pictures")
        step: int = batch["step"]
        self._prepare_network(step)
        known, weak = self._looked(people, pictures)
        with full_precision(people.intrinsics):
            losses = self._space_terms(known, people, step)
            if weak is not None and pictures is not None:
                terms = self._picture_terms(weak, pictures, step)
                losses |= {name: self.recipe.weak_weight * value for name, value in terms.items()}
        return losses

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over people whose root is known, each the mean over its known joints.

        `mpjpe_mm` from the root, `pa_mpjpe_mm` after Procrustes alignment, `pck_150` and `auc_150` in percent; where
        the network places people `absolute_mpjpe_mm`.
        """
        people: CropSamples = batch["people"]
        truth = people.joints.double()
        joints = self._estimated(people).double()
        config = self.model.config
        known = truth.isfinite().all(-1)
        counted = known[:, config.root] if config.root is not None else known.all(-1)
        found, wanted = (_from_root(points, config.root) for points in (joints, truth))
        scores = {
            "mpjpe_mm": 1000 * joint_errors(found, wanted),
            "pa_mpjpe_mm": 1000 * procrustes_errors(found, wanted),
            "pck_150": 100 * pck_hits(found, wanted, threshold=_CORRECT, inclusive=True),
            "auc_150": 100 * linear_auc_scores(found, wanted, limit=_CORRECT),
        }
        if config.scale_recovery != "metro":
            scores["absolute_mpjpe_mm"] = 1000 * joint_errors(joints, truth)
        sums = {name: values.nanmean(-1)[counted].sum() for name, values in scores.items()}
        return {**sums, "count": counted.sum()}

    def preview(self, batch: Batch) -> dict[str, Image]:
        """The first crops of each kind with the true and the estimated joints, from the front and from the side."""
        count, found = self.recipe.preview_items, {}
        for name in ("people", "pictures"):
            if name in batch:
                samples: CropSamples = batch[name][:count]
                links = (self.skeleton if name == "people" else self.weak).links
                found[name] = crops_preview(samples, self._shown(samples, name), links)
        return found

    def _opened(self, chosen: PeopleSet, scenery: Scenery) -> CropSet:
        opened = open_people(chosen, self._data, self.skeleton, universal=self.recipe.universal_skeleton)
        return replace(opened, scenery=scenery)

    def _settled(self) -> TrainingSettings:
        recipe, settings = self.recipe, self.recipe.training
        if recipe.epochs is not None and self.people:
            examples = sum(len(one) for one in self.people)
            batch = settings.accumulate * sum(chosen.count for chosen in recipe.people)
            settings = replace(settings, steps=max(1, math.floor(examples * recipe.epochs / batch)))
        rate = settings.optimiser.learning_rate
        decay = recipe.weight_decay / (rate * math.sqrt(settings.steps)) if rate else 0.0
        return replace(settings, optimiser=replace(settings.optimiser, weight_decay=decay))

    def _network(self) -> tuple[MetrabsNet, dict[str, Any]]:
        recipe = self.recipe
        network = MetrabsNet(self._config())
        start: dict[str, Any] = {}
        if recipe.weights:
            start_network(network, (self._data or Path()) / recipe.weights)
            start = {"weights": recipe.weights}
        elif network.combination is not None:
            raise InputError("weights: networks of points start from weights that say how joints are made of them")
        elif recipe.init_backbone and not recipe.backbone_weights:
            start = start_on_trunk(network)
        elif recipe.init_backbone:
            start = start_backbone(network, (self._data or Path()) / recipe.backbone_weights)
        if recipe.ghost_batch is not None:
            use_ghost_norm(network, recipe.ghost_batch)
        return network, start

    def _config(self) -> MetrabsConfig:
        """The recipe's, with mean lengths of bones."""
        config = self.recipe.network
        if config.scale_recovery != "bone-lengths" or any(config.bone_lengths):
            return config
        joints = [one.targets[one.rows] for one in self.people]
        joints += [synthetic_joints(tier, self.skeleton) for tier, _ in self.recipe.synthetic]
        lengths = mean_bone_lengths(torch.from_numpy(np.concatenate(joints)).double(), config.bones)
        return replace(config, bone_lengths=tuple(lengths.tolist()))

    def _stream(self, *, seed: int, rank: int, world: int) -> CropStream:
        recipe = self.recipe
        other = recipe.picture_appearance or recipe.appearance
        synthetic = SyntheticPeople(
            tiers=recipe.synthetic,
            skeleton=self.skeleton,
            side=recipe.network.heatmaps.side,
            appearance=recipe.appearance,
            framing=recipe.synthetic_framing,
        )
        return CropStream(
            people=[self._share(*pair, recipe.appearance) for pair in zip(self.people, recipe.people, strict=True)],
            pictures=[self._share(*pair, other) for pair in zip(self.pictures, recipe.pictures, strict=True)],
            synthetic=synthetic if recipe.synthetic else None,
            seed=seed,
            rank=rank,
            world=world,
            accumulate=recipe.training.accumulate,
            threads=1 if recipe.workers else _THREADS,
        )

    def _share(self, opened: CropSet, chosen: PeopleSet, appearance: AppearanceOptions) -> Share:
        return Share(people=opened, count=chosen.count, style=self._style(chosen, appearance))

    def _style(self, chosen: PeopleSet, appearance: AppearanceOptions | None) -> CropStyle:
        """How crops are made; of validation, which does not vary, without `appearance`."""
        recipe, varied = self.recipe, appearance is not None
        crops = recipe.crops if chosen.parts is None else replace(recipe.crops, parts=chosen.parts)
        return CropStyle(
            side=recipe.network.heatmaps.side,
            crops=crops if varied else None,
            appearance=appearance,
            interpolation=recipe.interpolation if varied else recipe.validation_interpolation,
            antialias=recipe.antialias if varied else recipe.validation_antialias,
            background=chosen.background if varied else 0.0,
            longest_box_number=recipe.longest_box_number,
        )

    def _validation_batches(self, *, seed: int, rank: int, world: int) -> Iterator[Batch]:
        recipe, size = self.recipe, self.recipe.validation_batch
        if self.validation is None:
            yield from self._synthetic_validation(rank=rank, world=world)
            return
        count = min(len(self.validation), recipe.validation_rows or len(self.validation))
        style = self._style(recipe.validation, recipe.appearance if recipe.validation_varied else None)
        for places in in_order(count, size, rank=rank, world=world):
            seeds = [(seed * count + place) % 2**32 for place in places.tolist()]
            yield {"people": self.validation.samples(places, seeds, style, threads=_THREADS)}

    def _synthetic_validation(self, *, rank: int, world: int) -> Iterator[Batch]:
        """Synthetic people of seeds that training never has, whatever its own."""
        stream = self._stream(seed=0, rank=0, world=1)
        assert stream.synthetic is not None, "the recipe has people of one kind or the other"
        made = replace(stream.synthetic, appearance=None).maker(seed=1, rank=0, world=1, mirrored=False)
        each = sum(count for _, count in self.recipe.synthetic)
        batches = math.ceil((self.recipe.validation_rows or 16 * each) / each)
        for number in range(rank, batches, world):
            yield {"people": made(number)}

    def _prepare_network(self, step: int) -> None:
        """What changes in the network as training goes on; the engine has set it to training."""
        recipe = self.recipe
        if recipe.largest_kernel is not None:
            bound_kernels(self.model, recipe.largest_kernel)
        if step >= self.training.steps - recipe.frozen_norms:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def _looked(self, people: CropSamples, pictures: CropSamples | None) -> tuple[HeadPlaces, HeadPlaces | None]:
        """What the network sees in crops of both kinds."""
        if pictures is None:
            return self.model.places(_pictures(people.images)), None
        if not self.recipe.joined_pass:
            return self.model.places(_pictures(people.images)), self.model.places(_pictures(pictures.images))
        whole = self.model.places(_pictures(torch.cat((people.images, pictures.images))))
        count = len(people.images)
        return _part(whole, slice(None, count)), _part(whole, slice(count, None))

    def _space_terms(self, places: HeadPlaces, people: CropSamples, step: int) -> dict[str, Tensor]:
        known = people.joints.isfinite().all(-1) & people.keypoints.isfinite().all(-1)
        truth = People(
            torch.where(known[..., None], people.joints, 0.0),
            torch.where(known[..., None], people.keypoints, 0.0),
            known,
        )
        guesses = self._guesses(places, people.intrinsics, step)
        return _added([self._terms_of(guess, truth, people.intrinsics, step) for guess in guesses])

    def _terms_of(self, guess: Guess, truth: People, intrinsics: Tensor, step: int) -> dict[str, Tensor]:
        recipe, config = self.recipe, self.model.config
        maps = config.heatmaps
        root = None if recipe.mean_relative else config.root
        scale = maps.box_size / maps.side
        if config.is_25d:
            assert config.root is not None
            terms = depth_terms(guess, truth, root=config.root, scale=scale, box_size=maps.box_size)
            return {"keypoints": terms["keypoints"] * 2 / 3, "depth": terms["depth"] / 3}
        if config.scale_recovery == "metro":
            return joint_terms(guess, truth, root=root)
        if recipe.losses == "projections":
            terms = projected_terms(guess, truth, intrinsics, root=root, heatmaps=maps)
        else:
            terms = placed_terms(guess, truth, root=root, scale=scale)
        return {**terms, "absolute": self._absolute_weight(step) * terms["absolute"]}

    def _absolute_weight(self, step: int) -> float:
        recipe = self.recipe
        if step <= recipe.absolute_after:
            return 0.0
        return recipe.absolute_weight ** (2 if recipe.squared_absolute_weight else 1)

    def _picture_terms(self, places: HeadPlaces, pictures: CropSamples, step: int) -> dict[str, Tensor]:
        known = pictures.keypoints.isfinite().all(-1)
        truth = Pictures(torch.where(known[..., None], pictures.keypoints, 0.0), known)
        guesses = self._guesses(places, pictures.intrinsics, step)
        return _added([self._weak_terms_of(guess, truth, pictures.intrinsics) for guess in guesses])

    def _weak_terms_of(self, guess: Guess, truth: Pictures, intrinsics: Tensor) -> dict[str, Tensor]:
        recipe, config = self.recipe, self.model.config
        maps = config.heatmaps
        scale = maps.box_size / maps.side
        if recipe.losses == "projections":
            assert guess.joints is not None
            return weak_projection_terms(self._weakly(projected(guess.joints, intrinsics)), truth, maps)
        if config.is_25d:
            assert guess.keypoints is not None
            moved = with_higher_hips(guess.keypoints, self.skeleton, recipe.hip_shift)
            return weak_keypoint_terms(self._weakly(moved), truth, scale=scale)
        terms = weak_joint_terms(self._weakly(guess.relative), truth, scale=scale)
        if guess.keypoints is not None:
            terms |= weak_keypoint_terms(self._weakly(guess.keypoints), truth, scale=scale)
        return terms

    def _guesses(self, places: HeadPlaces, intrinsics: Tensor, step: int) -> list[Guess]:
        """The joints that the heatmaps show, placed where the network does that; first those that count at inference.

        Heatmaps of joints beside those of points learn for themselves.
        """
        config = self.model.config
        count = config.points or len(config.joints)
        parts = [slice(None, count), slice(count, None)][: 2 if config.points_and_joints else 1]
        mixes = [self.model.combination, None]
        found = []
        for part, mixed in zip(parts, mixes, strict=False):
            relative = places.relative.positions[:, part]
            keypoints = None if places.keypoints is None else places.keypoints.positions[:, part]
            placed = None
            if config.scale_recovery == "metrabs":
                assert keypoints is not None
                placed = combined(self._placed(keypoints, relative, intrinsics, step), mixed)
            keypoints = None if keypoints is None else combined(keypoints, mixed)
            found.append(Guess(keypoints, combined(relative, mixed), placed))
        return found

    def _placed(self, keypoints: Tensor, relative: Tensor, intrinsics: Tensor, step: int) -> Tensor:
        """Points (B, N, 3) before the camera."""
        config, placing = self.model.config, self.model.config.placing
        if step < self.recipe.weak_perspective_until:
            placing = replace(placing, perspective="weak")
        mix = torch.rand(len(relative), device=relative.device) if self.recipe.random_mix else None
        reliable = is_reliable(keypoints, config.heatmaps, config.border)
        return reconstruct_absolute(keypoints, relative, intrinsics, reliable=reliable, placing=placing, mix=mix)

    def _weakly(self, points: Tensor) -> Tensor:
        """Joints (B, J, D) of the network as those of the labels of pictures (B, K, D)."""
        self._weights = self._weights.to(points.device)
        return torch.einsum("kj,bjd->bkd", self._weights.to(points.dtype), points)

    def _estimated(self, people: CropSamples) -> Tensor:
        """Joints (B, J, 3) as the network gives them; with true lengths or depths, where it is told them."""
        config = self.model.config
        told: dict[str, Tensor] = {}
        if config.scale_recovery == "bone-lengths-true":
            ends = torch.tensor(config.bones, device=people.joints.device)
            told["bone_lengths"] = (people.joints[:, ends[:, 0]] - people.joints[:, ends[:, 1]]).norm(dim=-1)
        if config.scale_recovery == "true-root-depth":
            told["root_depth"] = people.joints[:, config.root, 2]
        joints: Tensor = self.model(_pictures(people.images), people.intrinsics, **told).joints
        return joints

    def _shown(self, samples: CropSamples, name: str) -> Guess:
        places = self.model.places(_pictures(samples.images))
        with full_precision(samples.intrinsics):
            guess = self._guesses(places, samples.intrinsics, self.training.steps)[0]
            if name == "people":
                return guess
            keypoints = None if guess.keypoints is None else self._weakly(guess.keypoints)
            return Guess(keypoints, self._weakly(guess.relative))


def network_skeleton(joints: Sequence[str]) -> Skeleton:
    """Joints of a network with the links that the shipped skeleton has which knows most of them."""
    known = [skeleton(name) for name in skeleton_names()]
    best = max(known, key=lambda one: len(set(one.joints) & set(joints)))
    places = {name: place for place, name in enumerate(joints)}
    pairs = [(best.joints[a], best.joints[b]) for a, b in best.links]
    links = tuple((places[a], places[b]) for a, b in pairs if a in places and b in places)
    return Skeleton(best.name if best.joints == tuple(joints) else "network", tuple(joints), links)


def weak_joints(labelled: Sequence[Skeleton], network: Skeleton) -> Skeleton:
    """The joints of labels of pictures that a network has, under their own name or with the name of a set behind it."""
    names = dict.fromkeys(name for one in labelled for name in one.joints if _own(name, network))
    if labelled and not names:
        raise InputError("pictures: none of their joints is the network's")
    places = {name: place for place, name in enumerate(names)}
    pairs = [(one.joints[a], one.joints[b]) for one in labelled for a, b in one.links]
    links = tuple(dict.fromkeys((places[a], places[b]) for a, b in pairs if a in places and b in places))
    return Skeleton("pictures", tuple(names), links)


def weak_weights(weak: Skeleton, network: Skeleton) -> Tensor:
    """(K, J): a joint of pictures is the network's of that name, or the mean of those that have it of several sets."""
    weights = torch.zeros(len(weak), len(network))
    for row, name in enumerate(weak.joints):
        found = _own(name, network)
        weights[row, found] = 1 / len(found)
    return weights


def bound_kernels(module: nn.Module, largest: float) -> None:
    """Shrink the weights of each output of a convolution to a norm of at most `largest`, in place."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                norm = part.weight.flatten(1).norm(dim=1)
                part.weight.mul_((largest / norm.clamp_min(largest))[:, None, None, None])


def _own(name: str, network: Skeleton) -> list[int]:
    """Places of a joint in a network: of that name, or else of all names of it with a data set's behind."""
    if name in network:
        return [network.index(name)]
    return [place for place, joint in enumerate(network.joints) if joint.startswith(f"{name}_")]


def _scenery(recipe: MetrabsRecipe, data: Path | None) -> Scenery:
    folder = data or Path()
    hidden = max(options.occlusion for options in (recipe.appearance, recipe.picture_appearance or recipe.appearance))
    wanted = recipe.backgrounds and any(chosen.background for chosen in recipe.people)
    objects = folder / recipe.objects
    if recipe.objects and hidden and not objects.is_file():
        raise MissingAssetError(
            f"objects: expected {objects}; run `marey data prepare voc-occluders`, or set objects='' to only erase"
        )
    return Scenery(
        objects=read_occluders(objects) if recipe.objects and hidden else None,
        backgrounds=person_free_pictures(folder / recipe.backgrounds) if wanted else (),
    )


def _added(terms: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name] for one in terms]).sum(0) for name in terms[0]}


def _pictures(images: Tensor) -> Tensor:
    return (images.float() / 255).contiguous(memory_format=torch.channels_last)


def _part(places: HeadPlaces, rows: slice) -> HeadPlaces:
    kinds = (places.keypoints, places.relative)
    keypoints, relative = (None if one is None else type(one)(*(values[rows] for values in one)) for one in kinds)
    assert relative is not None
    return HeadPlaces(keypoints, relative)


def _from_root(joints: Tensor, root: int | None) -> Tensor:
    return joints - (joints.mean(1, keepdim=True) if root is None else joints[:, root, None])
