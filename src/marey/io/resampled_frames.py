"""The frames of one view on the time axis of another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from marey.core.errors import InputError
from marey.core.recording import FrameSource, Image
from marey.io.frame_axis import FrameAxis


class ResampledFrames(FrameAxis):
    """For every moment of a common time axis the nearest frame of a view, black where the view has none.

    Args:
        source: The view's own frames.
        places: (T,) index of the frame to show at each moment, ascending; -1: none.
        timestamps: (T,) seconds of the common axis.
        fps: Of the common axis.
    """

    def __init__(
        self,
        source: FrameSource,
        places: npt.NDArray[np.int64],
        *,
        timestamps: npt.NDArray[np.float64],
        fps: float | None,
    ) -> None:
        shown = places[places >= 0]
        if len(places) != len(timestamps) or (np.diff(shown) < 0).any() or (shown >= len(source.timestamps)).any():
            raise InputError(f"places: expected {len(timestamps)} ascending indices of frames of the view, or -1")
        self._source = source
        self._places = places
        self.files, self.size = source.files, source.size
        self.timestamps, self.fps = timestamps, fps

    def _decoded(self, start: int, stop: int) -> Iterator[Image]:
        """Every frame of the view is decoded once."""
        return self._chosen(self._places[start:stop])

    def _chosen(self, places: npt.NDArray[np.int64]) -> Iterator[Image]:
        width, height = self.size
        shown = places[places >= 0]
        decoded = self._source.frames(int(shown[0]), int(shown[-1]) + 1) if shown.size else iter(())
        image, before = np.zeros((height, width, 3), np.uint8), int(shown[0]) - 1 if shown.size else -1
        for place in places.tolist():
            if place < 0:
                yield np.zeros((height, width, 3), np.uint8)
                continue
            if place > before:
                image = next(islice(decoded, place - before - 1, None))
                before = place
            yield image
