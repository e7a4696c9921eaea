"""The way to virtual cameras and back: boxes as the network wants them, and what it says in the frame of the picture.

Pure functions, the same for the API, the estimator and the graphs that are exported.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import Cameras
from marey.geometry.projection import project_from_camera
from marey.methods.metrabs.augmented import Augmentations, SeenPoses, to_camera, unmirrored
from marey.methods.metrabs.model import CropPoses


def with_margin(boxes: Tensor, margin: float) -> Tensor:
    """Boxes (..., 4) left, top, width, height, so many times as large about their middles."""
    size = boxes[..., 2:]
    return torch.cat((boxes[..., :2] - size * ((margin - 1) / 2), size * margin), -1)


def seen_poses(
    said: CropPoses, rotation: Tensor, cameras: Cameras, *, mirror: Tensor, augmentations: Augmentations | None = None
) -> SeenPoses:
    """What a network says of crops, in the frames of the cameras of the pictures.

    Args:
        said: Of N A crops, the A views of a person in a row.
        rotation: (N A, 3, 3) from the camera of the picture to the crop's.
        cameras: (N,) of the pictures.
        mirror: (J,) of each joint its counterpart on the other side.
        augmentations: A views; None: one as it is.

    Returns:
        Poses (N, A); covariance NaN where the network states none.
    """
    spread = said.covariance
    if spread is None:
        spread = torch.full_like(said.joints[..., None].expand(-1, -1, -1, 3), torch.nan)
    joints, covariance = to_camera(said.joints, spread, rotation)
    shape = cameras.intrinsics.shape[0], 1 if augmentations is None else len(augmentations)
    joints, covariance = (part.reshape(*shape, *part.shape[1:]) for part in (joints, covariance))
    if augmentations is not None:
        flips = augmentations.flips.to(joints.device)
        joints, covariance = unmirrored(joints, covariance, flips, mirror)
    pixels = project_from_camera(joints, cameras.to(joints.dtype))
    return SeenPoses(joints=joints, pixels=pixels, covariance=covariance)
