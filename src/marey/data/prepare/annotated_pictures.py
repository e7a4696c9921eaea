"""People annotated in pictures whose cameras nobody knows: as labels of the pictures, or of a crop of each person."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from marey.core import InputError, ShapeError, Skeleton
from marey.data.boxes import intersect_boxes
from marey.data.crops import CropRule, flat_cameras, plan_crops
from marey.data.labels import Images, Labels
from marey.data.labels.columns import Array
from marey.data.masks import write_mask
from marey.data.prepare.stored_crops import Pixels, write_crops
from marey.data.prepare.work import Work
from marey.io.image_headers import read_image_header
from marey.io.images import read_image

PICTURE_RULE = CropRule(turn=False, longest=256 / 0.85, most_scale=1.0)
"""There is no camera to turn; as in MuCo's crops, nothing is enlarged."""

Masks = Callable[[int], Array]
"""The mask (H, W), booleans, of the person in a row."""

_CHUNK = 512
"""Crops that are written between two entries of the journal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PicturePeople:
    """R people in I pictures."""

    skeleton: Skeleton
    paths: Sequence[Path]
    """(I,)"""
    sizes: Array
    """(I, 2) width and height of the pictures as they are shown."""
    splits: Array
    """(I,) text."""
    frames: Array
    """(I,) integers, the numbers of the pictures in their data set."""
    image: Array
    """(R,)"""
    person: Array
    """(R,)"""
    keypoints: Array
    """(R, J, 2) pixels, NaN where not annotated."""
    visible: Array
    """(R, J)"""
    box: Array
    """(R, 4) left, top, width, height in pixels."""
    values: Mapping[str, Array] = field(default_factory=dict)
    """Further columns."""

    def __post_init__(self) -> None:
        if not len(self.image) == len(self.person) == len(self.keypoints) == len(self.visible) == len(self.box):
            raise ShapeError("people: expected as many images, persons, keypoints, visibilities and boxes")

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: Array) -> PicturePeople:
        """Some people; all pictures stay."""
        return replace(
            self,
            image=self.image[rows],
            person=self.person[rows],
            keypoints=self.keypoints[rows],
            visible=self.visible[rows],
            box=self.box[rows],
            values={name: column[rows] for name, column in self.values.items()},
        )


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as it is shown, from its header.

    Raises:
        InputError: it cannot be read.
        FormatError: it is no image.
    """
    header = read_image_header(path)
    return (header.height, header.width) if header.orientation >= 5 else (header.width, header.height)


def with_boxes_inside(people: PicturePeople, work: Work) -> PicturePeople:
    """The people whose boxes have an area within their pictures; how many are left out is noted."""
    whole = np.concatenate([np.zeros_like(people.sizes), people.sizes], axis=-1).astype(np.float64)[people.image]
    with np.errstate(invalid="ignore"):
        seen = np.flatnonzero((intersect_boxes(people.box, whole)[:, 2:] > 0).all(axis=-1))
    if outside := len(people) - len(seen):
        work.note(f"{outside} people were left out: their boxes are empty or lie outside of their pictures.")
    return people[seen]


def picture_labels(name: str, version: str, people: PicturePeople, work: Work, *, masks: Masks | None = None) -> Labels:
    """Labels of the pictures where they lie, one image a picture, also those without people.

    Args:
        name: Of the data set.
        version: Of the labels.
        people: Whose labels.
        work: Whose folder the paths begin in, and the masks are written to.
        masks: Of each person; None: there are none.
    """
    values = dict(people.values)
    if masks is not None:
        values["mask"] = _written_masks(people, work, masks)
    return Labels(
        name=name,
        version=version,
        skeleton=people.skeleton,
        images=_images(name, [relative_path(path, work.out) for path in people.paths], people.sizes, people.frames),
        split=people.splits,
        image=people.image,
        person=people.person,
        values={"keypoints": people.keypoints, "visible": people.visible, "box": people.box, **values},
    )


