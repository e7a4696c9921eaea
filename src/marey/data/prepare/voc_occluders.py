"""Objects of Pascal VOC 2012 with soft masks, which training pastes before people (Sarandi et al. 2018).

Taken are the segmented objects that are no people, neither difficult nor truncated, and have 500 pixels or more. The
rim of a mask, what an erosion by an ellipse of 8 x 8 removes, gets 0.75; image and mask are stored at half size.

Source: specification of MeTRAbs (2020-11), sections 2.4 and 5.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import FormatError, Image, InputError
from marey.data.prepare.palette_images import read_palette_image
from marey.data.prepare.work import Work
from marey.io.atomic import atomic_path
from marey.io.images import read_image
from marey.io.npz import read_arrays
from marey.io.text import read_text_limited

Array = npt.NDArray[Any]

OCCLUDERS = "occluders.npz"
FORMAT = 1
LEAST_PIXELS = 500
RIM = 0.75
_ELLIPSE = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (8, 8))
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class VocOccludersOptions:
    """Which objects are taken; the defaults are MeTRAbs's."""

    least_pixels: int = LEAST_PIXELS
    """Of an object's mask, before it is halved."""
    scale: float = 0.5
    """Of the stored objects."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Occluders:
    """N objects of different sizes; `occluders[3]` gives the pixels and the mask of one."""

    sizes: Array
    """(N, 2) width and height."""
    names: Array
    """(N,) text: image and number of the object in it."""
    kinds: Array
    """(N,) text, such as `chair`."""
    pixels: Array
    """(P, 3) red green blue of 8 bits of all objects, row by row, one after another."""
    opacity: Array
    """(P,) 0..255."""

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, place: int) -> tuple[Image, npt.NDArray[np.float32]]:
        """Pixels (H, W, 3) of 8 bits and opacity (H, W) in 0..1 of one object."""
        width, height = self.sizes[place]
        counts = self.sizes.prod(axis=1)
        start = int(counts[:place].sum())
        stop = start + int(counts[place])
        opacity = self.opacity[start:stop].reshape(height, width).astype(np.float32) / np.float32(255)
        return self.pixels[start:stop].reshape(height, width, 3), opacity


@dataclass(frozen=True, kw_only=True)
class VocObject:
    """One object of an annotation."""

    number: int
    """From 0, in the order of the file; its value in the segmentation is one higher."""
    kind: str
    box: tuple[int, int, int, int]
    """xmin, ymin, xmax, ymax as they stand."""


def prepare(root: Path, out: Path, options: VocOccludersOptions, work: Work) -> None:
    """Collect the objects into `occluders.npz`.

    Raises:
        MissingAssetError: a part of the download is absent.
        InputError: no object is left.
        FormatError: an annotation or image is damaged.
    """
    folder = next((place for place in _places(root) if (place / "Annotations").is_dir()), _places(root)[0])
    for part in ("Annotations", "JPEGImages", "SegmentationObject"):
        work.require(folder / part, f"folder {part}")
    files = sorted((folder / "Annotations").glob("*.xml"))
    found = [
        cut for cuts in work.map(lambda file: _cuts(folder, file, options, work), files, len(files)) for cut in cuts
    ]
    if not found:
        raise InputError(
            f"{folder}: none of its {len(files)} annotated images has an object of {options.least_pixels} pixels that "
            "is no person; is it the segmentation set of VOC 2012?"
        )
    write_occluders(out / OCCLUDERS, found)


def _places(root: Path) -> tuple[Path, ...]:
    return root / "VOCdevkit" / "VOC2012", root / "VOC2012", root


_Cut = tuple[str, str, Image, Array]
"""Name, kind, pixels (H, W, 3) and opacity (H, W) in 0..1."""


def _cuts(folder: Path, file: Path, options: VocOccludersOptions, work: Work) -> list[_Cut]:
    """The objects of one annotation."""
    image_name, objects = read_voc_annotation(file)
    if not objects:
        return []
    stem = Path(image_name).stem
    image = read_image(work.require(folder / "JPEGImages" / f"{stem}.jpg", "image"))
    numbers = read_palette_image(work.require(folder / "SegmentationObject" / f"{stem}.png", "segmentation"))
    if numbers.shape != image.shape[:2]:
        raise FormatError(f"{file}: its image is of {image.shape[1::-1]} pixels, its segmentation of another size")
    cuts = []
    for found in objects:
        left, top, right, bottom = found.box
        mask = (numbers[top:bottom, left:right] == found.number + 1).astype(np.uint8)
        if np.count_nonzero(mask) >= options.least_pixels:
            part = image[top:bottom, left:right]
            cuts.append((f"{stem}/{found.number}", found.kind, *_scaled(part, softened(mask), options.scale)))
    return cuts


def softened(mask: Array) -> npt.NDArray[np.float32]:
    """A mask (H, W) of 0 and 1 with 0.75 along its rim."""
    inner = cv2.erode(mask.astype(np.uint8), _ELLIPSE)
    soft: npt.NDArray[np.float32] = np.where(inner < mask, RIM, mask).astype(np.float32)
    return soft


def _scaled(image: Image, mask: Array, scale: float) -> tuple[Image, Array]:
    size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
    way = cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA
    return cv2.resize(image, size, interpolation=way), cv2.resize(mask, size, interpolation=way)


def read_voc_annotation(path: Path) -> tuple[str, list[VocObject]]:
    """Read the name of an image and its objects that may be pasted; none if the image is not segmented.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such annotation.
    """
    document = _elements(path, read_text_limited(path, most_bytes=_MOST_BYTES))
    names, flags = document.get("filename", []), document.get("segmented", [])
    if len(names) != 1 or len(flags) != 1:
        raise FormatError(f"{path}: expected one 'filename' and one 'segmented', as annotations of Pascal VOC have")
    objects: list[dict[str, str]] = document.get("object", [])
    if flags[0] == "0":
        return names[0], []
    try:
        wanted = [place for place, one in enumerate(objects) if _may_be_pasted(one)]
        corners = ("xmin", "ymin", "xmax", "ymax")
        boxes = [tuple(round(float(objects[place][corner])) for corner in corners) for place in wanted]
    except (KeyError, ValueError, OverflowError) as error:
        raise FormatError(f"{path}: an object lacks or damages {error}") from error
    if bad := [box for box in boxes if not (0 <= box[0] < box[2] and 0 <= box[1] < box[3])]:
        raise FormatError(f"{path}: the box {bad[0]} has no area")
    return names[0], [
        VocObject(number=place, kind=objects[place]["name"], box=box)  # type: ignore[arg-type]
        for place, box in zip(wanted, boxes, strict=True)
    ]


def _may_be_pasted(found: dict[str, str]) -> bool:
    return found["name"] != "person" and found["difficult"] == "0" and found["truncated"] == "0"


def _elements(path: Path, text: str) -> dict[str, list[Any]]:
    """The texts of the elements below the root by name; `object` as a dict of its own and its box's texts."""
    found: dict[str, list[Any]] = {}
    way: list[str] = []
    words: list[str] = []

    def start(name: str, _: Any) -> None:
        way.append(name)
        words.clear()
        if way[1:] == ["object"]:
            found.setdefault("object", []).append({})

    def end(name: str) -> None:
        text, where = "".join(words).strip(), way[1:]
        if where[:1] == ["object"] and (len(where) == 2 or where[1:2] == ["bndbox"]) and len(where) < 4:
            found["object"][-1][name] = text
        elif len(where) == 1 and name != "object":
            found.setdefault(name, []).append(text)
        way.pop()
        words.clear()

    def refuse(*_: Any) -> None:
        raise FormatError(f"{path}: declares entities, which annotations do not need; refused")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = words.append, refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise FormatError(f"{path}: not XML: {error}") from error
    return found


