"""The estimators of learnable triangulation: images of calibrated views in, joints with covariance out.

Every person of every frame is cut out of the views that show them, a few at a time, and what the network says of the
crops is put together. One volume is made for each person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from marey.core import Estimate, InputError, Observation, Requirements, ShapeError
from marey.core.results import DISTANCE
from marey.data.observed_people import People
from marey.methods.triangulation.crops import CropBatch, crop_batches
from marey.methods.triangulation.cuboid import Frame, Starts, find_starts, find_vertical
from marey.methods.triangulation.gathered import Gathered, Said
from marey.methods.triangulation.networks import Kind, LoadedNetwork, load_network, prepare_images
from marey.nn.folding import folded
from marey.nn.placement import placed
from marey.nn.precision import Precision, check_precision, network_precision

DISTANCE_DEVIATION = 0.08
"""Relative, of the distance of a person whom one view sees: by the unknown size of the body."""

_PIXELS = 1 << 19
"""Of all crops of one view in one run of the network."""
_RECENTRED = 1 / 8
"""Shares of the cuboid's side by which the pelvis is off its middle when the cuboid is put anew about it."""
_OUTSIDE = 3 / 8
"""And from which on the person is not within the cuboid."""
_ROOM = 0.5
"""Shares of a crop's side beyond it within which a pelvis may be seen of somebody who is cut off."""


@dataclass(frozen=True, kw_only=True)
class _ImageEstimator:
    """What the estimators have in common."""

    weights: Path | None = None
    """An official checkpoint or a folder of `marey train`; None: what is shipped."""
    joints: str | None = None
    """Skeleton of an official checkpoint that does not say it; see `load_network`."""
    internal_batch_size: int | None = None
    """People times frames in one run of the network, which bounds the memory; None: as many as have half a million
    pixels in each view, 3 of the published network."""
    device: str | None = None
    """Where the network runs; None: on an accelerator if there is one."""
    precision: Precision = "float32"
    """Of the network's convolutions. `bfloat16` is faster on what computes in it, `auto` takes it there; joints move by
    millimetres, and geometry keeps all digits."""

    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        if self.internal_batch_size is not None and self.internal_batch_size < 1:
            raise InputError(f"internal_batch_size: expected 1 or more, got {self.internal_batch_size}")
        check_precision(self.precision)

    @cached_property
    def network(self) -> LoadedNetwork:
        """The network, loaded when it is first needed and made ready for inference.

        Raises:
            MissingAssetError, FormatError, InputError: as `load_network`.
        """
        return _folded(load_network(self.kind, self.weights, joints=self.joints))


@dataclass(frozen=True, kw_only=True)
class _KeypointEstimator(_ImageEstimator):
    """What those have in common that triangulate keypoints."""

    requires = Requirements(views=(2, None), evidence="images", calibration="full", temporal="frame")

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate every person in every frame; see `triangulate_people`."""
        return triangulate_people(
            observation,
            self.network,
            at_once=self.internal_batch_size,
            device=self.device,
            precision=self.precision,
        )


@dataclass(frozen=True, kw_only=True)
class AlgebraicEstimator(_KeypointEstimator):
    """Keypoints by a network, triangulated with learned weights of the views."""

    kind = "algebraic"


@dataclass(frozen=True, kw_only=True)
class RansacEstimator(_KeypointEstimator):
    """Keypoints by a network, triangulated from the views that agree."""

    kind = "ransac"


@dataclass(frozen=True, kw_only=True)
class VolumetricEstimator(_ImageEstimator):
    """Joints in a volume about each person, filled with the features of all views; one view suffices."""

    aggregation: str | None = None
    """Of an official checkpoint, which does not say it; see `load_network`."""
    focal_deviation: float = 0.0
    """Relative standard deviation of the focal length of a single camera: 0 for a calibrated one."""

    kind = "volumetric"
    requires = Requirements(views=(1, None), evidence="images", calibration="full", temporal="frame")

    @cached_property
    def network(self) -> LoadedNetwork:
        """The network, loaded when it is first needed and made ready for inference."""
        return _folded(load_network(self.kind, self.weights, joints=self.joints, aggregation=self.aggregation))

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate every person in every frame; see `fill_volumes`."""
        return fill_volumes(
            observation,
            self.network,
            focal_deviation=self.focal_deviation,
            at_once=self.internal_batch_size,
            device=self.device,
            precision=self.precision,
        )


