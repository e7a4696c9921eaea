"""`estimate.npz`: the whole result in one NumPy archive without pickle, so that opening it runs nobody's code.

Keys (unknown values NaN; what an estimate lacks is absent):

=========================  =====================================================================================
`format`                   1
`joints`                   (T, P, J, 3) metres in the world frame
`covariance`               (T, P, J, 3, 3) square metres
`score`, `filled`          (T, P, J); 0..1, boolean
`joint_names`, `links`     (J,) text, (L, 2) indices; with `skeleton` and `skeleton_note`, text
`frames`, `fps`            (T,) indices in the recording; frames per second, NaN if unknown
`residuals`, `weights`     (V, T, P, J) pixels; 0..1
`keypoints`                (V, T, P, J, 2) pixels, with `keypoints_covariance`, `keypoints_score`, ...
`camera_*`                 (V, ...) names, intrinsics, distortion, image_size, rotation, translation, fisheye
`body_*`                   (T, P, ...) orientation, pose, shape, translation
`samples`                  (S, T, P, J, 3) metres
`provenance`, `notes`      JSON text; (N,) text
=========================  =====================================================================================
"""

from __future__ import annotations

import json
import math
import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.cameras import Cameras
from marey.core.errors import FormatError, InputError, MareyError
from marey.core.evidence import Keypoints2D
from marey.core.results import BodyState, Diagnostics, Estimate, Joints3D
from marey.core.skeletons import Skeleton
from marey.core.tensors import TensorFields
from marey.io.archives import opened_archive, read_npy_header
from marey.io.atomic import atomic_path

FORMAT = 1
MAX_BYTES = 16 << 30
"""Archives that unpack to more than this are refused before anything is unpacked."""

Arrays = dict[str, npt.NDArray[Any]]


def write_estimate_npz(path: str | os.PathLike[str], estimate: Estimate) -> None:
    """Write an estimate; the keys are listed at the top of this module.

    Raises:
        InputError: the file cannot be written, or the provenance is not JSON.
    """
    arrays = _arrays_of(estimate)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _arrays_of(estimate: Estimate) -> Arrays:
    joints = estimate.joints
    try:
        provenance = json.dumps(dict(estimate.provenance), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"provenance: expected what JSON can hold, got {estimate.provenance!r}: {error}") from error
    arrays: Arrays = {
        "format": np.array(FORMAT),
        "joints": _numpy(joints.positions),
        "covariance": _numpy(joints.covariance),
        "score": _numpy(joints.score),
        "filled": _numpy(joints.filled).astype(bool),
        "frames": np.array(estimate.frames, dtype=np.int64),
        "fps": np.array(np.nan if estimate.fps is None else estimate.fps, dtype=np.float64),
        "provenance": np.array(provenance),
        "notes": _texts(estimate.notes),
        **_skeleton_arrays(joints.skeleton),
    }
    if estimate.diagnostics is not None:
        arrays |= _fields_of(estimate.diagnostics, "")
    if estimate.cameras is not None:
        arrays |= {**_fields_of(estimate.cameras, "camera_"), "camera_names": _texts(estimate.cameras.names)}
    if estimate.body is not None:
        arrays |= _fields_of(estimate.body, "body_")
    if estimate.samples is not None:
        arrays["samples"] = _numpy(estimate.samples)
    if estimate.keypoints is not None:
        evidence = _fields_of(estimate.keypoints, "keypoints_")
        arrays |= {"keypoints": evidence.pop("keypoints_positions"), **evidence}
        arrays |= {f"keypoints_{key}": array for key, array in _skeleton_arrays(estimate.keypoints.skeleton).items()}
    return arrays


def _skeleton_arrays(skeleton: Skeleton) -> Arrays:
    return {
        "skeleton": np.array(skeleton.name),
        "skeleton_note": np.array(skeleton.note),
        "joint_names": _texts(skeleton.joints),
        "links": np.array(skeleton.links, dtype=np.int64).reshape(-1, 2),
    }


def _fields_of(container: TensorFields, prefix: str) -> Arrays:
    """The tensors of a container that holds no other container, by field name."""
    values = {field.name: getattr(container, field.name) for field in fields(container)}
    return {prefix + name: _numpy(value) for name, value in values.items() if isinstance(value, Tensor)}


