"""COCO keypoints 2017: people in everyday pictures, as crops for training and as whole pictures for validation.

For training everybody is taken who is no crowd and has as many annotated joints as asked for. The validation pictures
stay as they are, with everybody in them, crowds too, marked in `crowd`: what the protocol `coco-keypoints` scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from marey.core import FormatError, InputError
from marey.core.skeletons import skeleton
from marey.data.labels import Labels, join_labels
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import Masks, PicturePeople, crop_labels, picture_labels, with_boxes_inside
from marey.data.prepare.work import Work
from marey.io.coco import CocoAnnotations, read_coco_annotations
from marey.io.coco_masks import mask_of_outline

NAME = "coco"
VERSION = "1"

_FOLDERS = {"train": "train2017", "validation": "val2017"}


@dataclass(frozen=True, kw_only=True)
class CocoOptions:
    """What is taken of COCO keypoints 2017."""

    splits: tuple[Literal["train", "validation"], ...] = ("train", "validation")
    """Of the pictures; those of the test have no public labels."""
    least_joints: int = 1
    """Annotated joints that a person needs to be taken for training."""
    crops: bool = True
    """Whether a crop of each person is written for training; otherwise the labels are of the download's pictures."""
    masks: bool = True
    """Whether masks are written for training, of the crops or of the pictures."""


def prepare(root: Path, out: Path, options: CocoOptions, work: Work) -> Labels:
    """Prepare COCO keypoints.

    Raises:
        MissingAssetError: a file of the download is absent.
        InputError: a file cannot be read, or no split was asked for.
        FormatError: a file is not what its format demands.
    """
    if not options.splits:
        raise InputError("splits: expected train, validation or both, got none")
    parts = [_split(root, split, options, work) for split in dict.fromkeys(options.splits)]
    joined = join_labels(parts, skeleton=skeleton("coco_17"), name=NAME)
    return replace(joined, version=VERSION)


def _split(root: Path, split: str, options: CocoOptions, work: Work) -> Labels:
    folder = _FOLDERS[split]
    path = root / "annotations" / f"person_keypoints_{folder}.json"
    train = split == "train"
    found = read_coco_annotations(work.record(work.require(path, "annotation file")), outlines=train and options.masks)
    people = _people(found, root / folder, split)
    if not train:
        work.require(root / folder, "folder of pictures")
        return picture_labels(NAME, VERSION, people, work)
    kept = ~found.crowd & (np.isfinite(people.keypoints).all(-1).sum(-1) >= options.least_joints)
    people = with_boxes_inside(people[kept], work)
    masks = _masks(found, people, path) if options.masks else None
    return (crop_labels if options.crops else picture_labels)(NAME, VERSION, people, work, masks=masks)


def _people(found: CocoAnnotations, folder: Path, split: str) -> PicturePeople:
    """Everybody annotated, in the pictures of the file, with or without people."""
    identities = np.array(sorted(found.images), dtype=np.int64)
    place = np.searchsorted(identities, found.image_ids).clip(max=max(len(identities) - 1, 0))
    if len(wrong := np.flatnonzero(~np.isin(found.image_ids, identities))):
        raise FormatError(f"{folder}: annotation {found.ids[wrong[0]]} is of picture {found.image_ids[wrong[0]]}, "
                          "which the file does not list")  # fmt: skip
    pictures = [found.images[identity] for identity in identities.tolist()]
    boxes = found.boxes.copy()
    boxes[:, 2:] -= boxes[:, :2]
    return PicturePeople(
        skeleton=skeleton("coco_17"),
        paths=[folder / name for name, *_ in pictures],
        sizes=np.array([size for _, *size in pictures], dtype=np.int64).reshape(-1, 2),
        splits=np.full(len(pictures), split),
        frames=identities,
        image=place,
        person=found.ids,
        keypoints=found.positions,
        visible=found.visibility == 2,
        box=boxes,
        values={"keypoints_visibility": found.visibility, "area": found.area, "crowd": found.crowd},
    )


def _masks(found: CocoAnnotations, people: PicturePeople, path: Path) -> Masks:
    order = np.argsort(found.ids, kind="stable")
    rows = order[np.searchsorted(found.ids, people.person, sorter=order)]

    def mask(row: int) -> Array:
        width, height = people.sizes[people.image[row]].tolist()
        try:
            return mask_of_outline(found.outlines[rows[row]], height=height, width=width)
        except FormatError as error:
            raise FormatError(f"{path}: annotation {people.person[row]}: {error}") from error

    return mask
