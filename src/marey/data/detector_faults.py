"""What a keypoint detector does to the true image of a person: noise, outliers, swaps, occlusion, losses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.core import InputError, Skeleton
from marey.data.figure import Array

Mask = npt.NDArray[np.bool_]

BODY_RADIUS = 0.2
"""Metres; a person hides what lies behind a cylinder of this radius around the middle of the joints."""


@dataclass(frozen=True, kw_only=True)
class DetectorFaults:
    """How often and how badly a detector errs. Fractions are of what is in the image."""

    noise_px: float = 2.0
    """Standard deviation per axis of a keypoint seen well at the distance of the scene's middle, pixels."""
    noise_follows_size: bool = True
    """Noise is inversely proportional to the distance, like the size of the person in the image."""
    outlier_fraction: float = 0.01
    """Of the keypoints."""
    outlier_px: float = 80.0
    """How far an outlier lies off, pixels: uniformly in 0.5 to 1.5 of this, in any direction."""
    swap_fraction: float = 0.02
    """Of the time that left and right of one person are exchanged in one view."""
    swap_seconds: float = 0.15
    """Mean duration of such a burst."""
    dropout_fraction: float = 0.02
    """Of the time that one keypoint is missing in one view."""
    dropout_seconds: float = 0.1
    lost_fraction: float = 0.005
    """Of the time that a whole person is missing in one view."""
    lost_seconds: float = 0.3
    occlusion: bool = True
    """People hide what is behind them."""
    hidden_missing: float = 0.6
    """Fraction of the hidden keypoints that are missing; the others are guessed."""
    hidden_noise: float = 4.0
    """Factor on the noise of a hidden keypoint that is guessed."""

    def __post_init__(self) -> None:
        for name in ("outlier_fraction", "swap_fraction", "dropout_fraction", "lost_fraction", "hidden_missing"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a fraction in 0..1, got {getattr(self, name)}")
        for name in ("noise_px", "outlier_px", "hidden_noise"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name}: expected a number >= 0, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class FaultyView:
    """What the detector reports of V views, T frames and P figures, still in the figures' order."""

    pixels: Array
    """(V, T, P, J, 2), NaN = missing."""
    sigma: Array
    """(V, T, P, J) standard deviation of the noise per axis, pixels; NaN where missing. Outliers not counted."""
    score: Array
    """(V, T, P, J) in 0..1, 0 where missing; high where seen well, low where guessed, anything for an outlier."""
    outlier: Mask
    """(V, T, P, J)"""
    swapped: Mask
    """(V, T, P)"""
    present: Mask
    """(V, T, P) at least one keypoint is reported."""


def apply_faults(
    pixels: Array,
    scale: Array,
    hidden: Mask,
    *,
    names: Skeleton,
    image_size: tuple[int, int],
    fps: float,
    faults: DetectorFaults,
    rng: np.random.Generator,
) -> FaultyView:
    """Report true keypoints as a detector would.

    Args:
        pixels: (V, T, P, J, 2) true image points, NaN = not in front of the camera.
        scale: (V, T, P, J) factor on the noise.
        hidden: (V, T, P, J) keypoints with a body before them.
        names: Skeleton, for who is left and who is right.
        image_size: Width and height, pixels; what lies outside is missing.
        fps: Frames per second, for the length of bursts.
        faults: How often and how badly.
        rng: Draws all of it.
    """
    shape = pixels.shape[:-1]
    swapped = bursts(rng, shape[:-1], fraction=faults.swap_fraction, frames=faults.swap_seconds * fps)
    mirror = np.array(names.mirror)
    exchange = swapped[..., None]
    pixels = np.where(exchange[..., None], pixels[..., mirror, :], pixels)
    hidden = np.where(exchange, hidden[..., mirror], hidden)
    sigma = faults.noise_px * np.where(exchange, scale[..., mirror], scale) * np.where(hidden, faults.hidden_noise, 1.0)
    outlier = rng.random(shape) < faults.outlier_fraction
    reported = pixels + sigma[..., None] * rng.standard_normal(pixels.shape)
    reported[outlier] += _gross(int(outlier.sum()), faults.outlier_px, rng)
    missing = ~((pixels >= -0.5) & (pixels <= np.array(image_size) - 0.5)).all(-1)
    missing |= bursts(rng, shape, fraction=faults.dropout_fraction, frames=faults.dropout_seconds * fps)
    missing |= bursts(rng, shape[:-1], fraction=faults.lost_fraction, frames=faults.lost_seconds * fps)[..., None]
    missing |= hidden & (rng.random(shape) < faults.hidden_missing)
    score = np.where(hidden, 0.35, 0.85) + rng.uniform(-0.15, 0.15, shape)
    score = np.where(outlier, rng.uniform(0.2, 0.9, shape), score)
    return FaultyView(
        pixels=np.where(missing[..., None], np.nan, reported),
        sigma=np.where(missing, np.nan, sigma),
        score=np.where(missing, 0.0, score),
        outlier=outlier & ~missing,
        swapped=swapped,
        present=np.any(~missing, axis=-1),
    )


def bursts(rng: np.random.Generator, shape: tuple[int, ...], *, fraction: float, frames: float) -> Mask:
    """Draw times that come in bursts along the second dimension.

    Args:
        rng: Draws the starts and the exponential lengths.
        shape: (V, T, ...).
        fraction: Of the frames within bursts.
        frames: Mean length of a burst, at least 1.
    """
    if fraction <= 0:
        return np.zeros(shape, bool)
    if fraction >= 1:
        return np.ones(shape, bool)
    length = max(frames, 1.0)
    starts = rng.random(shape) < -np.log1p(-fraction) / length  # a Poisson process whose bursts may overlap
    steps = np.arange(shape[1]).reshape(-1, *(1,) * (len(shape) - 2))
    ends = np.zeros(shape)
    ends[starts] = rng.exponential(length, int(starts.sum()))
    ends = np.where(starts, steps + np.maximum(np.rint(ends), 1), 0)
    inside: Mask = np.maximum.accumulate(ends, axis=1) > steps
    return inside


def hidden_by_others(joints: Array, centers: Array) -> Mask:
    """Which joints each camera sees only through another body.

    A body is an upright cylinder around the middle of its joints, up to its highest joint.

    Args:
        joints: (T, P, J, 3) in a world whose z points up, metres.
        centers: (V, 3) of the cameras, metres.

    Returns:
        (V, T, P, J)
    """
    middle, top = joints[..., :2].mean(-2), joints[..., 2].max(-1)
    others = ~np.eye(joints.shape[1], dtype=bool)
    ray = joints - centers[:, None, None, None]  # (V, T, P, J, 3)
    hidden = np.zeros(ray.shape[:-1], bool)
    squared = (ray[..., :2] ** 2).sum(-1).clip(min=1e-12)
    for blocker in range(joints.shape[1]):
        offset = (middle[:, blocker] - centers[:, None, :2])[:, :, None, None]
        along = ((ray[..., :2] * offset).sum(-1) / squared).clip(0, 1)
        distance = np.linalg.norm(along[..., None] * ray[..., :2] - offset, axis=-1)
        below = centers[:, None, None, None, 2] + along * ray[..., 2] < top[:, blocker, None, None]
        before = (1 - along) * np.sqrt(squared) > BODY_RADIUS
        hidden |= (distance < BODY_RADIUS) & below & before & others[blocker][:, None]
    return hidden


def _gross(count: int, magnitude: float, rng: np.random.Generator) -> Array:
    """Displacements (count, 2) of outliers, pixels."""
    angle, length = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.5, 1.5, count) * magnitude
    return np.stack((length * np.cos(angle), length * np.sin(angle)), axis=-1)
