"""The task of training the published networks on people in several calibrated views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marey.core import Batch, FormatError, Image, InputError, Skeleton, skeleton, skeleton_names
from marey.data.multiview import MultiViewLabels, MultiViewSamples
from marey.engine.seeding import mixed_seed
from marey.engine.streams import in_order, shuffled
from marey.io.h36m_labels import H36M_JOINTS
from marey.io.weights import load_weights
from marey.methods.triangulation.checkpoint import load_backbone, load_official
from marey.methods.triangulation.losses import absolute_error, squared_error, volumetric_cross_entropy
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    AlgebraicOutput,
    VolumetricNet,
    VolumetricOutput,
)
from marey.methods.triangulation.multiview_preview import multiview_preview
from marey.methods.triangulation.multiview_splits import (
    ahead,
    find_file,
    labelled_centers,
    open_split,
    predicted_centers,
)
from marey.methods.triangulation.networks import ENTRY, ImageConvention, LoadedNetwork, describe, prepare_images
from marey.methods.triangulation.recipe import SplitOptions, TriangulationRecipe

SPLITS = ("train", "validation")


class _Split(NamedTuple):
    samples: MultiViewLabels
    usable: Tensor
    """(M,) samples with enough views, a labelled joint and, where one is needed, a place for the cuboid."""


class TriangulationTask:
    """A `TrainingTask`: people at moments, each seen in several views.

    Args:
        recipe: What is trained on what.
        data: Folder of the data.

    Raises:
        InputError: labels, options and network do not fit together, or there is nothing to train on.
        MissingAssetError: a file is absent.
        FormatError: a file is malformed, or weights are of another network.
    """

    def __init__(self, recipe: TriangulationRecipe, data: Path | None = None) -> None:
        self.recipe, self._data = recipe, data
        self.splits = {name: self._opened(name) for name in SPLITS}
        self.skeleton = self._network_skeleton()
        """The joints that the network learns."""
        if recipe.base_joint not in self.skeleton:
            names = ", ".join(self.skeleton.joints)
            raise InputError(f"base_joint: expected one of the network's {names}; got '{recipe.base_joint}'")
        self._base = self.skeleton.index(recipe.base_joint)
        self.image = _convention(recipe)
        self.model, self.start = _network(recipe, data)
        """What is trained, and what it started from."""

    def card(self) -> dict[str, Any]:
        """What the data are, and what the network started from."""
        found: dict[str, Any] = {ENTRY: describe(self._described()), "start": self.start}
        for name, (samples, usable) in self.splits.items():
            labels = samples.labels
            found[name] = {
                "labels": f"{labels.name} {labels.version}".strip(),
                "split": str(labels.split[0]),
                "samples": len(usable),
                "views": list(samples.view_names),
            }
        return found

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterable[Batch]:
        """Give this process's shards; which views a global batch has is drawn for all of it.

        Raises:
            InputError: there is no such split, or a batch cannot be shared out evenly.
        """
        if split not in SPLITS:
            raise InputError(f"split: expected train or validation, got '{split}'")
        if split == "train" and self.recipe.batch % world:
            raise InputError(f"batch: expected a multiple of the {world} processes, got {self.recipe.batch}")
        samples = self.splits[split].samples
        options = self.recipe.train if split == "train" else self.recipe.validation
        if split == "train":
            chosen = self._training_rows(seed=seed, rank=rank, world=world, start=start)
        else:
            chosen = self._validation_rows(seed=seed, rank=rank, world=world)
        return ahead(lambda found: {"samples": samples.samples(*found)}, chosen, options.workers)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The criterion of the joints and, for volumetric networks, the cross-entropy of their volumes.

        As published, means over what is labelled in the shard.
        """
        samples: MultiViewSamples = batch["samples"]
        recipe, output = self.recipe, self._estimated(samples)
        truth, known = self._labels(samples)
        joints, target, counted = output.joints, truth, known
        if samples.images.shape[1] == 1:
            joints, target = self._relative(joints), self._relative(truth)
            counted = known & known[:, self._base, None]
        scale = recipe.scale_keypoints_3d
        losses: dict[str, Tensor] = {recipe.criterion: self._criterion(joints * scale, target * scale, counted)}
        if isinstance(output, VolumetricOutput) and recipe.cross_entropy_weight:
            entropy = volumetric_cross_entropy(output.volumes, output.grid, truth, known)
            losses["cross_entropy"] = recipe.cross_entropy_weight * entropy
        return losses

    def validate(self, batch: Batch) -> dict[str, Tensor]:
        """Sums over poses whose base joint is labelled: their joints' mean distance in mm, absolute and relative."""
        samples: MultiViewSamples = batch["samples"]
        joints = self._estimated(samples).joints.double()
        truth, known = self._labels(samples)
        counted = known[:, self._base]
        base = slice(self._base, self._base + 1)
        residual = joints - truth
        errors = {"mpjpe_mm": residual, "relative_mpjpe_mm": residual - residual[:, base]}
        each = known.sum(1).clamp_min(1)
        found = {}
        for name, vectors in errors.items():
            distance = torch.where(known, vectors.square().sum(-1).sqrt(), 0.0)
            found[name] = 1000 * (distance.sum(1) / each)[counted].sum()
        return {**found, "count": counted.sum()}

    def preview(self, batch: Batch) -> dict[str, Image]:
        """Keypoints, heatmaps or volumes, and the views' confidences, of the first samples."""
        samples: MultiViewSamples = batch["samples"][: self.recipe.preview_items]
        truth, known = self._labels(samples)
        truth = torch.where(known[..., None], truth, torch.nan)
        return multiview_preview(samples, self._estimated(samples), truth, self.skeleton.links)

    def _estimated(self, samples: MultiViewSamples) -> AlgebraicOutput | VolumetricOutput:
        images = prepare_images(samples.images, self.image)
        found: AlgebraicOutput | VolumetricOutput
        if isinstance(self.model, AlgebraicNet):
            found = self.model(images, samples.projections)
        else:
            found = self.model(images, samples.projections, samples.centers)
        return found

    def _labels(self, samples: MultiViewSamples) -> tuple[Tensor, Tensor]:
        """Joints (B, J, 3) of the network in metres, and which (B, J) are known."""
        number = len(self.skeleton)
        return samples.joints[:, :number], samples.valid[:, :number]

    def _relative(self, joints: Tensor) -> Tensor:
        """Joints (B, J, 3) relative to the base joint, which itself stays where it is."""
        origin = joints[:, self._base, None]
        others = torch.arange(joints.shape[1], device=joints.device) != self._base
        return torch.where(others[:, None], joints - origin, joints)

    def _criterion(self, joints: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        if self.recipe.criterion == "mae":
            return absolute_error(joints, truth, known)
        bend = self.recipe.mse_smooth_threshold if self.recipe.criterion == "mse-smooth" else None
        return squared_error(joints, truth, known, bend=bend)

    def _training_rows(self, *, seed: int, rank: int, world: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless samples (B / world,) and their views (B / world, n)."""
        samples, usable = self.splits["train"]
        size = self.recipe.batch
        if self.recipe.train.shuffle:
            places = shuffled(len(usable), size, seed=seed, start=start)
        else:
            places = ((first * size + torch.arange(size)) % len(usable) for first in count(start))
        shard = slice(rank, None, world)
        for number, place in enumerate(places, start):
            rows = usable[place]
            yield rows[shard], samples.draw_views(rows, _generator(seed, "train", number))[shard]

    def _validation_rows(self, *, seed: int, rank: int, world: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Each sample once; the views of a batch do not depend on the number of processes."""
        samples, usable = self.splits["validation"]
        for place in in_order(len(usable), self.recipe.validation_batch, rank=rank, world=world):
            yield usable[place], samples.draw_views(usable[place], _generator(seed, "validation", int(place[0])))

    def _opened(self, name: str) -> _Split:
        recipe = self.recipe
        options: SplitOptions = recipe.train if name == "train" else recipe.validation
        volumetric = not isinstance(recipe.network, AlgebraicConfig)
        labelled = volumetric and recipe.use_gt_pelvis
        centers = recipe.cuboid_center if labelled else ()
        samples = open_split(options, self._data, joints=recipe.joints, centers=centers)
        if labelled:
            samples = samples.with_centers(labelled_centers(samples, recipe.cuboid_center))
        elif volumetric:
            samples = samples.with_centers(predicted_centers(samples, options, self._data))
        return _Split(samples, self._usable(name, samples, options, volumetric=volumetric))

    def _usable(self, name: str, samples: MultiViewLabels, options: SplitOptions, *, volumetric: bool) -> Tensor:
        least = 1 if volumetric else 2
        drawn = options.samples
        if drawn.randomize_n_views and (drawn.min_n_views or 1) < least:
            raise InputError(
                f"{name}.samples.min_n_views: the algebraic network needs 2 views, got {drawn.min_n_views}"
            )
        places = torch.from_numpy(samples.centers).isfinite().all(-1) if volumetric else True
        views = torch.from_numpy(samples.table >= 0).sum(1) >= least
        joints = torch.from_numpy(samples.joints).isfinite().all(-1).any(-1)
        usable = (views & joints & places).nonzero()[:, 0]
        usable = usable if name == "train" else usable[: self.recipe.validation_samples]
        needed = self.recipe.batch if name == "train" else 1
        if len(usable) < needed:
            raise InputError(
                f"{name}: expected {needed} or more samples with {least} or more views, labelled joints"
                f"{' and a pelvis' if volumetric else ''}, got {len(usable)} of {len(samples)}"
            )
        return usable

    def _network_skeleton(self) -> Skeleton:
        recipe, labelled = self.recipe, self.splits["train"].samples.labels.skeleton
        number = recipe.network.backbone.joints
        if not recipe.joints and len(labelled) != number:
            raise InputError(
                f"network.backbone.joints: expected {len(labelled)}, the joints of the labels, got {number}"
            )
        if H36M_JOINTS.joints == recipe.joints:
            return H36M_JOINTS
        found = labelled.select(labelled.joints[:number], labelled.name)
        known = skeleton(found.name) if found.name in skeleton_names() else found
        return known if known.joints == found.joints else found

    def _described(self) -> LoadedNetwork:
        recipe = self.recipe
        return LoadedNetwork(
            module=self.model,
            kind="algebraic" if isinstance(self.model, AlgebraicNet) else "volumetric",
            skeleton=self.skeleton,
            image=self.image,
            roots=recipe.cuboid_center,
            up=recipe.up,
        )


def _network(recipe: TriangulationRecipe, data: Path | None) -> tuple[AlgebraicNet | VolumetricNet, dict[str, Any]]:
    """The network as it starts, and plain values that say from what."""
    config = recipe.network
    network = AlgebraicNet(config) if isinstance(config, AlgebraicConfig) else VolumetricNet(config)
    if recipe.weights:
        path = find_file(recipe.weights, data, what="weights", hint="see 'weights'")
        if path.is_dir():
            load_weights(network, path)
            return network, {"weights": recipe.weights}
        official = load_official(path, config)
        if not isinstance(official, type(network)) or official.config != config:
            raise FormatError(f"{path}: weights of another network than the recipe's: {official.config}")
        return official, {"weights": recipe.weights}
    if not recipe.init_backbone:
        return network, {}
    hint = "the original program's page links them; or set init_backbone=false to begin with random weights"
    path = find_file(recipe.backbone_weights, data, what="weights of the backbone", hint=hint)
    found = load_backbone(network.backbone, path)
    told = {"loaded": len(found.loaded), "partly": list(found.partly), "missing": len(found.missing)}
    return network, {"backbone": recipe.backbone_weights, **told}


def _convention(recipe: TriangulationRecipe) -> ImageConvention:
    """What the network sees, in the words of those who use it later."""
    samples = recipe.train.samples
    height, width = samples.image_shape
    return ImageConvention(
        side=(width, height),
        channels=recipe.channels,
        box_scale=samples.scale_bbox,
        half_pixels=not samples.published_pixels,
    )


def _generator(seed: int, split: str, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(mixed_seed(seed, split, "views", number))
