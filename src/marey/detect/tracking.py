"""People followed through the frames of each view on its own, in the image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Detections2D, ShapeError
from marey.detect.agreement import best_side, extent, inlier, log_ratio, with_mirrored
from marey.detect.assignment import assign
from marey.detect.settings import AssociationConfig

_BODY_REACH = 0.4
"""Metres: root-mean-square distance of an adult's joints from their mean, which turns pixels into metres."""
_STEP = 0.5
"""Metres: by how far the place of somebody who stands may change while nobody looks."""
_UNALIKE = 1.4
"""Factor between the sizes in the image of two tracks that are no longer taken for one person."""
_VELOCITY_GAIN = 0.4
_VELOCITY_DECAY = 0.9
_DEFAULTS = AssociationConfig()


def track(detections: Detections2D, *, config: AssociationConfig = _DEFAULTS) -> Detections2D:
    """Fill in `Detections2D.track`: one number for one person within a view over time.

    Every person is expected where a constant velocity takes each joint, and gets the detection that agrees best, by the
    exact assignment of all at once; left and right may be exchanged. Who is not seen for `config.patience` is forgotten
    and gets a new number on return. All views are worked on together, each for itself, on the CPU. Linear in frames.

    Args:
        detections: (V, T, P) with covariances.
        config: assumptions; lengths in metres are taken to be those of an adult.

    Raises:
        ShapeError: the detections are not (V, T, P).
    """
    if len(detections.batch_shape) != 3:
        raise ShapeError(f"detections: expected the batch shape (V, T, P), got {detections.batch_shape}")
    views, frames, slots = detections.batch_shape
    keypoints = detections.keypoints
    tracker = _ImageTracker(keypoints.positions, torch.tensor(keypoints.skeleton.mirror), config)
    identities = torch.full((views, frames, slots), -1)
    for frame in range(frames if slots else 0):
        part = keypoints[:, frame].to(torch.device("cpu")).to(torch.float64)
        seen = part.positions.isfinite().all(-1) & part.covariance.isfinite().flatten(-2).all(-1) & (part.score > 0)
        points = torch.where(seen[..., None], part.positions.detach(), torch.nan)
        spread = torch.where(seen[..., None, None], part.covariance.detach(), torch.nan)
        identities[:, frame] = tracker.step(points, spread)
    return dataclasses.replace(detections, track=identities.to(detections.device))


def chain_in_image(
    identities: Tensor, positions: Tensor, ranked: list[int], people: int, config: AssociationConfig = _DEFAULTS
) -> list[list[int]]:
    """Divide the tracks of one view among a known number of people.

    The longest track comes first. A track that nobody so far can be on is somebody more, if somebody is missing; else
    it continues the person who was nearest when last or next seen. Nobody is in two places at once, nor walks from one
    to the other faster than people do, unless more than `config.memory` lies between.

    Args:
        identities: (T, P) of `track`, for one view.
        positions: (T, P, J, 2) pixels.
        ranked: the tracks' numbers, longest first.
        people: how many there are.
        config: assumptions; lengths in metres are taken to be those of an adult.

    Returns:
        For each person found, the numbers of the tracks.
    """
    positions = positions.detach().cpu().double()
    center = positions.nanmean(-2)
    paths = []
    for name in ranked:
        path = torch.full((len(identities), 2), torch.nan, dtype=torch.float64)
        frames, slots = torch.nonzero(identities == name, as_tuple=True)
        path[frames] = center[frames, slots]
        paths.append(path)
    pieces = [_Piece.of(identities, positions, name) for name in ranked]
    chains: list[list[_Piece]] = []
    chained: list[Tensor] = []
    for piece, path in zip(pieces, paths, strict=True):
        there = path.isfinite().all(-1)
        free = [
            index
            for index, other in enumerate(chained)
            if not bool((other.isfinite().all(-1) & there).any()) and _continues(chains[index], piece, config)
        ]
        if free:
            nearest = min(free, key=lambda index: _leap(chained[index], path))
            chains[nearest].append(piece)
            chained[nearest] = torch.where(there[:, None], path, chained[nearest])
        elif len(chains) < people:
            chains.append([piece])
            chained.append(path)
    return [[piece.name for piece in chain] for chain in chains]


