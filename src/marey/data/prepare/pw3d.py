"""3DPW: people outdoors, filmed by a hand-held camera, with bodies from inertial sensors.

The labels hold everybody in every frame whose camera fits them. The bodies' parameters are in the frame of the camera,
the joints in the world. Without the user's SMPL there are the 24 joints of the files; with it (`--smpl FOLDER`) also
the 14 joints that papers score, tight boxes, and the crops of HierarchicalProbabilistic3DHuman::

    protocols/SPLIT_24.npz   what `marey evaluate --protocol 3dpw-metrabs` and `3dpw-challenge` take as labels; `all`
                             is of all splits together, which MeTRAbs scores
    protocols/SPLIT_14.npz   the same of `3dpw-14`; test_14_ds30.npz and occ_14_ds30.npz of 3DNBF's protocols
    human_data/*.npz         HumanData archives of 3DNBF: the test set, every 30th frame of it, 3DPW-Occ
    test/                    3dpw_test.npz and cropped_frames/ of HierarchicalProbabilistic3DHuman
"""

from __future__ import annotations

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
from marey.data.labels import Images, Labels, rows_to_score
from marey.data.labels.columns import Array
from marey.data.prepare.gendered_bodies import GenderedBodies, read_gendered_bodies, rows_of_14
from marey.data.prepare.outputs import emptied
from marey.data.prepare.pw3d_crops import write_crops
from marey.data.prepare.pw3d_rows import DETECTED, SequenceRows
from marey.data.prepare.work import Work
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.predictions import PoseRows, write_pose_rows
from marey.metrics.protocols.lsp14 import SCENES_3DPW_OCC

VERSION = "1"
SPLITS = ("train", "validation", "test")
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
    for path in () if bodies is None else bodies.files:
        work.record(path)
    pictures = (root / "imageFiles").is_dir()
    if not pictures:
        work.note("imageFiles is not there: labels have no pictures, and nothing is cropped")
    files = [(split, path) for split in options.splits for path in _sequence_files(root, split, work)]
    making = SequenceRows(root=root, out=out, bodies=bodies, box_scale=options.box_scale, pictures=pictures, work=work)
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
    rows = rows_to_score(labels, "camera")
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
        joints=False,  # 3DNBF takes those of the bodies, more than these 24, where there are none
    )
