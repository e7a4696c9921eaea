"""Prediction files of published programs, as rows of poses.

- MeTRAbs, `predictions_<data set>.npz`: poses and truth in millimetres, one row an example
- Learnable Triangulation, `results.pkl`: poses in the labels' unit, and their indices in the labels
- 3DPW's challenge, `<split>/<sequence>.pkl`: `jointPositions` of all people in all frames, metres
- COCO, `result_keypoints.json` and `person_keypoints_*.json`: keypoints by image

Pickles are read without running anybody's code (`marey.io.unpickle`).
"""

from __future__ import annotations

import os
import pickle
import pickletools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError, ShapeError
from marey.core.skeletons import skeleton
from marey.io.atomic import atomic_path
from marey.io.coco import CocoAnnotations, read_coco_annotations, read_coco_results
from marey.io.predictions import PoseRows, pose_rows, project_by_sequence
from marey.io.unpickle import read_object_npz, restricted_load

Array = npt.NDArray[Any]

MetrabsData = Literal["h36m", "3dhp", "mupots"]

METRABS_JOINTS: Mapping[str, tuple[str, ...]] = {
    "h36m": (
        "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "neck", "head",
        "head_top", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
        "pelvis",
    ),
    "3dhp": (*skeleton("mpi_inf_3dhp_17").joints[:14], "spine1", "head", "pelvis"),
    "mupots": (*skeleton("mpi_inf_3dhp_17").joints[:14], "spine1", "head", "pelvis"),
}  # fmt: skip
"""In its files the pelvis is always last."""

TRIANGULATION_JOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "neck",
    "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "head",
)  # fmt: skip
"""The first 16 are its kind `mpii`."""

COCO_SEQUENCE = "coco"
"""The one sequence of images without an order."""

_NUMBER = re.compile(r"(\d+)(?=\D*$)")


def read_metrabs_predictions(
    path: str | os.PathLike[str], data: MetrabsData, *, intrinsics: Mapping[str, npt.ArrayLike] | None = None
) -> tuple[PoseRows, PoseRows | None]:
    """Predictions and labels of MeTRAbs's test run.

    The sequence is the folder of an image below the data set's, its frame the last number of its name (one less of
    MPI-INF-3DHP, whose images count from 1). Human3.6M is read in the world's frame, the others in the camera's. The
    file of MuPoTS holds detections without truth, so its labels are None.

    Args:
        path: The archive.
        data: Of which data set it is.
        intrinsics: (3, 3) by sequence: with them predictions get `keypoints`, where they fall in the image, by which
            MuPoTS matches.

    Raises:
        InputError: the file cannot be read, or a sequence has no intrinsics.
        FormatError: it is not such a file, or its arrays do not fit together.
    """
    path = Path(path)
    arrays = read_object_npz(path)
    end = "_world" if data == "h36m" else ""
    wanted = ("image_path", f"coords3d_pred{end}", f"coords3d_true{end}")
    if absent := [key for key in wanted if key not in arrays]:
        raise FormatError(f"{path}: no predictions of MeTRAbs: lacks {', '.join(absent)}, has {', '.join(arrays)}")
    names = METRABS_JOINTS[data]
    poses = [_poses(path, key, arrays[key], (len(names), 3)) / 1000 for key in wanted[1:]]
    sequence, frame = _places(path, arrays["image_path"], data, len(poses[0]))
    words = {"activity_name": "action" if data == "h36m" else "activity", "scene_name": "scene"}
    about: dict[str, Any] = {ours: _texts(arrays[theirs]) for theirs, ours in words.items() if theirs in arrays}
    if "joint_validity_mask" in arrays:
        about["visible"] = _poses(path, "joint_validity_mask", arrays["joint_validity_mask"], (len(names),)) > 0
    if data == "h36m":
        about["subject"] = np.array([name.split("/")[0] for name in sequence.tolist()], dtype=np.str_)
    keys: dict[str, Any] = {"joint_names": names, "sequence": sequence, "frame": frame}
    pixels: dict[str, Any] = {}
    if intrinsics is not None:
        try:
            pixels["keypoints"] = project_by_sequence(poses[0], sequence, intrinsics)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    predictions = pose_rows(poses[0], **keys, **pixels)
    return predictions, None if data == "mupots" else pose_rows(poses[1], **keys, **about)


