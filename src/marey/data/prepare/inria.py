"""INRIA Holidays: pictures of places, upright and square, those without people listed: backgrounds for training.

Each picture is turned as its EXIF orientation says, its middle square cut out and shrunk to 512 pixels. Which show
nobody, a person detector says: a file of its boxes, or a function that finds people. Without either the list is not
written, since backgrounds with people in them would teach a network not to see people.

Source: specification of MeTRAbs (2020-11), section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from marey.core import Image, InputError
from marey.data.prepare.stored_crops import write_jpeg
from marey.data.prepare.work import Work
from marey.io.atomic import atomic_write_text
from marey.io.images import read_image
from marey.io.naming import natural_key
from marey.io.person_boxes import PersonBoxes, read_person_boxes, write_person_boxes

PERSON_FREE = "non_person_images.txt"
DETECTIONS = "person_boxes.json"

FindPeople = Callable[[Image], npt.NDArray[Any]]
"""Boxes (N, 5) of the people in an image: left, top, width, height, confidence."""


@dataclass(frozen=True, kw_only=True)
class InriaOptions:
    """How pictures become backgrounds; the defaults are MeTRAbs's."""

    side: int = 512
    """Pixels."""
    detections: Path | None = None
    """Boxes of people in the pictures that this writes, by name, pickle or JSON; None: `yolov3_person_detections.pkl`
    or `.json` of the download, if it is there."""
    least_confidence: float = 0.0
    """A picture with a box of at least this confidence shows somebody; the original counts every box in its file."""


def prepare(root: Path, out: Path, options: InriaOptions, work: Work) -> None:
    """Write `images/NAME.jpg` of each picture, and `non_person_images.txt` where detections are known.

    Raises:
        MissingAssetError: there are no pictures.
        InputError: the file of detections is of other pictures.
        FormatError: a picture is damaged.
    """
    pictures = _pictures(root, work)

    def write(path: Path) -> None:
        if not work.done(path.name):
            write_jpeg(out / "images" / f"{path.stem}.jpg", square(read_image(path), options.side))
            work.finish(path.name)

    for _ in work.map(write, pictures, len(pictures), "backgrounds"):
        pass
    names = [f"{path.stem}.jpg" for path in pictures]
    boxes = _detections(root, options, work)
    if boxes is None:
        work.note(
            f"no file of detected people, so {PERSON_FREE} was not written: pass --detections, or run "
            "marey.data.prepare.inria.list_person_free with a detector"
        )
        return
    write_person_free(out, names, boxes, least_confidence=options.least_confidence)


def square(image: Image, side: int) -> Image:
    """The middle square of an image (H, W, 3), resized to `side` pixels."""
    height, width = image.shape[:2]
    edge = min(height, width)
    left, top = (width - edge) // 2, (height - edge) // 2
    middle = np.ascontiguousarray(image[top : top + edge, left : left + edge])
    resized: Image = cv2.resize(middle, (side, side), interpolation=cv2.INTER_AREA)
    return resized


def list_person_free(out: Path, find_people: FindPeople, *, least_confidence: float = 0.5) -> tuple[str, ...]:
    """Find people in the backgrounds of a prepared folder, keep the boxes as JSON and list those without.

    Args:
        out: The folder that `prepare` wrote.
        find_people: Gives the boxes (N, 5) of the people in an image, such as a detector of `marey.detect` wrapped.
        least_confidence: Of a box that counts.

    Returns:
        The names of the pictures without people.

    Raises:
        InputError: there are no pictures, or a file cannot be written.
        FormatError: a picture is damaged.
    """
    paths = sorted((out / "images").glob("*.jpg"), key=lambda path: natural_key(path.name))
    if not paths:
        raise InputError(f"{out / 'images'}: no pictures; run `marey data prepare inria` first")
    boxes = {path.name: np.asarray(find_people(read_image(path)), dtype=np.float64).reshape(-1, 5) for path in paths}
    write_person_boxes(out / DETECTIONS, boxes)
    return write_person_free(out, [path.name for path in paths], boxes, least_confidence=least_confidence)


def write_person_free(
    out: Path, names: Iterable[str], boxes: PersonBoxes, *, least_confidence: float = 0.0
) -> tuple[str, ...]:
    """List the pictures in which nobody was found, a name a line.

    Raises:
        InputError: a picture is not in the detections, or the file cannot be written.
    """
    found: Mapping[str, npt.NDArray[Any]] = {Path(name).name: value for name, value in boxes.items()}
    listed = sorted(names)
    if absent := [name for name in listed if name not in found]:
        raise InputError(
            f"detections: {len(absent)} of {len(listed)} pictures are not among them, such as {absent[0]}; a picture "
            "nobody looked at cannot be said to be without people"
        )
    empty = tuple(name for name in listed if not (found[name][:, 4] >= least_confidence).any())
    atomic_write_text(out / PERSON_FREE, "".join(f"{name}\n" for name in empty))
    return empty


def _pictures(root: Path, work: Work) -> list[Path]:
    """The pictures, in `jpg` or beside each other."""
    for folder in (root / "jpg", root):
        found = [path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".jpeg")]
        if found:
            return sorted(found, key=lambda path: natural_key(path.name))
    work.require(root / "jpg", "folder of pictures")
    raise InputError(f"{root / 'jpg'}: no .jpg in it; unpack jpg1.tar.gz and jpg2.tar.gz there")


def _detections(root: Path, options: InriaOptions, work: Work) -> PersonBoxes | None:
    places = [root / f"yolov3_person_detections{suffix}" for suffix in (".pkl", ".json")]
    path = options.detections or next((place for place in places if place.exists()), None)
    return None if path is None else read_person_boxes(work.record(path))
