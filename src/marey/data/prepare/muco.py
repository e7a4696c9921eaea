"""MuCo-3DHP: pictures of four people composed of frames of MPI-INF-3DHP, as MeTRAbs prepares them.

The pictures are made by the Matlab program of their authors; this finds out who is where in them. Of each person the
mask in its own frame, less what nearer people and chairs cover, gives a visible box; boxes of a person detector are
matched with those, and each person that was matched becomes a crop with its mask.

A picture has four cameras, one a person: joints are in the world of the person's own sequence, and the crop's camera
is the person's.

Source: specification of MeTRAbs (2020-11), section 5; Mehta et al., "Single-shot multi-person 3D pose estimation from
monocular RGB", 3DV 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from marey.core import InputError
from marey.data.boxes import (
    box_areas,
    boxes_of_points,
    cut_vertically,
    expand_boxes,
    intersect_boxes,
    match_boxes,
)
from marey.data.crops import CropRule, plan_crops, render_crop, render_mask
from marey.data.labels import Images, Labels
from marey.data.labels.joining import with_skeleton
from marey.data.masks import Mask
from marey.data.prepare.mpi_inf_3dhp_files import ALL_JOINTS, JOINTS, UP
from marey.data.prepare.muco_composites import (
    JOINT_BOX,
    ORIGINS,
    PEOPLE,
    Composites,
    FrameSources,
    complete_composites,
    composite_origins,
    people_masks,
    read_composites,
    visible_boxes,
)
from marey.data.prepare.stored_crops import write_jpeg, write_person_mask
from marey.data.prepare.work import Work
from marey.geometry.projection import camera_to_world
from marey.io.atomic import atomic_path
from marey.io.images import read_image
from marey.io.person_boxes import PersonBoxes, boxes_of_image, read_person_boxes

Array = npt.NDArray[Any]

NAME = "muco"
VERSION = "1"
FOLDER = "unaugmented_set_001"
CROP_RULE = CropRule(
    turn=False,
    longest=256 / 0.85,
    most_scale=1.0,
    room=1.2 / 0.85**2,
    antialias=4,
    gamma=1.0,
    cubic=False,
    least_mask=0.5,
    one_part=False,
)
"""Its own: cut and scaled, not turned, and interpolated in stored values."""

_CHUNK = 500
"""Composites between two notes of what is done."""


@dataclass(frozen=True, kw_only=True)
class MucoOptions:
    """What is taken of MuCo; the defaults are MeTRAbs's `muco_17_150k`."""

    images: int = 150_000
    """Only composites with a number below."""
    joints: Literal[17, 28] = 17
    """Those of MuPoTS, or all."""
    mpi_inf_3dhp: Path | None = None
    """Folder of MPI-INF-3DHP with all frames and masks extracted; None: `3dhp` beside this data set's folder."""
    detections: Path | None = None
    """Boxes of a person detector in the composites, pickle or JSON; None: `yolov3_detections.pkl` or `.json` of the
    download."""
    least_confidence: float = 0.1
    least_iou: float = 0.1
    """Of detection and visible box."""
    most_area: float = 2.0
    """Of a detection, in areas of the visible box."""


def prepare(root: Path, out: Path, options: MucoOptions, work: Work) -> Labels:
    """Prepare MuCo; writes the tables of composites, as other programs read them, beside crops and labels.

    Raises:
        MissingAssetError: a file of this download or of MPI-INF-3DHP's is absent.
        MissingDependencyError: what `marey[datasets]` installs is absent.
        InputError: no composite is complete, or nobody in them was matched.
        FormatError: a file is not what its format demands.
    """
    work.require(root / FOLDER, "folder of composites, made by the Matlab program of the data set,")
    mpi = work.require(options.mpi_inf_3dhp or root.parent / "3dhp", "MPI-INF-3DHP that the composites are made of")
    sources = FrameSources(root=mpi)
    origins = composite_origins(root, work, most=max(0, options.images - 1))
    numbers = complete_composites(origins, sources, work)
    composites = read_composites(numbers, origins, mpi, work)
    boxes = _detections(root, options, work)
    people = _People(composites=composites, sources=sources, detected=boxes, options=options, work=work)
    starts = range(0, len(composites), _CHUNK)
    found = [work.part(f"composites from {start}", partial(people.chunk, start)) for start in starts]
    matched, visible, masked = (np.concatenate([part[key] for part in found]) for key in ("box", "visible", "masked"))
    _write_tables(out, origins, numbers, visible)
    labels = _labels(composites, matched, masked)
    return with_skeleton(labels, JOINTS) if options.joints == 17 else labels


