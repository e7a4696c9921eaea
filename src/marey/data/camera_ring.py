"""Cameras on a ring around a scene, looking at its middle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from marey.core import Cameras

TARGET_HEIGHT = 0.95
"""Metres above the ground of the point that all cameras look at: the middle of a standing person."""


def ring_of_cameras(
    *,
    views: int,
    radius: float,
    image_size: tuple[int, int],
    focal_length: float,
    distortion: Sequence[float],
    rng: np.random.Generator,
) -> Cameras:
    """Place V cameras around the origin of a world whose z points up, evenly but for a few degrees and centimetres.

    Returns:
        (V,) float64, named cam_1, cam_2, ...

    Raises:
        CalibrationError: the distortion has a length that OpenCV does not know.
    """
    angle = 2 * np.pi * (np.arange(views) + rng.uniform(-0.1, 0.1, views)) / views + rng.uniform(0, 2 * np.pi)
    height = rng.uniform(1.3, 2.2, views)
    centers = np.stack((radius * np.cos(angle), radius * np.sin(angle), height), axis=-1)
    forward = np.array([0, 0, TARGET_HEIGHT]) - centers
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    rotation = np.stack((right, np.cross(forward, right), forward), axis=-2)
    width, height_px = image_size
    intrinsics = np.array(
        [[focal_length, 0, (width - 1) / 2], [0, focal_length, (height_px - 1) / 2], [0, 0, 1]], dtype=np.float64
    )
    return Cameras(
        intrinsics=torch.from_numpy(np.tile(intrinsics, (views, 1, 1))),
        distortion=torch.tensor(distortion, dtype=torch.float64).expand(views, -1),
        image_size=torch.tensor(image_size, dtype=torch.float64).expand(views, 2),
        rotation=torch.from_numpy(rotation),
        translation=torch.from_numpy(-np.einsum("vij,vj->vi", rotation, centers)),
        names=tuple(f"cam_{view + 1}" for view in range(views)),
    )
