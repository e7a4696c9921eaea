"""Views that see someone or something else: found by their disagreement with all others, and left out.

The robust triangulation takes care of single wrong joints. A view whose detector follows a bystander or a reflection,
or whose camera was moved, is wrong in all joints at once and for some time; it is better taken out before it takes part
in anything. What counts is the median over a person's joints of the squared Mahalanobis distance between the view's
keypoints and their prediction by the other views, so that wrong limbs alone never cost a whole view.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from marey.core import Cameras, Keypoints2D
from marey.detect.noise import is_seen, mahalanobis_squared, predict_from_others
from marey.geometry.triangulation import Method

_LEAST_JOINTS = 4
_DISAGREEMENT = 25.0
"""Half of the joints are further than 5 sigma from where they should be."""
_AGAINST_USUAL = 9.0
"""And three times further than the best view of most frames, should the noise model be too optimistic altogether."""
_WINDOW = 5
"""Frames; a view is judged by the majority of this many, single frames are left to the robust triangulation."""
_BLOCK = 400_000
"""Keypoints handled at once, which bounds the memory."""
_SPANS_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class ViewReport:
    """Which views were left out."""

    rejected: Tensor
    """(V, T, P) boolean."""
    notes: tuple[str, ...]
    """A sentence for each view and person concerned."""


def reject_views(keypoints: Keypoints2D, cameras: Cameras, *, first_frame: int = 0) -> tuple[Keypoints2D, ViewReport]:
    """Leave out the views that persistently disagree with the others.

    Where a view disagrees, the one goes without which the rest agrees best; then the rest is judged anew, as long as
    three views see the person: two that disagree do not tell which of them is wrong. Cost: one triangulation of
    everything, and a few of the frames concerned for each view that goes; the memory beyond the result is bounded.

    Args:
        keypoints: (V, T, P) with covariance, left and right set right; slot p is one person in all views and frames.
        cameras: (V,) full.
        first_frame: the number that the notes give to the first frame.
    """
    rejected = torch.zeros(keypoints.batch_shape, dtype=torch.bool, device=keypoints.score.device)
    if keypoints.score.numel() == 0:
        return keypoints, ViewReport(rejected=rejected, notes=())
    pixels = torch.full_like(keypoints.score[..., 0], torch.nan)
    left = keypoints
    distance, blame, offset = _disagreement(left, cameras)
    for _ in range(max(0, rejected.shape[0] - 2)):
        worst = _worst(distance, blame, is_seen(left).any(-1))
        changed = worst.transpose(0, 1).flatten(1).any(1)
        if not changed.any():
            break
        pixels = torch.where(worst, offset, pixels)
        rejected = rejected | worst
        left = apply_rejection(left, worst)
        for values, new in zip((distance, blame, offset), _disagreement(left[:, changed], cameras), strict=True):
            values[:, changed] = new
    return left, ViewReport(rejected=rejected, notes=_notes(rejected, pixels, cameras.names, first_frame))


def apply_rejection(keypoints: Keypoints2D, rejected: Tensor) -> Keypoints2D:
    """Mark everything as not seen where `rejected` (V, T, P) says so."""
    return dataclasses.replace(
        keypoints,
        positions=keypoints.positions.masked_fill(rejected[..., None, None], torch.nan),
        covariance=keypoints.covariance.masked_fill(rejected[..., None, None, None], torch.nan),
        score=keypoints.score.masked_fill(rejected[..., None], 0.0),
    )


def _disagreement(keypoints: Keypoints2D, cameras: Cameras) -> tuple[Tensor, ...]:
    """Medians over the joints of the distances to the prediction, (V, T, P) each, NaN where unknown.

    Squared and in sigmas from the robust and from the plain least-squares prediction; in pixels from the robust one.
    """
    frames = keypoints.score.shape[1]
    step = max(1, _BLOCK // max(1, keypoints.score.numel() // frames))
    blocks = [_block_disagreement(keypoints[:, at : at + step], cameras) for at in range(0, frames, step)]
    return tuple(torch.cat(parts, 1) for parts in zip(*blocks, strict=True))


def _block_disagreement(keypoints: Keypoints2D, cameras: Cameras) -> tuple[Tensor, ...]:
    robust, pixels = _distances(keypoints, cameras, "robust")
    unknown = torch.where(robust.isfinite().sum(-1) >= _LEAST_JOINTS, 0.0, torch.nan)
    distance, offset = (values.nanmedian(-1).values + unknown for values in (robust, pixels))
    if not (distance > _DISAGREEMENT).any():
        return distance, torch.zeros_like(distance), offset  # nobody to blame
    return distance, _distances(keypoints, cameras, "weighted")[0].nanmedian(-1).values + unknown, offset


def _distances(keypoints: Keypoints2D, cameras: Cameras, method: Method) -> tuple[Tensor, Tensor]:
    """Squared in sigmas and plain in pixels, (V, T, P, J)."""
    predicted, spread = predict_from_others(keypoints, cameras, method=method)
    residual = keypoints.positions - predicted
    return mahalanobis_squared(residual, spread + keypoints.covariance), residual.norm(dim=-1)


def _worst(distance: Tensor, blame: Tensor, present: Tensor) -> Tensor:
    """The one view of each frame and person, if any, that is to go, (V, T, P) boolean.

    Args:
        distance: by which disagreement is found; robust, so that a bad view elsewhere does not make good ones suspect.
        blame: by which the bad view is told. In a plain least-squares fit it is what the sum of squares falls by
            without the view (Baarda's data snooping); the robust fit may have settled on the wrong side.
        present: where the view sees the person at all.
    """
    best = distance.nan_to_num(nan=torch.inf).amin(0)  # of the views in each frame; infinite where nobody is there
    usual = torch.where(best.isfinite(), best, torch.nan).nanmedian(0).values.nan_to_num(nan=0.0)
    threshold = (_AGAINST_USUAL * usual).clamp(min=_DISAGREEMENT)
    known = distance.isfinite()
    bad = known & (_mean((distance > threshold).to(distance.dtype), known) > 0.5)
    any_bad = bad.any(0, keepdim=True)
    smooth = _mean(blame.nan_to_num(nan=0.0).clamp(max=1e12).log1p(), known)
    worst = smooth == torch.where(present, smooth, -1.0).amax(0, keepdim=True)
    return any_bad & worst & present & (present.sum(0) >= 3)


def _mean(values: Tensor, known: Tensor) -> Tensor:
    """Running mean over time of the known values (V, T, P), 0 where the window holds none."""
    weight = known.to(values.dtype)
    total, count = (
        functional.avg_pool1d(x.movedim(1, -1), _WINDOW, stride=1, padding=_WINDOW // 2).movedim(-1, 1)
        for x in (values * weight, weight)
    )
    return total / count.clamp(min=1e-9)


def _notes(rejected: Tensor, pixels: Tensor, names: tuple[str, ...], first_frame: int) -> tuple[str, ...]:
    notes = []
    for view, person in rejected.any(1).nonzero().tolist():
        flags = rejected[view, :, person]
        offset = float(pixels[view, :, person][flags].nanmedian())
        name = names[view] if names else f"view {view}"
        notes.append(
            f"{name}, person {person}: left out in {int(flags.sum())} of {len(flags)} frames "
            f"({_spans(flags, first_frame)}): half of its keypoints lie more than {offset:.0f} pixels from where the "
            "other views see them."
        )
    return tuple(notes)


def _spans(flags: Tensor, first_frame: int) -> str:
    """The runs of true values in words: `3-9, 20-41 and 2 more spans`."""
    indices = (flags.nonzero()[:, 0] + first_frame).tolist()
    runs = [[i for _, i in run] for _, run in itertools.groupby(enumerate(indices), lambda pair: pair[1] - pair[0])]
    told = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:_SPANS_TOLD])
    more = len(runs) - _SPANS_TOLD
    return told if more <= 0 else f"{told} and {more} more spans"
