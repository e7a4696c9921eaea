"""Boxes of people in Human3.6M: from its masks, from MeTRAbs's tables, around joints; and S9's, put right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, FormatError
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.data.prepare.extras import opened_h5
from marey.data.prepare.h36m_poses import S9_SHIFT
from marey.geometry import camera_to_world, project, project_from_camera, undistort, world_to_camera
from marey.geometry.projection import pixels_to_normalised
from marey.io.unpickle import read_object_npy

Array = npt.NDArray[Any]

JOINT_ROOM = 1.2
"""How much larger than the hull of the joints a box is where there is no mask: head, hands and feet go beyond them."""

LEAST_SIDE = 2
"""Pixels; a mask that is less wide or high shows nobody."""


def read_mask_boxes(path: Path, frames: Array | None = None) -> Array:
    """Read boxes (F, 4) left, top, right, bottom from the masks of `ground_truth_bb/<action>.<camera>.mat`.

    Right and bottom are the first pixels outside. A mask that shows nobody gives zeros.

    Args:
        path: The file.
        frames: (F,) those that are read, 0-based; None: all.

    Raises:
        MissingDependencyError: h5py is not installed.
        InputError: the file cannot be read.
        FormatError: it is no MATLAB file of version 7.3, or has no mask of one of the frames.
    """
    with opened_h5(path) as file:
        references = _masks(path, file)
        if frames is not None:
            check_frames(path, "masks", len(references), frames)
            references = references[frames]
        return np.array([_mask_box(path, file, reference) for reference in references]).reshape(-1, 4)


def count_masks(path: Path) -> int:
    """How many masks such a file has, errors as `read_mask_boxes`."""
    with opened_h5(path) as file:
        return len(_masks(path, file))


def _masks(path: Path, file: Any) -> Array:
    if "Masks" not in file:
        raise FormatError(f"{path}: no 'Masks'; is it from the folder MySegmentsMat/ground_truth_bb?")
    references: Array = np.asarray(file["Masks"]).reshape(-1)
    if references.dtype != object:
        raise FormatError(f"{path}: 'Masks': expected references to one mask a frame, got {references.dtype}")
    return references


def check_frames(where: object, what: str, count: int, frames: Array) -> None:
    """See that a file has something for every frame that is asked for.

    Raises:
        FormatError: it has not.
    """
    if len(frames) and frames.max() >= count:
        raise FormatError(
            f"{where}: {count} {what}, but frame {frames.max()} (from 0) is asked for; the files are not of one take"
        )


def _mask_box(path: Path, file: Any, reference: Any) -> Array:
    mask = np.asarray(file[reference])
    if mask.ndim != 2:
        raise FormatError(f"{path}: a mask of the shape {mask.shape}; expected (width, height)")
    inside = mask.view(bool) if mask.dtype.itemsize == 1 else mask != 0  # bytes as they are: ten times faster
    across, down = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))  # MATLAB's order: x is the first axis
    if not len(across):
        return np.zeros(4, dtype=np.int64)
    box = np.array([across[0], down[0], across[-1] + 1, down[-1] + 1])
    return box if (box[2:] - box[:2] >= LEAST_SIDE).all() else np.zeros(4, dtype=np.int64)


def read_table_boxes(path: Path) -> Array:
    """Read boxes (F, 4) left, top, width, height from `BBoxes/<activity>.<camera>.npy`, as MeTRAbs keeps them.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such array, or holds more than numbers.
    """
    boxes = read_object_npy(path)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "fiu":
        raise FormatError(f"{path}: expected (frames, 4) numbers, got {boxes.shape} of {boxes.dtype}")
    numbers: Array = boxes.astype(np.float64)
    return numbers


def boxes_of_joints(joints: Array, cameras: Cameras, sizes: Array) -> Array:
    """Boxes (..., C, 4) left, top, width, height around joints (..., J, 3) seen by C cameras.

    The hull of the joints in front of the camera, a fifth larger. NaN where the person is behind the camera or the hull
    does not meet the image.

    Args:
        joints: Metres in the world; NaN joints are left out.
        cameras: (C,)
        sizes: (C, 2) width and height of the images.
    """
    batch, views = joints.shape[:-2], len(sizes)
    world = torch.from_numpy(np.ascontiguousarray(joints, dtype=np.float64)).reshape(1, -1, *joints.shape[-2:])
    pixels = project(world.expand(views, -1, -1, -1), cameras.to(torch.float64)).numpy()
    hull = boxes_of_points(pixels.transpose(1, 0, 2, 3))
    meets = np.all((hull[..., :2] < sizes) & (hull[..., :2] + hull[..., 2:] > 0), axis=-1)
    boxes: Array = np.where(meets[..., None], expand_boxes(hull, JOINT_ROOM), np.nan)
    return boxes.reshape(*batch, views, 4)


def shifted_boxes(boxes: Array, root: Array, camera: Cameras) -> Array:
    """Boxes (F, 4) left, top, width, height moved with a person that is brought back by `S9_SHIFT`.

    The corners are taken to the depth of the pelvis, moved there, and projected again (MeTRAbs, 2020).

    Args:
        boxes: As stored.
        root: (F, 3) the pelvis in the world, already brought back, metres.
        camera: One.
    """
    exact = camera.to(torch.float64)
    depth = world_to_camera(torch.from_numpy(root), exact)[:, None, 2:]
    edges = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=-1).reshape(-1, 2, 2)
    ideal = undistort(pixels_to_normalised(torch.from_numpy(edges), exact), exact)
    corners = torch.cat((ideal * depth, depth.expand(-1, 2, 1)), dim=-1)
    moved = camera_to_world(corners, exact) + torch.tensor(S9_SHIFT, dtype=torch.float64)
    pixels = project_from_camera(world_to_camera(moved, exact), exact).numpy()
    return np.concatenate((pixels[:, 0], pixels[:, 1] - pixels[:, 0]), axis=-1)
