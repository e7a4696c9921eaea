"""What lies between detected keypoints and triangulation, in order: sides, bad views, noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, Keypoints2D
from marey.detect.noise import JOINT_CLASSES, NoiseModel, calibrate_noise, with_noise
from marey.detect.swaps import apply_swaps, correct_swaps
from marey.detect.views import apply_rejection, reject_views


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Keypoints fit to be triangulated, and what was done to them."""

    keypoints: Keypoints2D
    """(V, T, P) with covariance."""
    noise: NoiseModel
    """The model that the covariances come from, its scale measured on these views where that was possible."""
    swapped: Tensor
    """(V, T, P) boolean: left and right were exchanged, in at least half of the body."""
    rejected: Tensor
    """(V, T, P) boolean: the view was left out."""
    notes: tuple[str, ...]
    """What was corrected, rejected and measured, in plain sentences."""


def prepare_keypoints(
    keypoints: Keypoints2D, cameras: Cameras | None, noise: NoiseModel, *, first_frame: int = 0
) -> Prepared:
    """Set left and right right, leave out bad views, and give every keypoint its covariance.

    Without calibrated cameras, or with a single view, there is nothing to compare with: the covariances are then those
    of `noise` as it is.

    Args:
        keypoints: (V, T, P) as detected, after association: slot p is one person in all views and frames; covariance
            NaN, or the detector's own.
        cameras: (V,).
        noise: to begin with, see `default_noise`.
        first_frame: the number that the notes give to the first frame.
    """
    stated = with_noise(keypoints, noise)
    untouched = torch.zeros(keypoints.batch_shape, dtype=torch.bool, device=keypoints.score.device)
    if cameras is None or not cameras.has_extrinsics or keypoints.batch_shape[0] < 2 or untouched.numel() == 0:
        return Prepared(keypoints=stated, noise=noise, swapped=untouched, rejected=untouched, notes=())
    stated, swaps = correct_swaps(stated, cameras)
    _, views = reject_views(stated, cameras, first_frame=first_frame)
    kept = apply_rejection(apply_swaps(keypoints, swaps.halves), views.rejected)
    measured = calibrate_noise(noise, kept, cameras)
    return Prepared(
        keypoints=with_noise(kept, measured),
        noise=measured,
        swapped=swaps.swapped,
        rejected=views.rejected,
        notes=(*swaps.notes, *views.notes, *_noise_note(noise, measured)),
    )


def _noise_note(stated: NoiseModel, measured: NoiseModel) -> tuple[str, ...]:
    if measured == stated:
        return ()
    factors = ", ".join(
        f"{name} {(after / before) ** 0.5:.2g}"
        for name, before, after in zip(JOINT_CLASSES, stated.scale, measured.scale, strict=True)
    )
    return (f"The keypoints' standard deviations, measured on the views' disagreement: {factors} times the default.",)
