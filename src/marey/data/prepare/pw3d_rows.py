"""The rows of one sequence of 3DPW: everybody in every frame whose camera fits them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from marey.core import Cameras
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.gendered_bodies import (
    LSP_14_AND_PELVIS,
    GenderedBodies,
    SmplParameters,
    body_points,
    pelvis_at_rest,
)
from marey.data.prepare.pw3d_sequences import Pw3dSequence, read_pw3d_sequence
from marey.data.prepare.work import Work
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from marey.io.image_headers import read_image_header

DETECTED = "detected"
"""Name of the values (R, 18, 3): pixels and confidence of OpenPose's COCO joints, NaN pixels where not detected."""
_APART = 0.01
"""Metres between the pelvises of a file's joints and of its bodies, from which on the card says so."""


@dataclass(frozen=True, kw_only=True)
class SequenceRows:
    """Makes the arrays of one sequence: its images, cameras and, row by row, who is in them."""

    root: Path
    out: Path
    bodies: GenderedBodies | None
    box_scale: float
    """Times the boxes of detected joints."""
    pictures: bool
    work: Work

    def __call__(self, path: Path) -> dict[str, Array]:
        """Read a sequence file.

        Raises:
            MissingAssetError: a picture, or the body of a gender, is absent.
            FormatError: the file is not what its format demands.
        """
        sequence = read_pw3d_sequence(path)
        person, frame = np.nonzero(sequence.valid)
        cameras = _cameras(sequence)
        return {
            "person": person,
            "frame": frame,
            "name": np.array(sequence.name),
            **{f"camera_{name}": part.numpy() for name, part in _tensors(cameras).items()},
            "seen": sequence.seen,
            **self._images(sequence),
            **_rows(sequence, person, frame, self._pelvis_at_rest(sequence, person, frame)),
            **self._points(sequence, person, frame, cameras),
        }

    def _pelvis_at_rest(self, sequence: Pw3dSequence, person: Array, frame: Array) -> Array:
        """(R, 3) where SMPL's pelvis is before the body is turned about it and moved.

        It is where the file has the pelvis, the translation taken off; a body model says it without the file.
        """
        told: Array = sequence.joints[person, frame, 0] - sequence.translations[person, frame]
        if self.bodies is None or not len(person):
            return told
        rest = [
            pelvis_at_rest(self.bodies.of(g), s[None])[0]
            for g, s in zip(sequence.genders, sequence.shapes, strict=True)
        ]
        known: Array = np.array(rest)[person]
        apart = float(np.median(np.linalg.norm(told - known, axis=-1)))
        if apart > _APART:
            self.work.note(f"{sequence.name}: joints and bodies are {100 * apart:.0f} cm apart; is the file damaged?")
        return known

    def _images(self, sequence: Pw3dSequence) -> dict[str, Array]:
        """Paths (T,) below the outputs' folder and sizes (T, 2)."""
        count = len(sequence)
        folder = self.root / "imageFiles" / sequence.name
        if not self.pictures or not count:
            return {"path": np.zeros(count, dtype="U1"), "size": np.zeros((count, 2), dtype=np.int64)}
        there = set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208 - names suffice
        names = [f"image_{frame:05d}.jpg" for frame in range(count)]
        for name in names:
            if name not in there:
                self.work.require(folder / name, f"picture of the sequence {sequence.name}")
        size = read_image_header(folder / names[0]).size
        below = relative_path(folder, self.out)
        return {"path": np.array([f"{below}/{name}" for name in names]), "size": np.tile(size, (count, 1))}

    def _points(self, sequence: Pw3dSequence, person: Array, frame: Array, cameras: Cameras) -> dict[str, Array]:
        """Boxes (R, 4), and the 14 joints (R, 15, 3) where a body model gives them."""
        if self.bodies is None:
            boxes = boxes_of_points(sequence.keypoints[person, frame, :, :2])
            return {"box": expand_boxes(boxes, self.box_scale)}
        found: dict[str, Array] = {"box": np.full((len(person), 4), np.nan)}
        if self.bodies.regresses:
            found["joints14"] = np.full((len(person), len(LSP_14_AND_PELVIS), 3), np.nan)
        for who in np.unique(person).tolist():
            rows = np.flatnonzero(person == who)
            places = who, frame[rows]
            parameters = SmplParameters(
                poses=sequence.poses[places],
                shapes=np.tile(sequence.shapes[who], (len(rows), 1)),
                translations=sequence.translations[places],
            )
            seen = body_points(
                self.bodies.of(sequence.genders[who]), parameters, cameras[torch.from_numpy(frame[rows])]
            )
            found["box"][rows] = seen.vertices_box
            if seen.joints is not None:
                found["joints14"][rows] = seen.joints
        return found


def _rows(sequence: Pw3dSequence, person: Array, frame: Array, rest: Array) -> dict[str, Array]:
    """What the file says of each row, bodies turned into the camera's frame about their pelvises (R, 3) at rest."""
    places = person, frame
    rotation, shift = sequence.rotation[frame], sequence.camera_translation[frame]
    poses, joints, moved = sequence.poses[places], sequence.joints[places], sequence.translations[places]
    turned = torch.from_numpy(rotation) @ rotvec_to_matrix(torch.from_numpy(poses[:, :3]))
    pelvis = (rotation @ (rest + moved)[..., None])[..., 0] + shift  # which no orientation moves
    return {
        "joints": joints,
        DETECTED: sequence.keypoints[places],
        "smpl_orientation": matrix_to_rotvec(turned).numpy(),
        "smpl_pose": poses[:, 3:],
        "smpl_shape": sequence.shapes[person],
        "smpl_translation": pelvis - rest,
        "gender": np.array(sequence.genders or ("",), dtype="U1")[person],
    }


def _cameras(sequence: Pw3dSequence) -> Cameras:
    """(T,) of the frames; poses that fit nobody are the identity."""
    count = len(sequence)
    rotation = np.where(sequence.seen[:, None, None], sequence.rotation, np.eye(3))
    translation = np.where(sequence.seen[:, None], sequence.camera_translation, 0.0)
    return Cameras(
        intrinsics=torch.from_numpy(sequence.intrinsics).expand(count, 3, 3),
        distortion=torch.zeros(count, 0, dtype=torch.float64),
        image_size=torch.full((count, 2), torch.nan, dtype=torch.float64),
        rotation=torch.from_numpy(rotation),
        translation=torch.from_numpy(translation),
    )


def _tensors(cameras: Cameras) -> dict[str, torch.Tensor]:
    rotation, translation = cameras.extrinsics
    return {"intrinsics": cameras.intrinsics, "rotation": rotation, "translation": translation}
