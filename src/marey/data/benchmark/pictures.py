"""Pictures of the benchmark, rendered when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core import Image


@dataclass(frozen=True, kw_only=True)
class RenderedFrame:
    """A view of one sample as a source of one frame (`marey.core.FrameSource`)."""

    size: tuple[int, int]
    """Width and height."""
    render: Callable[[], Image]

    @property
    def timestamps(self) -> npt.NDArray[np.float64]:
        """(1,) zero: a sample is a moment."""
        return np.zeros(1)

    @property
    def fps(self) -> float | None:
        """None: there is no time."""
        return None

    @property
    def files(self) -> tuple[Path, ...]:
        """None: nothing is read."""
        return ()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """Render the frame, if it is among those wanted."""
        if start <= 0 and (stop is None or stop > 0):
            yield self.render()
