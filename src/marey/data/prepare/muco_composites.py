"""MuCo-3DHP's composites: which frames of MPI-INF-3DHP each is made of, whose joints, masks and visible boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, FormatError, InputError
from marey.data.boxes import boxes_of_points, expand_boxes, intersect_boxes
from marey.data.masks import Mask, box_of_mask, component_of_box, largest_component
from marey.data.prepare.extras import opened_h5
from marey.data.prepare.mpi_inf_3dhp_files import (
    ALL_JOINTS,
    JOINTS,
    CameraFrames,
    first_camera,
    read_calibration,
    read_training_poses,
)
from marey.data.prepare.work import Work
from marey.geometry.projection import project_from_camera
from marey.io.images import read_image

Array = npt.NDArray[Any]

PEOPLE = 4
ORIGINS = "composite_frame_origins.npy"
PARTS = ("imageSequence", "FGmasks", "ChairMasks")

JOINT_BOX = 1.05
"""Times the box of the joints: of a person."""
_AROUND = 1.3
"""Times that box: beyond it no pixel of a mask is the person's."""
_LEAST_FOREGROUND, _MOST_CHAIR = 100, 32
"""Of the red channel: above the one there is a person in FGmasks, below the other a chair in ChairMasks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Composites:
    """N composites of four people each."""

    number: Array
    """(N,) from 0; the file has the number one higher."""
    origins: Array
    """(N, 4, 4) subject and sequence from 1, camera and frame from 0."""
    joints: Array
    """(N, 4, 28, 3) metres, in the camera's frame; float32, for there are many."""
    universal: Array
    rig: Cameras
    """(C,) of all cameras of the sequences in use."""
    camera: Array
    """(N, 4) place in the rig."""

    def __len__(self) -> int:
        return len(self.number)

    def cameras(self, place: int | Array) -> Cameras:
        """(..., 4) of the people of one or several composites."""
        return self.rig[torch.from_numpy(self.camera[place])]

    def pixels(self, place: int) -> Array:
        """(4, 28, 2) where the joints of a composite's people are in it."""
        joints = torch.from_numpy(self.joints[place]).double()
        found: Array = project_from_camera(joints, self.cameras(place)).numpy()
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSources:
    """Where frames and masks of MPI-INF-3DHP lie."""

    root: Path
    _first: dict[Path, int] = field(default_factory=dict)

    def path(self, origin: Sequence[int], part: str) -> Path:
        """Of an image or mask; the part is one of PARTS, the origin subject, sequence, camera and frame."""
        subject, sequence, camera, frame = map(int, origin)
        folder = self.root / f"S{subject}" / f"Seq{sequence}" / part
        if folder not in self._first:
            self._first[folder] = first_camera(folder)
        return CameraFrames(folder=folder, camera=camera, first_camera=self._first[folder]).image(frame)


