"""What every source of frames is made on: files, a size, times, and ranges that are checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import InputError
from marey.core.recording import Image


class FrameAxis(ABC):
    """The frames of one view (`marey.core.FrameSource`); what decodes them says how."""

    files: tuple[Path, ...]
    """What is read."""
    size: tuple[int, int]
    """Width and height in pixels as displayed, after rotation flags and EXIF orientation."""
    timestamps: npt.NDArray[np.float64]
    """Seconds, (T,), strictly increasing; one second apart where the frames have no time."""
    fps: float | None
    """Frames per second, the average where the rate varies; None: the frames have no time."""

    def __len__(self) -> int:
        return len(self.timestamps)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """Yield the frames start..stop (exclusive; None: to the end), (height, width, 3) red green blue.

        Raises:
            InputError: the range is not within the frames, or a file cannot be read any more.
            FormatError: what is decoded is damaged, or the frame size changes.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            source = f"{self.files[0]}: " if self.files else ""
            raise InputError(f"{source}frames {start}..{stop} asked for, there are 0..{len(self)}")
        return self._decoded(start, stop)

    @abstractmethod
    def _decoded(self, start: int, stop: int) -> Iterator[Image]:
        """The frames of a range that is within those there are."""