def triangulate_people(
    observation: Observation,
    network: LoadedNetwork,
    *,
    at_once: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> Estimate:
    """Estimate the joints of every person in every frame by the algebraic or the RANSAC network.

    Args:
        observation: With images, full cameras, and boxes or keypoints of associated people.
        network: Algebraic or RANSAC.
        at_once: People times frames in one run; None: as many as have half a million pixels in each view.
        device: Of the network; None: an accelerator if there is one.
        precision: Of its convolutions.

    Returns:
        Joints in the world, NaN for a person whom fewer than two views show at a moment; the network's own keypoints
        in the views, with covariance, weights and residuals.

    Raises:
        InputError: there are no images, neither boxes nor keypoints, or fewer than two views.
        CalibrationError: the cameras or their places are unknown, or they are for images of another size.
    """
    people = People.of(observation, network.kind)
    if people.shape[0] < 2:
        raise InputError(
            f"the method {network.kind} needs two or more views, got {people.shape[0]}; for one view use the method "
            "volumetric or monocular"
        )
    network, place = _on(network, device, precision)
    found, frame = Gathered.nothing(people.shape, len(network.skeleton)), Frame.of(people.cameras)
    for batch in crop_batches(people, network.image, at_once=at_once or _at_once(network), least_views=2):
        output = place.run(network, batch, frame)
        decided = found.put_keypoints(batch, output, people.cameras, network)
        joints = torch.where(decided[..., None], frame.outward(output.joints), torch.nan)
        found.put_joints(batch, joints, frame.spread(output.covariance))
    return _told(found.of_keypoints(people.cameras, network), observation, network, found.notes(people.seen, 2))


def fill_volumes(
    observation: Observation,
    network: LoadedNetwork,
    *,
    focal_deviation: float = 0.0,
    at_once: int | None = None,
    device: str | None = None,
    precision: Precision = "float32",
) -> Estimate:
    """Estimate the joints of every person in every frame by the volumetric network.

    The cuboid is put about the observation's centre; without one, about the pelvis as triangulated from its keypoints,
    or placed by its keypoints in one view; and put anew about the pelvis that the network finds if that is far from the
    middle.

    Args:
        observation: With images, full cameras, and boxes or keypoints of associated people.
        network: Volumetric.
        focal_deviation: Relative standard deviation of the focal length, for people whom one view sees.
        at_once: People times frames in one run; None: as many as have half a million pixels in each view.
        device: Of the network; None: an accelerator if there is one.
        precision: Of its convolutions.

    Returns:
        Joints in the world, NaN for a person without a centre or outside of the cuboid. The covariance of a person
        whose centre is told by one view holds the error of the distance.

    Raises:
        InputError: there are no images, or neither boxes nor keypoints.
        CalibrationError: the cameras or their places are unknown, or they are for images of another size.
        ShapeError: the centres are not (T, P, 3).
    """
    people = People.of(observation, network.kind)
    starts = find_starts(observation, people.cameras, people.corners)
    if observation.centers is not None:
        starts = _given(starts, observation.centers)
    frame = Frame.of(people.cameras, find_vertical(starts, people.cameras), network.up)
    found = Gathered.nothing(people.shape, len(network.skeleton))
    deviation = (DISTANCE_DEVIATION**2 + focal_deviation**2) ** 0.5
    wanted = starts.centers.isfinite().all(-1)
    network, place = _on(network, device, precision)
    size = at_once or _at_once(network)
    for batch in crop_batches(people, network.image, at_once=size, least_views=1, wanted=wanted):
        row = batch.frames, batch.people
        output, outside = _in_cuboids(network, batch, frame, starts.centers[row], place)
        joints = torch.where(outside[:, None, None], torch.nan, frame.outward(output.joints))
        ray = deviation * (joints - people.cameras.centers[batch.views[:, 0]][:, None])
        guessed = starts.by_one_view[row][:, None, None, None]
        lasting = torch.where(guessed, ray[..., None] * ray[..., None, :], 0.0)
        found.put_joints(batch, joints, frame.spread(output.covariance) + lasting)
        found.put_outside(batch, outside)
    estimate = found.of_volumes(people.cameras, network, observation.keypoints)
    notes = (*_unplaced(people, wanted), *found.notes(people.seen, 1))
    guessed_all = people.shape[0] == 1 and bool(starts.by_one_view.any())
    shared = {DISTANCE: [deviation] * people.shape[2]} if guessed_all else {}
    return _told(estimate, observation, network, notes, shared)


def _given(starts: Starts, centers: Tensor) -> Starts:
    """With the centres that are known already."""
    if centers.shape != starts.centers.shape:
        raise ShapeError(f"centers: expected {tuple(starts.centers.shape)}, got {tuple(centers.shape)}")
    known = centers.isfinite().all(-1)
    return replace(
        starts,
        centers=torch.where(known[..., None], centers.to(starts.centers), starts.centers),
        by_one_view=starts.by_one_view & ~known,
    )


def _folded(network: LoadedNetwork) -> LoadedNetwork:
    """With its normalisations in its convolutions."""
    return replace(network, module=folded(network.module))


class _Place(NamedTuple):
    """Where and how a network runs."""

    device: torch.device
    precision: Precision

    def run(self, network: LoadedNetwork, batch: CropBatch, frame: Frame, *centers: Tensor) -> Said:
        """What the network says of a batch in the frame, on the CPU."""
        images = prepare_images(batch.images.to(self.device), network.image)
        given = (part.float().to(self.device) for part in (frame.projections(batch.projections), *centers))
        with torch.inference_mode(), network_precision(self.precision, self.device):
            return Said.of(network.module(images, *given))


def _on(network: LoadedNetwork, device: str | None, precision: Precision) -> tuple[LoadedNetwork, _Place]:
    """The network where it is to run, and how."""
    module, place = placed(network.module, device)
    return replace(network, module=module), _Place(place, precision)


def _at_once(network: LoadedNetwork) -> int:
    width, height = network.image.side
    return max(1, _PIXELS // (width * height))


def _in_cuboids(
    network: LoadedNetwork, batch: CropBatch, frame: Frame, centers: Tensor, place: _Place
) -> tuple[Said, Tensor]:
    """What the network says of the people, and who (B,) is not found within the cuboid."""
    middles = frame.inward(centers)
    said = place.run(network, batch, frame, middles)
    pelvis = _pelvis(said.joints, network)
    far = (pelvis - middles).norm(dim=-1) > _RECENTRED * network.cuboid_side
    if far.any():
        rows = torch.nonzero(far)[:, 0]
        middles[rows] = pelvis[rows]
        said = said.replaced(rows, place.run(network, batch.pick(rows), frame, middles[rows]))
        pelvis = _pelvis(said.joints, network)
    off = (pelvis - middles).abs().amax(-1) > _OUTSIDE * network.cuboid_side
    silent = ~(said.confidences.sum((1, 2)) > 0)
    return said, off | silent | ~_shown(pelvis, frame.projections(batch.projections), network.image.side)


def _pelvis(joints: Tensor, network: LoadedNetwork) -> Tensor:
    """(B, 3) of joints (B, J, 3), double precision."""
    return joints[:, network.skeleton.indices(network.roots)].double().mean(1)


def _shown(pelvis: Tensor, projections: Tensor, side: tuple[int, int]) -> Tensor:
    """Whether half of the crops (B, n) or more show a pelvis (B, 3), or nearly: people may be cut off."""
    seen = projections.double() @ torch.nn.functional.pad(pelvis, (0, 1), value=1.0)[:, None, :, None]
    ahead = seen[..., 2, 0] > 0
    pixels = seen[..., :2, 0] / torch.where(ahead, seen[..., 2, 0], 1.0)[..., None]
    size = pixels.new_tensor(side)
    near = ((pixels > -_ROOM * size) & (pixels < (1 + _ROOM) * size)).all(-1) & ahead
    return near.double().mean(-1) >= 0.5


def _unplaced(people: People, wanted: Tensor) -> tuple[str, ...]:
    """Notes on who is seen, but where is unknown."""
    lost = (people.seen.any(0) & ~wanted).sum(0).tolist()
    return tuple(
        f"Person {person} has no centre for the volume in {count} of {len(wanted)} frames: unknown there."
        for person, count in enumerate(lost)
        if count
    )


def _told(
    estimate: Estimate,
    observation: Observation,
    network: LoadedNetwork,
    notes: tuple[str, ...],
    provenance: Mapping[str, Any] | None = None,
) -> Estimate:
    """With frames, notes and where the weights are from."""
    count = estimate.joints.batch_shape[0]
    joints = estimate.joints.skeleton
    own = f"Joints by the network {network.kind}, {len(joints)} joints ({joints.name}); weights: {network.source}."
    return replace(
        estimate,
        frames=tuple(range(observation.start, observation.start + count)),
        notes=(own, *notes),
        provenance={"network": network.kind, "weights": network.source, **(provenance or {})},
    )