def crop_labels(name: str, version: str, people: PicturePeople, work: Work, *, masks: Masks | None = None) -> Labels:
    """Write a crop of each person, its mask if there are any, and give the labels of the crops.

    Files are called by the number of the picture and of the person, which no two people share.

    Args:
        name: Of the data set.
        version: Of the labels.
        people: Whose labels; their boxes lie within their pictures.
        work: Whose folder is written.
        masks: Of each person; None: there are none.

    Raises:
        InputError: a file cannot be read or written.
        FormatError: an image is damaged.
    """
    frames = people.frames[people.image]
    files = [f"{name}_{frame:012d}_{person}" for frame, person in zip(frames, people.person, strict=True)]
    crops = plan_crops(flat_cameras(people.sizes[people.image]), people.box, rule=PICTURE_RULE)
    values = dict(people.values)
    masked = _write_all(people, files, work, masks)
    if masks is not None:
        texts = [f"masks/{file}.png" if there else "" for file, there in zip(files, masked, strict=True)]
        values["mask"] = np.array(texts, dtype=np.str_)
    sizes = crops.cameras.image_size.numpy().round().astype(np.int64)
    return Labels(
        name=name,
        version=version,
        skeleton=people.skeleton,
        images=_images(name, [f"images/{file}.jpg" for file in files], sizes, frames),
        split=people.splits[people.image],
        image=np.arange(len(people)),
        person=people.person,
        values={
            "keypoints": crops.points(people.keypoints).astype(np.float32),
            "visible": people.visible,
            "box": crops.boxes.astype(np.float32),
            **values,
        },
    )


def _write_all(people: PicturePeople, files: Sequence[str], work: Work, masks: Masks | None) -> Array:
    """Write all crops in chunks, each of which is done or not; (R,) which have a mask."""
    masked = np.zeros(len(people), dtype=bool)
    for start in range(0, len(people), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(people)))
        write = partial(_write, people, rows, files, work, masks)
        masked[rows] = work.part(f"crops {start}", write)["masked"]
    return masked


def _write(
    people: PicturePeople, rows: Array, files: Sequence[str], work: Work, masks: Masks | None
) -> dict[str, Array]:
    part = people[rows]
    crops = plan_crops(flat_cameras(part.sizes[part.image]), part.box, rule=PICTURE_RULE)
    read = lru_cache(maxsize=2 * work.workers)(read_image)  # people of one picture come one after another

    def images() -> Iterator[Pixels]:
        for image in part.image.tolist():
            yield partial(read, work.require(people.paths[image], "picture"))

    found = None if masks is None else (partial(masks, row) for row in rows.tolist())
    return {"masked": write_crops(crops, [files[row] for row in rows], images(), work=work, masks=found)}


def _written_masks(people: PicturePeople, work: Work, masks: Masks) -> Array:
    """(R,) paths of the masks of whole pictures; empty where nobody is."""

    def write(row: int) -> str:
        mask = masks(row)
        if not mask.any():
            return ""
        name = f"masks/{people.frames[people.image[row]]:012d}_{people.person[row]}.png"
        (work.out / "masks").mkdir(exist_ok=True)
        write_mask(work.out / name, mask)
        return name

    def all_paths() -> dict[str, Array]:
        return {"path": np.array(list(work.map(write, range(len(people)), len(people), "masks")), dtype=np.str_)}

    return work.part("masks", all_paths)["path"]


def _images(name: str, paths: Sequence[str], sizes: Array, frames: Array) -> Images:
    count = len(paths)
    return Images(
        path=np.array(paths, dtype=np.str_),
        size=sizes,
        camera=np.full(count, -1),
        sequence=np.full(count, name),
        frame=frames,
        moment=np.arange(count),
    )


def relative_path(path: Path, folder: Path) -> str:
    """The way from a folder to a file, with forward slashes.

    Raises:
        InputError: there is none, as between two drives.
    """
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError as error:
        raise InputError(f"{path} lies on another drive than {folder}; choose an --out beside the data set") from error
