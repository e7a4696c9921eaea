"""Images and folders of images: sizes known from the headers, pixels decoded one image at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError
from marey.core.recording import Image
from marey.io.atomic import atomic_path
from marey.io.frame_axis import FrameAxis
from marey.io.image_headers import IMAGE_SUFFIXES, ImageHeader, read_image_header
from marey.io.naming import natural_key
from marey.io.pixels import MAX_PIXELS, check_pixels

_MOST_PIXELS_A_BYTE = 8 * 1032
"""Of a PNG: deflate packs at most 1032 bytes into one, and a byte holds eight pixels of one bit."""

Reduction = Literal[1, 2, 4, 8]

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read an image as (height, width, 3) red green blue, 8 bits, turned as its EXIF orientation says.

    Grey becomes three equal channels, 16 bits become 8, transparency is dropped.

    Raises:
        InputError: the file cannot be read, or its header claims more than `max_pixels`.
        FormatError: it is not an image, or a damaged one.
    """
    stored = np.ascontiguousarray(read_image_bgr(path, max_pixels=max_pixels))
    image: Image = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return image


def read_image_bgr(
    path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS, reduction: Reduction = 1
) -> npt.NDArray[np.uint8]:
    """Read an image as (height, width, 3) blue green red, otherwise as `read_image`.

    Without the copy that `read_image` makes it is two to four times as fast where only a part of the image is used.

    Args:
        path: The file.
        max_pixels: Larger images are refused before they are decoded.
        reduction: How many times smaller, sizes rounded up; a pixel of the result is about the mean of a square of
            pixels. JPEG is decoded at that scale, up to six times as fast.

    Raises:
        InputError: the file cannot be read, or its header claims more than `max_pixels`.
        FormatError: it is not an image, or a damaged one.
    """
    path = Path(path)
    header = read_image_header(path)
    check_pixels(path, header.width, header.height, max_pixels)
    if reduction == 1 or (header.kind == "jpeg" and header.orientation == 1):
        return _decoded(path, header, reduction)
    return _reduced(_decoded(path, header, 1), reduction)  # decoders do not round up, or from the wrong side


def _decoded(path: Path, header: ImageHeader, reduction: Reduction) -> npt.NDArray[np.uint8]:
    data = np.fromfile(path, np.uint8)
    if header.kind == "png":
        _check_png(path, header, data.tobytes())
    try:
        # the orientation is applied here, because OpenCV applies it for some formats and versions only
        stored = cv2.imdecode(data, _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise FormatError(f"{path}: damaged image: {error}") from error
    if stored is None:
        raise FormatError(f"{path}: damaged {header.kind} image: its pixels cannot be decoded")
    return _oriented(path, header, stored, reduction)


def _reduced(image: npt.NDArray[np.uint8], reduction: int) -> npt.NDArray[np.uint8]:
    """The means of squares of pixels; those that reach beyond the image repeat its border."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % reduction), (0, -width % reduction), (0, 0)), mode="edge")
    size = (padded.shape[1] // reduction, padded.shape[0] // reduction)
    smaller: npt.NDArray[np.uint8] = cv2.resize(padded, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return smaller


def _check_png(path: Path, header: ImageHeader, data: bytes) -> None:
    """Refuse what the decoder would believe: more pixels than the bytes can hold, chunks longer than the file."""
    if header.width * header.height > _MOST_PIXELS_A_BYTE * len(data):
        raise FormatError(f"{path}: damaged png image: {len(data)} bytes cannot hold {header.width}x{header.height}")
    place = 8
    while place + 12 <= len(data) and data[place + 4 : place + 8] != b"IEND":
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        if place > len(data):
            raise FormatError(f"{path}: damaged png image: a part of it is longer than the file")


def _oriented(path: Path, header: ImageHeader, stored: npt.NDArray[np.uint8], reduction: int) -> npt.NDArray[np.uint8]:
    """Turn pixels as stored into pixels as displayed."""
    turned = stored
    if header.kind != "tiff":  # OpenCV always turns TIFF itself
        if header.orientation in (2, 4, 5, 7):
            turned = turned[:, ::-1]
        turned = np.rot90(turned, {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(header.orientation, 0))
    height, width = turned.shape[:2]
    if (width, height) != tuple(-(-side // reduction) for side in header.size):
        raise FormatError(f"{path}: {width} x {height} pixels at 1/{reduction}, but its header says {header.size}")
    return turned


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Write (height, width, 3) red green blue; the suffix chooses the format.

    Raises:
        InputError: no such format, not such an image, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"{path}: unknown image format; expected one of {', '.join(sorted(IMAGE_SUFFIXES))}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(f"image: expected (height, width, 3) of 8 bits, got {image.shape} of {image.dtype}")
    try:
        _, encoded = cv2.imencode(path.suffix.lower(), image[..., ::-1])
    except cv2.error as error:
        raise InputError(f"cannot write {path}: {error}") from error
    with atomic_path(path) as temporary:
        encoded.tofile(temporary)


class ImageFrames(FrameAxis):
    """A folder or list of images as the frames of one view, in natural order of their names, never kept.

    All headers are read on opening, so that sizes that differ or exceed the budget are found before any work.

    Args:
        source: A folder, one image, or a list of images in order.
        fps: Frames per second if the images are a film. None: they have no time, and `timestamps` counts seconds.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        InputError: there is no image, a file cannot be read or is larger than `max_pixels`, or the sizes differ.
        FormatError: a file is not an image.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        fps: float | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.paths = _image_paths(source)
        self.max_pixels = max_pixels
        if not self.paths:
            raise InputError(f"{source}: no image in it; expected files {', '.join(sorted(IMAGE_SUFFIXES))}")
        self.files = tuple(self.paths)
        self.size = self._common_size()
        self.fps = fps
        self.timestamps = np.arange(len(self.paths)) / (fps or 1.0)

    def _decoded(self, start: int, stop: int) -> Iterator[Image]:
        return (read_image(path, max_pixels=self.max_pixels) for path in self.paths[start:stop])

    def _common_size(self) -> tuple[int, int]:
        first: tuple[int, int] | None = None
        for path in self.paths:
            header = read_image_header(path)
            check_pixels(path, header.width, header.height, self.max_pixels)
            first = first or header.size
            if header.size != first:
                raise InputError(
                    f"{path}: {header.size} pixels, but {self.paths[0].name} has {first}; one view has one size"
                )
        assert first is not None
        return first


def _image_paths(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    if not isinstance(source, (str, os.PathLike)):
        return [Path(path) for path in source]
    path = Path(source)
    if not path.is_dir():
        return [path]
    try:
        names = [name for name in os.listdir(path) if not name.startswith(".")]  # noqa: PTH208 - names suffice
    except OSError as error:
        raise InputError(f"cannot read the folder {path}: {error.strerror or error}") from error
    return [path / name for name in sorted(names, key=natural_key) if Path(name).suffix.lower() in IMAGE_SUFFIXES]
