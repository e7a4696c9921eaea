"""The geometry that association works in: ideal cameras, detections as normalised points, one Bayesian update.

Lens and intrinsics are taken out once, for many frames at a time; what remains of a camera is `(X, Y) / Z` of
`R x + t`, so a joint's projection and its derivative cost a dozen operations for all views and people together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, Detections2D
from marey.detect.agreement import extent, inlier, log_ratio, with_mirrored
from marey.geometry.projection import pixels_to_normalised, undistort_pixels
from marey.geometry.small import inverse_2x2, inverse_3x3_symmetric

_NEAREST = 0.05
"""Metres in front of a camera; what is nearer is not seen by it."""
_CHUNK = 256
"""Frames that are prepared at once: bounds the memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """V ideal cameras, and what every step needs to know of the bodies in front of them."""

    rotation: Tensor
    """(V, 3, 3) world to camera."""
    translation: Tensor
    """(V, 3) metres."""
    center: Tensor
    """(V, 3) optical centres, metres."""
    area: Tensor
    """(V,) of the images in normalised coordinates: where clutter may lie."""
    mirror: Tensor
    """(J,) place of each joint's counterpart on the other side."""
    links: Tensor
    """(L, 2) pairs of joints."""
    slack: float
    """Standard deviation, metres, by which views disagree about a joint beyond what the covariances say: definitions of
    joints differ with the direction of view, and calibrations err."""
    outlier: float
    """Share of keypoints that are grossly wrong."""
    swap_penalty: float
    """Minus the log odds that a pair of left and right joints is exchanged."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """The detections of one frame in normalised coordinates, as they are and with left and right exchanged."""

    points: Tensor
    """(V, 2, P, J, 2); NaN = not seen."""
    spread: Tensor
    """(V, 2, P, J, 2, 2) covariance; NaN = not seen."""
    present: Tensor
    """(V, P) boolean: slots that hold enough joints to be somebody."""


def make_scene(
    detections: Detections2D, cameras: Cameras, *, slack: float, outlier: float, swap_penalty: float
) -> Scene:
    """Take the cameras and the skeleton apart; double precision, on the CPU.

    Raises:
        CalibrationError: the cameras have no extrinsics.
    """
    rotation, translation = (part.detach().cpu().double() for part in cameras.extrinsics)
    skeleton = detections.keypoints.skeleton
    focal = torch.diagonal(cameras.intrinsics, dim1=-2, dim2=-1)[..., :2].detach().cpu().double()
    size = cameras.image_size.detach().cpu().double()
    size = torch.where(size.isfinite(), size, extent(detections.keypoints.positions))
    return Scene(
        rotation=rotation,
        translation=translation,
        center=-(rotation.mT @ translation[..., None])[..., 0],
        area=(size / focal).prod(-1),
        mirror=torch.tensor(skeleton.mirror),
        links=torch.tensor(skeleton.links, dtype=torch.long).reshape(-1, 2),
        slack=slack,
        outlier=outlier,
        swap_penalty=swap_penalty,
    )


def sightings(detections: Detections2D, cameras: Cameras, mirror: Tensor, *, least_joints: int) -> Iterator[Sighting]:
    """Yield the T frames, prepared some hundred at a time.

    Args:
        detections: (V, T, P).
        cameras: (V,), intrinsics suffice.
        mirror: (J,).
        least_joints: a slot with fewer joints is nobody.
    """
    keypoints = detections.keypoints
    cameras = cameras.to(torch.device("cpu")).to(torch.float64)
    inverse = inverse_2x2(cameras.intrinsics[..., :2, :2])
    for start in range(0, keypoints.batch_shape[1], _CHUNK):
        part = keypoints[:, start : start + _CHUNK].to(torch.device("cpu")).to(torch.float64)
        ideal, warp = undistort_pixels(part.positions, cameras)
        warp = inverse[:, None, None, None] @ warp
        spread = warp @ part.covariance @ warp.mT
        seen = ideal.isfinite().all(-1) & spread.isfinite().flatten(-2).all(-1) & (part.score > 0)
        points = torch.where(seen[..., None], pixels_to_normalised(ideal, cameras), torch.nan)
        spread = torch.where(seen[..., None, None], spread, torch.nan)
        present = seen.sum(-1) >= least_joints
        points, spread = with_mirrored(points, spread, mirror)
        for frame in range(points.shape[1]):
            yield Sighting(points=points[:, frame], spread=spread[:, frame], present=present[:, frame])


def look(scene: Scene, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Project joints (..., J, 3) into every view.

    Returns:
        Normalised points (V, ..., J, 2), NaN where the joint is not in front of the camera; their derivative
        (V, ..., J, 2, 3), one a metre; and the variance that the slack makes there, (V, ..., J).
    """
    free = (1,) * (positions.ndim - 1)
    rotation = scene.rotation.reshape(-1, *free, 3, 3)
    moved = (rotation @ positions[..., None])[..., 0] + scene.translation.reshape(-1, *free, 3)
    depth = moved[..., 2:]
    near = torch.where(depth > _NEAREST, depth, torch.nan).reciprocal()
    points = moved[..., :2] * near
    jacobian = (rotation[..., :2, :] - points[..., None] * rotation[..., 2:, :]) * near[..., None]
    return points, jacobian, (scene.slack * near[..., 0]).square()