def write_metrabs_predictions(
    path: str | os.PathLike[str],
    image_path: Sequence[str],
    *,
    camera: tuple[npt.ArrayLike, npt.ArrayLike],
    world: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    activity_name: Sequence[str] | None = None,
    scene_name: Sequence[str] | None = None,
    joint_validity_mask: npt.ArrayLike | None = None,
) -> None:
    """Write a file as MeTRAbs's test run does and its evaluation programs read: rows sorted by path, millimetres.

    Args:
        path: `predictions_<data set>.npz`.
        image_path: (N,), below the folder that holds the data sets' folders.
        camera: Predicted and true joints (N, J, 3) in the camera's frame, metres, joints in the order of
            `METRABS_JOINTS`; NaN where there is no truth.
        world: The same in the world's; None: the cameras' places are not known, and those in the camera stand for them.
        activity_name: (N,); None: empty.
        scene_name: (N,); None: empty.
        joint_validity_mask: (N, J) whether there is truth; None: where it is finite.

    Raises:
        InputError: the file cannot be written.
        ShapeError: there is not one entry a row, or poses are of different joints.
    """
    poses = [np.asarray(found, dtype=np.float64) for found in (*camera, *(camera if world is None else world))]
    count = len(image_path)
    if poses[0].ndim != 3 or poses[0].shape[2] != 3 or any(found.shape != poses[0].shape for found in poses):
        raise ShapeError(f"poses: expected (N, J, 3) of all four, got {[found.shape for found in poses]}")
    known = np.isfinite(poses[1]).all(-1) if joint_validity_mask is None else np.asarray(joint_validity_mask)
    columns = {
        "image_path": np.array(image_path, dtype=np.str_),
        **{
            f"coords3d_{name}": (1000 * found).astype(np.float32)
            for name, found in zip(("pred", "true", "pred_world", "true_world"), poses, strict=True)
        },
        "activity_name": np.array([""] * count if activity_name is None else activity_name, dtype=np.str_),
        "scene_name": np.array([""] * count if scene_name is None else scene_name, dtype=np.str_),
        "joint_validity_mask": known.astype(bool),
    }
    if uneven := [name for name, column in columns.items() if len(column) != count]:
        raise ShapeError(f"{', '.join(uneven)}: expected {count} entries, one an image")
    order = np.argsort(columns["image_path"], kind="stable")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **{name: column[order] for name, column in columns.items()})


def _places(path: Path, images: Array, data: str, count: int) -> tuple[Array, Array]:
    """(N,) sequence and frame from the paths of images."""
    names = [name.replace("\\", "/") for name in _texts(images).tolist()]
    if len(names) != count:
        raise FormatError(f"{path}: 'image_path' has {len(names)} entries for {count} poses")
    frames = [_NUMBER.search(name.rsplit("/", 1)[-1]) for name in names]
    if bad := [name for name, found in zip(names, frames, strict=True) if found is None]:
        raise FormatError(f"{path}: the name of {len(bad)} images holds no frame number, such as '{bad[0]}'")
    folders = [name.rsplit("/", 1)[0] if "/" in name else "" for name in names]
    below = [_below(folder.split("/"), data) for folder in folders]
    numbers = np.array([int(found[1]) for found in frames if found], dtype=np.int64)
    return np.array(below, dtype=np.str_), numbers - 1 if data == "3dhp" else numbers


def _below(folders: Sequence[str], data: str) -> str:
    """What of a path names the sequence: all below the data set's folder, without the folder of images."""
    places = [place for place, folder in enumerate(folders) if folder.split("_downscaled")[0] == data]
    kept = folders[places[-1] + 1 :] if places else folders
    return "/".join(folder for folder in kept if folder not in ("", ".", "Images", "imageSequence"))


