"""Synchronise views by what they see of people: offsets and rates of their clocks, with how sure they are.

First without the cameras, for every possible offset at once: where the motion in two views is the motion of the same
points (`sync_evidence`), and, if the cameras are known, where their epipolar lines agree at the likeliest of these
offsets (`sync_geometry`). Then all pairs of views together, then parts of a frame: offsets and rates are moved until
the quick motion of every joint fulfils the epipolar constraint, that of the given cameras, or without them that of the
affine cameras which the roughly synchronised motion itself determines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.calibrate.sync_affine import affine_matrices
from marey.calibrate.sync_evidence import COHERENCE, pair_evidence
from marey.calibrate.sync_geometry import (
    Clocks,
    RefinedClocks,
    ideal_tracks,
    median_distance,
    refine_clocks,
    with_geometry,
)
from marey.calibrate.sync_offsets import LOBE, CoarseOffsets, find_offsets
from marey.calibrate.sync_sides import with_sides
from marey.calibrate.sync_signals import ViewMotion, view_motion
from marey.core import Cameras, InputError, Keypoints2D, ShapeError
from marey.detect.swaps import correct_swaps_in_view
from marey.geometry.epipolar import fundamental_matrices

STANDARD_RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 100.0, 120.0, 240.0)
"""Frames per second that cameras are set to."""
SURE = 0.9
"""A confidence from here on is worth acting on."""
SYSTEMATIC = 0.25
"""Frames: what differing ideas of joints, rolling shutters and exposure leave of an offset's error, one standard
deviation. Measured between two detectors on a real recording."""

_SAME_RATE = 0.005
_OTHER_RATE = 0.45
"""Relative difference of rates: only nearer ones are tried; a view played at half its speed always fits somewhere."""
_FREE = 0.1
_ODD_RATE = 0.02
"""A rate that comes out farther from the stated one, if it may, makes other frame rates worth a try."""
_BETTER = 8.0
"""Log likelihood ratio, summed over the views, by which another frame rate has to fit better than the stated one."""
_CLEARLY_BETTER = 0.1
"""What another frame rate has to be better by, besides: this share of the stated one's log likelihood ratio, or of the
view's epipolar distance, which must not grow."""
_AFFINE_ROUNDS = 2
_STILL = 0.03
"""Of a person's size: joints that stray less from their mean do not move."""


@dataclass(frozen=True, kw_only=True)
class SynchroniseConfig:
    """What is assumed and asked for."""

    reference: int = 0
    """The view whose clock is the common one."""
    least_overlap: float = 0.5
    """Seconds that two views must share."""
    least_score: float = 0.2
    """Joints below are left out."""
    drift: float = 3e-4
    """How far a clock's rate may be from what it states, relative, one standard deviation. Short recordings do not tell
    the rate better."""
    other_rates: bool = True
    """Try other common frame rates for views that fit nowhere or badly at the stated one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Synchronisation:
    """Clocks of V views. A view's time tau is the common time `offset + rate * tau`, which the reference view shows."""

    offset: Tensor
    """(V,) seconds; 0 for the reference."""
    rate: Tensor
    """(V,) common seconds in a second of the view's clock; 1 for the reference."""
    offset_deviation: Tensor
    """(V,) seconds, one standard deviation in the middle of the shared time."""
    rate_deviation: Tensor
    """(V,) one standard deviation."""
    confidence: Tensor
    """(V,) in 0..1: the probability that the offset to the other views is this one, within 0.2 seconds, rather than
    another or, because nothing is shared, none."""
    pair_confidence: Tensor
    """(V, V) the same for two views alone, 1 on the diagonal."""
    peak: Tensor
    """(V,) log likelihood ratio of the offset against none."""
    runner_up: Tensor
    """(V,) of the best offset elsewhere; near the peak where motion is periodic."""
    names: tuple[str, ...]
    """Of the views."""
    reference: int
    notes: tuple[str, ...]
    """What was found and what to do about it, in plain sentences."""

    @property
    def is_sure(self) -> bool:
        """Whether every view's offset can be relied on."""
        return bool((self.confidence >= SURE).all())

    def to_common(self, view: int, times: Tensor) -> Tensor:
        """Common time of times of a view."""
        return self.offset[view] + self.rate[view] * times


