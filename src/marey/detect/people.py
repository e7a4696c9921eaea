"""People followed in space: where each is expected, which detections are theirs, who is new, who is gone.

One step a frame. Known people are projected into all views, and every view's detections are given to them by the exact
assignment that gains most log-likelihood (`agreement`), the confirmed people first; their joints are updated from all
views at once (`scene.update`). What is left and seen by two views may be somebody new (`proposals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from marey.core.tensors import TensorFields, Trailing
from marey.detect.agreement import inlier
from marey.detect.assignment import assign
from marey.detect.matching import agreement, evidence
from marey.detect.proposals import Proposal, propose
from marey.detect.scene import Scene, Sighting, update
from marey.detect.settings import AssociationConfig
from marey.detect.strangers import Strangers

_VELOCITY_GAIN = 0.4
"""Of the alpha-beta filter: share of a prediction's error that is put down to velocity."""
_VELOCITY_DECAY = 0.9
"""A frame; people who are not seen are not expected to walk on for ever."""
_GUESS = 0.3
"""Metres, standard deviation of a new person's joints before the views' evidence is weighed."""
_TENTATIVE_PATIENCE = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion(TensorFields):
    """State of K people."""

    position: Annotated[Tensor, Trailing("J", 3)]
    """Metres."""
    velocity: Annotated[Tensor, Trailing("J", 3)]
    """Metres a frame."""
    covariance: Annotated[Tensor, Trailing("J", 3, 3)]
    """Of the position."""
    bone_sum: Annotated[Tensor, Trailing("L")]
    """Lengths added over the frames in which two views saw both ends, metres."""
    bone_count: Annotated[Tensor, Trailing("L")]


@dataclass(kw_only=True)
class Track:
    """The history of one identity, as far as it is needed later."""

    identity: int
    first: int
    """Frame."""
    last: int
    """The last frame in which two views or more saw the person."""
    start: Tensor
    """(J, 3) positions in the first frame."""
    end: Tensor
    """(J, 3) positions in the last frame."""
    end_velocity: Tensor
    """(J, 3) metres a frame."""
    bones: Tensor
    """(L,) mean lengths, metres, brought up to date when the track ends; NaN where never measured."""
    seen: int = 0
    """Frames in which two views or more saw the person."""
    sightings: int = 0
    """Views, added over those frames."""
    missed: int = 0
    """Frames since."""