@dataclass(frozen=True, kw_only=True, eq=False)
class TriangulationResults:
    """What a `results.pkl` holds, in its order and unit."""

    joints: Array
    """(N, J, 3) in the unit of its labels: millimetres with Human3.6M, centimetres with CMU Panoptic."""
    indices: Array
    """(N,) places in its data set."""
    views: Mapping[str, Array] = field(default_factory=dict)
    """By `PoseRows`' names: `view_keypoints` (N, V, J, 2) pixels and `view_weights` (N, V, J), if the file has them as
    `keypoints_2d` and `confidences`."""


def read_triangulation_file(path: str | os.PathLike[str]) -> TriangulationResults:
    """Read a `results.pkl` of Learnable Triangulation as it is.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such pickle.
    """
    path = Path(path)
    document = restricted_load(path)
    if not isinstance(document, dict) or not {"keypoints_3d", "indexes"} <= set(document):
        raise FormatError(f"{path}: expected a dict with 'keypoints_3d' and 'indexes', as results.pkl holds it")
    joints, indices = _array(path, document, "keypoints_3d"), _array(path, document, "indexes")
    if joints.ndim != 3 or joints.shape[2] not in (3, 4) or joints.dtype.kind not in "fiu":
        raise FormatError(f"{path}: 'keypoints_3d': expected (N, J, 3), got {joints.shape} of {joints.dtype}")
    if indices.shape != joints.shape[:1] or indices.dtype.kind not in "iu":
        raise FormatError(f"{path}: 'indexes': expected ({len(joints)},) integers, got {indices.shape}")
    return TriangulationResults(
        joints=joints[..., :3].astype(np.float64), indices=indices, views=_views(path, document, joints.shape[:2])
    )


def _array(path: Path, document: Mapping[str, Any], key: str) -> Array:
    try:
        return np.asarray(document[key])
    except ValueError as error:
        raise FormatError(f"{path}: '{key}' is no array: {error}") from error


def _views(path: Path, document: Mapping[str, Any], shape: tuple[int, ...]) -> dict[str, Array]:
    """What the file tells of single views, by our names."""
    found = {}
    for theirs, ours, tail in (("keypoints_2d", "view_keypoints", (2,)), ("confidences", "view_weights", ())):
        if theirs in document:
            array = _array(path, document, theirs)
            if (array.shape[:1] + array.shape[2:]) != (*shape, *tail) or array.dtype.kind not in "fiu":
                wanted = ", ".join(map(str, (shape[0], "V", shape[1], *tail)))
                raise FormatError(f"{path}: '{theirs}': expected ({wanted}), got {array.shape} of {array.dtype}")
            found[ours] = array.astype(np.float64)
    return found


def read_triangulation_results(
    path: str | os.PathLike[str], labels: PoseRows, *, millimetres: bool = True, joint_names: Sequence[str] = ()
) -> PoseRows:
    """Predictions of Learnable Triangulation, `results.pkl` of an epoch's folder.

    Args:
        path: The pickle: `keypoints_3d` (N, J, 3) and `indexes` (N,) of the labels' rows.
        labels: In the order of its data set; they give sequence, frame and person, and the names of the joints if they
            have as many.
        millimetres: Its unit with Human3.6M; otherwise centimetres, as CMU Panoptic has them.
        joint_names: (J,); none: those of Human3.6M if there are 17, of its kind `mpii` if 16, else those of the labels.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such pickle, has another number of joints, or its indices are beyond the labels.
    """
    found = read_triangulation_file(path)
    indices = found.indices
    if len(bad := np.flatnonzero((indices < 0) | (indices >= len(labels)))):
        raise FormatError(
            f"{path}: rows {bad[:5].tolist()} have indices such as {indices[bad[0]]}, the labels have {len(labels)} "
            "rows; are they of another version, or thinned?"
        )
    return pose_rows(
        found.joints / (1000 if millimetres else 100),
        joint_names=_triangulation_names(Path(path), found.joints.shape[1], labels, joint_names),
        sequence=labels.sequence[indices],
        frame=labels.frame[indices],
        person=labels.person[indices],
        benchmark=labels.benchmark,
        **dict[str, Any](found.views),
    )


