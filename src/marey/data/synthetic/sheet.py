"""Contact sheets: many synthetic pictures on one, to look at."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from marey.body.smpl_tree import SMPL_TREE
from marey.core import Image, InputError
from marey.data.synthetic.labels import SyntheticBatch

_SEEN, _HIDDEN = (60, 230, 60), (240, 60, 60)
"""Red green blue of joints."""


def contact_sheet(batch: SyntheticBatch, *, columns: int = 8, joints: bool = False) -> Image:
    """Lay the pictures of a batch out in rows, all views of a sample beside each other.

    Args:
        batch: B samples of V pictures.
        columns: Pictures in a row.
        joints: Draw the joints of the body: green where they are seen, red where something hides them.

    Returns:
        (rows of pictures x H, columns x W, 3) red green blue.

    Raises:
        InputError: there is no column.
    """
    if columns < 1:
        raise InputError(f"columns: expected 1 or more, got {columns}")
    pictures = batch.images.flatten(0, 1).permute(0, 2, 3, 1).cpu().numpy().copy()
    if joints:
        places, visible = (labels.flatten(0, 1).cpu() for labels in (batch.views.joints, batch.views.visible))
        for picture, place, seen in zip(pictures, places, visible, strict=True):
            for person in range(len(place)):
                _draw(picture, place[person], seen[person])
    rows = math.ceil(len(pictures) / columns)
    height, width = pictures.shape[1:3]
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[: len(pictures)] = pictures
    laid = sheet.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    image: Image = np.ascontiguousarray(laid.reshape(rows * height, columns * width, 3))
    return image


def _draw(picture: Image, places: torch.Tensor, seen: torch.Tensor) -> None:
    """Draw the bones and joints (J, 2) of a person; what no lens sees is left out."""
    known = (places.isfinite() & (places.abs() < 1e4)).all(-1).tolist()
    points = [tuple(map(round, place)) if there else None for place, there in zip(places.tolist(), known, strict=True)]
    for joint, parent in enumerate(SMPL_TREE.parents):
        start, end = points[joint], points[max(parent, 0)]
        if start is not None and end is not None:
            cv2.line(picture, start, end, (220, 220, 220), 1, cv2.LINE_AA)
    for point, there in zip(points, seen.tolist(), strict=True):
        if point is not None:
            cv2.circle(picture, point, 2, _SEEN if there else _HIDDEN, -1, cv2.LINE_AA)
