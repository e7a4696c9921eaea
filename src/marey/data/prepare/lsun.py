"""LSUN: pictures of ten kinds of scenes, as backgrounds of people that are rendered.

LSUN is distributed as LMDB databases; its own script (`data.py export`) writes them out as pictures, one folder a
database. Every picture below the download's folder is taken; its split is told by a folder above it whose name has
`train` or `val` in it, such as `bedroom_train_images`. HierarchicalProbabilistic3DHuman was trained on 397,582 pictures
and validated on 3,000 (300 of each scene); which 397,582 of the ten million is not written anywhere.

    train/SCENE_NAME.jpg, validation/...     backgrounds
    train.txt, validation.txt                their names
    SPLIT/non_person_images.txt              those in which a detector found nobody (`--detections`)
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from marey.core import Image, InputError
from marey.data.prepare.inria import square, write_person_free
from marey.data.prepare.stored_crops import write_jpeg
from marey.data.prepare.work import Work
from marey.io.atomic import atomic_write_text
from marey.io.images import read_image
from marey.io.person_boxes import read_person_boxes

SCENES = (
    *("bedroom", "bridge", "church_outdoor", "classroom", "conference_room"),
    *("dining_room", "kitchen", "living_room", "restaurant", "tower"),
)
PUBLISHED = {"train": 397_582, "validation": 3_000}
"""Pictures that HierarchicalProbabilistic3DHuman used."""
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_CHUNK = 1000
"""Pictures between two entries of the journal."""


@dataclass(frozen=True, kw_only=True)
class LsunOptions:
    """How pictures become backgrounds."""

    side: int = 256
    """Pixels."""
    shape: Literal["stretch", "square"] = "stretch"
    """Whether the whole picture is stretched to a square, as published, or its middle is cut out."""
    most_per_scene: int | None = None
    """Pictures of each scene's training set, taken evenly by name; None: all."""
    detections: Path | None = None
    """Boxes of people in the backgrounds by name (`SCENE_NAME.jpg`), pickle or JSON; None: no list without people."""
    least_confidence: float = 0.5
    """Of a box that counts as a person."""

    def __post_init__(self) -> None:
        if self.side < 1 or (self.most_per_scene is not None and self.most_per_scene < 1):
            raise InputError(f"side and most_per_scene: expected 1 or more, got {self.side} and {self.most_per_scene}")


class _Picture(NamedTuple):
    source: Path
    split: str
    name: str


def prepare(root: Path, out: Path, options: LsunOptions, work: Work) -> None:
    """Write the backgrounds and their lists; see the top of this module.

    Raises:
        MissingAssetError: there are no pictures.
        InputError: databases were not exported, a folder does not say its split, two pictures have one name, or
            detections are of other pictures.
        FormatError: a picture is damaged.
    """
    pictures = _chosen(_pictures(root, out, work), options.most_per_scene)
    _write(out, pictures, options, work)
    for split, published in PUBLISHED.items():
        names = sorted(picture.name for picture in pictures if picture.split == split)
        work.note(f"{split}: {len(names)} backgrounds; HierarchicalProbabilistic3DHuman used {published}")
        if names:
            atomic_write_text(out / f"{split}.txt", "".join(f"{name}\n" for name in names))
        if names and options.detections is not None:
            boxes = read_person_boxes(work.record(options.detections))
            write_person_free(out / split, names, boxes, least_confidence=options.least_confidence)


def _pictures(root: Path, out: Path, work: Work) -> list[_Picture]:
    """All pictures below the download's folder but for those that were written, by name."""
    work.require(root, "folder of exported pictures")
    files = (path for path in sorted(root.rglob("*")) if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")
    found = [path for path in files if not path.is_relative_to(out)]
    if not found and any(root.rglob("data.mdb")):
        raise InputError(f"{root}: LMDB databases are not read; write their pictures with LSUN's data.py export")
    if not found:
        work.require(root / "SCENE_train_images", "folder of exported pictures")
    pictures = [_picture(path, root) for path in found]
    (split, name), count = Counter((picture.split, picture.name) for picture in pictures).most_common(1)[0]
    if count > 1:
        raise InputError(f"{root}: two pictures of {split} would be called {name}; keep one of them there")
    return pictures


def _picture(path: Path, root: Path) -> _Picture:
    folders = path.relative_to(root).parts[:-1]
    splits = {split for split, word in (("train", "train"), ("validation", "val")) if any(word in f for f in folders)}
    if len(splits) != 1:
        raise InputError(f"{path}: expected one folder above it whose name has 'train' or 'val' in it, got {folders}")
    scene = next((scene for scene in SCENES if any(scene in folder for folder in folders)), "")
    known = scene and not path.stem.startswith(f"{scene}_")
    return _Picture(path, splits.pop(), f"{scene}_{path.stem}.jpg" if known else f"{path.stem}.jpg")


def _chosen(pictures: Sequence[_Picture], most: int | None) -> list[_Picture]:
    """At most so many training pictures of each scene, evenly by name, and all others."""
    if most is None:
        return list(pictures)
    groups: dict[str, list[_Picture]] = {}
    for picture in pictures:
        key = next((scene for scene in SCENES if picture.name.startswith(scene)), "")
        groups.setdefault(key if picture.split == "train" else "validation", []).append(picture)
    kept = groups.pop("validation", [])
    for group in groups.values():
        places = np.linspace(0, len(group) - 1, min(most, len(group))).round().astype(int)
        kept += [group[place] for place in places]
    return sorted(kept)


def _write(out: Path, pictures: Sequence[_Picture], options: LsunOptions, work: Work) -> None:
    def write(picture: _Picture) -> None:
        write_jpeg(out / picture.split / picture.name, background(read_image(picture.source), options))

    chunks = range(0, len(pictures), _CHUNK)
    for start in work.progress(chunks, len(chunks), "backgrounds"):
        key = f"pictures from {start}"
        if not work.done(key):
            deque(work.map(write, pictures[start : start + _CHUNK]), maxlen=0)
            work.finish(key)


def background(image: Image, options: LsunOptions) -> Image:
    """An image (H, W, 3) as a background (side, side, 3)."""
    if options.shape == "square":
        return square(image, options.side)
    stretched: Image = cv2.resize(image, (options.side, options.side), interpolation=cv2.INTER_LINEAR)
    return stretched
