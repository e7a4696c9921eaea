"""What an image says of itself before anything is decoded: PNG, JPEG, BMP, TIFF, WebP.

Size, orientation, and the focal length where a camera wrote one into the EXIF block.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from marey.core.errors import FormatError, InputError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_ORIENTATION_TAG = 274
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_EXIF_DIRECTORY_TAG = 34665
_FILM_FOCAL_TAG = 41989
"""FocalLengthIn35mmFilm, in the EXIF directory."""
_LONGEST_FOCAL = 5000
"""Millimetres; no camera has a longer one."""
_MAX_TAGS = 4096
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers without a length."""

_Exif = tuple[int, float | None]
"""Orientation and focal length."""


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about its image."""

    kind: str
    """png, jpeg, bmp, tiff or webp."""
    width: int
    """As stored, before the orientation."""
    height: int
    orientation: int = 1
    """EXIF orientation 1..8: how to turn what is stored for display."""
    film_focal: float | None = None
    """Focal length in millimetres "in 35 mm film", None where the file does not say it."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as displayed."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def read_image_header(path: Path) -> ImageHeader:
    """Read the header of an image.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is none of the known kinds, or its header is damaged.
    """
    try:
        with path.open("rb") as file:
            return _header(file)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (struct.error, ValueError) as error:
        raise FormatError(f"{path}: not an image that can be read: {error or 'its header is cut off'}") from error


def _header(file: BinaryIO) -> ImageHeader:
    start = file.read(32)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(file, start)
    if start.startswith(b"\xff\xd8"):
        return _jpeg(file)
    if start.startswith(b"BM"):
        return _bmp(start)
    if start[:4] in (b"II*\0", b"MM\0*"):
        tags = _tiff_tags(file, 0)
        return ImageHeader("tiff", tags.get(_TIFF_WIDTH, 0), tags.get(_TIFF_HEIGHT, 0), *_of_exif(tags))
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _webp(file, start)
    raise ValueError("expected PNG, JPEG, BMP, TIFF or WebP")


def _png(file: BinaryIO, start: bytes) -> ImageHeader:
    width, height = struct.unpack(">II", start[16:24])
    file.seek(8)
    exif: _Exif = (1, None)
    while len(chunk := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", chunk)
        if kind == b"eXIf":
            exif = _exif(file, file.tell())
        if kind in (b"eXIf", b"IDAT", b"IEND"):
            break
        file.seek(length + 4, 1)
    return ImageHeader("png", width, height, *exif)


def _jpeg(file: BinaryIO) -> ImageHeader:
    file.seek(2)
    exif: _Exif = (1, None)
    while True:
        marker = _jpeg_marker(file)
        if marker in _STANDALONE:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        after = file.tell() + length - 2
        if marker in _START_OF_FRAME:
            height, width = struct.unpack(">xHH", file.read(5))
            return ImageHeader("jpeg", width, height, *exif)
        if marker in (0xD9, 0xDA):
            raise ValueError("it has no frame header")
        if marker == 0xE1 and file.read(6) == b"Exif\0\0":
            exif = _exif(file, file.tell())
        file.seek(after)


def _jpeg_marker(file: BinaryIO) -> int:
    """The next marker; fill bytes before it are skipped."""
    if file.read(1) != b"\xff":
        raise ValueError("a JPEG segment does not start with a marker")
    while (code := file.read(1)) == b"\xff":
        pass
    if not code:
        raise ValueError("its header is cut off")
    return code[0]


def _bmp(start: bytes) -> ImageHeader:
    (size,) = struct.unpack("<I", start[14:18])
    width, height = struct.unpack("<HH", start[18:22]) if size == 12 else struct.unpack("<ii", start[18:26])
    return ImageHeader("bmp", abs(width), abs(height))  # a negative height means rows from the top


def _webp(file: BinaryIO, start: bytes) -> ImageHeader:
    kind = start[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", start[26:30])
        return ImageHeader("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", start[21:25])
        return ImageHeader("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind != b"VP8X" or len(start) < 30:
        raise ValueError("unknown kind of WebP")
    width, height = (int.from_bytes(start[place : place + 3], "little") + 1 for place in (24, 27))
    file.seek(12)
    exif: _Exif = (1, None)
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"EXIF":
            lead = 6 if file.read(6) == b"Exif\0\0" else 0
            exif = _exif(file, file.tell() - 6 + lead)
            break
        file.seek(length + length % 2, 1)
    return ImageHeader("webp", width, height, *exif)


def _tiff_tags(file: BinaryIO, base: int) -> dict[int, int]:
    """The tags that matter from the first directory of a TIFF structure that begins at `base`, EXIF's ones included."""
    file.seek(base)
    order = {b"II": "<", b"MM": ">"}.get(file.read(2))
    if order is None:
        raise ValueError("damaged TIFF or EXIF header")
    _, place = struct.unpack(f"{order}HI", file.read(6))
    tags = _directory(file, base + place, order, (_TIFF_WIDTH, _TIFF_HEIGHT, _ORIENTATION_TAG, _EXIF_DIRECTORY_TAG))
    if _EXIF_DIRECTORY_TAG in tags:
        with contextlib.suppress(struct.error):  # the picture is none the worse for a damaged directory of details
            tags |= _directory(file, base + tags[_EXIF_DIRECTORY_TAG], order, (_FILM_FOCAL_TAG,))
    return tags


def _directory(file: BinaryIO, place: int, order: str, wanted: Sequence[int]) -> dict[int, int]:
    """The wanted tags, whole numbers of 16 or 32 bits, of the directory at a place."""
    file.seek(place)
    (count,) = struct.unpack(f"{order}H", file.read(2))
    tags: dict[int, int] = {}
    for _ in range(min(count, _MAX_TAGS)):
        entry = file.read(12)
        tag, kind, _ = struct.unpack(f"{order}HHI", entry[:8])
        if tag in wanted:
            (tags[tag],) = (
                struct.unpack(f"{order}H", entry[8:10]) if kind == 3 else struct.unpack(f"{order}I", entry[8:])
            )
    return tags


def _exif(file: BinaryIO, base: int) -> _Exif:
    """What an EXIF block says; a damaged one is no reason to refuse the picture."""
    try:
        return _of_exif(_tiff_tags(file, base))
    except (struct.error, ValueError):
        return 1, None


def _of_exif(tags: dict[int, int]) -> _Exif:
    orientation, focal = tags.get(_ORIENTATION_TAG, 1), tags.get(_FILM_FOCAL_TAG, 0)
    return orientation if 1 <= orientation <= 8 else 1, float(focal) if 0 < focal < _LONGEST_FOCAL else None
