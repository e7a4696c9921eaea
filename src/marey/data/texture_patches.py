"""Textures put over and around people: the occluders of 3DPW-AdvOcc, and what fills a crop outside of its image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import InputError, ShapeError

Array = npt.NDArray[Any]

SHORT_SIDE = 320
"""Pixels of a texture's shorter side: that of the crops which 3DNBF works on."""


def resized_texture(texture: Array, short_side: int = SHORT_SIDE) -> Array:
    """A texture (H, W, 3) of 8 bits with its shorter side `short_side` pixels long, the other rounded down.

    It is averaged where it shrinks, as the Python imaging library does it; the two differ by at most one level.

    Raises:
        ShapeError: it is no such image.
    """
    if texture.ndim != 3 or texture.dtype != np.uint8 or not texture.size:
        raise ShapeError(f"texture: expected (H, W, 3) of 8 bits, got {texture.shape} of {texture.dtype}")
    scale = short_side / min(texture.shape[:2])
    # the shorter side is set, for its product with the scale may come out just below it
    height, width = (short_side if n == min(texture.shape[:2]) else int(n * scale) for n in texture.shape[:2])
    planes = torch.from_numpy(np.ascontiguousarray(texture)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def texture_patch(texture: Array, corner: tuple[int, int], size: tuple[int, int]) -> Array:
    """Cut (height, width, 3) out of a texture; what runs past its right or lower edge is black, as in a replay.

    Args:
        texture: (H, W, 3)
        corner: Column and row of the patch's left upper pixel in the texture.
        size: Width and height of the patch.

    Raises:
        InputError: the corner is negative.
    """
    if min(corner) < 0:
        raise InputError(f"corner: expected a column and a row of the texture, got {corner}")
    (left, top), (width, height) = corner, size
    patch = np.zeros((height, width, *texture.shape[2:]), dtype=texture.dtype)
    seen = texture[top : top + height, left : left + width]
    patch[: seen.shape[0], : seen.shape[1]] = seen
    return patch


def random_corner(texture: Array, size: tuple[int, int], source: np.random.Generator) -> tuple[int, int]:
    """Column and row where a patch of a width and height lies within a texture, all places alike.

    Raises:
        InputError: the texture is smaller than the patch.
    """
    room = texture.shape[1] - size[0], texture.shape[0] - size[1]
    if min(room) < 0:
        raise InputError(f"a patch of {size} pixels does not fit into a texture of {texture.shape[1::-1]}; resize it")
    return int(source.integers(room[0] + 1)), int(source.integers(room[1] + 1))


def occluded(image: Array, box: Array, patch: Array) -> Array:
    """A copy of an image (H, W, 3) with a patch over a box of left, top, right, bottom (right and bottom excluded).

    A patch that is larger than the box is cut off to the right and below, as at the edge of 3DPW-AdvOcc's grid.

    Raises:
        ShapeError: the patch is smaller than the box.
    """
    left, top, right, bottom = (int(edge) for edge in box)
    if patch.shape[0] < bottom - top or patch.shape[1] < right - left:
        raise ShapeError(f"patch: expected at least {right - left} x {bottom - top} pixels, got {patch.shape[1::-1]}")
    covered = image.copy()
    covered[top:bottom, left:right] = patch[: bottom - top, : right - left]
    return covered


def filled(crop: Array, outside: npt.NDArray[np.bool_], texture: Array) -> Array:
    """A copy of a crop (H, W, 3) with a texture of the same size where `outside` (H, W) says."""
    return np.where(outside[..., None], texture, crop).astype(crop.dtype)
