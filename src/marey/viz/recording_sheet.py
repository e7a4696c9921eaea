"""A recording at a glance: a few moments of all views on one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marey.core import FrameSource, Image, InputError


def recording_sheet(sources: Sequence[FrameSource], *, moments: int = 3, width: int = 320) -> Image:
    """Show a row for each of some moments from the first frame to the last, and a column for each view.

    Args:
        sources: V views; all shown at the size of the first.
        moments: Rows; as many as there are frames where these are fewer.
        width: Of each picture, pixels.

    Returns:
        (height, V * width, 3) red green blue.

    Raises:
        InputError: there is no view, no moment or no width.
    """
    import cv2

    if not sources or moments < 1 or width < 1:
        raise InputError(f"expected one or more views, moments and pixels, got {len(sources)}, {moments} and {width}")
    length = min(len(source.timestamps) for source in sources)
    size = width, max(1, round(width * sources[0].size[1] / sources[0].size[0]))
    frames = np.unique(np.linspace(0, length - 1, moments).round().astype(int)).tolist()
    rows = [
        [
            cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            for source in sources
            for picture in source.frames(frame, frame + 1)
        ]
        for frame in frames
    ]
    sheet: Image = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    return sheet