def rejoin_in_image(
    identities: Tensor, positions: Tensor, names: list[int], config: AssociationConfig = _DEFAULTS
) -> list[list[int]]:
    """Take tracks of one view that follow each other for one person, where one may have walked from one to the other.

    A track continues whoever was lost less than `config.memory` before it begins, no farther away than a walk of that
    time at twice `config.pace` (and half a metre), and about as large; of several, the nearest.

    Args:
        identities: (T, P) of `track`, for one view.
        positions: (T, P, J, 2) pixels.
        names: the tracks' numbers.
        config: assumptions; lengths in metres are taken to be those of an adult.

    Returns:
        For each person, in the order of appearance, the numbers of the tracks.
    """
    positions = positions.detach().cpu().double()
    pieces = [_Piece.of(identities, positions, name) for name in names]
    chains: list[list[_Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.first):
        fitting = [chain for chain in chains if chain[-1].may_be(piece, config)]
        if fitting:
            min(fitting, key=lambda chain: chain[-1].leap_to(piece)).append(piece)
        else:
            chains.append([piece])
    return [[piece.name for piece in chain] for chain in chains]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Piece:
    """One track of a view."""

    name: int
    first: int
    last: int
    """Frames."""
    start: Tensor
    end: Tensor
    """(2,) pixels, the middle of the joints in those frames."""
    reach: float
    """Pixels, median root-mean-square distance of the joints from their middle."""

    @classmethod
    def of(cls, identities: Tensor, positions: Tensor, name: int) -> _Piece:
        frames, slots = torch.nonzero(identities == name, as_tuple=True)
        joints = positions[frames, slots]
        middle = joints.nanmean(-2)
        reach = (joints - middle[:, None]).square().sum(-1).nanmean(-1).sqrt().nanmedian()
        return cls(
            name=name,
            first=int(frames[0]),
            last=int(frames[-1]),
            start=middle[0],
            end=middle[-1],
            reach=max(float(reach), 1.0),
        )

    def leap_to(self, later: _Piece) -> float:
        return float((later.start - self.end).norm())

    def is_forgotten_by(self, later: _Piece, config: AssociationConfig) -> bool:
        return (later.first - self.last) / config.fps > config.memory

    def may_be(self, later: _Piece, config: AssociationConfig) -> bool:
        seconds = (later.first - self.last) / config.fps
        small, large = sorted((self.reach, later.reach))
        walk = (2 * config.pace * seconds + _STEP) * large / _BODY_REACH
        return 0 < seconds <= config.memory and large <= _UNALIKE * small and self.leap_to(later) <= walk


def _continues(chain: list[_Piece], piece: _Piece, config: AssociationConfig) -> bool:
    """Whether the one on the tracks before and after, if any, can be on this one too."""
    before = [other for other in chain if other.last < piece.first]
    after = [other for other in chain if other.first > piece.last]
    pairs = [(max(before, key=lambda other: other.last), piece)] if before else []
    pairs += [(piece, min(after, key=lambda other: other.first))] if after else []
    return all(one.is_forgotten_by(next_, config) or one.may_be(next_, config) for one, next_ in pairs)


def _leap(path: Tensor, other: Tensor) -> float:
    """Distance in pixels between two paths (T, 2) where they are closest in time."""
    frames = torch.nonzero(path.isfinite().all(-1))[:, 0]
    others = torch.nonzero(other.isfinite().all(-1))[:, 0]
    after = torch.searchsorted(frames, others).clamp(max=len(frames) - 1)
    neighbours = frames[torch.stack(((after - 1).clamp(min=0), after))]
    side, place = divmod(int((neighbours - others).abs().argmin()), len(others))
    return float((path[neighbours[side, place]] - other[others[place]]).norm())


@dataclass(frozen=True, kw_only=True, eq=False)
class _State:
    """K places for people in each of V views."""

    position: Tensor
    """(V, K, J, 2) pixels; NaN for a joint never seen."""
    velocity: Tensor
    """(V, K, J, 2) pixels a frame."""
    variance: Tensor
    """(V, K, J) of the position, square pixels."""
    scale: Tensor
    """(V, K) pixels in a metre."""
    identity: Tensor
    """(V, K), -1 for a place that nobody holds."""
    missed: Tensor
    """(V, K) frames since the person was seen."""

    def take(self, places: Tensor) -> _State:
        """Only some places."""
        return _State(**{field.name: getattr(self, field.name)[:, places] for field in dataclasses.fields(self)})

    def join(self, other: _State) -> _State:
        """With the places of another behind."""
        return _State(
            **{
                field.name: torch.cat((getattr(self, field.name), getattr(other, field.name)), 1)
                for field in dataclasses.fields(self)
            }
        )


class _ImageTracker:
    def __init__(self, positions: Tensor, mirror: Tensor, config: AssociationConfig) -> None:
        views, _, _, joints, _ = positions.shape
        self._config = config
        self._mirror = mirror
        self._area = extent(positions).prod(-1)[:, None, None, None, None]
        self._penalty = -math.log(config.swap_odds)
        self._next = torch.zeros(views, dtype=torch.long)
        self._state = _State(
            position=torch.zeros(views, 0, joints, 2, dtype=torch.float64),
            velocity=torch.zeros(views, 0, joints, 2, dtype=torch.float64),
            variance=torch.zeros(views, 0, joints, dtype=torch.float64),
            scale=torch.zeros(views, 0, dtype=torch.float64),
            identity=torch.zeros(views, 0, dtype=torch.long),
            missed=torch.zeros(views, 0, dtype=torch.long),
        )

    def step(self, points: Tensor, spread: Tensor) -> Tensor:
        """Work in one frame (V, P, J, 2); return the identities (V, P)."""
        present = points.isfinite().all(-1).sum(-1) >= self._config.least_joints
        chosen = self._follow(points, spread, present)
        identities = torch.full(present.shape, -1)
        view, place = torch.nonzero(chosen >= 0, as_tuple=True)
        identities[view, chosen[view, place]] = self._state.identity[view, place]
        self._begin(points, spread, present & (identities < 0), identities)
        gone = self._state.missed > self._config.frames(self._config.patience)
        identity = torch.where(gone, -1, self._state.identity)
        self._state = dataclasses.replace(self._state, identity=identity).take((identity >= 0).any(0))
        return identities

    def _follow(self, points: Tensor, spread: Tensor, present: Tensor) -> Tensor:
        """Give the detections to the people known, and move these; (V, K) slots."""
        state, outlier = self._state, self._config.outlier
        if not state.identity.shape[1]:
            return state.identity
        step = (self._config.agility / self._config.fps * state.scale).square()[..., None]
        expected, variance = state.position + state.velocity, state.variance + step
        doubt = variance + (self._config.slack * state.scale).square()[..., None]
        doubled, spreads = with_mirrored(points, spread, self._mirror)
        eye = torch.eye(2, dtype=points.dtype)
        wide = spreads[:, None] + doubt[:, :, None, None, :, None, None] * eye
        ratio = log_ratio(doubled[:, None] - expected[:, :, None, None], wide, self._area, outlier)
        ratio, swapped = best_side(ratio, self._mirror, self._penalty)
        held = (state.identity >= 0)[..., None] & present[:, None]
        chosen = assign(torch.where(held, ratio.sum(-1), 0.0))

        view = torch.arange(len(points))[:, None, None]
        slot = chosen.clamp(min=0)[..., None]
        place, joint = torch.arange(chosen.shape[1])[:, None], torch.arange(points.shape[-2])
        side = swapped[view, place, slot, joint].long()
        seen = doubled[view, side, slot, joint]
        noise = 0.5 * torch.diagonal(spreads[view, side, slot, joint], dim1=-2, dim2=-1).sum(-1)
        found = seen.isfinite().all(-1) & (chosen >= 0)[..., None]
        known = expected.isfinite().all(-1)
        weight = torch.where(found & known, inlier(ratio[view, place, slot, joint], outlier), 0.0)
        share = torch.where(weight > 0, weight * variance / (variance + noise), 0.0)
        correction = torch.where((weight > 0)[..., None], seen - expected, 0.0)
        first = found & ~known
        self._state = dataclasses.replace(
            state,
            position=torch.where(first[..., None], seen, expected + share[..., None] * correction),
            velocity=state.velocity * _VELOCITY_DECAY + _VELOCITY_GAIN * share[..., None] * correction,
            variance=torch.where(first, noise, (1 - share) * variance),
            missed=torch.where(chosen >= 0, 0, state.missed + 1),
        )
        return chosen

    def _begin(self, points: Tensor, spread: Tensor, free: Tensor, identities: Tensor) -> None:
        """Everybody who is nobody known is new."""
        slots = torch.nonzero(free.any(0))[:, 0]
        if not len(slots):
            return
        fresh = free[:, slots]
        names = torch.where(fresh, self._next[:, None] + fresh.cumsum(1) - 1, -1)
        self._next = self._next + fresh.sum(1)
        identities[:, slots] = torch.where(fresh, names, identities[:, slots])
        position = points[:, slots]
        center = position.nanmean(-2, keepdim=True)
        reach = (position - center).square().sum(-1).nanmean(-1).sqrt().nan_to_num(nan=1.0).clamp(min=1.0)
        born = _State(
            position=position,
            velocity=torch.zeros_like(position),
            variance=0.5 * torch.diagonal(spread[:, slots], dim1=-2, dim2=-1).sum(-1),
            scale=reach / _BODY_REACH,
            identity=names,
            missed=torch.zeros_like(names),
        )
        self._state = self._state.join(born)
