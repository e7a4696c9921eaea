"""HumanData archives as labels and back: the annotation files of mmhuman3d and 3DNBF, `spin_*.npz`, `eft_*.npz`.

An archive lists people, each with the path of its image relative to the folder of its data set, a box, keypoints among
190 joints and SMPL parameters in the camera's frame. It knows neither takes nor cameras: each image becomes a frame of
the sequence that its folder is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Boxes, FormatError, InputError, Joints3D, Keypoints2D, Skeleton
from marey.data.labels import Images, Labels
from marey.io.human_data import HumanData, human_data_skeleton, read_human_data, write_human_data
from marey.io.image_headers import IMAGE_SUFFIXES, read_image_header
from marey.io.predictions import places_in_groups

Array = npt.NDArray[Any]

_GENDERS = {"m": "m", "male": "m", "f": "f", "female": "f", "n": "n", "neutral": "n"}
_BODY = {
    "global_orient": ("smpl_orientation", 3),
    "body_pose": ("smpl_pose", 69),
    "betas": ("smpl_shape", 10),
    "transl": ("smpl_translation", 3),
}


def labels_of_human_data(
    path: str | os.PathLike[str], *, split: str, folder: str = "", name: str | None = None, source: str | None = None
) -> Labels:
    """Read an archive as labels.

    Args:
        path: The archive.
        split: train, validation or test: the archive does not say.
        folder: Of the images, relative to where the labels will be written; put before their paths.
        name: Of the labels; None: the file's.
        source: Which keypoints, such as `original` or `smpl`; None: the first that is there.

    Returns:
        Rows in the archive's order; a joint is `visible` where its confidence is not 0. The size of images is unknown.

    Raises:
        InputError: the file cannot be read, or has no keypoints of that source.
        FormatError: it is no such archive, has no paths, or its parts are not of as many people.
    """
    path = Path(path)
    data = read_human_data(path)
    if not data.image_paths:
        raise FormatError(f"{path}: 'image_path' is missing; labels need the images of the people")
    paths, image = np.unique(np.array([entry.replace("\\", "/") for entry in data.image_paths]), return_inverse=True)
    image = image.reshape(-1).astype(np.int64)
    bones, values = _keypoint_values(path, data, source)
    values |= _box_values(data) | _body_values(path, data, len(image))
    return Labels(
        name=name or path.stem,
        version="HumanData",
        skeleton=bones,
        images=_images(paths, folder),
        split=np.full(len(paths), split),
        image=image,
        person=places_in_groups(image),
        values=values,
    )


def _images(paths: Array, folder: str) -> Images:
    sequence = np.array([entry.rpartition("/")[0] for entry in paths.tolist()], dtype=np.str_)
    return Images(
        path=np.char.add(f"{folder.rstrip('/')}/" if folder else "", paths),
        size=np.zeros((len(paths), 2), dtype=np.int64),
        camera=np.full(len(paths), -1),
        sequence=sequence,
        frame=_frames(paths, sequence),
        moment=np.arange(len(paths)),
    )


def _frames(paths: Array, sequence: Array) -> Array:
    """(I,) the numbers that the names of the files end in; their ranks where one has none or two have the same."""
    folders = np.unique(sequence, return_inverse=True)[1].reshape(-1)
    ends = [re.search(r"(\d{1,9})\.\w+$", entry) for entry in paths.tolist()]
    numbers = np.array([int(end[1]) if end else 0 for end in ends], dtype=np.int64)
    if all(ends) and not places_in_groups(folders, numbers).any():
        return numbers
    return places_in_groups(folders)


def _keypoint_values(path: Path, data: HumanData, source: str | None) -> tuple[Skeleton, dict[str, Array]]:
    """The joints that the archive has of all 190, and its keypoints, visibility and joints in the camera's frame."""
    tables = {"keypoints": data.keypoints2d, "joints_camera": data.keypoints3d}
    sources = sorted({one for table in tables.values() for one in table})
    if source is not None and source not in sources:
        raise InputError(f"{path}: no keypoints of '{source}'; it has those of: {', '.join(sources) or 'nobody'}")
    picked = {
        name: table[chosen]
        for name, table in tables.items()
        if table and (chosen := source if source is not None else next(iter(table))) in table
    }
    there = np.zeros(190, dtype=bool)
    for columns in picked.values():
        there |= np.isfinite(columns[..., 0]).any(0)
    bones, places = human_data_skeleton(np.flatnonzero(there).tolist())
    values: dict[str, Array] = {}
    for name, columns in picked.items():
        known = columns[:, places, -1] > 0
        values[name] = np.where(known[..., None], columns[:, places, :-1], np.nan)
        values["visible" if name == "keypoints" else "joints_known"] = known
    values.pop("joints_known", None)
    return bones, values


def _box_values(data: HumanData) -> dict[str, Array]:
    return {} if data.boxes is None else {"box": data.boxes[:, :4], "score": data.boxes[:, 4]}