def widen(spread: Tensor, variance: Tensor) -> Tensor:
    """Add an isotropic variance (...) to covariances (..., 2, 2)."""
    return spread + variance[..., None, None] * torch.eye(2, dtype=spread.dtype)


def update(
    scene: Scene, mean: Tensor, covariance: Tensor, points: Tensor, spread: Tensor, weight: Tensor, steps: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Revise where joints are by what the views saw of them: an iterated extended Kalman update, robust per keypoint.

    Args:
        scene: the cameras.
        mean: (..., J, 3) expected positions, metres.
        covariance: (..., J, 3, 3) of them; a joint nobody sees keeps both.
        points: (V, ..., J, 2) what the views saw, sides already exchanged where they must be; NaN = not seen.
        spread: (V, ..., J, 2, 2).
        weight: (V, ..., J) to begin with, in 0..1.
        steps: Gauss-Newton steps; the weights are renewed after each.

    Returns:
        Positions, their covariance, and the log-likelihood ratios (V, ..., J) of the keypoints given them.
    """
    seen = points.isfinite().all(-1)
    points = torch.where(seen[..., None], points, 0.0)
    spread = torch.where(seen[..., None, None], spread, torch.eye(2, dtype=spread.dtype))
    prior = inverse_3x3_symmetric(covariance)
    at = mean
    for _ in range(steps):
        expected, jacobian, slack = look(scene, at)
        usable = seen & slack.isfinite()
        noise = widen(spread, torch.where(usable, slack, 0.0))
        pull = jacobian.mT @ (inverse_2x2(noise) * torch.where(usable, weight, 0.0)[..., None, None])
        pull = torch.where(usable[..., None, None], pull, 0.0)
        offset = torch.where(usable[..., None], points - expected, 0.0)
        jacobian = torch.where(usable[..., None, None], jacobian, 0.0)
        after = inverse_3x3_symmetric(prior + (pull @ jacobian).sum(0))
        force = (prior @ (mean - at)[..., None]) + (pull @ offset[..., None]).sum(0)
        at = at + (after @ force)[..., 0]
        residual = torch.where(usable[..., None], offset - (jacobian @ (after @ force))[..., 0], torch.nan)
        area = scene.area.reshape(-1, *(1,) * (residual.ndim - 2))
        ratio = log_ratio(residual, noise + jacobian @ after @ jacobian.mT, area, scene.outlier)
        weight = inlier(ratio, scene.outlier)
    return at, after, ratio
