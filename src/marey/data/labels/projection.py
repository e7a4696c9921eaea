"""Joints of labels in the world, in the cameras and in the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras
from marey.data.labels.columns import Array
from marey.data.labels.table import Labels
from marey.geometry import camera_to_world, project_from_camera, world_to_camera

_CHUNK = 1 << 16
"""Rows that are moved at once: some tens of MB."""


def joints_in_camera(labels: Labels) -> Array:
    """(R, J, 3) metres in the frame of each image's camera; NaN where the camera is unknown.

    Raises:
        CalibrationError: only joints in the world are known, and the cameras' places are not.
    """
    if "joints_camera" in labels.values:
        return labels.values["joints_camera"]
    return _moved(labels, labels.values["joints"], world_to_camera, size=3)


def joints_in_world(labels: Labels) -> Array:
    """(R, J, 3) metres in the world; NaN where the camera is unknown.

    Raises:
        CalibrationError: only joints in the cameras are known, and the cameras' places are not.
    """
    if "joints" in labels.values:
        return labels.values["joints"]
    return _moved(labels, labels.values["joints_camera"], camera_to_world, size=3)


def with_keypoints(labels: Labels) -> Labels:
    """The labels with joints projected into the images wherever a keypoint is not labelled.

    It stays NaN where the camera is unknown or the joint lies behind it. Labels without 3D joints or cameras are
    returned as they are.

    Raises:
        CalibrationError: only joints in the world are known, and the cameras' places are not.
    """
    if labels.cameras is None or not {"joints", "joints_camera"} & set(labels.values):
        return labels
    projected = _moved(labels, joints_in_camera(labels), project_from_camera, size=2)
    found = labels.values.get("keypoints")
    if found is not None:
        projected = np.where(np.isfinite(found).all(-1, keepdims=True), found, projected).astype(found.dtype)
    return replace(labels, values={**labels.values, "keypoints": projected})


def _moved(labels: Labels, points: Array, function: Callable[[Tensor, Cameras], Tensor], *, size: int) -> Array:
    """The points (R, J, 3) through the cameras of their images; (R, J, size) of the points' type."""
    if labels.cameras is None:
        raise CalibrationError(f"{labels.name}: these labels have no cameras to move joints with")
    moved = np.full((*points.shape[:2], size), np.nan, dtype=points.dtype)
    camera = labels.images.camera[labels.image]
    known = np.flatnonzero(camera >= 0)
    for start in range(0, len(known), _CHUNK):
        rows = known[start : start + _CHUNK]
        cameras = labels.cameras[torch.from_numpy(camera[rows].astype(np.int64))]
        moved[rows] = function(torch.from_numpy(points[rows]), cameras).numpy()
    return moved
