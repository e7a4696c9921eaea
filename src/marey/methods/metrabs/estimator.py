"""The estimator of MeTRAbs: the pictures of one camera in, joints with covariance at their place in the world out.

Every person of every frame is looked at alone, by virtual cameras and the network (`marey.methods.metrabs.people`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

import torch
from torch import Tensor

from marey.core import (
    Diagnostics,
    Estimate,
    Image,
    InputError,
    Joints3D,
    Observation,
    Requirements,
    Skeleton,
)
from marey.core.results import DISTANCE
from marey.data.observed_people import People, keypoints_of_skeleton
from marey.geometry.projection import camera_to_world, reprojection_error
from marey.methods.metrabs.augmented import Turns
from marey.methods.metrabs.model import CropNetwork, MetrabsNet
from marey.methods.metrabs.networks import LoadedNetwork, load_network
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_inputs import as_picture
from marey.methods.metrabs.people_options import PeopleOptions
from marey.methods.metrabs.plausibility import Dropped
from marey.methods.metrabs.published_config import PublishedOptions
from marey.methods.metrabs.trunk_model import TrunkMetrabs
from marey.nn.folding import folded
from marey.nn.placement import placed
from marey.nn.precision import Precision, check_precision, network_precision

_AT_ONCE = 8
"""Pictures in memory, if they are not too large together."""
_PIXELS_AT_ONCE = 1 << 26
"""Pixels of all of them."""
_CERTAIN = 0.1
"""Metres: deviation of a joint, but for its distance, that halves its score."""


@dataclass(frozen=True, kw_only=True)
class MetrabsEstimator:
    """Absolute joints from the pictures of one camera, every frame for itself."""

    weights: Path | None = None
    """Published weights or a folder of `marey train`; None: what is shipped."""
    published: PublishedOptions | None = None
    """What published weights do not show; see `load_network`."""
    joints: str = ""
    """Which of the network's conventions, such as `smpl_24`; empty: all of its joints."""
    num_aug: int = 5
    """Views of each person, whose mean is taken and whose spread is a part of the covariance; 1: one as it is."""
    aug_turns: Turns = "none"
    """Which views these are, see `augmentation_table`. Ours (`none`) are upright; the others are those of the published
    programs, for published weights. The shipped weights are less at home in turned pictures."""
    internal_batch_size: int = 64
    """Crops in one run of the network, which bounds the memory; 0: those of eight pictures together."""
    suppress_implausible_poses: bool = False
    """Whether who is implausible or twice is left out, as the notes tell. Observations tell whom to look for, and
    published protocols keep everybody."""
    device: str | None = None
    """Where the network runs; None: on an accelerator if there is one."""
    precision: Precision = "float32"
    """Of the network's convolutions; geometry keeps all digits."""
    focal_deviation: float = 0.0
    """Relative standard deviation of the focal length: 0 for a calibrated camera."""

    requires = Requirements(views=(1, 1), evidence="images", calibration="intrinsics", temporal="frame")

    def __post_init__(self) -> None:
        check_precision(self.precision)
        self._options()

    @cached_property
    def network(self) -> LoadedNetwork:
        """The network, loaded when it is first needed and made ready for inference.

        Raises:
            MissingAssetError, FormatError, InputError: as `load_network`.
        """
        loaded = load_network(self.weights, self.published)
        return replace(loaded, module=folded(loaded.module))

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate every person in every frame; see `estimate_people`."""
        return estimate_people(
            observation,
            self.network,
            options=self._options(),
            focal_deviation=self.focal_deviation,
            device=self.device,
            precision=self.precision,
        )

    def _options(self) -> PeopleOptions:
        return PeopleOptions(
            skeleton=self.joints,
            num_aug=self.num_aug,
            aug_turns=self.aug_turns,
            internal_batch_size=self.internal_batch_size,
            suppress_implausible_poses=self.suppress_implausible_poses,
        )


_OPTIONS = PeopleOptions(aug_turns="none", suppress_implausible_poses=False)


def estimate_people(
    observation: Observation,
    network: LoadedNetwork,
    *,
    options: PeopleOptions = _OPTIONS,
    focal_deviation: float = 0.0,
    device: str | None = None,
    precision: Precision = "float32",
) -> Estimate:
    """Estimate the joints of every person in every frame of one camera.

    Args:
        observation: With images, intrinsics, and boxes or keypoints; where the camera's place is not known its own
            frame is the world.
        network: One that gives joints a place before the camera.
        options: Of the virtual cameras and filters; unit, frame and averaging do not matter.
        focal_deviation: Relative standard deviation of the focal length.
        device: Of the network; None: an accelerator if there is one.
        precision: Of its convolutions.

    Returns:
        Joints in the world, NaN for a person who is not seen or whose pose is implausible, as the notes tell. The
        covariance holds the error of the distance; the keypoints are those of the observation.

    Raises:
        InputError: there are no images, neither boxes nor keypoints, more than one view, or the network tells no place.
        CalibrationError: the camera is unknown, or it is for images of another size.
    """
    people = People.of(observation, "metrabs")
    if people.shape[0] != 1:
        raise InputError(f"the method metrabs looks at one view at a time, got {people.shape[0]}; give one of them")
    lasting = _distance_deviation(network)
    options = replace(options, unit="m", frame="camera", average_aug=True)
    model, place = _model(network, options, device)
    found = _Found.nothing(people, network.view(options.skeleton).skeleton)
    with network_precision(precision, place):
        for first, pictures in _chunks(people):
            found.put(model, people, first, pictures, _scores(observation))
    estimate = found.estimate(people, lasting, focal_deviation, observation)
    joints = found.skeleton
    own = f"Joints by the network metrabs, {len(joints)} joints ({joints.name}); weights: {network.source}."
    deviation = (lasting**2 + focal_deviation**2) ** 0.5
    return replace(
        estimate,
        notes=(own, *found.notes(people)),
        provenance={
            "network": "metrabs",
            "weights": network.source,
            "augmentations": options.num_aug,
            DISTANCE: [deviation] * people.shape[2],
        },
    )


class _Found(NamedTuple):
    """What was found of T frames and P people, in the camera's frame."""

    positions: Tensor
    """(T, P, J, 3)"""
    covariance: Tensor
    """(T, P, J, 3, 3)"""
    skeleton: Skeleton
    dropped: Counter[tuple[int, str]]
    """Frames by person and reason."""

    @classmethod
    def nothing(cls, people: People, skeleton: Skeleton) -> _Found:
        shape = (*people.shape[1:], len(skeleton), 3)
        return cls(torch.full(shape, torch.nan), torch.full((*shape, 3), torch.nan), skeleton, Counter())

    def put(self, model: PeopleModel, people: People, first: int, pictures: list[Image], scores: Tensor | None) -> None:
        """Look at the people of some pictures, the first of which is that of frame `first`."""
        rows = {first + place: _rows(people.corners[0, first + place]) for place in range(len(pictures))}
        shown = [frame for frame, row in rows.items() if len(row)]
        boxes = [
            _boxes(people.corners[0, frame, rows[frame]], None if scores is None else scores[frame, rows[frame]])
            for frame in shown
        ]
        camera = replace(people.cameras, rotation=None, translation=None, names=())
        cameras = camera[torch.zeros(len(shown), dtype=torch.long)]
        told = model.find([as_picture(pictures[frame - first]) for frame in shown], cameras, boxes)
        for frame, seen in zip(shown, told.pictures, strict=True):
            places = rows[frame][seen.indices]
            self.positions[frame, places] = seen.poses3d
            self.covariance[frame, places] = seen.covariance
            self.dropped.update((int(rows[frame][drop.index]), _why(drop)) for drop in seen.dropped)

    def estimate(self, people: People, lasting: float, focal_deviation: float, observation: Observation) -> Estimate:
        """In the world, with the evidence beside."""
        rays = self.positions[..., :, None] * self.positions[..., None, :]
        own = (self.covariance - lasting**2 * rays).diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(0.0)
        known = self.positions.isfinite().all(-1)
        cameras = people.cameras
        rotation = cameras.extrinsics[0].to(self.positions)
        joints = Joints3D(
            positions=camera_to_world(self.positions[None], cameras.to(self.positions.dtype))[0],
            covariance=rotation.mT @ (self.covariance + focal_deviation**2 * rays) @ rotation,
            score=torch.where(known & own.isfinite(), 1 / (1 + own / _CERTAIN**2), 0.0),
            filled=torch.zeros_like(known),
            skeleton=self.skeleton,
        )
        frames = tuple(range(observation.start, observation.start + people.shape[1]))
        if observation.keypoints is None:
            return Estimate(joints=joints, cameras=cameras, frames=frames)
        keypoints = keypoints_of_skeleton(observation.keypoints, self.skeleton)
        seen = keypoints.positions.isfinite().all(-1)
        residuals = reprojection_error(joints.positions[None], keypoints.positions, cameras.to(self.positions.dtype))
        return Estimate(
            joints=joints,
            cameras=cameras,
            keypoints=keypoints,
            diagnostics=Diagnostics(weights=(known[None] & seen).float(), residuals=residuals),
            frames=frames,
        )

    def notes(self, people: People) -> Iterator[str]:
        """Who is missing, and why."""
        frames = people.shape[1]
        for person, missing in enumerate((~people.seen[0]).sum(0).tolist()):
            if missing:
                yield f"Person {person} is not seen in {missing} of {frames} frames: unknown there."
        for (person, why), count in sorted(self.dropped.items()):
            yield f"Person {person} was dropped in {count} of {frames} frames: {why}."


