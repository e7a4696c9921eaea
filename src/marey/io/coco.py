"""COCO keypoints: the annotation file of the data set, and the list of results that its evaluation takes.

Positions are kept as they stand: COCO counts pixels from 0, as Marey does, and boxes are left, top, width, height there
and corners here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core.errors import FormatError, InputError, ShapeError
from marey.core.evidence import Keypoints2D
from marey.core.skeletons import skeleton
from marey.io.atomic import atomic_write_text
from marey.io.text import read_text_limited

PERSON = 1
"""The category that has keypoints."""
DECIMALS = 3
"""Of written pixels and scores."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class CocoAnnotations:
    """N annotated people in I images."""

    positions: Floats
    """(N, 17, 2) pixels in the order of the skeleton coco_17; NaN where a joint is not annotated."""
    visibility: Integers
    """(N, 17) 0 not annotated, 1 annotated but hidden, 2 visible."""
    boxes: Floats
    """(N, 4) left, top, right, bottom in pixels; NaN where there is none."""
    area: Floats
    """(N,) of the person's outline, square pixels; NaN where unknown."""
    crowd: npt.NDArray[np.bool_]
    """(N,) the annotation is of a crowd."""
    ids: Integers
    """(N,) of the annotations."""
    image_ids: Integers
    """(N,) of the image that each annotation is of."""
    images: Mapping[int, tuple[str, int, int]]
    """Image id -> file name, width, height."""
    outlines: tuple[Any, ...] = ()
    """(N,) what `marey.io.coco_masks` makes masks of; empty if they were not asked for."""


@dataclass(frozen=True, kw_only=True)
class CocoResults:
    """N detected people."""

    positions: Floats
    """(N, 17, 2) pixels in the order of the skeleton coco_17."""
    joint_scores: Floats
    """(N, 17) the third value of each keypoint, which COCO's evaluation ignores."""
    scores: Floats
    """(N,) of the people."""
    image_ids: Integers
    """(N,)"""


def read_coco_annotations(path: str | os.PathLike[str], *, outlines: bool = False) -> CocoAnnotations:
    """Read an annotation file with keypoints (`person_keypoints_*.json`); other categories are left out.

    Args:
        path: The file.
        outlines: Whether the outlines of the people are kept, which take most of the memory.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a file, or an entry is malformed.
    """
    path = Path(path)
    document = _json(path)
    if not isinstance(document, dict) or not isinstance(document.get("annotations"), list):
        raise FormatError(f"{path}: not COCO annotations; expected an object with the lists 'images' and 'annotations'")
    people = [
        entry
        for entry in document["annotations"]
        if isinstance(entry, dict) and entry.get("category_id") == PERSON and "keypoints" in entry
    ]
    keypoints = _numbers(path, people, "keypoints", 51).reshape(-1, 17, 3)
    visibility = keypoints[..., 2].astype(np.int64)
    if not np.isin(keypoints[..., 2], (0, 1, 2)).all():
        raise FormatError(f"{path}: the third value of a keypoint is 0, 1 or 2, found others; are these results?")
    boxes = _numbers(path, [{"bbox": entry.get("bbox") or [math.nan] * 4} for entry in people], "bbox", 4)
    boxes[:, 2:] += boxes[:, :2]
    return CocoAnnotations(
        positions=np.where(visibility[..., None] > 0, keypoints[..., :2], np.nan),
        visibility=visibility,
        boxes=boxes,
        area=_numbers(path, [{"area": [entry.get("area", math.nan)]} for entry in people], "area", 1)[:, 0],
        crowd=np.array([bool(entry.get("iscrowd", 0)) for entry in people], dtype=bool),
        ids=_identities(path, people, "id"),
        image_ids=_identities(path, people, "image_id"),
        images=_images(path, document.get("images", [])),
        outlines=tuple(entry.get("segmentation") for entry in people) if outlines else (),
    )


