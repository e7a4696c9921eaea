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


def film_frames(path: Path, frames: npt.NDArray[Any]) -> Iterator[tuple[int, Image]]:
    """Some frames of a video with their numbers; runs of them are decoded in one go.

    Args:
        path: The video.
        frames: (N,) 0-based, increasing.

    Raises:
        InputError: the video cannot be read or is shorter.
        FormatError: it is no video.
    """
    if not len(frames):
        return
    video = VideoFrames(path)
    for run in np.split(frames, np.flatnonzero(np.diff(frames) > _FAR) + 1):
        first, last, wanted = int(run[0]), int(run[-1]), set(run.tolist())
        for number, image in enumerate(video.frames(first, last + 1), start=first):
            if number in wanted:
                yield number, image


def film_pictures(path: Path, frames: npt.NDArray[Any], target: Callable[[int], Path]) -> Iterator[Picture]:
    """As `film_frames`, with the place where each goes; all go to one folder, which is made.

    Raises:
        InputError: as there, or the folder cannot be written.
        FormatError: as there.
    """
    if len(frames):
        check_writable(target(int(frames[0])).parent)
    for number, image in film_frames(path, frames):
        yield Picture(target(number), image)


def write_picture(picture: Picture) -> None:
    """Write the image.

    Raises:
        InputError: the file cannot be written.
    """
    write_image(picture.target, picture.image)