def write_triangulation_results(
    path: str | os.PathLike[str], predictions: PoseRows, indices: Array, *, millimetres: bool = True
) -> None:
    """Write predictions as the `results.pkl` that Learnable Triangulation writes and reads, in pickle protocol 4.

    Human3.6M's 17 joints, and the 16 of `mpii`, come in its order; other joints in theirs.

    Args:
        path: The file.
        predictions: N rows.
        indices: (N,) their places in the data set.
        millimetres: The unit; otherwise centimetres, as it has them with CMU Panoptic.

    Raises:
        InputError: the file cannot be written.
        ShapeError: there is not one place a row.
    """
    if indices.shape != (len(predictions),):
        raise ShapeError(f"indices: expected ({len(predictions)},), one a row, got {indices.shape}")
    names = predictions.joint_names
    order = [name for name in TRIANGULATION_JOINTS if name in names]
    places = [names.index(name) for name in (order if len(order) == len(names) in (16, 17) else names)]
    joints = predictions.values["joints"][:, places] * (1000 if millimetres else 100)
    document = {"keypoints_3d": joints.astype(np.float32), "indexes": indices.astype(np.int64)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(_for_old_numpy(pickle.dumps(document, protocol=4)))


def _for_old_numpy(stream: bytes) -> bytes:
    """The pickle with arrays that NumPy 1 finds too: NumPy 2 calls `numpy._core` what both know as `numpy.core`."""
    found = [(opcode.name, argument, start or 0) for opcode, argument, start in pickletools.genops(stream)]
    ends = [*(start for *_, start in found[1:]), len(stream)]
    parts = []
    for (name, argument, start), end in zip(found, ends, strict=True):
        if name == "SHORT_BINUNICODE" and argument == "numpy._core.multiarray":
            parts.append(b"\x8c\x15numpy.core.multiarray")
        elif name != "FRAME":  # frames are optional, and their lengths would no longer hold
            parts.append(stream[start:end])
    return b"".join(parts)


def _triangulation_names(path: Path, count: int, labels: PoseRows, names: Sequence[str]) -> tuple[str, ...]:
    if names:
        if count != len(names):
            raise FormatError(f"{path}: {count} joints; expected {len(names)}: {', '.join(names)}")
        return tuple(names)
    if count in (16, 17):
        return TRIANGULATION_JOINTS[:count]
    if count != len(labels.joint_names):
        raise FormatError(f"{path}: {count} joints; known are 17 (human36m), 16 (mpii) and as many as the labels have")
    return labels.joint_names


def read_pw3d_predictions(path: str | os.PathLike[str], *, labels: PoseRows | None = None) -> PoseRows:
    """Predictions in the form of 3DPW's challenge: one pickle, or a folder of them, also in a folder a split.

    Args:
        path: `<sequence>.pkl` with `jointPositions` (people, frames, 24, 3) in metres, camera frame.
        labels: Keep only the rows that these ask for, since the files hold every frame; None: all.

    Raises:
        InputError: there are no such files, or they cannot be read.
        FormatError: one holds something else.
    """
    path = Path(path)
    files = sorted(path.rglob("*.pkl")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: no .pkl files; expected one a sequence")
    parts = [_pw3d_rows(file) for file in files]
    rows = pose_rows(
        np.concatenate([joints for joints, *_ in parts]),
        joint_names=skeleton("smpl_24").joints,
        sequence=np.concatenate(
            [np.full(len(joints), file.stem) for file, (joints, *_) in zip(files, parts, strict=True)]
        ),
        frame=np.concatenate([frame for _, frame, _ in parts]),
        person=np.concatenate([person for *_, person in parts]),
    )
    return rows if labels is None else only_asked_for(rows, labels)


def _pw3d_rows(file: Path) -> tuple[Array, Array, Array]:
    document = restricted_load(file)
    if not isinstance(document, dict) or "jointPositions" not in document:
        raise FormatError(f"{file}: expected a dict with 'jointPositions'")
    try:
        joints = np.asarray(document["jointPositions"], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise FormatError(f"{file}: 'jointPositions' is no array of numbers: {error}") from error
    if joints.ndim != 4 or joints.shape[2:] != (24, 3):
        raise FormatError(f"{file}: 'jointPositions': expected (people, frames, 24, 3), got {joints.shape}")
    person, frame = np.indices(joints.shape[:2]).reshape(2, -1)
    return joints.reshape(-1, 24, 3), frame, person


def write_pw3d_predictions(path: str | os.PathLike[str], joints: npt.ArrayLike) -> None:
    """Write the predictions of a sequence as the program of 3DPW's challenge reads them, in pickle protocol 4.

    Args:
        path: `<split>/<sequence>.pkl`.
        joints: (people, frames, 24, 3) of SMPL, metres, camera frame.

    Raises:
        InputError: the file cannot be written.
        ShapeError: they are other joints.
    """
    array = np.asarray(joints, dtype=np.float64)
    if array.ndim != 4 or array.shape[2:] != (24, 3):
        raise ShapeError(f"joints: expected (people, frames, 24, 3), got {array.shape}")
    with atomic_path(path) as temporary:
        temporary.write_bytes(_for_old_numpy(pickle.dumps({"jointPositions": array}, protocol=4)))


def only_asked_for(rows: PoseRows, labels: PoseRows) -> PoseRows:
    """The rows whose sequence, frame and person the labels have, for files that hold every frame."""
    keys = [list(zip(side.sequence, side.frame, side.person, strict=True)) for side in (rows, labels)]
    wanted = set(keys[1])
    return rows[np.array([key in wanted for key in keys[0]], dtype=bool)]


def read_coco_predictions(path: str | os.PathLike[str], *, sequence: str = COCO_SEQUENCE) -> PoseRows:
    """Detected people of a list of COCO results; the frame is the image's id.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a list, or an entry is malformed.
    """
    found = read_coco_results(path)
    return pose_rows(
        keypoint_names=skeleton("coco_17").joints,
        sequence=[sequence] * len(found.scores),
        frame=found.image_ids,
        keypoints=found.positions,
        score=found.scores,
    )


def read_coco_labels(path: str | os.PathLike[str], *, sequence: str = COCO_SEQUENCE) -> PoseRows:
    """Annotated people of COCO; an image in which nobody is annotated is one row with person -1.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no annotation file, or lacks areas or boxes.
    """
    return coco_label_rows(read_coco_annotations(path), sequence=sequence)


def coco_label_rows(found: CocoAnnotations, *, sequence: str = COCO_SEQUENCE) -> PoseRows:
    """As `read_coco_labels`, of annotations that were read."""
    people = pose_rows(sequence=[sequence] * len(found.ids), frame=found.image_ids)
    empty = np.setdiff1d(np.array(list(found.images), dtype=np.int64), found.image_ids)
    none, order = len(empty), skeleton("coco_17").joints
    return pose_rows(
        keypoint_names=order,
        sequence=[sequence] * (len(people) + none),
        frame=np.concatenate((people.frame, empty)),
        person=np.concatenate((people.person, np.full(none, -1))),
        keypoints=np.concatenate((found.positions, np.full((none, len(order), 2), np.nan))),
        keypoints_visibility=np.concatenate((found.visibility, np.zeros((none, len(order)), dtype=np.int64))),
        area=np.concatenate((found.area, np.zeros(none))),
        box=np.concatenate((found.boxes, np.zeros((none, 4)))),
        crowd=np.concatenate((found.crowd, np.zeros(none, dtype=bool))),
    )


def _texts(array: Array) -> Array:
    """Text of an array of text, bytes or objects that are either."""
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in array.tolist()]
    return np.array(words, dtype=np.str_)


def _poses(path: Path, key: str, array: Array, shape: tuple[int, ...]) -> Array:
    if array.ndim != 1 + len(shape) or array.shape[1:] != shape or array.dtype.kind not in "fiub":
        raise FormatError(f"{path}: '{key}': expected (N, {', '.join(map(str, shape))}), got {array.shape}")
    numbers: Array = array.astype(np.float64)
    return numbers
