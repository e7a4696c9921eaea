"""What a task's batches look like, on one picture, before hours are spent on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import torch

from marey.core import Image, InputError, TrainingTask
from marey.engine.seeding import generators_kept, seed_all

_GAP = 4
_TITLE = 18
"""Pixels above a picture, for its name."""


def preview_sheet(task: TrainingTask, *, seed: int, batches: int = 4) -> Image:
    """Draw the first batches of training: a row for each, a column for each of the task's pictures.

    Args:
        task: With a method `preview`.
        seed: Of the run.
        batches: Rows.

    Raises:
        InputError: the task draws no preview.
    """
    show = getattr(task, "preview", None)
    if show is None:
        raise InputError(f"{type(task).__name__} draws no preview; train without --preview")
    task.model.eval()
    with torch.no_grad(), generators_kept():
        seed_all(seed, "preview")
        first = islice(task.batches("train", seed=seed, rank=0, world=1), batches)
        return contact_sheet([show(batch) for batch in first])


def contact_sheet(rows: Sequence[Mapping[str, Image]]) -> Image:
    """Lay named pictures out, each row's below its predecessor, on a dark ground.

    Args:
        rows: Pictures (H, W, 3) uint8 by name; they may differ in size.

    Raises:
        InputError: there is no picture.
    """
    laid = [_side_by_side([_titled(name, picture) for name, picture in row.items()]) for row in rows if row]
    if not laid:
        raise InputError("expected one or more pictures to lay out, got none")
    width = max(row.shape[1] for row in laid)
    return np.concatenate([_padded(row, row.shape[0], width) for row in laid])


def _titled(name: str, picture: Image) -> Image:
    import cv2

    height, width = picture.shape[:2]
    canvas = _padded(picture, height + _TITLE + _GAP, width + _GAP, top=_TITLE)
    cv2.putText(canvas, name, (2, _TITLE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (220, 220, 220), 1, cv2.LINE_AA)
    return canvas


def _side_by_side(pictures: Sequence[Image]) -> Image:
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate([_padded(picture, height, picture.shape[1]) for picture in pictures], axis=1)


def _padded(picture: Image, height: int, width: int, *, top: int = 0) -> Image:
    canvas = np.full((height, width, 3), 24, np.uint8)
    canvas[top : top + picture.shape[0], : picture.shape[1]] = picture
    return canvas
