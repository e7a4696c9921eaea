"""The annotations of MPII Human Pose: `mpii_human_pose_v1_u12_1.mat`, one struct `RELEASE`.

`annolist` holds a picture an entry: `image.name` and `annorect`, its people, each with `scale` (height of the person
in units of 200 pixels), `objpos` (rough middle) and `annopoints.point` (`x`, `y`, `id`, `is_visible`). `img_train` says
which pictures are annotated for training, `single_person` numbers, from 1, the people who stand apart from others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marey.core import FormatError, Skeleton
from marey.data.labels.columns import Array
from marey.data.prepare.matlab import read_matlab

JOINTS = Skeleton(
    "mpii_16",
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax", "neck",
        "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    ),
    ((6, 2), (6, 3), (2, 1), (1, 0), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (7, 12), (7, 13), (12, 11), (11, 10),
     (13, 14), (14, 15)),
    "MPII Human Pose in its own order; `thorax` lies between the shoulders, `neck` at the base of the head.",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class MpiiAnnotations:
    """I pictures and the P people annotated in them."""

    names: tuple[str, ...]
    """(I,) of the pictures' files."""
    train: Array
    """(I,) booleans."""
    image: Array
    """(P,)"""
    place: Array
    """(P,) among the people of the picture, from 0."""
    single: Array
    """(P,) booleans: stands apart from others."""
    keypoints: Array
    """(P, 16, 2) as stored; NaN where not annotated."""
    visible: Array
    """(P, 16)"""
    center: Array
    """(P, 2) rough middle; NaN where unknown."""
    scale: Array
    """(P,) height in units of 200 pixels; NaN where unknown."""


def read_mpii(path: Path) -> MpiiAnnotations:
    """Read the annotations of people with joints.

    Raises:
        MissingDependencyError: SciPy is not installed.
        InputError: the file cannot be read.
        FormatError: it is not the annotation file of MPII.
    """
    release = read_matlab(path, ["RELEASE"])["RELEASE"]
    try:
        pictures = _entries(release["annolist"])
        train = np.asarray(release["img_train"]).reshape(-1).astype(bool)
        single = [_places(entry) for entry in _cells(release["single_person"])]
        names = tuple(_text(picture["image"]["name"]) for picture in pictures)
        people = [
            (image, place, place + 1 in single[image], rect)
            for image, picture in enumerate(pictures)
            for place, rect in enumerate(_entries(picture.get("annorect")))
            if _points(rect)
        ]
        keypoints, visible = _joints([rect for *_, rect in people])
        found = MpiiAnnotations(
            names=names,
            train=train,
            image=np.array([image for image, *_ in people], dtype=np.int64),
            place=np.array([place for _, place, *_ in people], dtype=np.int64),
            single=np.array([alone for *_, alone, _ in people], dtype=bool),
            keypoints=keypoints,
            visible=visible,
            center=np.array([_center(rect) for *_, rect in people], dtype=np.float64).reshape(-1, 2),
            scale=np.array([_number(rect.get("scale")) for *_, rect in people], dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise FormatError(
            f"{path}: not the annotations of MPII Human Pose ({type(error).__name__}: {error})"
        ) from error
    if not len(names) == len(train) == len(single):
        raise FormatError(f"{path}: {len(names)} pictures, but {len(train)} and {len(single)} entries that say of what")
    return found


def _entries(value: Any) -> list[dict[str, Any]]:
    """The structs of an array of structs, of one struct, or of nothing."""
    if isinstance(value, dict):
        return [value]
    return [entry for entry in np.asarray(value, dtype=object).reshape(-1) if isinstance(entry, dict)]


def _cells(value: Any) -> list[Any]:
    array = np.asarray(value)
    return list(array.reshape(-1)) if array.dtype == object else [array] if array.size else []


def _places(cell: Any) -> set[int]:
    return {int(place) for place in np.asarray(cell).reshape(-1).tolist()}


def _points(rect: dict[str, Any]) -> list[dict[str, Any]]:
    points = rect.get("annopoints")
    return _entries(points["point"]) if isinstance(points, dict) else []


def _joints(people: Sequence[dict[str, Any]]) -> tuple[Array, Array]:
    """(P, 16, 2) pixels and (P, 16) visibility; a joint without a word on it is taken as visible."""
    keypoints = np.full((len(people), 16, 2), np.nan)
    visible = np.zeros((len(people), 16), dtype=bool)
    for row, rect in enumerate(people):
        for point in _points(rect):
            joint = int(_number(point["id"]))
            if not 0 <= joint < 16:
                raise ValueError(f"joint {joint}; there are 0 to 15")
            keypoints[row, joint] = _number(point["x"]), _number(point["y"])
            seen = _number(point.get("is_visible"))
            visible[row, joint] = bool(np.isnan(seen) or seen)
    return keypoints, visible & np.isfinite(keypoints).all(axis=-1)


def _center(rect: dict[str, Any]) -> tuple[float, float]:
    middle = rect.get("objpos")
    return (_number(middle["x"]), _number(middle["y"])) if isinstance(middle, dict) else (np.nan, np.nan)


def _number(value: Any) -> float:
    """A number, also one written as text; NaN for nothing."""
    array = np.asarray(value if value is not None else []).reshape(-1)
    return float(array[0]) if array.size and str(array[0]).strip() else np.nan


def _text(value: Any) -> str:
    return str(np.asarray(value).reshape(-1)[0])
