"""A picture of views on one time axis: how fast people move in each."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor

from marey.core import Keypoints2D, ShapeError
from marey.io.atomic import atomic_path

_INCHES = (11.0, 1.5)
BASE = 0.1
"""Seconds over which displacements are measured: between neighbouring frames they are mostly noise."""
_COLORS = ("#2563a8", "#c2571a", "#2d7d46", "#8a3d8f", "#8c6d1f", "#38808c")


def save_speeds(
    path: str | os.PathLike[str],
    keypoints_per_view: Sequence[Keypoints2D],
    times_per_view: Sequence[Tensor],
    *,
    names: Sequence[str],
) -> None:
    """Draw the median speed of the joints in every view, one below the other, over the common time; PNG.

    Synchronous views rise and fall together. Speeds are relative to the view's largest usual one (95 % quantile). A
    joint that is taken for the one of the other side does not count as fast.

    Args:
        path: The file.
        keypoints_per_view: (T_v, P_v) of each view.
        times_per_view: (T_v,) seconds on the common axis.
        names: Of the views.

    Raises:
        ShapeError: there are not as many of each.
    """
    from matplotlib.figure import Figure

    if not len(keypoints_per_view) == len(times_per_view) == len(names):
        raise ShapeError(f"expected times and a name for each of {len(keypoints_per_view)} views")
    figure = Figure(figsize=(_INCHES[0], 1.0 + _INCHES[1] * len(names)), layout="constrained")
    rows = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for place, (axes, name) in enumerate(zip(rows, names, strict=True)):
        times, speed = median_speed(keypoints_per_view[place], times_per_view[place])
        color = _COLORS[place % len(_COLORS)]
        axes.plot(times.numpy(), speed.numpy(), color=color, linewidth=1.3)
        axes.fill_between(times.numpy(), 0, speed.numpy(), color=color, alpha=0.15)
        axes.set(ylim=(0, 1.3), yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.grid(axis="x", color="#dddddd")
        axes.spines[["top", "right", "left"]].set_visible(False)
    rows[0].set_title("Speed of the joints in each view: synchronous views rise and fall together", fontsize=11)
    rows[-1].set_xlabel("common time, seconds")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def median_speed(keypoints: Keypoints2D, times: Tensor) -> tuple[Tensor, Tensor]:
    """Relative median speed of all joints over `BASE` seconds, left and right taken as they move least.

    Args:
        keypoints: (T, P).
        times: (T,) seconds.

    Returns:
        Times (T - k,) in the middle of each stretch of k frames, and the speeds (T - k,) there, NaN where unknown.
    """
    frames = len(times)
    step = float(times.diff().median()) if frames > 1 else BASE
    base = min(max(1, round(BASE / step)), max(1, frames - 1))
    before, after = keypoints.positions[:-base], keypoints.positions[base:]
    own = (after - before).norm(dim=-1)
    other = (after[..., list(keypoints.skeleton.mirror), :] - before).norm(dim=-1)
    speed = torch.fmin(own, other).flatten(1).nanmedian(1).values.double() / (times[base:] - times[:-base])
    known = speed[speed.isfinite()]
    largest = float(torch.quantile(known, 0.95)) if len(known) else 1.0
    return (times[base:] + times[:-base]) / 2, (speed / max(largest, 1e-9)).clamp_max(1.3)