def _detections(root: Path, options: MucoOptions, work: Work) -> PersonBoxes | None:
    """Boxes by the composite's file name; None, and a note, if there is no file."""
    names = ("yolov3_detections.pkl", "yolov3_detections.json")
    path = options.detections or next((root / name for name in names if (root / name).exists()), None)
    if path is None:
        work.note(f"no file of detected people ({names[0]}), so everybody visible was taken, in the visible box")
        return None
    return {name.rsplit("/", 1)[-1]: found for name, found in read_person_boxes(work.record(path)).items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class _People:
    """Finds the people of composites and writes their crops."""

    composites: Composites
    sources: FrameSources
    detected: PersonBoxes | None
    options: MucoOptions
    work: Work

    def chunk(self, start: int) -> dict[str, Array]:
        """Of composites from `start` on visible and matched boxes (n, 4, 4), and who has a mask (n, 4)."""
        places = range(start, min(start + _CHUNK, len(self.composites)))
        found = list(self.work.map(self.look, places, len(places), f"composites {start + 1} to {places[-1] + 1}"))
        visible, box, masked = (np.stack(values) for values in zip(*found, strict=True))
        return {"visible": visible, "box": box, "masked": masked}

    def look(self, place: int) -> tuple[Array, Array, Array]:
        """Of one composite visible and matched boxes (4, 4), and who has a mask (4,)."""
        people = people_masks(self.composites, place, self.sources)
        visible = visible_boxes(people, self.composites.joints[place, :, ALL_JOINTS.index("pelvis"), 2])
        box = self.boxes(place, visible)
        everybody = np.logical_or.reduce([part for pair in people for part in pair])
        return visible, box, self.write(place, box, everybody)

    def boxes(self, place: int, visible: Array) -> Array:
        """(4, 4) the detection of each person, NaN for who was not found."""
        pixels, size = self.composites.pixels(place), self.composites.cameras(place).image_size.numpy()
        inside = intersect_boxes(boxes_of_points(pixels), np.concatenate([np.zeros_like(size), size], axis=-1))
        truth = cut_vertically(visible, expand_boxes(inside, JOINT_BOX))
        if self.detected is None:
            return np.where((box_areas(truth) > 0)[:, None], truth, np.nan)
        boxes = boxes_of_image(self.detected, f"{self.composites.number[place] + 1:06d}.jpg")
        return matched_boxes(truth, boxes[boxes[:, 4] > self.options.least_confidence, :4], self.options)

    def write(self, place: int, box: Array, everybody: Mask) -> Array:
        """Write crop and mask of everybody found; (4,) who has a mask."""
        rows, masked = np.flatnonzero(np.isfinite(box[:, 0])), np.zeros(PEOPLE, dtype=bool)
        if not len(rows):
            return masked
        number, folder, out = int(self.composites.number[place]), self.work.root / FOLDER, self.work.out
        name = f"{number + 1:06d}"
        nested = folder / name[:2] / name[:4] / f"{name}.jpg"
        image = read_image(nested if nested.exists() else self.work.require(folder / f"{name}.jpg", "composite"))
        cameras = self.composites.cameras(place)[torch.from_numpy(rows)]
        crops = plan_crops(cameras, box[rows], up=UP, rule=CROP_RULE)
        for crop, row in enumerate(rows.tolist()):
            file = _file(number, row)
            write_jpeg(out / "images" / f"{file}.jpg", render_crop(image, crops, crop))
            masked[row] = write_person_mask(out / "masks" / f"{file}.png", render_mask(everybody, crops, crop))
        return masked


def matched_boxes(truth: Array, detected: Array, options: MucoOptions) -> Array:
    """For boxes of people (P, 4) the detections (D, 4) that are theirs, NaN for none: (P, 4)."""
    partner = match_boxes(truth, detected, least_iou=options.least_iou)
    found = np.full(truth.shape, np.nan)
    found[partner >= 0] = detected[partner[partner >= 0]]
    return np.where((box_areas(found) < options.most_area * box_areas(truth))[:, None], found, np.nan)


def _file(number: int, row: int) -> str:
    name = f"{number + 1:06d}"
    return f"{FOLDER}/{name[:2]}/{name[:4]}/{name}_{row}"


def _write_tables(out: Path, origins: Array, numbers: Array, visible: Array) -> None:
    """The tables of the original's preparation: all composites, the complete ones, boxes of all with zeros for rest."""
    boxes = np.zeros((len(origins), PEOPLE, 4), dtype=np.float32)
    boxes[numbers] = visible
    tables = {ORIGINS: origins, "valid_composite_frame_indices.npy": numbers, "visible_boxes.npy": boxes}
    for name, table in tables.items():
        with atomic_path(out / name) as temporary, temporary.open("wb") as file:
            np.save(file, table, allow_pickle=False)


def _labels(composites: Composites, box: Array, masked: Array) -> Labels:
    """One image a person."""
    place, person = np.nonzero(np.isfinite(box[..., 0]))
    if not len(place):
        raise InputError(
            f"{NAME}: nobody in {len(composites)} composites was matched with a detection; is the file of them?"
        )
    rig = composites.camera[place, person]
    cameras = composites.rig[torch.from_numpy(rig)]
    crops = plan_crops(cameras, box[place, person], up=UP, rule=CROP_RULE)
    files = [_file(number, row) for number, row in zip(composites.number[place].tolist(), person.tolist(), strict=True)]
    worlds = [
        camera_to_world(torch.from_numpy(points[place, person]).double(), cameras).numpy()
        for points in (composites.joints, composites.universal)
    ]
    count = len(place)
    names = composites.rig.names
    return Labels(
        name=NAME,
        version=VERSION,
        skeleton=ALL_JOINTS,
        images=Images(
            path=np.array([f"images/{file}.jpg" for file in files]),
            size=crops.cameras.image_size.numpy().astype(np.int64),
            camera=np.arange(count),
            sequence=np.full(count, FOLDER),
            frame=composites.number[place],
            moment=np.arange(count),
            view=np.zeros(count, dtype=np.int64),
        ),
        split=np.full(count, "train"),
        image=np.arange(count),
        person=person,
        values={
            "joints": worlds[0],
            "joints_universal": worlds[1],
            "box": crops.boxes,
            "subject": np.array([names[camera].split("/")[0] for camera in rig]),
            "mask": np.where(masked[place, person], [f"masks/{file}.png" for file in files], ""),
        },
        cameras=replace(crops.cameras, names=tuple(names[camera] for camera in rig)),
    )
