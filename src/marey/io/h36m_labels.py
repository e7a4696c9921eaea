"""Label files of Learnable Triangulation, `human36m-multiview-labels-*.npy`, and of its fork for CMU Panoptic.

One pickled dict in an npy file, read without running anybody's code (`marey.io.unpickle`):

- `subject_names`, `camera_names`, `action_names`: lists of text; the fork's actions are sequences, without subjects
- `cameras`: records (subjects, cameras), the fork's (sequences, cameras): R (3, 3), t (3, 1), K (3, 3), dist (5), world
  to camera, distortion in the order of OpenCV
- `table`: a record for each moment. Human3.6M: `subject_idx`, `action_idx`, `frame_idx`, `keypoints` (17, 3)
  millimetres, `bbox_by_camera_tlbr` (cameras, 4) top, left, bottom, right. The fork: `action_idx`, `person_id`,
  `frame_name`, `keypoints` (19, 4) centimetres with confidence, `bbox_by_camera_tlbr` (cameras, 5) left, top, right,
  bottom, confidence. An empty box: that camera did not record the moment.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core.cameras import Cameras
from marey.core.errors import FormatError, InputError, MareyError
from marey.core.skeletons import Skeleton, skeleton
from marey.io.atomic import atomic_path
from marey.io.predictions_published import TRIANGULATION_JOINTS
from marey.io.unpickle import read_object_npy

Array = npt.NDArray[Any]

H36M_JOINTS = skeleton("h36m_17").select(TRIANGULATION_JOINTS, "h36m_17_triangulation")
"""Human3.6M's joints in the order of the label file."""

_WRAP = 1 << 16
"""The fork kept frames in 16 bits with a sign, so that those above 32767 came out negative."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiviewLabels:
    """N people at a moment each, seen by C cameras."""

    skeleton: Skeleton
    """Of J joints."""
    subjects: tuple[str, ...]
    """Empty: the cameras belong to the actions, as in CMU Panoptic, whose actions are sequences."""
    actions: tuple[str, ...]
    cameras: Cameras
    """(G, C) of the G subjects, or of the actions where there are no subjects; metres, NaN image size."""
    subject: Array
    """(N,) place in `subjects`; zeros if there are none."""
    action: Array
    """(N,) place in `actions`."""
    frame: Array
    """(N,) 0-based; CMU Panoptic: the number in the names of its files."""
    person: Array
    """(N,) who it is."""
    joints: Array
    """(N, J, 3) metres in the world; NaN: unknown."""
    boxes: Array
    """(N, C, 4) left, top, width, height in pixels; NaN: the camera is missing at this moment."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def group(self) -> Array:
        """(N,) which row of `cameras` recorded the moment."""
        return self.subject if self.subjects else self.action

    def with_cameras(self, cameras: Cameras) -> MultiviewLabels:
        """The same moments seen by other cameras (G, C)."""
        return replace(self, cameras=cameras)


def read_h36m_labels(path: str | os.PathLike[str]) -> MultiviewLabels:
    """Read the label file of Human3.6M that Learnable Triangulation prepares or that others hand on.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such file, holds more than data, or its parts do not fit together.
    """
    path = Path(path)
    content = _content(path, ("subject_names", "camera_names", "action_names", "cameras", "table"))
    subjects, names, actions = (_texts(path, content, f"{key}_names") for key in ("subject", "camera", "action"))
    table = _records(path, content, "table", ("subject_idx", "action_idx", "frame_idx", "keypoints"))
    edges = _boxes(path, table, len(names), 4)
    return MultiviewLabels(
        skeleton=H36M_JOINTS,
        subjects=subjects,
        actions=actions,
        cameras=_cameras(path, content, (len(subjects), len(names)), names, 1000),
        subject=_places(path, table, "subject_idx", len(subjects)),
        action=_places(path, table, "action_idx", len(actions)),
        frame=_frames(path, table["frame_idx"]),
        person=np.zeros(len(table), dtype=np.int64),
        joints=_joints(path, table, len(H36M_JOINTS), 3) / 1000,
        boxes=_spans(edges[..., [1, 0, 3, 2]]),
    )