_DEFAULTS = SynchroniseConfig()


def disagreement(
    keypoints_per_view: Sequence[Keypoints2D],
    times_per_view: Sequence[Tensor],
    cameras: Cameras,
    clocks: Clocks,
    *,
    chosen: Tensor,
) -> float:
    """Median epipolar distance in pixels between what chosen views (V,) and the other views see at the same moment.

    NaN where no two views share half a second. The other arguments are those of `synchronise`.
    """
    views = [
        view_motion(_consistent(keypoints), times.double().cpu(), least_score=_DEFAULTS.least_score)
        for keypoints, times in zip(keypoints_per_view, times_per_view, strict=True)
    ]
    matrices = fundamental_matrices(cameras.to(torch.float64))
    return median_distance(views, ideal_tracks(views, cameras), matrices, clocks, chosen=chosen)


def synchronise(
    keypoints_per_view: Sequence[Keypoints2D],
    times_per_view: Sequence[Tensor],
    *,
    cameras: Cameras | None = None,
    names: Sequence[str] = (),
    config: SynchroniseConfig = _DEFAULTS,
) -> Synchronisation:
    """Find how the clocks of V views are set against each other, from the people whom they see.

    Views may start and end at different moments and have different frame rates and any number of people, who need no
    identities. Every offset is considered at which two views share `least_overlap`. Cost: about
    0.2 s for 4 views of 1000 frames, growing as n log n with their length.

    Args:
        keypoints_per_view: (T_v, P_v) of each view, one skeleton.
        times_per_view: (T_v,) seconds on the view's own clock, ascending; the zeros of the clocks mean nothing.
        cameras: (V,) with extrinsics; rough ones do. None: unknown, which costs precision.
        names: of the views, for the notes.
        config: assumptions.

    Raises:
        InputError: fewer than two views, or one too short.
        ShapeError: keypoints and times do not go together.
    """
    names = tuple(names) or tuple(f"view {view + 1}" for view in range(len(keypoints_per_view)))
    _check(keypoints_per_view, times_per_view, names)
    skeleton = keypoints_per_view[0].skeleton
    mirror = torch.tensor(skeleton.mirror)
    views = [
        view_motion(_consistent(keypoints), times.double().cpu(), least_score=config.least_score)
        for keypoints, times in zip(keypoints_per_view, times_per_view, strict=True)
    ]
    known = cameras is not None and cameras.has_extrinsics
    tracks = ideal_tracks(views, cameras) if known and cameras is not None else None
    matrices = fundamental_matrices(cameras.to(torch.float64)) if known and cameras is not None else None

    def look(rates: Tensor) -> CoarseOffsets:
        scaled = [replace(view, times=view.times * rate) for view, rate in zip(views, rates, strict=True)]
        evidence = pair_evidence(scaled, mirror=mirror, least_overlap=config.least_overlap)
        if tracks is not None and matrices is not None:
            ratio = with_geometry(evidence, scaled, tracks, matrices, mirror)
            evidence = replace(evidence, log_ratio=ratio)
        return find_offsets(evidence, len(views))

    def settle(coarse: CoarseOffsets, rates: Tensor, drift: float) -> RefinedClocks:
        first = torch.stack([view.times[0] for view in views])
        start = Clocks(offset=coarse.offset - rates * first, rate=rates)
        if tracks is None or matrices is None or cameras is None:
            return _refined_affine(views, start, held=config.reference, drift=drift)
        sided = with_sides(views, tracks, cameras, start, skeleton)
        return refine_clocks(views, sided, matrices, start, held=config.reference, drift=drift)

    def distance(view: int, coarse: CoarseOffsets, rates: Tensor) -> float:
        if tracks is None or matrices is None:
            return math.nan
        clocks = settle(coarse, rates, config.drift).clocks
        chosen = torch.arange(len(views)) == view
        return median_distance(views, tracks, matrices, clocks, chosen=chosen)

    rates = torch.ones(len(views), dtype=torch.float64)
    coarse = look(rates)
    refined = settle(coarse, rates, config.drift)
    if config.other_rates:
        free = settle(coarse, rates, _FREE) if refined.moments else refined
        doubtful = (coarse.confidence < SURE) | ((free.clocks.rate - 1).abs() > _ODD_RATE)
        if doubtful.any():
            rates, coarse = _other_rates(views, coarse, look, doubtful, distance)
            rates = rates / rates[config.reference]
            refined = settle(coarse, rates, config.drift)
    return _result(views, coarse, refined, names, config)


