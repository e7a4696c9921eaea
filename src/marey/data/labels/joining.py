"""Labels of several data sets as one table, their joints matched by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from marey.core import Cameras, InputError, ShapeError, Skeleton
from marey.data.labels.columns import Array
from marey.data.labels.table import Images, Labels

SYNONYMS = (frozenset({"spine", "spine1"}),)
"""Joints of different sets that are taken for one: Human3.6M's `tors` and MPI-INF-3DHP's `spin`."""

_PER_JOINT = ("joints", "joints_camera", "joints_universal", "keypoints", "visible")


def with_skeleton(labels: Labels, skeleton: Skeleton) -> Labels:
    """The labels with the joints of another skeleton: matched by name, NaN (not visible) for those they lack."""
    values = {
        name: joints_by_name(column, labels.skeleton, skeleton) if name in _PER_JOINT else column
        for name, column in labels.values.items()
    }
    return replace(labels, skeleton=skeleton, values=values)


def joints_by_name(column: Array, source: Skeleton, target: Skeleton) -> Array:
    """A column (R, J, ...) in the joints of another skeleton, matched by name or synonym; NaN or False for the rest."""
    return _remapped(column, np.array([_source(joint, source) for joint in target.joints], dtype=np.int64))


def _source(joint: str, source: Skeleton) -> int:
    """The place of a joint or of its synonym, -1 for neither."""
    names = [joint, *sorted(name for group in SYNONYMS if joint in group for name in group - {joint})]
    return next((source.index(name) for name in names if name in source), -1)


def _remapped(column: Array, sources: Array) -> Array:
    if not column.shape[1]:
        return np.full((len(column), len(sources), *column.shape[2:]), _missing(column), dtype=column.dtype)
    picked = column[:, sources]
    picked[:, sources < 0] = _missing(column)
    return picked


def _missing(column: Array) -> float | bool | str | int:
    """What stands for an unknown entry of a column."""
    kinds: dict[str, float | bool | str | int] = {"f": math.nan, "b": False, "U": "", "i": -1}
    if column.dtype.kind not in kinds:
        raise InputError(f"no value of {column.dtype} means that it is unknown; store signed integers")
    return kinds[column.dtype.kind]


def join_labels(sets: Sequence[Labels], *, skeleton: Skeleton, name: str, folders: Sequence[str] = ()) -> Labels:
    """Put labels one after another.

    Sequences get the name of their set in front where sets differ, `h36m/S1/walking`; moments stay apart. A value that
    one set lacks is NaN, empty or False in its rows.

    Args:
        sets: The labels.
        skeleton: Of the result; joints are matched by name, `spine` and `spine1` are one.
        name: Of the result; its version lists those of the sets.
        folders: Of each set's labels, relative to where the result will be written; none: the same folder.

    Raises:
        InputError: there are no labels, or not one folder a set.
    """
    if not sets or len(folders) not in (0, len(sets)):
        raise InputError(f"expected labels and one folder for each, got {len(sets)} labels and {len(folders)} folders")
    mapped = [with_skeleton(labels, skeleton) for labels in sets]
    prefixes = [f"{labels.name}/" if len({one.name for one in sets}) > 1 else "" for labels in sets]
    images = _joined_images(mapped, prefixes, [f"{folder.rstrip('/')}/" if folder else "" for folder in folders])
    starts = np.cumsum([0, *(len(labels.images) for labels in sets)])
    return Labels(
        name=name,
        version=", ".join(f"{labels.name} {labels.version}".strip() for labels in sets),
        skeleton=skeleton,
        images=images,
        split=np.concatenate([labels.split for labels in mapped]),
        image=np.concatenate([labels.image + start for labels, start in zip(mapped, starts[:-1], strict=True)]),
        person=np.concatenate([labels.person for labels in mapped]),
        values=_joined_values(mapped, folders),
        cameras=_joined_cameras([labels.cameras for labels in sets if labels.cameras is not None]),
    )


def _joined_images(sets: Sequence[Labels], prefixes: Sequence[str], folders: Sequence[str]) -> Images:
    counts = [0 if labels.cameras is None else labels.cameras.batch_shape[0] for labels in sets]
    cameras, moments = np.cumsum([0, *counts]), _moment_starts(sets)
    parts = [labels.images for labels in sets]
    keep_views = any(part.view is not None for part in parts)
    return Images(
        path=np.concatenate([_below(p.path, f) for p, f in zip(parts, folders or [""] * len(parts), strict=True)]),
        size=np.concatenate([part.size for part in parts]),
        camera=np.concatenate(
            [
                np.where(part.camera < 0, -1, part.camera + start)
                for part, start in zip(parts, cameras[:-1], strict=True)
            ]
        ),
        sequence=np.concatenate([np.char.add(p, part.sequence) for p, part in zip(prefixes, parts, strict=True)]),
        frame=np.concatenate([part.frame for part in parts]),
        moment=np.concatenate([part.moment + start for part, start in zip(parts, moments, strict=True)]),
        view=np.concatenate([part.views() for part in parts]) if keep_views else None,
    )


def _shifted(camera: Array, start: int) -> Array:
    return np.where(camera < 0, -1, camera + start)


def _moment_starts(sets: Sequence[Labels]) -> list[int]:
    """What to add to the moments of each set, so that none is shared."""
    counts = [int(labels.images.moment.max(initial=-1)) + 1 for labels in sets]
    return [0, *accumulate(counts[:-1])]


def _below(paths: Array, folder: str) -> Array:
    return np.where(paths == "", "", np.char.add(folder, paths)) if folder else paths


def _joined_values(sets: Sequence[Labels], folders: Sequence[str]) -> dict[str, Array]:
    names = list(dict.fromkeys(name for labels in sets for name in labels.values))
    joined = {}
    for name in names:
        columns = [labels.values.get(name) for labels in sets]
        if name == "mask" and folders:
            places = [f"{folder.rstrip('/')}/" if folder else "" for folder in folders]
            columns = [c if c is None else _below(c, place) for c, place in zip(columns, places, strict=True)]
        joined[name] = _column(name, columns, [len(labels) for labels in sets])
    return joined


def _column(name: str, columns: Sequence[Array | None], counts: Sequence[int]) -> Array:
    """The columns one after another, with what stands for unknown where a set has none."""
    known = next(column for column in columns if column is not None)
    if any(c is not None and (c.shape[1:], c.dtype.kind) != (known.shape[1:], known.dtype.kind) for c in columns):
        shapes = ", ".join(f"{c.shape[1:]} of {c.dtype}" for c in columns if c is not None)
        raise ShapeError(f"{name}: differs among the labels to join: {shapes}")
    parts = [
        np.full((count, *known.shape[1:]), _missing(known), dtype=known.dtype) if column is None else column
        for column, count in zip(columns, counts, strict=True)
    ]
    return np.concatenate(parts)


def _joined_cameras(sets: Sequence[Cameras]) -> Cameras | None:
    """The cameras one after another; distortion is padded, what is unknown of one is NaN."""
    if not sets:
        return None
    width = max(cameras.distortion.shape[-1] for cameras in sets)
    width = max(width, 4) if any(cameras.fisheye is not None for cameras in sets) else width
    filled = [_filled(cameras, width, sets) for cameras in sets]
    names = tuple(name for cameras in sets for name in _names(cameras))
    return replace(Cameras.cat([replace(cameras, names=()) for cameras in filled]), names=names)


def _names(cameras: Cameras) -> tuple[str, ...]:
    return cameras.names or tuple(map(str, range(cameras.batch_shape[0])))


def _filled(cameras: Cameras, width: int, sets: Sequence[Cameras]) -> Cameras:
    count, missing = cameras.batch_shape[0], width - cameras.distortion.shape[-1]
    precision = torch.float64 if any(other.dtype == torch.float64 for other in sets) else cameras.dtype
    cameras = cameras.to(precision)
    changes: dict[str, Any] = {"distortion": torch.nn.functional.pad(cameras.distortion, (0, missing))}
    if cameras.fisheye is None and any(other.fisheye is not None for other in sets):
        changes["fisheye"] = torch.zeros(count, dtype=torch.bool)
    if not cameras.has_extrinsics and any(other.has_extrinsics for other in sets):
        changes["rotation"] = cameras.intrinsics.new_full((count, 3, 3), math.nan)
        changes["translation"] = cameras.intrinsics.new_full((count, 3), math.nan)
    return replace(cameras, **changes)
