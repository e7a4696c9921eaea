"""The colour changes that published data preparations make, on images (H, W, 3) red green blue of 8 bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core.recording import Image

BRIGHTER = 0.67
"""The exponent for the dark images of MPI-INF-3DHP and of the first five sequences of MuPoTS."""
GREEN_CAST = (110.0, 145.0)
"""Mean a and b of OpenCV's 8-bit Lab, 128 for grey, in the images of MPI-INF-3DHP's green studio."""
_STRENGTH = 1.1


def change_exponent(image: Image, exponent: float) -> Image:
    """Raise the shares of 255 to a power; below 1 brightens. Cut off to whole values, as MeTRAbs does.

    Args:
        image: (H, W, 3) or (H, W).
        exponent: Above 0.
    """
    changed: Image = _table(exponent)[image]
    return changed


def balance_white(image: Image, *, cast: tuple[float, float] = GREEN_CAST) -> Image:
    """Take a colour cast out in Lab, fully where a pixel is bright and not at all where it is black.

    Args:
        image: (H, W, 3).
        cast: The mean a and b that the images have, 128 for grey.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    light = lab[..., 0] / 255.0 * _STRENGTH
    for channel, mean in zip((1, 2), cast, strict=True):
        moved = lab[..., channel] - (mean - 128) * light
        lab[..., channel] = np.clip(moved, 0, 255).astype(np.uint8)  # the original wraps around beyond 255
    balanced: Image = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return balanced


def to_linear(image: Image, gamma: float, *, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """Light in 0..1 of an image whose values are its root: `(image / 255) ** gamma`; written to `out` if that is given.

    Args:
        image: (H, W, 3) or (H, W).
        gamma: Above 0.
        out: Of the image's shape; its rows may lie apart.
    """
    linear: npt.NDArray[np.float32] = cv2.LUT(image, _linear_table(gamma), dst=out)  # ten times faster than indexing
    return linear


def from_linear(light: npt.NDArray[Any], exponent: float) -> Image:
    """`light ** exponent` as 8 bits, light cut to 0..1 and values cut off to whole ones."""
    stored: Image = (np.clip(light, 0, 1) ** np.float32(exponent) * 255).astype(np.uint8)
    return stored


@cache
def _table(exponent: float) -> Image:
    table: Image = (np.linspace(0, 1, 256) ** exponent * 255).astype(np.uint8)
    return table


@cache
def _linear_table(gamma: float) -> npt.NDArray[np.float32]:
    table: npt.NDArray[np.float32] = (np.linspace(0, 1, 256) ** gamma).astype(np.float32)
    return table
