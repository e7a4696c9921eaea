"""The step of a preparation that writes crops of people and their masks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import Image
from marey.data.crops import Crops, render_crop, render_mask
from marey.data.masks import Mask, write_mask
from marey.data.prepare.work import Work
from marey.io.atomic import atomic_path

Array = npt.NDArray[Any]
Pixels = Callable[[], Array]
"""Gives an image or a mask when it is called, perhaps in another thread."""

QUALITY = 95
"""Of the JPEG files."""


def write_crops(
    crops: Crops, names: Sequence[str], images: Iterable[Pixels], *, work: Work, masks: Iterable[Pixels] | None = None
) -> Array:
    """Write `images/NAME.jpg` and, where there are masks, `masks/NAME.png` of each crop.

    Args:
        crops: R crops.
        names: (R,) of the files, without suffix; they may hold folders.
        images: (R,) of the sources.
        work: Whose folder is written, by whose threads.
        masks: (R,) of the sources; None: there are none.

    Returns:
        (R,) whether a mask was written: one in which nobody is has no file.

    Raises:
        InputError: a file cannot be read or written.
        FormatError: an image is damaged.
        ShapeError: an image has another size than its camera says.
    """
    jobs = zip(range(len(crops)), names, images, repeat(None) if masks is None else masks, strict=False)

    def write(job: tuple[int, str, Pixels, Pixels | None]) -> bool:
        row, name, image, mask = job
        write_jpeg(work.out / "images" / f"{name}.jpg", render_crop(image(), crops, row))
        if mask is None:
            return False
        return write_person_mask(work.out / "masks" / f"{name}.png", render_mask(mask(), crops, row))

    return np.fromiter(work.map(write, jobs, len(crops), names[0] if names else ""), dtype=bool, count=len(crops))


def write_jpeg(path: Path, image: Image) -> None:
    """Write an image (H, W, 3) red green blue as a JPEG of quality 95, its folder made if absent.

    Raises:
        InputError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    with atomic_path(path) as temporary:
        encoded.tofile(temporary)


def write_person_mask(path: Path, mask: Mask) -> bool:
    """Write a mask (H, W), its folder made if absent, unless it is empty; says whether it was written.

    Raises:
        InputError: the file cannot be written.
    """
    there = bool(mask.any())
    if there:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_mask(path, mask)
    return there


def red_channel(images: Iterable[Pixels]) -> Iterator[Pixels]:
    """The red channels of images, as masks are stored."""
    for image in images:
        yield lambda read=image: np.ascontiguousarray(read()[..., 0])  # type: ignore[misc]
