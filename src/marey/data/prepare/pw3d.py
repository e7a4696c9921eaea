"""3DPW: people outdoors, filmed by a hand-held camera, with bodies from inertial sensors.

The labels hold everybody in every frame whose camera fits them. The bodies' parameters are in the frame of the camera,
the joints in the world. Without the user's SMPL there are the 24 joints of the files; with it (`--smpl FOLDER`) also
the 14 joints that papers score, tight boxes, and the crops of HierarchicalProbabilistic3DHuman.

    protocols/SPLIT_24.npz   what `marey evaluate --protocol 3dpw-metrabs` and `3dpw-challenge` take as labels; `all`
                             is of all splits together, which MeTRAbs scores
    protocols/SPLIT_14.npz   the same of `3dpw-14`; test_14_ds30.npz and occ_14_ds30.npz of 3DNBF's protocols
    human_data/*.npz         HumanData archives of 3DNBF: the test set, every 30th frame of it, 3DPW-Occ
    test/                    3dpw_test.npz and cropped_frames/ of HierarchicalProbabilistic3DHuman
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.body.skinning import forward_kinematics
from marey.body.smpl_tree import SMPL_TREE
from marey.core import Cameras, InputError, skeleton
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.data.human_data import write_labels_as_human_data
from marey.data.labels import Images, Labels
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.gendered_bodies import (
    LSP_14_AND_PELVIS,
    GenderedBodies,
    SmplParameters,
    body_points,
    read_gendered_bodies,
    rows_of_14,
)
from marey.data.prepare.outputs import emptied
from marey.data.prepare.pw3d_crops import write_crops
from marey.data.prepare.pw3d_sequences import Pw3dSequence, read_pw3d_sequence
from marey.data.prepare.work import Work
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from marey.io.image_headers import read_image_header
from marey.io.predictions import PoseRows, write_pose_rows
from marey.metrics.protocols.lsp14 import SCENES_3DPW_OCC

VERSION = "1"
SPLITS = ("train", "validation", "test")
DETECTED = "detected"
"""Name of the values (R, 18, 3): pixels and confidence of OpenPose's COCO joints, NaN pixels where not detected."""
LABELLED = "labelled"
"""Name of the values (R,): whether any of these was detected; MeTRAbs and the challenge score nobody else."""


@dataclass(frozen=True, kw_only=True)
class Pw3dOptions:
    """What is made of 3DPW."""

    splits: tuple[str, ...] = SPLITS
    """Of the official ones."""
    smpl: Path | None = None
    """Folder with your SMPL files of both genders and `J_regressor_h36m.npy`; without it there are 24 joints only."""
    crops: bool = True
    """With `smpl`: whether the pictures of people in the test set are cut out."""
    crop_size: int = 512
    """Pixels a side."""
    box_scale: float = 1.2
    """Times the tight box: of the crops, and of the detected joints' boxes in HumanData."""
    every: int = 30
    """Every so many frames for the short lists (`ds30`): those whose number it divides."""

    def __post_init__(self) -> None:
        if not self.splits or set(self.splits) - set(SPLITS):
            raise InputError(f"splits: expected some of {', '.join(SPLITS)}, got {self.splits}")
        if self.crop_size < 1 or self.every < 1 or not self.box_scale > 0:
            raise InputError("crop_size, every and box_scale: expected positive numbers")


def prepare(root: Path, out: Path, options: Pw3dOptions, work: Work) -> Labels:
    """Prepare 3DPW; see the top of this module for what is written.

    Raises:
        MissingAssetError: a sequence, a picture, or an SMPL file of a gender that is needed is absent.
        FormatError: a file is not what its format demands.
    """
    bodies = None if options.smpl is None else read_gendered_bodies(options.smpl)
    _say_what_lacks(bodies, work)
    pictures = (root / "imageFiles").is_dir()
    if not pictures:
        work.note("imageFiles is not there: labels have no pictures, and nothing is cropped")
    files = [(split, path) for split in options.splits for path in _sequence_files(root, split, work)]
    making = _Making(root=root, out=out, bodies=bodies, options=options, pictures=pictures, work=work)
    parts = [
        (split, work.part(f"{split}/{path.stem}", partial(making, work.record(path))))
        for split, path in work.progress(files, len(files), "sequences")
    ]
    labels, joints = _joined(parts)
    _write_protocols(out, labels, joints, options)
    _write_human_data(out, labels, options)
    (out / "test" / "3dpw_test.npz").unlink(missing_ok=True)  # of a run with other options
    if bodies is not None and options.crops and pictures and "test" in options.splits:
        write_crops(out, labels.of_split("test"), work, size=options.crop_size, scale=options.box_scale)
    return labels


