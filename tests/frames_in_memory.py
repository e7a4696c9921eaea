"""Frames of a view that tests keep in memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pictures:
    """A `FrameSource` of pictures of one size, 25 a second."""

    images: tuple[np.ndarray, ...]
    fps = 25.0
    files = ()

    @property
    def size(self):
        return self.images[0].shape[1::-1]

    @property
    def timestamps(self):
        return np.arange(len(self.images)) / self.fps

    def frames(self, start=0, stop=None):
        yield from self.images[start:stop]
