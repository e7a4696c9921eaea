"""MuPoTS-3D: twenty films of several people, for evaluation only.

Its annotations do not say which camera took a film, so the intrinsics are fitted to the annotated points, as MeTRAbs
does: per film the least-squares focal lengths and centre of `x = fx X / Z + cx`, `y = fy Y / Z + cy`.

Source: specification of MeTRAbs (2020-11), section 5; Mehta et al., "Single-shot multi-person 3D pose estimation from
monocular RGB", 3DV 2018.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, FormatError, InputError
from marey.core.skeletons import skeleton
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.data.labels import Images, Labels, rows_to_score, write_labels
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.matlab import numbers, read_matlab
from marey.data.prepare.work import Work
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.image_headers import read_image_header
from marey.io.person_boxes import PersonBoxes, boxes_of_image, read_person_boxes
from marey.io.predictions import PoseRows, write_pose_rows

Array = npt.NDArray[Any]

NAME = "mupots"
VERSION = "1"
JOINTS = skeleton("mpi_inf_3dhp_17")
SEQUENCES = tuple(f"TS{place}" for place in range(1, 21))
INTRINSICS = "camera_intrinsics.json"
DETECTIONS = "detections.npz"

_MILLIMETRE = 1e-3
_JOINT_BOX = 1.05
_MISSING: Mapping[str, Any] = {"f": np.nan, "U": ""}
_FIELDS = {"annot2": 2, "annot3": 3, "univ_annot3": 3}


@dataclass(frozen=True, kw_only=True)
class MupotsOptions:
    """What is taken of MuPoTS; the defaults are MeTRAbs's."""

    sequences: tuple[str, ...] = SEQUENCES
    """`TS1` to `TS20`."""
    detections: Path | None = None
    """Boxes of a person detector, pickle or JSON; None: `yolov3_detections.pkl` or `.json` of the download."""
    least_confidence: float = 0.1
    """Of a detection that is written: a pose is predicted for each above it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Film:
    """The annotated people of one sequence, N of them; metres, camera frame."""

    frames: int
    """Frames that it has, with or without people."""
    frame: Array
    """(N,) from 0."""
    person: Array
    """(N,) the column of the annotations."""
    keypoints: Array
    """(N, 17, 2) pixels."""
    joints: Array
    """(N, 17, 3)"""
    universal: Array
    """(N, 17, 3) of the skeleton of universal height."""

    def __len__(self) -> int:
        return len(self.frame)


def prepare(root: Path, out: Path, options: MupotsOptions, work: Work) -> Labels:
    """Prepare MuPoTS: labels, `camera_intrinsics.json`, `protocols/mupots.npz` and the boxes to predict poses for.

    Raises:
        MissingAssetError: a file of the download is absent.
        MissingDependencyError: h5py is not installed and a file is of version 7.3.
        InputError: a sequence has no annotated person.
        FormatError: a file is not what its format demands.
    """
    if unknown := [name for name in options.sequences if name not in SEQUENCES]:
        raise InputError(f"sequences: no {', '.join(unknown)}; there are TS1 to TS20")
    films: dict[str, Film] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for name in work.progress(options.sequences, what="annotations"):
        folder = work.require(root / name, "sequence")
        films[name] = read_film(work.record(work.require(folder / "annot.mat", "annotation")))
        sizes[name] = read_image_header(work.require(folder / "img_000000.jpg", "first image")).size
    intrinsics = {name: fitted_intrinsics(film.keypoints, film.joints) for name, film in films.items()}
    atomic_write_text(out / INTRINSICS, json.dumps({name: found.tolist() for name, found in intrinsics.items()}) + "\n")
    cameras = _cameras(intrinsics, sizes)
    labels = _labels(root, out, films, cameras)
    write_pose_rows(check_writable(out / "protocols") / "mupots.npz", protocol_rows(labels))
    _write_detections(root, labels, options, work)
    return labels


def read_film(path: Path) -> Film:
    """Read `annot.mat` of a sequence: a struct for each frame and person.

    Raises:
        MissingDependencyError: h5py is not installed and a file is of version 7.3.
        InputError: the file cannot be read.
        FormatError: it is not such a file; the message names frame and person.
    """
    table = np.asarray(read_matlab(path, ("annotations",))["annotations"], dtype=object)
    table = table.reshape(1, 1) if table.ndim == 0 else table
    if table.ndim != 2 or not all(isinstance(entry, dict) for entry in table.reshape(-1)):
        raise FormatError(f"{path}: 'annotations': expected a struct for each frame and person, got {table.shape}")
    valid = np.array([_is_valid(path, place, entry) for place, entry in np.ndenumerate(table)]).reshape(table.shape)
    frame, person = np.nonzero(valid)
    values = {
        field: np.stack(
            [
                numbers(path, f"annotations({f + 1},{p + 1}).{field}", table[f, p].get(field), (size, 17)).T
                for f, p in zip(frame, person, strict=True)
            ]
        )
        if len(frame)
        else np.empty((0, 17, size))
        for field, size in _FIELDS.items()
    }
    return Film(
        frames=len(table),
        frame=frame,
        person=person,
        keypoints=values["annot2"],
        joints=values["annot3"] * _MILLIMETRE,
        universal=values["univ_annot3"] * _MILLIMETRE,
    )


def _is_valid(path: Path, place: tuple[int, ...], entry: Mapping[str, Any]) -> bool:
    flag = np.asarray(entry.get("isValidFrame"))
    if flag.dtype == object or flag.size > 1:
        raise FormatError(f"{path}: annotations({place[0] + 1},{place[1] + 1}) has no 'isValidFrame'")
    return bool(flag.size and flag.reshape(-1)[0])


def fitted_intrinsics(keypoints: Array, joints: Array) -> Array:
    """The intrinsic matrix (3, 3) without skew that explains pixels (N, J, 2) of joints (N, J, 3) in the camera best.

    Least squares over all points, each axis alone; points that are not finite or not in front of the camera are left
    out.

    Raises:
        InputError: the points do not determine a camera: fewer than two, or all in one direction.
    """
    known = np.isfinite(keypoints).all(-1) & np.isfinite(joints).all(-1) & (joints[..., 2] > 0)
    pixels, rays = keypoints[known], joints[known][:, :2] / joints[known][:, 2:]
    matrix = np.eye(3)
    for axis in (0, 1):
        system = np.stack([rays[:, axis], np.ones(len(rays))], axis=1)
        (focal, centre), _, rank, _ = np.linalg.lstsq(system, pixels[:, axis], rcond=None)
        if rank < 2:
            raise InputError(f"intrinsics: {len(rays)} annotated points, which do not tell a camera")
        matrix[axis, axis], matrix[axis, 2] = focal, centre
    return matrix


def _cameras(intrinsics: Mapping[str, Array], sizes: Mapping[str, tuple[int, int]]) -> Cameras:
    matrices = torch.from_numpy(np.stack(list(intrinsics.values())))
    return Cameras(
        intrinsics=matrices,
        distortion=matrices.new_zeros(len(matrices), 0),
        image_size=torch.tensor([sizes[name] for name in intrinsics], dtype=torch.float64),
        names=tuple(intrinsics),
    )


def _labels(root: Path, out: Path, films: Mapping[str, Film], cameras: Cameras) -> Labels:
    """Labels of all images, also those without people, and of all annotated people."""
    names, parts = list(films), list(films.values())
    counts = [film.frames for film in parts]
    starts = np.cumsum([0, *counts[:-1]])
    which = np.repeat(np.arange(len(parts)), [len(film) for film in parts])
    keypoints = np.concatenate([film.keypoints for film in parts])
    return Labels(
        name=NAME,
        version=VERSION,
        skeleton=JOINTS,
        images=_images(root, out, names, counts, cameras),
        split=np.full(sum(counts), "test"),
        image=np.concatenate([film.frame + start for film, start in zip(parts, starts, strict=True)]),
        person=np.concatenate([film.person for film in parts]),
        values={
            "joints_camera": np.concatenate([film.joints for film in parts]),
            "joints_universal": np.concatenate([film.universal for film in parts]),
            "keypoints": keypoints,
            "box": expand_boxes(boxes_of_points(keypoints), _JOINT_BOX),
            "scene": np.array(names)[which],
            "intrinsics": cameras.intrinsics.numpy()[which],
        },
        cameras=cameras,
    )


def _images(root: Path, out: Path, names: Sequence[str], counts: Sequence[int], cameras: Cameras) -> Images:
    folders = {name: relative_path(root / name, out) for name in names}
    place = np.repeat(np.arange(len(names)), counts)
    paths = [
        f"{folders[name]}/img_{n:06d}.jpg" for name, count in zip(names, counts, strict=True) for n in range(count)
    ]
    return Images(
        path=np.array(paths, dtype=np.str_),
        size=cameras.image_size.numpy().astype(np.int64)[place],
        camera=place,
        sequence=np.array(names)[place],
        frame=np.concatenate([np.arange(count) for count in counts]),
        moment=np.arange(len(place)),
        view=np.zeros(len(place), dtype=np.int64),
    )


def protocol_rows(labels: Labels) -> PoseRows:
    """What the protocol `mupots` scores: all people in the frames of their cameras.

    An image in which nobody is annotated is a row with person -1; detections there cost nothing either.
    """
    rows = rows_to_score(labels, "camera")
    empty = np.setdiff1d(np.arange(len(labels.images)), labels.image)
    values = {
        name: np.concatenate([column, np.full((len(empty), *column.shape[1:]), _MISSING[column.dtype.kind])])
        for name, column in rows.values.items()
        if name != "intrinsics"
    }
    images = np.concatenate([labels.image, empty])
    assert labels.cameras is not None
    values["intrinsics"] = labels.cameras.intrinsics.numpy()[labels.images.camera[images]]
    return replace(
        rows,
        sequence=labels.images.sequence[images],
        frame=labels.images.frame[images].astype(np.int64),
        person=np.concatenate([rows.person, np.full(len(empty), -1)]),
        values=values,
    )


def _write_detections(root: Path, labels: Labels, options: MupotsOptions, work: Work) -> None:
    """Write `detections.npz`: the boxes that poses are predicted for, labels without joints."""
    names = ("yolov3_detections.pkl", "yolov3_detections.json")
    path = options.detections or next((root / name for name in names if (root / name).exists()), None)
    if path is None:
        work.note(
            f"no file of detected people ({names[0]}), so {DETECTIONS} was not written; poses can be predicted in the "
            "annotated boxes or in those of another detector"
        )
        return
    write_labels(work.out / DETECTIONS, detected_people(labels, read_person_boxes(work.record(path)), options))


def detected_people(labels: Labels, detected: PersonBoxes, options: MupotsOptions) -> Labels:
    """Labels of the same images with a row for each detection that is sure enough: `box`, `score`, `intrinsics`.

    Raises:
        InputError: no image of the labels is in the file of detections.
    """
    images = labels.images
    keys = [f"{name}/img_{frame:06d}.jpg" for name, frame in zip(images.sequence, images.frame, strict=True)]
    if not any(key in detected for key in keys):
        raise InputError(f"detections: none of the images, such as {keys[0]}, is in the file of detected people")
    found = [boxes_of_image(detected, key) for key in keys]
    sure = [boxes[boxes[:, 4] > options.least_confidence] for boxes in found]
    counts = [len(boxes) for boxes in sure]
    image, rows = np.repeat(np.arange(len(keys)), counts), np.concatenate(sure)
    assert labels.cameras is not None
    return Labels(
        name=f"{labels.name}-detections",
        version=labels.version,
        skeleton=labels.skeleton,
        images=images,
        split=labels.split,
        image=image,
        person=np.concatenate([np.arange(count) for count in counts]),
        values={
            "box": rows[:, :4],
            "score": rows[:, 4],
            "intrinsics": labels.cameras.intrinsics.numpy()[images.camera[image]],
        },
        cameras=labels.cameras,
    )
