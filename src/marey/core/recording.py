"""Recordings: what lies on disk, opened but not decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from marey.core.cameras import Cameras
from marey.core.errors import ShapeError
from marey.core.evidence import Detections2D

Image = npt.NDArray[np.uint8]
"""(height, width, 3), red green blue."""


@runtime_checkable
class FrameSource(Protocol):
    """The frames of one view, decoded when asked for and never kept."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as displayed (rotation flags applied)."""
        ...

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """Seconds, (T,), strictly increasing; T is the number of frames."""
        ...

    @property
    def fps(self) -> float | None:
        """Nominal frames per second, None for images without time."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read: the video, or every image."""
        ...

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """Yield the frames start..stop in order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recording:
    """V views of the same scene: frames or keypoints, and the cameras if they are known."""

    names: tuple[str, ...]
    """Of the V views."""
    frames: tuple[FrameSource | None, ...]
    """Of the V views; None where only keypoints exist."""
    detections: Detections2D | None = None
    """(V, T, P) from keypoint files."""
    cameras: Cameras | None = None
    """(V,)"""
    timestamps: npt.NDArray[np.float64] | None = None
    """(V, T) seconds from keypoint files that carry times, NaN where a view has none; frame sources have their own."""
    fps: float | None = None
    notes: tuple[str, ...] = ()
    """How views were matched, scaled or cut, in plain sentences."""

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.names):
            raise ShapeError(f"frames: expected one source for each of the views {self.names}, got {len(self.frames)}")
        if self.cameras is not None and self.cameras.batch_shape != (len(self.names),):
            raise ShapeError(f"cameras: expected the batch shape ({len(self.names)},), got {self.cameras.batch_shape}")

        if self.detections is not None and self.detections.batch_shape[:1] != (len(self.names),):
            raise ShapeError(
                f"detections: expected the batch shape ({len(self.names)}, T, P), got {self.detections.batch_shape}"
            )

    @property
    def length(self) -> int:
        """Number of frames that all views have."""
        counts = [len(source.timestamps) for source in self.frames if source is not None]
        if self.detections is not None:
            counts.append(self.detections.batch_shape[1])
        return min(counts, default=0)
