"""What the networks learn from: mean absolute differences, all in metres.

Pixels of a crop become metres by `box_size / side`, which makes keypoints and joints of about equal weight. A mean goes
over all coordinates of all known joints of the batch together, as published. Known joints are `known` (B, J); what
stands for the others does not matter, but for NaN in an estimate.

Source: specification of MeTRAbs, sections 2.1 and 2.6.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Skeleton
from marey.methods.metrabs.heatmaps import HeatmapConfig

_LEAST = 1e-10
"""Square metres or pixels, of a spread."""
_LEAST_DEPTH = 0.001
"""Metres: nearer points are projected as if they were there."""
_FAR_ENOUGH = 0.3
"""Metres from the camera from which on places count."""
_FAR = 10.0
"""Metres from which on errors of depth count less, as their share of the distance."""
_BEYOND = 20.0
"""Strides beyond the crop within which projections of joints are learned."""
_RELIABLE = 0.75
"""Strides from the border from which on the projection of an estimate is compared."""


class Guess(NamedTuple):
    """What the network says of people in crops."""

    keypoints: Tensor | None
    """(B, J, 2) pixels of the 2D head; None: it has none."""
    relative: Tensor
    """(B, J, 3) metres of any origin; of the 2.5D network only the depth is used, from half a box before the root."""
    joints: Tensor | None = None
    """(B, J, 3) metres in the frame of the crop's camera; None: nobody was placed."""


class People(NamedTuple):
    """Labels of people whose joints are known in space."""

    joints: Tensor
    """(B, J, 3) metres in the frame of the crop's camera."""
    keypoints: Tensor
    """(B, J, 2) pixels of the crop."""
    known: Tensor
    """(B, J) boolean."""


class Pictures(NamedTuple):
    """Labels of people who are only known in pictures, with K joints of their own."""

    keypoints: Tensor
    """(B, K, 2) pixels of the crop."""
    known: Tensor
    """(B, K) boolean."""


def mean_difference(difference: Tensor, known: Tensor) -> Tensor:
    """The mean absolute value of differences (B, J, D) of known joints (B, J); 0 if there is none."""
    counted = torch.where(known[..., None], difference, 0.0).abs()
    return counted.sum() / (difference.shape[-1] * known.sum()).clamp_min(1)


def about_root(joints: Tensor, known: Tensor, *, root: int | None) -> Tensor:
    """Joints (B, J, D) from the root, or from the mean of the known joints (B, J) where `root` is None."""
    if root is not None:
        return joints - joints[:, root, None]
    return joints - _mean(joints, known)