def _body_values(path: Path, data: HumanData, count: int) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for theirs, (ours, size) in _BODY.items():
        column = data.bodies.get("smpl", {}).get(theirs)
        if column is None:
            continue
        if len(column) != count or column.size != count * size:
            raise FormatError(f"{path}: smpl['{theirs}']: expected {count} x {size} numbers, got {column.shape}")
        values[ours] = column.reshape(count, size)
    if "has_smpl" in data.metadata:
        known = np.asarray(data.metadata["has_smpl"]).reshape(-1) > 0
        if len(known) != count:
            raise FormatError(f"{path}: 'has_smpl' is of {len(known)} people, expected {count}")
        values = {name: np.where(known[:, None], column, np.nan) for name, column in values.items()}
    meta = data.metadata.get("meta")
    genders = meta.get("gender") if isinstance(meta, dict) else None
    if genders is not None and len(genders) == count:
        values["gender"] = np.array([_GENDERS.get(str(one).lower(), "") for one in genders], dtype=np.str_)
    return values


def write_labels_as_human_data(
    path: str | os.PathLike[str],
    labels: Labels,
    *,
    image_paths: Sequence[str] | None = None,
    boxes: Array | None = None,
    keypoints: tuple[Skeleton, Array] | None = None,
    joints: bool = True,
) -> None:
    """Write labels as an archive that mmhuman3d and 3DNBF read.

    Args:
        path: The file.
        labels: R rows.
        image_paths: (R,) as the readers want them, relative to the folder of the data set; None: as in the labels.
        boxes: (R, 4) left, top, width, height; None: those of the labels, or none.
        keypoints: Of another skeleton than the labels': its joints, and (R, J, 3) pixels and confidence.
        joints: Whether 3D joints are written; readers of bodies make their own where there are none.

    Raises:
        InputError: there is no row, or the file cannot be written.
    """
    values = labels.values
    boxes = values.get("box") if boxes is None else boxes
    paths = labels.images.path[labels.image].tolist() if image_paths is None else list(image_paths)
    write_human_data(
        path,
        keypoints=_keypoints(*keypoints) if keypoints else _own_keypoints(labels),
        joints=_joints(labels) if joints else None,
        boxes=None if boxes is None else _boxes(boxes, values.get("score")),
        image_paths=paths,
        source="",
        smpl=_bodies(values),
        genders=values["gender"].tolist() if "gender" in values else (),
    )


def _own_keypoints(labels: Labels) -> Keypoints2D | None:
    if "keypoints" not in labels.values:
        return None
    pixels = labels.values["keypoints"]
    known = np.isfinite(pixels).all(-1) & labels.values.get("visible", np.ones(pixels.shape[:2], dtype=bool))
    return _keypoints(labels.skeleton, np.concatenate([pixels, known[..., None]], axis=-1))


def _keypoints(bones: Skeleton, rows: Array) -> Keypoints2D:
    """(R,) from pixels and confidence (R, J, 3); their covariance is unknown."""
    positions = torch.from_numpy(rows[..., :2].astype(np.float64))
    return Keypoints2D(
        positions=positions,
        covariance=positions.new_full((*positions.shape[:-1], 2, 2), torch.nan),
        score=torch.from_numpy(rows[..., 2].astype(np.float64)),
        skeleton=bones,
    )


def _joints(labels: Labels) -> Joints3D | None:
    if not {"joints", "joints_camera"} & set(labels.values):
        return None
    from marey.data.labels import joints_in_camera

    positions = torch.from_numpy(joints_in_camera(labels).astype(np.float64))
    known = positions.isfinite().all(-1)
    return Joints3D(
        positions=positions,
        covariance=positions.new_full((*positions.shape[:-1], 3, 3), torch.nan),
        score=known.double(),
        filled=torch.zeros_like(known),
        skeleton=labels.skeleton,
    )


def _boxes(boxes: Array, score: Array | None) -> Boxes:
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=-1)
    scores = np.ones(len(boxes)) if score is None else score
    return Boxes(corners=torch.from_numpy(corners.astype(np.float64)), score=torch.from_numpy(scores).double())


def _bodies(values: Mapping[str, Array]) -> dict[str, Array] | None:
    found = {theirs: values[ours] for theirs, (ours, _) in _BODY.items() if ours in values}
    if "body_pose" in found:
        found["body_pose"] = found["body_pose"].reshape(-1, 23, 3)
    return found or None


def write_image_folder_as_human_data(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """List a folder of images as an archive of one person each, who fills the image, as 3DNBF takes one's own.

    Args:
        folder: With .jpg, .jpeg and .png files; folders within it are not entered.
        path: The archive; it has only boxes (0, 0, width, height, 1) and the names of the files.

    Returns:
        How many images there are.

    Raises:
        InputError: there is no image, or a file cannot be read or written.
        FormatError: a file is no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder with the images")
    suffixes = {".jpg", ".jpeg", ".png"} & set(IMAGE_SUFFIXES)
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in suffixes and file.name[0] != ".")
    if not files:
        raise InputError(f"{folder}: no image in it; expected {', '.join(sorted(suffixes))}")
    sizes = np.array([read_image_header(file).size for file in files], dtype=np.float64)
    boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=-1)
    write_human_data(path, boxes=_boxes(boxes, None), image_paths=[file.name for file in files])
    return len(files)