def _say_what_lacks(bodies: GenderedBodies | None, work: Work) -> None:
    if bodies is None:
        work.note("no SMPL files (--smpl FOLDER): 24 joints, no labels of 14 joints, no crops; boxes are of detections")
    elif not bodies.regresses:
        work.note(f"no J_regressor_h36m.npy in {bodies.folder}: no labels of the 14 joints")


def _sequence_files(root: Path, split: str, work: Work) -> list[Path]:
    folder = work.require(root / "sequenceFiles" / split, f"labels of the split {split}")
    files = sorted(folder.glob("*.pkl"))
    if not files:
        work.require(folder / "*.pkl", f"labels of the split {split}")
    return files


@dataclass(frozen=True, kw_only=True)
class _Making:
    """Makes the arrays of one sequence."""

    root: Path
    out: Path
    bodies: GenderedBodies | None
    options: Pw3dOptions
    pictures: bool
    work: Work

    def __call__(self, path: Path) -> dict[str, Array]:
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
            **_rows(sequence, person, frame),
            **self._points(sequence, person, frame, cameras),
        }

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
            return {"box": expand_boxes(boxes, self.options.box_scale)}
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


def _rows(sequence: Pw3dSequence, person: Array, frame: Array) -> dict[str, Array]:
    """What the file says of each row, bodies turned into the camera's frame."""
    places = person, frame
    rotation, shift = sequence.rotation[frame], sequence.camera_translation[frame]
    poses, joints, moved = sequence.poses[places], sequence.joints[places], sequence.translations[places]
    turned = torch.from_numpy(rotation) @ rotvec_to_matrix(torch.from_numpy(poses[:, :3]))
    # SMPL turns about its pelvis at rest, which lies at `pelvis - translation` whatever the orientation
    rest = joints[:, 0] - moved
    pelvis = (rotation @ joints[:, 0, :, None])[..., 0] + shift
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


def _joined(parts: list[tuple[str, dict[str, Array]]]) -> tuple[Labels, Array | None]:
    """The labels of all sequences, and the 14 joints (R, 15, 3) of their rows in the cameras' frames if known."""
    frames = [len(part["path"]) for _, part in parts]
    starts = np.cumsum([0, *frames])

    def column(name: str) -> Array:
        return np.concatenate([part[name] for _, part in parts])

    values = ("joints", DETECTED, "smpl_orientation", "smpl_pose", "smpl_shape", "smpl_translation", "gender", "box")
    picked = {name: column(name) for name in values}
    picked[LABELLED] = np.asarray((picked[DETECTED][..., 2] > 0).any(-1))
    labels = Labels(
        name="3dpw",
        version=VERSION,
        skeleton=skeleton("smpl_24"),
        images=_all_images(parts, column("path"), column("size"), column("seen")),
        split=np.repeat([split for split, _ in parts], frames),
        image=np.concatenate([part["frame"] + start for (_, part), start in zip(parts, starts[:-1], strict=True)]),
        person=column("person"),
        values=picked,
        cameras=_all_cameras(column, column("size")),
    )
    return labels, column("joints14") if all("joints14" in part for _, part in parts) else None


def _all_images(parts: list[tuple[str, dict[str, Array]]], path: Array, size: Array, seen: Array) -> Images:
    frames = [len(part["path"]) for _, part in parts]
    places = np.arange(len(path))
    return Images(
        path=path,
        size=size,
        camera=np.where(seen, places, -1),
        sequence=np.repeat([str(part["name"]) for _, part in parts], frames),
        frame=np.concatenate([np.arange(count) for count in frames]),
        moment=places,
        view=np.zeros(len(path), dtype=np.int64),
    )