def laid_over(points: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Points (B, K, 2) moved and scaled so that mean and spread of the known ones (B, K) are those of the target."""
    (mean, spread), (wanted, extent) = _mean_and_spread(points, known), _mean_and_spread(target, known)
    return (points - mean) / spread * extent + wanted


def with_higher_hips(points: Tensor, skeleton: Skeleton, factor: float) -> Tensor:
    """Points (B, J, D) of MPI-INF-3DHP's joints with hips and pelvis where MPII's labels have them.

    They lie `factor` of the way from the pelvis to the neck too low, measured in what is left of it.

    Raises:
        InputError: the skeleton has no neck or pelvis.
    """
    if not factor:
        return points
    neck, pelvis = skeleton.indices(("neck", "pelvis"))
    moved = [name in ("left_hip", "right_hip", "pelvis") for name in skeleton.joints]
    share = points.new_tensor(moved) * (-factor / (1 + factor))
    return points + share[:, None] * (points[:, neck] - points[:, pelvis])[:, None]


def joint_terms(guess: Guess, truth: People, *, root: int | None) -> dict[str, Tensor]:
    """`joints`: root-relative, of the metric head."""
    found, wanted = (about_root(joints, truth.known, root=root) for joints in (guess.relative, truth.joints))
    return {"joints": mean_difference(found - wanted, truth.known)}


def placed_terms(guess: Guess, truth: People, *, root: int | None, scale: float) -> dict[str, Tensor]:
    """`joints`, `keypoints` of the 2D head, and `absolute` in the frame of the camera.

    Args:
        guess: With keypoints and placed joints.
        truth: Of the crops.
        root: Joint that the root-relative error is about; None: the mean.
        scale: Metres of a pixel.
    """
    assert guess.keypoints is not None
    assert guess.joints is not None
    return {
        **joint_terms(guess, truth, root=root),
        "keypoints": scale * mean_difference(guess.keypoints - truth.keypoints, truth.known),
        "absolute": mean_difference(guess.joints - truth.joints, truth.known),
    }


def depth_terms(guess: Guess, truth: People, *, root: int, scale: float, box_size: float) -> dict[str, Tensor]:
    """Of the 2.5D network: `keypoints`, and `depth` from half a box before the root.

    Args:
        guess: With keypoints.
        truth: Of the crops.
        root: The joint whose depth is the middle of the box.
        scale: Metres of a pixel.
        box_size: Metres.
    """
    assert guess.keypoints is not None
    depth = truth.joints[..., 2] - truth.joints[:, root, None, 2] + box_size / 2
    return {
        "keypoints": scale * mean_difference(guess.keypoints - truth.keypoints, truth.known),
        "depth": mean_difference((guess.relative[..., 2] - depth)[..., None], truth.known),
    }


def projected_terms(
    guess: Guess, truth: People, intrinsics: Tensor, *, root: int | None, heatmaps: HeatmapConfig
) -> dict[str, Tensor]:
    """Of 2021 to 2023, all of placed joints: `joints` root-relative, `projection` in the crop, and `absolute`.

    What is nearer than 0.3 m is in none but the first. Beyond 10 m errors of depth count as shares of the distance.

    Args:
        guess: With placed joints.
        truth: Of the crops.
        intrinsics: (B, 3, 3) of the crops.
        root: Joint that the root-relative error is about; None: the mean.
        heatmaps: How large the crop is.
    """
    assert guess.joints is not None
    known, far = truth.known, truth.known & (truth.joints[..., 2] > _FAR_ENOUGH)
    found, wanted = (about_root(joints, known, root=root) for joints in (guess.joints, truth.joints))
    away = torch.where(far, truth.joints[..., 2], _FAR)
    weights = torch.nn.functional.pad((_FAR / away).clamp_max(1)[..., None], (2, 0), value=1.0)
    seen, shown = (projected(joints, intrinsics) for joints in (guess.joints, truth.joints))
    compared = far & comparable(seen, shown, heatmaps) & (guess.joints[..., 2] > _LEAST_DEPTH)
    scale = heatmaps.box_size / heatmaps.side
    return {
        "joints": mean_difference(found - wanted, known),
        "projection": scale * mean_difference(seen - shown, compared),
        "absolute": mean_difference((guess.joints - truth.joints) * weights, far),
    }


def projected(joints: Tensor, intrinsics: Tensor) -> Tensor:
    """Where cameras (B, 3, 3) see joints (B, J, 3): (B, J, 2) pixels; what is behind them as if it were before."""
    plane = joints / joints[..., 2:].clamp_min(_LEAST_DEPTH)
    return plane @ intrinsics[:, :2].mT


def comparable(found: Tensor, wanted: Tensor, heatmaps: HeatmapConfig) -> Tensor:
    """Whether projections (..., 2) are in view, and labels at least near the crop."""
    return _within(found, heatmaps, _RELIABLE) & _within(wanted, heatmaps, -_BEYOND)


def weak_keypoint_terms(keypoints: Tensor, truth: Pictures, *, scale: float) -> dict[str, Tensor]:
    """`weak_keypoints`: of the 2D head, keypoints (B, K, 2) of the labels' joints."""
    return {"weak_keypoints": scale * mean_difference(keypoints - truth.keypoints, truth.known)}


def weak_joint_terms(relative: Tensor, truth: Pictures, *, scale: float) -> dict[str, Tensor]:
    """`weak_joints`: of the metric head without its depth (B, K, 2), laid over the labels of each person."""
    found = laid_over(relative[..., :2], truth.keypoints, truth.known)
    return {"weak_joints": scale * mean_difference(found - truth.keypoints, truth.known)}


def weak_projection_terms(keypoints: Tensor, truth: Pictures, heatmaps: HeatmapConfig) -> dict[str, Tensor]:
    """`weak_projection`, 2021 to 2023: of projections (B, K, 2) of placed joints that are in view."""
    compared = truth.known & comparable(keypoints, truth.keypoints, heatmaps)
    scale = heatmaps.box_size / heatmaps.side
    return {"weak_projection": scale * mean_difference(keypoints - truth.keypoints, compared)}


def _within(points: Tensor, heatmaps: HeatmapConfig, strides: float) -> Tensor:
    """Whether points (..., 2) are so many strides or more inside of the crop, which uncentred cells see moved."""
    border = strides * heatmaps.stride
    places = points if heatmaps.centered_stride else points + heatmaps.stride / 2
    return ((places >= border) & (places <= heatmaps.side - border)).all(-1)


def _mean(points: Tensor, known: Tensor) -> Tensor:
    """(B, 1, D) of known points; 0 where there is none."""
    total = torch.where(known[..., None], points, 0.0).sum(1, keepdim=True)
    return total / known.sum(1).clamp_min(1)[:, None, None]


def _mean_and_spread(points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, D), and the root of the mean squared distance from it (B, 1, 1)."""
    mean = _mean(points, known)
    squared = torch.where(known[..., None], points - mean, 0.0).square().sum((1, 2))
    return mean, (squared / known.sum(1).clamp_min(1) + _LEAST).sqrt()[:, None, None]