def composite_origins(root: Path, work: Work, *, most: int) -> Array:
    """Subject, sequence, camera and frame (N, 4, 4) of the people of the first `most` composites.

    Raises:
        MissingAssetError: the download has no table of them.
        MissingDependencyError: h5py is not installed.
        FormatError: the table is damaged.
    """
    path = root / ORIGINS
    if path.exists():
        try:
            found = np.load(work.record(path), allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise FormatError(f"{path}: not a NumPy array: {error}") from error
        if found.ndim != 3 or found.shape[1:] != (PEOPLE, 4) or found.dtype.kind not in "iuf":
            raise FormatError(f"{path}: expected (N, 4, 4) numbers, got {found.shape} of {found.dtype}")
        return np.asarray(found[:most], dtype=np.int64)
    table = work.record(work.require(root / "sampled_dataset_info.mat", "table of composites"))
    return work.part("origins", lambda: {"origins": read_origins(table, most=most)})["origins"]


def read_origins(path: Path, *, most: int) -> Array:
    """Read `composite_info` of `sampled_dataset_info.mat` (HDF5): a cell (N, 4) of cells of four numbers.

    Raises:
        MissingDependencyError: h5py is not installed.
        InputError: the file cannot be read.
        FormatError: it is not such a file.
    """
    with opened_h5(path) as file:
        if "composite_info" not in file or file["composite_info"].shape[:1] != (PEOPLE,):
            raise FormatError(f"{path}: expected 'composite_info' of four people a composite")
        table = file["composite_info"]
        count = min(most, table.shape[1])
        found = np.empty((count, PEOPLE, 4), dtype=np.int64)
        for person in range(PEOPLE):
            for place, reference in enumerate(table[person, :count]):
                four = np.reshape(file[file[reference][0, 0]][()], -1)
                if four.shape != (4,):
                    raise FormatError(f"{path}: composite_info({place + 1},{person + 1}): expected four numbers")
                found[place, person] = four
    return found


def complete_composites(origins: Array, sources: FrameSources, work: Work) -> Array:
    """Numbers (M,) of the composites (N, 4, 4) all of whose frames and masks are there.

    Raises:
        MissingAssetError: nothing of MPI-INF-3DHP was extracted.
        InputError: no composite is complete.
    """

    @cache
    def there(origin: tuple[int, ...]) -> bool:
        return all(sources.path(origin, part).exists() for part in PARTS)

    def look() -> dict[str, Array]:
        composites = work.progress(origins.tolist(), what="frames")
        return {"number": np.flatnonzero([all(there(tuple(person)) for person in people) for people in composites])}

    known = work.part("complete", look)["number"]
    if not len(known):
        first = origins[0, 0].tolist() if len(origins) else [1, 1, 0, 0]
        work.require(sources.path(first, "FGmasks"), "extracted mask of MPI-INF-3DHP")
        raise InputError(f"none of {len(origins)} composites has all its frames and masks in {sources.root}")
    if len(known) < len(origins):
        work.note(f"{len(origins) - len(known)} of {len(origins)} composites lack a frame or mask and were left out")
    return known


def read_composites(numbers: Array, origins: Array, mpi: Path, work: Work) -> Composites:
    """The joints and cameras of the people of some composites (M,) of all (N, 4, 4), each sequence read once.

    Raises:
        MissingAssetError: a sequence of MPI-INF-3DHP is absent.
        FormatError: a composite names a camera or frame that is not annotated.
    """
    chosen = origins[numbers]
    shape = (len(numbers), PEOPLE, len(ALL_JOINTS), 3)
    joints, universal = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    camera, rigs, start = np.empty(shape[:2], dtype=np.int64), [], 0
    for subject, sequence in work.progress(np.unique(chosen[..., :2].reshape(-1, 2), axis=0).tolist(), what="joints"):
        folder = work.require(mpi / f"S{subject}" / f"Seq{sequence}", "training sequence of MPI-INF-3DHP")
        rig = read_calibration(work.record(work.require(folder / "camera.calibration", "calibration")))
        poses = read_training_poses(work.record(work.require(folder / "annot.mat", "annotation")))
        mine = (chosen[..., 0] == subject) & (chosen[..., 1] == sequence)
        number, frame = chosen[mine][:, 2], chosen[mine][:, 3]
        counts = np.array([len(pose.joints) for pose in poses])
        if (number >= min(len(poses), rig.batch_shape[0])).any() or (frame >= counts[number]).any():
            raise FormatError(f"{folder}: a composite is made of a camera or frame that is not annotated there")
        picked = [(poses[c].joints[f], poses[c].universal[f]) for c, f in zip(number, frame, strict=True)]
        joints[mine], universal[mine] = (np.stack(values) for values in zip(*picked, strict=True))
        camera[mine] = start + number
        rigs.append(replace(rig, names=tuple(f"S{subject}/Seq{sequence}/{c}" for c in range(rig.batch_shape[0]))))
        start += rig.batch_shape[0]
    return Composites(
        number=numbers, origins=chosen, joints=joints, universal=universal, rig=Cameras.cat(rigs), camera=camera
    )


def people_masks(composites: Composites, place: int, sources: FrameSources) -> list[tuple[Mask, Mask]]:
    """The person and the chair of each of the four frames of a composite."""
    small = ALL_JOINTS.indices(JOINTS.joints)
    found = []
    for origin, points in zip(composites.origins[place], composites.pixels(place), strict=True):
        foreground = read_image(sources.path(origin, "FGmasks"))[..., 0] > _LEAST_FOREGROUND
        chairs = read_image(sources.path(origin, "ChairMasks"))[..., 0] < _MOST_CHAIR
        found.append((person_mask(foreground, points[small]), largest_component(chairs)))
    return found


def person_mask(foreground: Mask, pixels: Array) -> Mask:
    """The part of a foreground (H, W) that is a person with joints at pixels (J, 2).

    That is the connected part whose box fits the box of the joints best, cut to 1.3 times that box.
    """
    whole = np.array([0.0, 0.0, foreground.shape[1], foreground.shape[0]])
    box = intersect_boxes(whole, expand_boxes(boxes_of_points(pixels), JOINT_BOX))
    left, top, width, height = intersect_boxes(whole, expand_boxes(box, _AROUND)).astype(np.int64)
    mask = np.zeros_like(foreground)
    part = np.s_[top : top + height, left : left + width]
    mask[part] = component_of_box(foreground, box)[part]
    return mask


def visible_boxes(people: Sequence[tuple[Mask, Mask]], depth: Array) -> Array:
    """Boxes (P, 4) of what of each person is not covered by nearer people and their chairs; zeros if nothing is.

    Args:
        people: Mask (H, W) of each person, and of the chair in the same frame.
        depth: (P,) of their pelvises, metres.
    """
    boxes = np.zeros((len(people), 4))
    covered = np.zeros_like(people[0][0])
    for place in np.argsort(depth, kind="stable"):
        person, chair = people[place]
        boxes[place] = box_of_mask(person & ~covered)
        covered |= person | chair
    return boxes