def write_occluders(path: str | os.PathLike[str], cuts: Sequence[_Cut]) -> None:
    """Write objects to one archive without pickle.

    Raises:
        InputError: the file cannot be written.
    """
    names, kinds, images, masks = zip(*cuts, strict=True)
    arrays = {
        "format": np.array(FORMAT),
        "sizes": np.array([image.shape[1::-1] for image in images], dtype=np.int64),
        "names": np.array(names, dtype=np.str_),
        "kinds": np.array(kinds, dtype=np.str_),
        "pixels": np.concatenate([image.reshape(-1, 3) for image in images]),
        "opacity": np.concatenate([np.round(255 * mask).astype(np.uint8).reshape(-1) for mask in masks]),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_occluders(path: str | os.PathLike[str]) -> Occluders:
    """Read objects, as training pastes them. Nothing in the file is unpickled.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such archive, or its arrays do not fit together.
    """
    arrays = read_arrays(Path(path))
    try:
        if arrays.pop("format") != FORMAT:
            raise FormatError(f"{path}: made by a newer marey; this one reads format {FORMAT}")
        found = Occluders(**arrays)
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: no objects to paste: {error}") from error
    count = len(found.names)
    good = found.sizes.shape == (count, 2) and found.sizes.dtype.kind in "iu" and found.kinds.shape == (count,)
    total = int(found.sizes.prod(axis=1).sum()) if good else -1
    if found.pixels.shape != (total, 3) or found.opacity.shape != (total,) or found.pixels.dtype != np.uint8:
        raise FormatError(f"{path}: its pixels are not those of {count} objects; prepare it anew")
    return found