def _check(keypoints: Sequence[Keypoints2D], times: Sequence[Tensor], names: Sequence[str]) -> None:
    if not (len(keypoints) == len(times) == len(names) and len(names) > 1):
        raise InputError(
            f"synchronise: expected keypoints and times of two views or more, got {len(keypoints)} and {len(times)}"
        )
    for name, view, own in zip(names, keypoints, times, strict=True):
        if len(view.batch_shape) != 2 or own.shape != view.batch_shape[:1]:
            raise ShapeError(f"{name}: expected keypoints (T, P) and times (T,), got {view.batch_shape}, {own.shape}")
        if view.skeleton != keypoints[0].skeleton:
            raise InputError(f"{name}: its skeleton is {view.skeleton.name}, expected {keypoints[0].skeleton.name}")
        if len(own) < 2 or not (own.isfinite().all() and (own.diff() > 0).all()):
            raise InputError(f"{name}: expected two frames or more with finite times that ascend, got {len(own)}")


def _consistent(keypoints: Keypoints2D) -> Keypoints2D:
    """A view of one person with the sides that its own motion tells."""
    keypoints = keypoints.to(torch.device("cpu")).to(torch.float64)
    if keypoints.batch_shape[1] != 1:
        return keypoints
    return correct_swaps_in_view(keypoints[None])[0][0]


def _other_rates(
    views: Sequence[ViewMotion],
    coarse: CoarseOffsets,
    look: Callable[[Tensor], CoarseOffsets],
    doubtful: Tensor,
    distance: Callable[[int, CoarseOffsets, Tensor], float],
) -> tuple[Tensor, CoarseOffsets]:
    """Give each doubtful view, the least sure first, the standard frame rate that fits clearly better, if one does.

    `look` finds offsets at given rates (V,), `distance` says how far a view then is from the others' epipolar lines:
    NaN without cameras.
    """
    rates = torch.ones(len(views), dtype=torch.float64)
    for view in coarse.confidence.argsort().tolist():
        if not doubtful[view] or not _moves(views[view]):
            continue
        stated = 1 / views[view].step
        options = [stated / rate for rate in STANDARD_RATES if _SAME_RATE < abs(stated / rate - 1) < _OTHER_RATE]
        trials = [torch.where(torch.arange(len(rates)) == view, option, rates) for option in options]
        best, trial = max(((look(trial), trial) for trial in trials), key=lambda item: float(item[0].peak.sum()))
        stated_fit = float(coarse.peak.sum())
        gain = float(best.peak.sum()) - stated_fit - _BETTER
        if gain <= 0 or best.confidence[view] < SURE:
            continue
        before, after = distance(view, coarse, rates), distance(view, best, trial)
        likelier = gain > _CLEARLY_BETTER * max(stated_fit, 0.0)
        if after < (1 - _CLEARLY_BETTER) * before or (likelier and not after > before):
            coarse, rates = best, trial
    return rates, coarse


def _refined_affine(views: Sequence[ViewMotion], clocks: Clocks, *, held: int, drift: float) -> RefinedClocks:
    """Refine with the affine cameras that the motion itself determines at the offsets so far."""
    tracks = [view.size * view.shape[:, None] for view in views]
    for _ in range(_AFFINE_ROUNDS):
        matrices = affine_matrices(views, tracks, clocks)
        if matrices is None:
            break
        refined = refine_clocks(views, tracks, matrices, clocks, held=held, drift=drift)
        clocks = refined.clocks
    else:
        return refined
    return RefinedClocks(clocks=clocks, covariance=torch.zeros(2 * len(views), 2 * len(views)), moments=0)