def read_cmu_labels(path: str | os.PathLike[str]) -> MultiviewLabels:
    """Read the label file of CMU Panoptic that the fork for it prepares; a joint without confidence is unknown.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such file, holds more than data, or its parts do not fit together.
    """
    path = Path(path)
    content = _content(path, ("camera_names", "action_names", "cameras", "table"))
    names, actions = (_texts(path, content, f"{key}_names") for key in ("camera", "action"))
    table = _records(path, content, "table", ("action_idx", "person_id", "frame_name", "keypoints"))
    order = skeleton("panoptic_19")
    points = _joints(path, table, len(order), 4)
    return MultiviewLabels(
        skeleton=order,
        subjects=(),
        actions=actions,
        cameras=_cameras(path, content, (len(actions), len(names)), names, 100),
        subject=np.zeros(len(table), dtype=np.int64),
        action=_places(path, table, "action_idx", len(actions)),
        frame=_frames(path, table["frame_name"]),
        person=table["person_id"].astype(np.int64),
        joints=np.where(points[..., 3:] > 0, points[..., :3] / 100, np.nan),
        boxes=_spans(_boxes(path, table, len(names), 5)[..., :4]),
    )


def _content(path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
    array = read_object_npy(path, allowed=())
    content = array.item() if array.dtype == object and array.shape == () else None
    if not isinstance(content, dict):
        raise FormatError(
            f"{path}: expected one dict, as np.save(path, {{...}}) writes it, got {array.dtype} {array.shape}"
        )
    if absent := [key for key in keys if key not in content]:
        raise FormatError(
            f"{path}: no label file of this kind: lacks {', '.join(absent)}, has {', '.join(map(str, content))}"
        )
    return content


def _texts(path: Path, content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    names = content[key]
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{path}: '{key}': expected a list of text, got {names!r:.80}")
    return tuple(names)


def _records(path: Path, content: Mapping[str, Any], key: str, fields: Sequence[str]) -> Array:
    table = content[key]
    names = table.dtype.names if isinstance(table, np.ndarray) else None
    if names is None:
        raise FormatError(f"{path}: '{key}': expected an array of records, got {type(table).__name__}")
    if absent := [field for field in fields if field not in names]:
        raise FormatError(f"{path}: '{key}': lacks {', '.join(absent)}, has {', '.join(names)}")
    records: Array = table
    return records


def _cameras(
    path: Path, content: Mapping[str, Any], shape: tuple[int, int], names: tuple[str, ...], per_metre: float
) -> Cameras:
    records = _records(path, content, "cameras", ("R", "t", "K", "dist"))
    if records.shape != shape:
        raise FormatError(f"{path}: 'cameras': expected {shape} of these names, got {records.shape}")
    parts = {field: torch.from_numpy(records[field].astype(np.float64)) for field in ("R", "t", "K", "dist")}
    try:
        return Cameras(
            intrinsics=parts["K"],
            distortion=parts["dist"],
            image_size=torch.full((*shape, 2), torch.nan, dtype=torch.float64),
            rotation=parts["R"],
            translation=parts["t"].reshape(*shape, 3) / per_metre,
            names=names,
        )
    except (MareyError, RuntimeError) as error:
        raise FormatError(f"{path}: 'cameras': {error}") from error


def _places(path: Path, table: Array, field: str, count: int) -> Array:
    places: Array = table[field].astype(np.int64)
    if len(bad := np.flatnonzero((places < 0) | (places >= count))):
        raise FormatError(
            f"{path}: '{field}' of rows {bad[:5].tolist()} is {places[bad[0]]}, expected 0 to {count - 1}; "
            "the names are of another version of the file"
        )
    return places


def _frames(path: Path, stored: Array) -> Array:
    frames: Array = stored.astype(np.int64)
    wrapped = frames < 0
    if wrapped.any() and stored.dtype.itemsize == 2:
        warnings.warn(f"{path}: {wrapped.sum()} frames above 32767 had come out negative; restored", stacklevel=3)
        frames = np.where(wrapped, frames + _WRAP, frames)
    elif wrapped.any():
        raise FormatError(f"{path}: rows {np.flatnonzero(wrapped)[:5].tolist()} have a negative frame")
    return frames


def _joints(path: Path, table: Array, count: int, size: int) -> Array:
    points = table["keypoints"]
    if points.shape[1:] != (count, size):
        raise FormatError(f"{path}: 'keypoints': expected (N, {count}, {size}), got {points.shape}")
    joints: Array = points.astype(np.float64)
    return joints


def _boxes(path: Path, table: Array, cameras: int, size: int) -> Array:
    """(N, cameras, size) as stored."""
    if "bbox_by_camera_tlbr" not in (table.dtype.names or ()):
        raise FormatError(f"{path}: 'table': lacks bbox_by_camera_tlbr; run the preparation that adds the boxes")
    boxes: Array = table["bbox_by_camera_tlbr"].astype(np.float64)
    if boxes.shape[1:] != (cameras, size):
        raise FormatError(f"{path}: 'bbox_by_camera_tlbr': expected (N, {cameras}, {size}), got {boxes.shape}")
    return boxes


def _spans(edges: Array) -> Array:
    """Left, top, right, bottom to left, top, width, height; NaN where nothing is between them."""
    sides = edges[..., 2:] - edges[..., :2]
    empty = (sides <= 0).any(-1, keepdims=True)
    spans: Array = np.where(empty, np.nan, np.concatenate((edges[..., :2], sides), axis=-1))
    return spans


def write_h36m_labels(path: str | os.PathLike[str], labels: MultiviewLabels) -> None:
    """Write the label file that Learnable Triangulation reads; joints are matched by name.

    Raises:
        InputError: the file cannot be written, or a frame or a box does not fit into the format's 16 bits.
    """
    count, names = len(labels), labels.cameras.names
    table = np.zeros(count, dtype=_table_type(len(names)))
    table["subject_idx"], table["action_idx"] = labels.subject, labels.action
    table["frame_idx"] = _fitting("frame", labels.frame)
    table["keypoints"] = labels.joints[:, labels.skeleton.indices(TRIANGULATION_JOINTS)] * 1000
    spans = np.nan_to_num(labels.boxes, nan=0.0)
    edges = _fitting("box", np.rint(np.concatenate((spans[..., :2], spans[..., :2] + spans[..., 2:]), axis=-1)))
    table["bbox_by_camera_tlbr"] = edges[..., [1, 0, 3, 2]]
    content = {
        "subject_names": list(labels.subjects),
        "camera_names": list(names),
        "action_names": list(labels.actions),
        "cameras": _camera_records(labels.cameras),
        "table": table,
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(content, dtype=object), allow_pickle=True)


def _table_type(cameras: int) -> np.dtype[Any]:
    joints = (len(TRIANGULATION_JOINTS), 3)
    return np.dtype(
        [
            ("subject_idx", np.int8),
            ("action_idx", np.int8),
            ("frame_idx", np.int16),
            ("keypoints", np.float32, joints),
            ("bbox_by_camera_tlbr", np.int16, (cameras, 4)),
        ]
    )


def _camera_records(cameras: Cameras) -> Array:
    shapes = {"R": (3, 3), "t": (3, 1), "K": (3, 3), "dist": (5,)}
    records = np.zeros(tuple(cameras.batch_shape), dtype=[(name, np.float32, size) for name, size in shapes.items()])
    rotation, translation = cameras.extrinsics
    records["R"], records["t"] = rotation.numpy(), translation[..., None].numpy() * 1000
    records["K"] = cameras.intrinsics.numpy()
    records["dist"][..., : cameras.distortion.shape[-1]] = cameras.distortion.numpy()
    return records


def _fitting(what: str, values: Array) -> Array:
    """The values, if 16 bits with a sign hold them; the fork for CMU Panoptic lost frames for want of this."""
    limit = np.iinfo(np.int16)
    if len(bad := np.flatnonzero(((values < limit.min) | (values > limit.max)).reshape(len(values), -1).any(-1))):
        raise InputError(f"{what}: rows {bad[:5].tolist()} are beyond {limit.max}, the most that this format holds")
    return values