def _all_cameras(column: Any, size: Array) -> Cameras:
    intrinsics = torch.from_numpy(column("camera_intrinsics"))
    return Cameras(
        intrinsics=intrinsics,
        distortion=intrinsics.new_zeros(len(intrinsics), 0),
        image_size=torch.from_numpy(np.where(size > 0, size, np.nan)),
        rotation=torch.from_numpy(column("camera_rotation")),
        translation=torch.from_numpy(column("camera_translation")),
    )


def in_3dpw_occ(labels: Labels) -> Array:
    """(R,) which rows are of the sequences of 3DPW-Occ, whatever their split."""
    return np.asarray(np.char.startswith(labels.images.sequence[:, None], SCENES_3DPW_OCC).any(-1))[labels.image]


def _write_protocols(out: Path, labels: Labels, joints: Array | None, options: Pw3dOptions) -> None:
    """Labels in rows, as the protocols of 3DPW score them."""
    folder = emptied(out / "protocols")
    split = labels.split[labels.image]
    chosen = {name: split == name for name in options.splits}
    chosen |= {"all": np.ones(len(labels), dtype=bool)} if set(options.splits) == set(SPLITS) else {}
    for name, rows in chosen.items():
        write_pose_rows(folder / f"{name}_24.npz", _rows_of_24(labels[rows & labels.values[LABELLED]]))
    if joints is None:
        return
    boxes = _detected_boxes(labels, options.box_scale)
    often = labels.images.frame[labels.image] % options.every == 0
    lists = {f"{name}_14": rows for name, rows in chosen.items()}
    lists |= {f"test_14_ds{options.every}": (split == "test") & often} if "test" in options.splits else {}
    lists |= {f"occ_14_ds{options.every}": in_3dpw_occ(labels) & often}
    for name, rows in lists.items():
        write_pose_rows(folder / f"{name}.npz", rows_of_14(labels[rows], joints[rows], boxes[rows]))


def _rows_of_24(labels: Labels) -> PoseRows:
    """The 24 joints in the camera's frame, and their orientations there."""
    rows = labels.pose_rows("camera")
    values = {name: rows.values[name] for name in ("joints", "box", "gender")}
    return replace(rows, values={**values, "orientations": joint_orientations(labels.values)})


def joint_orientations(values: Mapping[str, Array]) -> Array:
    """(R, 24, 3, 3) of SMPL's joints in the camera's frame, from the parameters of labels."""
    pose = np.concatenate([values["smpl_orientation"], values["smpl_pose"]], axis=-1).reshape(-1, 24, 3)
    rotations = rotvec_to_matrix(torch.from_numpy(pose))
    posed = forward_kinematics(SMPL_TREE, rotations.new_zeros(len(rotations), 24, 3), rotations)
    orientations: Array = posed[..., :3].numpy()
    return orientations


def _detected_boxes(labels: Labels, scale: float) -> Array:
    """(R, 4) around the detected joints, `scale` times as large; NaN for people without."""
    return expand_boxes(boxes_of_points(labels.values[DETECTED][..., :2]), scale)


def _write_human_data(out: Path, labels: Labels, options: Pw3dOptions) -> None:
    """The archives that 3DNBF reads; people without detected joints have no box and are left out."""
    folder = emptied(out / "human_data")
    boxes = _detected_boxes(labels, options.box_scale)
    often = labels.images.frame[labels.image] % options.every == 0
    test = labels.split[labels.image] == "test"
    lists = {
        "pw3d_test": test,
        f"pw3d_test_ds{options.every}": test & often,
        f"pw3d_occ_ds{options.every}": in_3dpw_occ(labels) & often,
    }
    for name, chosen in lists.items():
        rows = np.flatnonzero(chosen & labels.values[LABELLED])
        if len(rows):
            _write_archive(folder / f"{name}.npz", labels[rows], boxes[rows])


def _write_archive(path: Path, labels: Labels, boxes: Array) -> None:
    frames, sequences = labels.images.frame[labels.image], labels.images.sequence[labels.image]
    write_labels_as_human_data(
        path,
        labels,
        image_paths=[f"imageFiles/{name}/image_{frame:05d}.jpg" for name, frame in zip(sequences, frames, strict=True)],
        boxes=boxes,
        keypoints=(skeleton("coco_18"), labels.values[DETECTED]),
    )
