"""Left and right put right before views are timed: a limb taken for the other one tells a wrong time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marey.calibrate.sync_geometry import Clocks, used_moments
from marey.calibrate.sync_signals import ViewMotion
from marey.core import Cameras, Keypoints2D, Skeleton
from marey.detect.noise import NoiseModel, with_noise
from marey.detect.swaps import correct_swaps, exchange_sides


def with_sides(
    views: Sequence[ViewMotion], tracks: Sequence[Tensor], cameras: Cameras, clocks: Clocks, skeleton: Skeleton
) -> list[Tensor]:
    """Exchange left and right where the other views, about synchronised, say so.

    Only recordings of one person: with several, who is who comes later.

    Args:
        views: V views.
        tracks: their positions (T, P, J, 2), which are exchanged.
        cameras: (V,)
        clocks: right within some frames.
        skeleton: of the joints.
    """
    moments = used_moments(views, clocks)
    if moments is None or any(track.shape[1] != 1 for track in tracks):
        return list(tracks)
    when = moments.flatten()
    positions = torch.stack([_nearest(view, clocks.to_view(index, when)) for index, view in enumerate(views)])
    keypoints = Keypoints2D(
        positions=positions,
        covariance=torch.full((), torch.nan, dtype=positions.dtype).expand(*positions.shape, 2),
        score=positions.isfinite().all(-1).to(positions.dtype),
        skeleton=skeleton,
    )
    _, report = correct_swaps(with_noise(keypoints, NoiseModel()), cameras.to(positions.dtype))
    return [
        _exchanged(track, report.halves[index], clocks.to_common(index, view.times), when, skeleton)
        for index, (view, track) in enumerate(zip(views, tracks, strict=True))
    ]


def _nearest(view: ViewMotion, times: Tensor) -> Tensor:
    """Positions (S, P, J, 2) in the frames nearest to the times (S,); NaN where there is none within a frame."""
    place = torch.searchsorted(view.times, times - view.step / 2).clamp(0, len(view.times) - 1)
    near = (view.times[place] - times).abs() < view.step
    return torch.where(near[:, None, None, None], view.positions[place], torch.nan)


def _exchanged(track: Tensor, halves: Tensor, times: Tensor, when: Tensor, skeleton: Skeleton) -> Tensor:
    """One view with the halves (S, P, 2) exchanged that were at the moments (S,) nearest to its frames' times (T,)."""
    spacing = when.diff().median()
    place = torch.searchsorted(when, times - spacing / 2).clamp(0, len(when) - 1)
    near = (when[place] - times).abs() <= 2 * spacing
    return exchange_sides(track[None], (halves[place] & near[:, None, None])[None], skeleton)[0]
