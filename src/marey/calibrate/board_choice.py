"""Which boards of a view serve the calibration: not those of a wrong grid, and of many a well-spread few."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from marey.core import Cameras
from marey.geometry.planar_pose import PlanarPoses, planar_poses
from marey.geometry.projection import project_from_camera

FALSE_RATIO = 5.0
"""A board whose error is this many times that of the view's median board is none."""
FALSE_LEAST = 1.0
"""Pixels: no board is false below this error."""
RAYLEIGH_QUARTILE = math.log(4) ** 0.5
"""Upper quartile of the length of a circular Gaussian relative to its root mean square."""


def board_errors(
    pixels: Tensor, target: Tensor, camera: Cameras, *, iterations: int = 30
) -> tuple[Tensor, PlanarPoses]:
    """Find each board (M, C, 2) by itself, and by how much its corners miss it, (M,), pixels; the poses.

    The root mean square distance that Gaussian errors with the same upper quartile would have: one wrong corner does
    not make a board false.
    """
    poses = planar_poses(pixels[None], target, camera, iterations=iterations)
    placed = target @ poses.rotation[:, :, 0].mT + poses.translation[:, :, 0, None]
    distance = (pixels[None] - project_from_camera(placed, camera)).square().sum(-1).sqrt()[0]
    return distance.nanquantile(0.75, dim=-1) / RAYLEIGH_QUARTILE, poses


def false_boards(errors: Tensor, *, ratio: float = FALSE_RATIO, least: float = FALSE_LEAST) -> Tensor:
    """Which boards (M,) do not fit a camera that fits the others, given their errors in pixels, NaN = no board."""
    return errors > torch.clamp(ratio * errors.nanmedian(), min=least)


def spread_boards(pixels: Tensor, poses: PlanarPoses, size: tuple[float, float], most: int) -> Tensor:
    """Choose at most `most` of the boards (M, C, 2) so that places, sizes and tilts in the picture are all there.

    Farthest-point sampling: each next board is the one most unlike those chosen, in the place of its middle and its
    size relative to the image, its tilt (the normal), and its turn about the normal at a lower weight. Boards of which
    little is seen count as more alike. Deterministic.

    Returns:
        (M,) boolean.
    """
    seen = pixels.isfinite().all(-1)
    there = seen.any(-1) & poses.rotation[0, :, 0].isfinite().all(-1).all(-1)
    if int(there.sum()) <= most:
        return there
    count = seen.sum(-1, keepdim=True)
    middle = torch.where(seen[..., None], pixels, 0.0).sum(-2) / count
    away = torch.where(seen[..., None], pixels - middle[:, None], 0.0).square().sum((-1, -2))
    extent = (away / count[:, 0]).sqrt() / max(size)
    normal, along = poses.rotation[0, :, 0, :2, 2], poses.rotation[0, :, 0, :2, 0]
    features = torch.cat((2 * middle / max(size), 2 * extent[:, None].log(), 2 * normal, 0.5 * along), -1)
    weight = (count[:, 0] / seen.shape[-1]).sqrt()
    chosen = torch.zeros_like(there)
    distance = torch.where(there, weight * 1e6, -1.0)
    for _ in range(most):
        pick = int(distance.argmax())
        chosen[pick] = True
        distance = torch.minimum(distance, weight * (features - features[pick]).square().sum(-1).sqrt())
        distance = torch.where(there & ~chosen, distance, -1.0)
    return chosen
