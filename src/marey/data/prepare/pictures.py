"""Some frames of a video as images in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marey.core import Image
from marey.io.atomic import check_writable
from marey.io.images import write_image
from marey.io.video import VideoFrames

_FAR = 250
"""Frames between two that are wanted, from which on it pays to look for a key frame."""


class Picture(NamedTuple):
    """An image and where it goes."""

    target: Path
    image: Image


def film_pictures(path: Path, frames: npt.NDArray[Any], target: Callable[[int], Path]) -> Iterator[Picture]:
    """Some frames of a video; runs of them are decoded in one go.

    Args:
        path: The video.
        frames: (N,) 0-based, increasing.
        target: Where a frame goes; all go to one folder, which is made.

    Raises:
        InputError: the video cannot be read or is shorter, or the folder cannot be written.
        FormatError: it is no video.
    """
    if not len(frames):
        return
    check_writable(target(int(frames[0])).parent)
    video = VideoFrames(path)
    for run in np.split(frames, np.flatnonzero(np.diff(frames) > _FAR) + 1):
        first, last, wanted = int(run[0]), int(run[-1]), set(run.tolist())
        for number, image in enumerate(video.frames(first, last + 1), start=first):
            if number in wanted:
                yield Picture(target(number), image)


def write_picture(picture: Picture) -> None:
    """Write the image.

    Raises:
        InputError: the file cannot be written.
    """
    write_image(picture.target, picture.image)