def read_coco_results(path: str | os.PathLike[str]) -> CocoResults:
    """Read a list of keypoint results.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a list, or an entry is malformed.
    """
    path = Path(path)
    document = _json(path)
    if not isinstance(document, list) or not all(
        isinstance(entry, dict) and "keypoints" in entry for entry in document
    ):
        raise FormatError(f"{path}: not COCO results; expected a list of objects with 'image_id', 'keypoints', 'score'")
    keypoints = _numbers(path, document, "keypoints", 51).reshape(-1, 17, 3)
    return CocoResults(
        positions=keypoints[..., :2].copy(),
        joint_scores=keypoints[..., 2].copy(),
        scores=_numbers(path, [{"score": [entry.get("score", math.nan)]} for entry in document], "score", 1)[:, 0],
        image_ids=_identities(path, document, "image_id"),
    )


def write_coco_results(
    path: str | os.PathLike[str],
    keypoints: Keypoints2D,
    image_ids: Sequence[int],
    *,
    scores: Sequence[float] | None = None,
) -> None:
    """Write people as the list of results that COCO's evaluation takes.

    The format has no word for a joint that is missing: it is written as three zeros. People without any joint are left
    out.

    Args:
        path: The file.
        keypoints: (N,) people of any skeleton that has the 17 joints of COCO.
        image_ids: (N,) of their images.
        scores: (N,) of the people; None: the mean score of the joints seen.

    Raises:
        InputError: the skeleton lacks a joint of COCO, or the file cannot be written.
        ShapeError: there is not one image a person.
    """
    people = keypoints.batch_shape
    if len(people) != 1 or len(image_ids) != people[0] or (scores is not None and len(scores) != people[0]):
        raise ShapeError(f"expected keypoints (N,) with N image ids and N scores, got {people} and {len(image_ids)}")
    order = keypoints.skeleton.indices(skeleton("coco_17").joints)
    positions, score = keypoints.positions[:, order].double(), keypoints.score[:, order].double()
    seen = positions.isfinite().all(-1)
    means = torch.where(seen, score, 0.0).sum(-1) / seen.sum(-1).clamp_min(1)
    values = torch.where(seen[..., None], torch.cat((positions, score[..., None]), dim=-1), 0.0)
    rows = values.flatten(1).numpy().round(DECIMALS).tolist()
    entries = [
        {"image_id": int(image), "category_id": PERSON, "keypoints": row, "score": round(float(total), 5)}
        for image, row, total, there in zip(
            image_ids, rows, means.tolist() if scores is None else scores, seen.any(-1).tolist(), strict=True
        )
        if there
    ]
    atomic_write_text(path, json.dumps(entries, separators=(",", ":"), allow_nan=False))


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text_limited(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, (FormatError, InputError)):
            raise
        raise FormatError(f"{path}: not JSON: {error}") from error


def _numbers(path: Path, entries: Sequence[Mapping[str, Any]], key: str, width: int) -> Floats:
    """(N, width) numbers of one key."""
    try:
        values = np.array([entry[key] for entry in entries], dtype=np.float64).reshape(len(entries), -1)
    except (TypeError, ValueError, OverflowError):
        values = np.zeros((0, 0))
    if not entries:
        return np.zeros((0, width))
    if values.shape != (len(entries), width):
        raise FormatError(f"{path}: '{key}' of some entry is not {width} number(s)")
    return values


def _identities(path: Path, entries: Sequence[Mapping[str, Any]], key: str) -> Integers:
    found = [entry.get(key) for entry in entries]
    if any(not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63 for value in found):
        raise FormatError(f"{path}: '{key}' of some entry is not an integer")
    return np.array(found, dtype=np.int64)


def _images(path: Path, entries: Any) -> dict[int, tuple[str, int, int]]:
    try:
        found = [
            (int(image["id"]), str(image["file_name"]), int(image["width"]), int(image["height"])) for image in entries
        ]
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise FormatError(f"{path}: an image has no id, file_name, width or height ({error})") from error
    if any(abs(place) >= 2**63 for place, *_ in found):  # larger numbers can be chosen so that a dict takes hours
        raise FormatError(f"{path}: the id of some image is beyond 64 bits")
    return {place: (name, width, height) for place, name, width, height in found}