def _why(drop: Dropped) -> str:
    """Without numbers that differ from frame to frame."""
    return "the same person as another one" if drop.reason == "double" else drop.detail


def _chunks(people: People) -> Iterator[tuple[int, list[Image]]]:
    """Number of a frame, and the pictures from there on, a few at a time."""
    pictures = (first for (first,) in people.pictures())
    width, height = people.frames[0].size
    count, start = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // (width * height))), 0
    while chunk := list(islice(pictures, count)):
        yield start, chunk
        start += len(chunk)


def _rows(corners: Tensor) -> Tensor:
    return corners.isfinite().all(-1).nonzero()[:, 0]


def _boxes(corners: Tensor, scores: Tensor | None) -> Tensor:
    """(n, 5) left, top, width, height, score."""
    sure = torch.ones_like(corners[:, :1]) if scores is None else scores[:, None].to(corners)
    return torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2], sure), -1)


def _scores(observation: Observation) -> Tensor | None:
    """(T, P) of the boxes."""
    return None if observation.boxes is None else observation.boxes.score[0]


def _model(network: LoadedNetwork, options: PeopleOptions, device: str | None) -> tuple[PeopleModel, torch.device]:
    """The network at work, and where."""
    module, place = placed(network.module, device)
    model = PeopleModel(
        cast(CropNetwork, module),
        network.skeleton,
        skeletons={**network.skeletons, options.skeleton: network.view(options.skeleton)},
        mirror=network.mirror,
        margin=network.margin,
        options=options,
        device=place,
    )
    return model, place


def _distance_deviation(network: LoadedNetwork) -> float:
    """Of a network's joints, relative, by the size of the whole person: the same in all frames.

    Raises:
        InputError: the network tells no place.
    """
    module = network.module
    if isinstance(module, TrunkMetrabs):
        return float(module.head.distance.detach().exp())
    if isinstance(module, MetrabsNet) and module.config.scale_recovery not in ("metrabs", "bone-lengths"):
        raise InputError(
            f"weights {network.source}: their scale recovery is '{module.config.scale_recovery}', which needs more "
            "than pictures to place people; take weights of 'metrabs' or 'bone-lengths'"
        )
    return module.config.distance_deviation
