"""`labels.npz`: a table of labels in one NumPy archive without pickle.

Keys (I images, R rows, C cameras):

===========================  ================================================================================
`format`                     1
`name`, `version`            text
`skeleton`, `skeleton_note`  text; `joint_names` (J,) text, `links` (L, 2) places
`images_*`                   path, sequence, split: text; size (I, 2), camera, frame, moment, view: integers
`camera_*`                   (C, ...) intrinsics, distortion, image_size, rotation, translation, fisheye, names
`row_image`, `row_person`    (R,)
`value_*`                    arrays of R entries
===========================  ================================================================================

A column of text is two arrays: `KEY.texts`, the different texts in UTF-8 with a zero byte after each, and `KEY.codes`,
for each entry the place of its text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras, FormatError, MareyError, Skeleton
from marey.data.labels.columns import Array
from marey.data.labels.table import Images, Labels
from marey.io.atomic import atomic_path
from marey.io.npz import MAX_BYTES, read_arrays

FORMAT = 1

_IMAGES = ("path", "size", "camera", "sequence", "frame", "moment", "view")


def write_labels(path: str | os.PathLike[str], labels: Labels) -> None:
    """Write labels; the keys are listed at the top of this module.

    Raises:
        InputError: the file cannot be written.
    """
    columns = {
        **{f"images_{name}": column for name in _IMAGES if (column := getattr(labels.images, name)) is not None},
        "images_split": labels.split,
        "row_image": labels.image,
        "row_person": labels.person,
        **{f"value_{name}": column for name, column in labels.values.items()},
        **_camera_columns(labels.cameras),
        "joint_names": np.array(labels.skeleton.joints, dtype=np.str_),
    }
    arrays = {
        "format": np.array(FORMAT),
        "name": np.array(labels.name),
        "version": np.array(labels.version),
        "skeleton": np.array(labels.skeleton.name),
        "skeleton_note": np.array(labels.skeleton.note),
        "links": np.array(labels.skeleton.links, dtype=np.int64).reshape(-1, 2),
    }
    for key, column in columns.items():
        arrays |= _coded(key, column) if column.dtype.kind == "U" else {key: column}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _camera_columns(cameras: Cameras | None) -> dict[str, Array]:
    if cameras is None:
        return {}
    found = {field.name: getattr(cameras, field.name) for field in fields(cameras)}
    columns = {f"camera_{name}": value.cpu().numpy() for name, value in found.items() if isinstance(value, Tensor)}
    return {**columns, "camera_names": np.array(cameras.names, dtype=np.str_)}


def _coded(key: str, column: Array) -> dict[str, Array]:
    """The two arrays of a column of text."""
    places: dict[str, int] = {}
    codes = [places.setdefault(text, len(places)) for text in column.reshape(-1).tolist()]
    texts = "".join(f"{text}\0" for text in places).encode()
    return {
        f"{key}.texts": np.frombuffer(texts, dtype=np.uint8),
        f"{key}.codes": np.array(codes, dtype=np.int32).reshape(column.shape),
    }


def read_labels(path: str | os.PathLike[str]) -> Labels:
    """Read labels. Nothing in the file is unpickled.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such archive, is cut off, holds pickled objects, or its arrays do not fit together.
    """
    path = Path(path)
    stored = read_arrays(path)
    try:
        if stored["format"] != FORMAT:
            raise FormatError(f"format {stored['format']}, this version reads {FORMAT}; install a newer marey")
        return _labels_of({**stored, **_texts(stored)})
    except KeyError as error:
        raise FormatError(f"{path}: no labels of marey: the key {error} is missing") from error
    except (MareyError, ValueError, TypeError, IndexError) as error:
        raise FormatError(f"{path}: {error}") from error


def _texts(stored: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of text by their keys."""
    keys = [key.removesuffix(".codes") for key in stored if key.endswith(".codes")]
    return {key: _decoded(key, stored[f"{key}.texts"], stored[f"{key}.codes"]) for key in keys}


def _decoded(key: str, coded: Array, codes: Array) -> Array:
    if coded.dtype != np.uint8 or codes.dtype.kind not in "iu":
        raise FormatError(f"{key}: expected bytes and integers, got {coded.dtype} and {codes.dtype}")
    texts = coded.tobytes().decode().split("\0")[:-1]
    longest = max(map(len, texts), default=0)
    if 4 * longest * max(codes.size, len(texts)) > MAX_BYTES:
        raise FormatError(f"{key}: {codes.size} texts of up to {longest} characters; the file is damaged")
    if codes.size and not 0 <= codes.min() <= codes.max() < len(texts):
        raise FormatError(f"{key}: expected codes from 0 to {len(texts) - 1}, got {codes.min()} to {codes.max()}")
    return np.array(texts, dtype=np.str_)[codes] if texts else np.zeros(codes.shape, dtype="U1")


def _labels_of(columns: Mapping[str, Array]) -> Labels:
    return Labels(
        name=str(columns["name"]),
        version=str(columns["version"]),
        skeleton=Skeleton(
            str(columns["skeleton"]),
            tuple(columns["joint_names"].tolist()),
            tuple((int(a), int(b)) for a, b in columns["links"]),
            str(columns["skeleton_note"]),
        ),
        images=Images(
            path=columns["images_path"],
            size=columns["images_size"],
            camera=columns["images_camera"],
            sequence=columns["images_sequence"],
            frame=columns["images_frame"],
            moment=columns["images_moment"],
            view=columns.get("images_view"),
        ),
        split=columns["images_split"],
        image=columns["row_image"],
        person=columns["row_person"],
        values={
            key.removeprefix("value_"): column
            for key, column in columns.items()
            if key.startswith("value_") and not key.endswith((".texts", ".codes"))
        },
        cameras=_cameras_of(columns),
    )


def _cameras_of(columns: Mapping[str, Array]) -> Cameras | None:
    if "camera_intrinsics" not in columns:
        return None
    names = [field.name for field in fields(Cameras) if field.name != "names"]
    tensors = {name: torch.as_tensor(columns[key]) for name in names if (key := f"camera_{name}") in columns}
    return Cameras(**tensors, names=tuple(columns["camera_names"].tolist()))
