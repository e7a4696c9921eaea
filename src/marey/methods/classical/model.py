"""Triangulation of joints, and how well every view agrees with the result."""

from __future__ import annotations

import torch

from marey.core import Cameras, Diagnostics, Joints3D, Keypoints2D
from marey.geometry.projection import reprojection_error
from marey.geometry.triangulation import Method, triangulate


def triangulate_keypoints(
    keypoints: Keypoints2D, cameras: Cameras, *, method: Method = "robust", compiled: bool = False
) -> tuple[Joints3D, Diagnostics]:
    """Triangulate associated keypoints.

    Args:
        keypoints: (V, T, P), slot p the same person in every view and frame; the covariance decides the weights.
        cameras: (V,) with extrinsics.
        method: `robust`, `weighted` (by covariance), or `dlt` (rows weighted by the keypoints' scores).
        compiled: run the kernel through `torch.compile`.

    Returns:
        Joints (T, P) in the world, metres, and the weights and residuals (V, T, P) of the views. The score of a joint
        is the mean over the views that saw it of the view's weight times its keypoint's score.
    """
    result = triangulate(
        keypoints.positions,
        cameras,
        covariance=keypoints.covariance,
        weights=keypoints.score if method == "dlt" else None,
        method=method,
        compiled=compiled,
    )
    known = result.positions.isfinite().all(-1)
    weights = torch.where(known, result.weights, 0.0)
    seen = keypoints.positions.isfinite().all(-1)
    trust = weights if method == "dlt" else weights * keypoints.score
    joints = Joints3D(
        positions=result.positions,
        # of two cameras that face each other it is a thousand times longer than wide, and rounding tilts its halves
        covariance=0.5 * (result.covariance + result.covariance.mT),
        score=(trust.sum(0) / seen.sum(0).clamp_min(1)).clamp(0.0, 1.0),
        filled=torch.zeros_like(known),
        skeleton=keypoints.skeleton,
    )
    residuals = reprojection_error(joints.positions[None], keypoints.positions, cameras)
    return joints, Diagnostics(weights=weights, residuals=residuals)
