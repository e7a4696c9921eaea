"""What happens to joints after triangulation: nothing, smoothing, or smoothing with bones of constant length."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from marey.core import InputError, Joints3D
from marey.refine.bone_lengths import BoneLengths, measure_bones
from marey.refine.bones import constrain_bones
from marey.refine.filters import butterworth, one_euro
from marey.refine.gaps import fill_gaps
from marey.refine.smoother import SmootherConfig, smooth
from marey.refine.timeline import measured

Refinement = Literal["none", "smooth", "bones"]
Filter = Literal["kalman", "butterworth", "one_euro"]


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How joints are refined."""

    filter: Filter = "kalman"
    """`kalman`: weighs every measurement by its covariance, see `marey.refine.smoother`; `butterworth` and `one_euro`:
    gaps are filled, then what `marey.refine.filters` says with its default settings."""
    smoother: SmootherConfig = field(default_factory=SmootherConfig)
    """Of `kalman`; its `max_gap` holds for the others too."""
    asymmetry: float = 0.01
    """Standard deviation of the difference between a left and a right bone, in lengths; inf: they are unrelated."""
    tolerance: float = 0.0005
    """How far a bone may be off its length in a frame, metres."""


def refine(
    joints: Joints3D,
    *,
    fps: float,
    mode: Refinement = "smooth",
    times: Tensor | None = None,
    config: RefineConfig | None = None,
) -> tuple[Joints3D, tuple[str, ...]]:
    """Refine the joints of a recording and say what was done.

    Args:
        joints: (T, P) as triangulated.
        fps: Frames per second.
        mode: `none`; `smooth`: fill short gaps and filter; `bones`: the same, then give every bone one length.
        times: (T,) seconds, for frames that are not evenly spaced; None: by `fps`.
        config: None: the defaults.

    Returns:
        Joints (T, P), and notes in plain sentences.

    Raises:
        InputError: there is no such mode; fps is not positive; times do not ascend.
        ShapeError: joints or times have the wrong shape.
    """
    if mode not in get_args(Refinement):
        raise InputError(f"refine: expected one of {', '.join(get_args(Refinement))}, got '{mode}'")
    config = config or RefineConfig()
    if config.filter not in get_args(Filter):
        raise InputError(f"filter: expected one of {', '.join(get_args(Filter))}, got '{config.filter}'")
    if mode == "none":
        return joints, ()
    if times is None:
        if not 0 < fps < float("inf"):
            raise InputError(f"fps: expected frames per second > 0, got {fps}")
        times = torch.arange(joints.batch_shape[0], dtype=torch.float64, device=joints.device) / fps
    smoothed = _filtered(joints, times, config)
    notes = _smoothing_notes(joints, smoothed, config)
    if mode == "smooth":
        return smoothed, notes
    lengths = measure_bones(smoothed, asymmetry=config.asymmetry)
    return constrain_bones(smoothed, lengths, tolerance=config.tolerance), (*notes, *_bone_notes(lengths))


def _filtered(joints: Joints3D, times: Tensor, config: RefineConfig) -> Joints3D:
    if config.filter == "kalman":
        return smooth(joints, times, config=config.smoother)
    filled = fill_gaps(joints, times, max_gap=config.smoother.max_gap)
    return butterworth(filled, times) if config.filter == "butterworth" else one_euro(filled, times)


def _smoothing_notes(joints: Joints3D, smoothed: Joints3D, config: RefineConfig) -> tuple[str, ...]:
    """What was smoothed, filled in and replaced, and what stays unknown of the joints that were ever measured."""
    was = measured(joints)
    if not was.any():
        return ("No joint was measured; nothing was smoothed.",)
    ever = was.any(0)
    total = was.shape[0] * int(ever.sum())
    rejected, filled = int((smoothed.filled & was).sum()), int((smoothed.filled & ~was).sum())
    unknown = int((ever & (smoothed.score <= 0)).sum())
    notes = [
        f"Smoothed {_counted(int(was.sum()), 'joint position')}; "
        f"{filled} in gaps of up to {config.smoother.max_gap:g} s {_were(filled)} filled in, "
        f"{rejected} ({rejected / total:.1%}) contradicted {'its' if rejected == 1 else 'their'} neighbours in time "
        f"and {_were(rejected)} replaced."
    ]
    if unknown:
        notes.append(
            f"{_counted(unknown, 'joint position')} ({unknown / total:.1%}) {'stays' if unknown == 1 else 'stay'} "
            "unknown: nothing close enough in time."
        )
    return (*notes, *_never_seen_notes(ever, joints.skeleton.joints))


def _never_seen_notes(ever: Tensor, names: tuple[str, ...]) -> tuple[str, ...]:
    """The joints that were never measured of those people of whom anything was; `ever` (P, J)."""
    missing = {
        person: ", ".join(name for name, seen in zip(names, row, strict=True) if not seen)
        for person, row in enumerate(ever.tolist())
        if any(row)
    }
    if len(set(missing.values())) == 1:
        return tuple(f"Never seen: {joints}." for joints in set(missing.values()) if joints)
    return tuple(f"Never seen of person {person}: {joints}." for person, joints in missing.items() if joints)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _bone_notes(lengths: BoneLengths) -> tuple[str, ...]:
    known = lengths.length.isfinite()
    if not known.any():
        return ("No bone was seen at both ends; no length was held.",)
    number, deviation = int(known.sum()), 1000 * float(lengths.deviation[known].median())
    if number == 1:
        return (f"Held 1 bone at one length over the recording; the length is known to {deviation:.1f} mm.",)
    return (
        f"Held {number} bones at one length each over the recording; "
        f"the lengths are known to {deviation:.1f} mm (median).",
    )