class PeopleTracker:
    """Follow people through the frames of one recording."""

    def __init__(self, scene: Scene, config: AssociationConfig) -> None:
        self._scene = scene
        self._config = config
        self._noise = (config.agility / config.fps) ** 2 * torch.eye(3, dtype=torch.float64)
        self._motion: Motion | None = None
        self._alive: list[Track] = []
        self._ended: list[Track] = []
        self._strangers = Strangers()
        self._count = 0

    def finish(self) -> list[Track]:
        """End all tracks; return everybody who was ever confirmed, in the order of appearance."""
        self._end(list(range(len(self._alive))))
        return sorted(filter(self._confirmed, self._ended), key=lambda track: track.identity)

    def step(self, frame: int, sighting: Sighting) -> Tensor:
        """Work in one frame; frames come in order.

        Returns:
            (V, P) identity given to each slot, -1 for none. Identities of people who are never confirmed are given out,
            too; `finish` does not return them.
        """
        identities = torch.full(sighting.present.shape, -1)
        doubt = self._strangers.doubt(sighting)
        if self._motion is not None and self._alive:
            self._motion = self._predict(self._motion)
            chosen = self._follow(frame, self._motion, sighting, doubt)
            self._mark(identities, chosen, self._alive)
        free = sighting.present & (identities < 0)
        if int(free.any(-1).sum()) >= 2:
            self._begin(frame, sighting, free, identities)
        self._end([index for index, track in enumerate(self._alive) if self._lost(track)])
        self._strangers.remember(sighting, identities < 0)
        return identities

    def _confirmed(self, track: Track) -> bool:
        return track.seen >= self._config.confirmation

    def _predict(self, motion: Motion) -> Motion:
        return Motion(
            position=motion.position + motion.velocity,
            velocity=motion.velocity * _VELOCITY_DECAY,
            covariance=motion.covariance + self._noise,
            bone_sum=motion.bone_sum,
            bone_count=motion.bone_count,
        )

    def _follow(self, frame: int, motion: Motion, sighting: Sighting, doubt: Tensor) -> Tensor:
        """Give detections to the people known; (V, K) slots."""
        scene = self._scene
        gain, ratio, swapped = agreement(scene, motion.position, motion.covariance, sighting)
        chosen = self._assign(gain - doubt[:, None])
        points, spread, weight = evidence(scene, sighting, chosen, ratio, swapped)
        position, covariance, ratio = update(scene, motion.position, motion.covariance, points, spread, weight)
        kept = (chosen >= 0) & (ratio.sum(-1) > 0)
        weight = inlier(ratio, scene.outlier) * points.isfinite().all(-1) * kept[..., None]
        observed = (weight.sum(0) > 0.5)[..., None]
        shift = _VELOCITY_GAIN * (position - motion.position)
        lengths = (position[:, scene.links[:, 0]] - position[:, scene.links[:, 1]]).norm(dim=-1)
        firm = weight.sum(0) > 1.5
        measured = (firm[:, scene.links[:, 0]] & firm[:, scene.links[:, 1]]).to(lengths)
        self._motion = Motion(
            position=torch.where(observed, position, motion.position),
            velocity=torch.where(observed, motion.velocity + shift, motion.velocity),
            covariance=torch.where(observed[..., None], covariance, motion.covariance),
            bone_sum=motion.bone_sum + lengths * measured,
            bone_count=motion.bone_count + measured,
        )
        self._count_views(frame, kept.sum(0).tolist())
        return torch.where(kept, chosen, -1)

    def _assign(self, gain: Tensor) -> Tensor:
        """Detections (V, K) of the people, the confirmed ones choosing first."""
        confirmed = torch.tensor([self._confirmed(track) for track in self._alive])
        chosen = assign(torch.where(confirmed[:, None], gain, 0.0))
        if not bool(confirmed.all()):
            taken = torch.zeros_like(gain[:, 0], dtype=torch.long).scatter_add(
                -1, chosen.clamp(min=0), (chosen >= 0).long()
            )
            left = (taken[:, None] == 0) & ~confirmed[:, None]
            chosen = torch.maximum(chosen, assign(torch.where(left, gain, 0.0)))
        return chosen

    def _count_views(self, frame: int, seen_by: list[int]) -> None:
        assert self._motion is not None
        for index, (track, views) in enumerate(zip(self._alive, seen_by, strict=True)):
            if views >= 2:
                track.seen += 1
                track.sightings += views
                track.missed = 0
                track.last = frame
                track.end = self._motion.position[index]
                track.end_velocity = self._motion.velocity[index]
            else:
                track.missed += 1

    def _begin(self, frame: int, sighting: Sighting, free: Tensor, identities: Tensor) -> None:
        """Start tracks of who is seen by two views and is nobody known."""
        known = self._motion.position if self._motion is not None else None
        for proposal in propose(self._scene, sighting, free, known, self._config.separation):
            motion = self._start(sighting, proposal)
            track = Track(
                identity=self._count,
                first=frame,
                last=frame,
                start=motion.position[0],
                end=motion.position[0],
                end_velocity=motion.velocity[0],
                bones=motion.bone_sum[0] / motion.bone_count[0],
                seen=1,
                sightings=int((proposal.slots >= 0).sum()),
            )
            self._count += 1
            self._alive.append(track)
            self._motion = motion if self._motion is None else Motion.cat((self._motion, motion))
            self._mark(identities, proposal.slots[:, None], [track])

    def _start(self, sighting: Sighting, proposal: Proposal) -> Motion:
        scene = self._scene
        position = proposal.position[None]
        guess = (_GUESS**2 * torch.eye(3, dtype=position.dtype)).expand(*position.shape, 3)
        chosen = proposal.slots[:, None]
        _, ratio, swapped = agreement(scene, position, guess / 4, sighting)
        points, spread, weight = evidence(scene, sighting, chosen, ratio, swapped)
        position, covariance, _ = update(scene, position, guess, points, spread, weight, steps=3)
        none = torch.zeros(1, len(scene.links), dtype=position.dtype)
        return Motion(
            position=position,
            velocity=torch.zeros_like(position),
            covariance=covariance,
            bone_sum=none,
            bone_count=none,
        )

    def _lost(self, track: Track) -> bool:
        """Whether nobody was seen for too long."""
        patience = self._config.frames(self._config.patience) if self._confirmed(track) else _TENTATIVE_PATIENCE
        return track.missed > patience

    def _end(self, indices: list[int]) -> None:
        """Take tracks out of those alive."""
        if self._motion is None or not indices:
            return
        for index in indices:
            self._alive[index].bones = self._motion.bone_sum[index] / self._motion.bone_count[index]
            self._ended.append(self._alive[index])
        kept = [index for index in range(len(self._alive)) if index not in indices]
        self._alive = [self._alive[index] for index in kept]
        self._motion = self._motion[torch.tensor(kept, dtype=torch.long)]

    @staticmethod
    def _mark(identities: Tensor, chosen: Tensor, tracks: list[Track]) -> None:
        """Write the identities of `tracks` (K) into the slots (V, K) chosen for them."""
        views, people = torch.nonzero(chosen >= 0, as_tuple=True)
        names = torch.tensor([track.identity for track in tracks])
        identities[views, chosen[views, people]] = names[people]
