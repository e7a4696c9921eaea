"""Pictures side by side: rows and columns of frames, to be looked at at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marey.core import FrameSource, Image, InputError, ShapeError

_PAPER = 255


def contact_sheet(rows: Sequence[Sequence[Image]], *, gap: int = 4) -> Image:
    """Lay pictures out in rows.

    Args:
        rows: Of each row its pictures, (height, width, 3) red green blue, all of one size; rows may be shorter than
            the first.
        gap: Pixels of white between them.

    Returns:
        (height, width, 3) red green blue.

    Raises:
        InputError: there is no picture, or a row is longer than the first.
        ShapeError: the pictures are not of one size.
    """
    if not rows or not rows[0] or max(map(len, rows)) > len(rows[0]):
        raise InputError(
            f"contact sheet: expected rows no longer than the first, got {[len(row) for row in rows]} pictures"
        )
    shape = rows[0][0].shape
    height, width = shape[0] + gap, shape[1] + gap
    sheet: Image = np.full((len(rows) * height - gap, len(rows[0]) * width - gap, 3), _PAPER, np.uint8)
    for down, row in enumerate(rows):
        for across, picture in enumerate(row):
            if picture.shape != shape or len(shape) != 3:
                raise ShapeError(
                    f"contact sheet: expected pictures (height, width, 3) of one size, got {shape}, {picture.shape}"
                )
            place = sheet[down * height : (down + 1) * height, across * width : (across + 1) * width]
            place[: shape[0], : shape[1]] = picture
    return sheet


def recording_sheet(sources: Sequence[FrameSource], *, moments: int = 3, width: int = 320, gap: int = 4) -> Image:
    """Show a recording: a row for each of some moments from its first frame to its last, a column for each view.

    Args:
        sources: V views; all shown at the size of the first.
        moments: Rows; as many as there are frames where these are fewer.
        width: Of each picture, pixels.
        gap: Pixels of white between the pictures.

    Raises:
        InputError: there is no view, or fewer than one moment.
    """
    import cv2

    if not sources or moments < 1:
        raise InputError(f"expected one or more views and moments, got {len(sources)} and {moments}")
    length = min(len(source) for source in sources)
    size = width, max(1, round(width * sources[0].size[1] / sources[0].size[0]))
    frames = np.unique(np.linspace(0, length - 1, moments).round().astype(int)).tolist()
    return contact_sheet(
        [
            [
                np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
                for source in sources
                for picture in source.frames(frame, frame + 1)
            ]
            for frame in frames
        ],
        gap=gap,
    )