def _result(
    views: Sequence[ViewMotion],
    coarse: CoarseOffsets,
    refined: RefinedClocks,
    names: tuple[str, ...],
    config: SynchroniseConfig,
) -> Synchronisation:
    held = torch.arange(len(views)) == config.reference
    step = max(view.step for view in views)
    offset, rate = refined.clocks.offset, refined.clocks.rate
    offset = offset - offset[config.reference]
    variance, rate_variance = refined.covariance.diagonal().double().chunk(2)
    if not refined.moments:
        variance, rate_variance = torch.full_like(offset, LOBE**2), torch.full_like(rate, config.drift**2)
    deviation = (variance + (SYSTEMATIC * step) ** 2).sqrt()
    result = Synchronisation(
        offset=torch.where(held, 0.0, offset),
        rate=torch.where(held, 1.0, rate),
        offset_deviation=torch.where(held, 0.0, deviation),
        rate_deviation=torch.where(held, 0.0, rate_variance.sqrt()),
        confidence=coarse.confidence,
        pair_confidence=coarse.pair_confidence,
        peak=coarse.peak,
        runner_up=coarse.runner_up,
        names=names,
        reference=config.reference,
        notes=(),
    )
    return replace(result, notes=_notes(views, result))


def _notes(views: Sequence[ViewMotion], result: Synchronisation) -> tuple[str, ...]:
    """A sentence for each view: its offset, or why there is none."""
    notes = []
    for index, (name, view) in enumerate(zip(result.names, views, strict=True)):
        step = views[result.reference].step
        if result.confidence[index] < SURE:
            notes.append(_doubt(name, view, result, index))
        elif index != result.reference:
            offset, deviation = float(result.offset[index]), float(result.offset_deviation[index])
            rate = float(result.rate[index])
            notes.append(
                f"{name}: {1000 * offset:+.1f} ms ({offset / step:+.2f} frames) +- {1000 * deviation:.1f} ms against "
                f"{result.names[result.reference]}"
                + (f", clock rate {rate:.5f}" if abs(rate - 1) > 1e-3 else "")
                + f"; confidence {100 * float(result.confidence[index]):.0f} %."
            )
    notes += _apart(views, result)
    return tuple(notes)


def _doubt(name: str, view: ViewMotion, result: Synchronisation, index: int) -> str:
    seen = view.positions.isfinite().all(-1).any(-1).any(-1)
    seconds = float(seen.sum()) * view.step
    chance = f"confidence {100 * float(result.confidence[index]):.0f} %"
    if seconds < COHERENCE:
        return f"{name}: nobody is seen in it, so that it cannot be synchronised ({chance})."
    if not _moves(view):
        return f"{name}: people hardly move in it, so that it cannot be synchronised ({chance}); let someone move."
    if result.runner_up[index] > 0.8 * result.peak[index] and result.peak[index] > 5:
        return (
            f"{name}: several offsets fit about as well, as with motion that repeats itself ({chance}); let someone "
            "make one quick, unusual move, or give the offset."
        )
    return (
        f"{name}: no offset fits clearly better than chance ({chance}): the view is too short ({seconds:.1f} s with "
        "people), people move too little, or it has no moment in common with the others. Give its offset."
    )


def _moves(view: ViewMotion) -> bool:
    """Whether half of the joints move by more than the detector's noise."""
    apart = view.shape - view.shape.nanmean(0)
    spread = apart.square().sum(-1).nanmean(0).sqrt()
    return bool(spread.nanmedian() > _STILL)


def _apart(views: Sequence[ViewMotion], result: Synchronisation) -> list[str]:
    """Pairs of views that do not overlap at these offsets."""
    ends = [tuple(result.to_common(index, view.times[[0, -1]]).tolist()) for index, view in enumerate(views)]
    return [
        f"The views {result.names[i]} and {result.names[j]} have no moment in common."
        for i in range(len(views))
        for j in range(i + 1, len(views))
        if ends[i][1] < ends[j][0] or ends[j][1] < ends[i][0]
    ]