def _numpy(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return array


def _texts(texts: tuple[str, ...]) -> npt.NDArray[Any]:
    return np.array(texts, dtype=np.str_)


def read_estimate_npz(path: str | os.PathLike[str]) -> Estimate:
    """Read an estimate. Nothing in the file is unpickled: an archive that holds Python objects is refused.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such an archive, is cut off, holds pickled objects, or its arrays do not fit together.
    """
    path = Path(path)
    arrays = read_arrays(path)
    try:
        if arrays["format"] != FORMAT:
            raise FormatError(f"format {arrays['format']}, this version reads {FORMAT}; install a newer marey")
        return _estimate_of(arrays)
    except KeyError as error:
        raise FormatError(f"{path}: not an estimate of marey: the key {error} is missing") from error
    except (MareyError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: {error}") from error


def read_arrays(path: Path) -> Arrays:
    """Read every array of an npz archive, without pickle.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such archive, is cut off, unpacks to more than 16 GiB, or holds pickled objects.
    """
    with opened_archive(path, most_bytes=MAX_BYTES) as archive:
        return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in archive.infolist()}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """One array, whose bytes are there and whose text is text: NumPy checks neither before it takes memory."""
    with archive.open(entry) as member:
        shape, _, element = read_npy_header(member, entry.filename)
        if element.hasobject:
            raise FormatError(f"'{entry.filename}' holds pickled Python objects, which are never loaded")
        if math.prod(shape) * max(element.itemsize, 1) > entry.file_size:
            raise FormatError(f"'{entry.filename}' promises {shape} of {element}, more than it has")
    with archive.open(entry) as member:
        array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    if array.dtype.kind == "U" and array.size:
        points = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(-1).view(np.uint32)
        if points.size and points.max() > sys.maxunicode:
            raise FormatError(f"'{entry.filename}' holds what is no text; the file is damaged")
    return array


def _estimate_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Estimate:
    fps = float(arrays["fps"])
    tensors = {key: torch.as_tensor(array) for key, array in arrays.items() if array.dtype.kind in "fbi"}
    names = tuple(arrays.get("camera_names", np.array([], dtype=np.str_)).tolist())
    frames = tuple(arrays["frames"].tolist())
    joints = Joints3D(
        positions=tensors["joints"],
        covariance=tensors["covariance"],
        score=tensors["score"],
        filled=tensors["filled"],
        skeleton=_skeleton_of(arrays, ""),
    )
    if frames and len(frames) != joints.batch_shape[0]:
        raise FormatError(f"{len(frames)} frame indices for {joints.batch_shape[0]} frames")
    return Estimate(
        joints=joints,
        cameras=Cameras(**_picked(tensors, Cameras, "camera_"), names=names)
        if "camera_intrinsics" in tensors
        else None,
        keypoints=_keypoints_of(arrays, tensors),
        diagnostics=Diagnostics(**_picked(tensors, Diagnostics, "")) if "residuals" in tensors else None,
        body=BodyState(**_picked(tensors, BodyState, "body_")) if "body_pose" in tensors else None,
        samples=tensors.get("samples"),
        fps=None if np.isnan(fps) else fps,
        frames=frames,
        notes=tuple(arrays["notes"].tolist()),
        provenance=json.loads(str(arrays["provenance"])),
    )


def _picked(tensors: Mapping[str, Tensor], kind: type[TensorFields], prefix: str) -> dict[str, Any]:
    return {field.name: tensors[prefix + field.name] for field in fields(kind) if prefix + field.name in tensors}


def _keypoints_of(arrays: Mapping[str, npt.NDArray[Any]], tensors: Mapping[str, Tensor]) -> Keypoints2D | None:
    if "keypoints" not in tensors:
        return None
    return Keypoints2D(
        positions=tensors["keypoints"],
        covariance=tensors["keypoints_covariance"],
        score=tensors["keypoints_score"],
        skeleton=_skeleton_of(arrays, "keypoints_"),
    )


def _skeleton_of(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> Skeleton:
    links = tuple((int(a), int(b)) for a, b in arrays[f"{prefix}links"])
    joints = tuple(str(joint) for joint in arrays[f"{prefix}joint_names"])
    return Skeleton(str(arrays[f"{prefix}skeleton"]), joints, links, str(arrays[f"{prefix}skeleton_note"]))
