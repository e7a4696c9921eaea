"""One recording of a user's folder: its views, cameras, 3D joints and keypoints, brought to one skeleton.

The layout is described in `marey.data.folder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from marey.core import Cameras, FormatError, InputError, Recording, Skeleton
from marey.core.skeletons import skeleton as known_skeleton
from marey.data.labels.columns import Array
from marey.data.labels.joining import joints_by_name
from marey.geometry.views import fit_to_image
from marey.io.c3d import read_c3d
from marey.io.coco import CocoAnnotations, read_coco_annotations
from marey.io.image_headers import IMAGE_SUFFIXES
from marey.io.inputs import VIDEO_SUFFIXES
from marey.io.marker_names import named_skeleton
from marey.io.naming import last_number, natural_key, view_key
from marey.io.npz import read_estimate_npz
from marey.io.predictions import places_in_groups
from marey.io.recordings import open_recording
from marey.io.table import read_joint_table
from marey.io.trc import read_trc
from marey.io.units import Unit

VIEWS, KEYPOINTS = "views", "keypoints"
CALIBRATIONS = ("calibration", "calib", "cameras", "camera_array")
"""Beginnings of the names of files and folders that hold cameras."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Joints:
    """3D joints of P people: T frames, by number."""

    positions: Array
    """(T, P, J, 3) metres in the world of the calibration, NaN where unknown."""
    frames: Array
    """(T,) increasing."""
    skeleton: Skeleton
    of_markers: bool = False
    """Whether they are of a format with axes of its own."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Keypoints:
    """2D joints in every view: T frames from 0, S slots of people, whose order means nothing."""

    positions: Array
    """(V, T, S, J, 2) pixels, NaN where unknown."""
    skeleton: Skeleton


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderRecording:
    """What a folder holds of one recording."""

    name: str
    folder: Path
    recording: Recording
    joints: Joints | None
    keypoints: Keypoints | None
    notes: tuple[str, ...]
    """What is missing, and what was assumed."""


def find_recordings(folder: Path) -> list[tuple[str, Path]]:
    """Name and folder of each recording: the folder itself, or its sub-folders, if they hold `views` or `keypoints`.

    Raises:
        InputError: there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if _is_recording(folder):
        return [(folder.resolve().name, folder)]
    children = sorted(
        (child for child in folder.iterdir() if child.is_dir()), key=lambda child: natural_key(child.name)
    )
    found = [(child.name, child) for child in children if _is_recording(child)]
    if not found:
        raise InputError(
            f"{folder}: no recording; expected a folder '{VIEWS}' with a video or a folder of images a camera, or a "
            f"folder '{KEYPOINTS}', here or in each sub-folder"
        )
    return found


def _is_recording(folder: Path) -> bool:
    return (folder / VIEWS).is_dir() or (folder / KEYPOINTS).is_dir()


def open_folder_recording(
    name: str, folder: Path, *, parent: Path, unit: Unit | float | None, skeleton: str | None, fps: float | None
) -> FolderRecording:
    """Open one recording; frames stay undecoded.

    Args:
        name: Of the recording.
        folder: With `views`, `keypoints`, labels and perhaps a calibration.
        parent: Whose calibration counts where the folder has none.
        unit: Of the calibration and of C3D files, if they do not state it.
        skeleton: Of the keypoint files, if their count of joints does not say it.
        fps: Of image folders.

    Raises:
        InputError: something cannot be read, or what is there does not go together.
        CalibrationError: the calibration is of other cameras.
        FormatError: a file is not what it should be.
    """
    calibration, joints = find_calibration(folder, parent), read_joints(folder, unit)
    inputs = [folder / part for part in (VIEWS, KEYPOINTS) if _holds_views(folder / part)]
    if not inputs:
        raise InputError(f"{folder}: nothing in '{VIEWS}' and '{KEYPOINTS}' that could be a view")
    recording = open_recording(inputs, calibration=calibration, skeleton=skeleton, unit=unit, fps=fps)
    notes = list(recording.notes)
    if calibration is None:
        notes.append("no calibration: the cameras are unknown, joints are not projected.")
    if joints is None:
        notes.append("no 3D joints.")
    keypoints = _keypoints(folder, recording)
    if recording.detections is not None and keypoints is not None:
        recording, keypoints, more = _in_frames(recording, keypoints)
        notes += more
    if keypoints is None:
        notes.append("no keypoints; where 3D joints and cameras are known, they are projected.")
    return FolderRecording(
        name=name, folder=folder, recording=recording, joints=joints, keypoints=keypoints, notes=tuple(notes)
    )


def _in_frames(recording: Recording, keypoints: Keypoints) -> tuple[Recording, Keypoints, tuple[str, ...]]:
    """Cameras and keypoints in the pixels of the frames, where these are of slightly other size than the calibration.

    Keypoints of such recordings are pixels of the calibrated image (`marey.io.recordings.with_cameras`).
    """
    cameras = recording.cameras
    if cameras is None or all(source is None for source in recording.frames):
        return recording, keypoints, ()
    sizes = torch.tensor([(torch.nan, torch.nan) if source is None else source.size for source in recording.frames])
    fitted, notes = fit_to_image(cameras, sizes, recording.names)
    if not notes:
        return recording, keypoints, ()
    moved = (
        fitted.intrinsics.double() @ torch.linalg.inv(cameras.intrinsics.double())
    ).numpy()  # of pixels, lens or not
    positions = np.einsum("vij,vtpkj->vtpki", moved[:, :2, :2], keypoints.positions) + moved[:, None, None, None, :2, 2]
    return replace(recording, cameras=fitted), replace(keypoints, positions=positions), notes


def _holds_views(folder: Path) -> bool:
    """Whether there is a video, or a sub-folder; a folder of nothing but COCO files is none."""
    return folder.is_dir() and any(
        child.is_dir() or child.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
        for child in folder.iterdir()
        if not child.name.startswith(".")
    )


def find_calibration(*folders: Path) -> Path | None:
    """The camera file or folder of the first of these folders that has one.

    Raises:
        InputError: a folder has two.
    """
    for folder in folders:
        found = [child for child in sorted(folder.iterdir()) if child.name.lower().startswith(CALIBRATIONS)]
        if len(found) > 1:
            raise InputError(f"{folder}: two calibrations, {found[0].name} and {found[1].name}; keep one")
        if found:
            return found[0]
    return None


def read_joints(folder: Path, unit: Unit | float | None = None) -> Joints | None:
    """The 3D joints of a recording: `labels.csv`, `labels.npz` or `estimate.npz`, or TRC or C3D files, one a person.

    Raises:
        InputError: there are two kinds of them, or a file cannot be read.
        FormatError: a file is not what it should be, or people have other markers or frames.
    """
    csv = [path for path in (folder / "labels.csv", folder / "joints.csv") if path.exists()]
    npz = [path for path in (folder / "labels.npz", folder / "estimate.npz") if path.exists()]
    markers = sorted((p for p in folder.iterdir() if p.suffix.lower() in (".trc", ".c3d")), key=lambda p: p.name)
    if len(csv) + len(npz) + bool(markers) > 1:
        names = ", ".join(path.name for path in (*csv, *npz, *markers))
        raise InputError(f"{folder}: 3D joints in more than one form: {names}; keep one")
    if csv:
        table = read_joint_table(csv[0])
        return Joints(positions=table.positions, frames=table.frames, skeleton=named_skeleton(table.joints))
    if npz:
        return _of_estimate(npz[0])
    return _of_markers(markers, unit) if markers else None


def _of_estimate(path: Path) -> Joints:
    estimate = read_estimate_npz(path)
    positions = estimate.joints.positions
    if positions.ndim != 4:
        raise FormatError(f"{path}: expected joints (frames, people, joints, 3), got {tuple(positions.shape)}")
    frames = np.array(estimate.frames or range(len(positions)), dtype=np.int64)
    return Joints(positions=positions.double().numpy(), frames=frames, skeleton=estimate.joints.skeleton)


def _of_markers(paths: Sequence[Path], unit: Unit | float | None) -> Joints:
    """The people of TRC and C3D files. TRC counts from 1 unless its first number is 0."""
    people = [_of_marker_file(path, unit) for path in paths]
    first = people[0]
    for path, other in zip(paths, people, strict=True):
        if other.skeleton.joints != first.skeleton.joints:
            raise FormatError(f"{path}: other markers than {paths[0].name}; give everybody the same")
    frames = np.unique(np.concatenate([person.frames for person in people]))
    positions = np.full((len(frames), len(people), len(first.skeleton), 3), np.nan)
    for slot, person in enumerate(people):
        positions[np.searchsorted(frames, person.frames), slot] = person.positions[:, 0]
    return Joints(positions=positions, frames=frames, skeleton=first.skeleton, of_markers=True)


def _of_marker_file(path: Path, unit: Unit | float | None) -> Joints:
    if path.suffix.lower() == ".trc":
        trc = read_trc(path)
        frames, positions, names = trc.frames - min(1, int(trc.frames.min(initial=1))), trc.positions, trc.names
    else:
        c3d = read_c3d(path, unit=unit)
        frames, positions, names = np.arange(len(c3d.positions)) + c3d.first_frame - 1, c3d.positions, c3d.names
    if len(np.unique(frames)) < len(frames) or (len(frames) and frames.min() < 0):
        raise FormatError(f"{path}: frame numbers repeat or are negative")
    return Joints(positions=positions[:, None], frames=frames, skeleton=named_skeleton(names))


def _keypoints(folder: Path, recording: Recording) -> Keypoints | None:
    """From folders of OpenPose, which the recording holds already, or from COCO files, one a camera."""
    if recording.detections is not None:
        found = recording.detections.keypoints
        return Keypoints(positions=found.positions.double().numpy(), skeleton=found.skeleton)
    files = sorted((folder / KEYPOINTS).glob("*.json")) if (folder / KEYPOINTS).is_dir() else []
    if not files:
        return None
    views = {view_key(name): view for view, name in enumerate(recording.names)}
    if strangers := [path.name for path in files if view_key(path.stem) not in views]:
        raise InputError(f"{folder / KEYPOINTS}: {strangers[0]} has the name of no view; they are: {', '.join(views)}")
    read = [(views[view_key(path.stem)], path, read_coco_annotations(path)) for path in files]
    placed = [(view, _frames_of(path, file, recording, view), file) for view, path, file in read]
    return _packed(placed, views=len(recording.names), length=recording.length)


def _frames_of(path: Path, file: CocoAnnotations, recording: Recording, view: int) -> Array:
    """(N,) the frame of each annotation: the image of that name in the view, else the last number in the name."""
    source = recording.frames[view]
    pictures = source is not None and source.files[0].suffix.lower() in IMAGE_SUFFIXES
    names = {own.name: frame for frame, own in enumerate(source.files)} if source is not None and pictures else {}
    frames: dict[int, int] = {}
    for identity, (name, *_) in file.images.items():
        frame = names.get(Path(name).name, last_number(Path(name).stem) if not names else None)
        if frame is None or not 0 <= frame < recording.length:
            raise FormatError(f"{path}: image '{name}' is none of the {recording.length} frames of its view")
        frames[identity] = frame
    if len(absent := np.setdiff1d(file.image_ids, list(frames))):
        raise FormatError(f"{path}: annotations of image {absent[0]}, which the file does not list")
    return np.array([frames[identity] for identity in file.image_ids.tolist()], dtype=np.int64)


def _packed(files: Sequence[tuple[int, Array, CocoAnnotations]], *, views: int, length: int) -> Keypoints:
    """Annotations of each view into slots: the first person of a frame, the second, ..."""
    slots = [places_in_groups(frames) for _, frames, _ in files]
    most = max((int(slot.max(initial=-1)) + 1 for slot in slots), default=0)
    positions = np.full((views, length, most, 17, 2), np.nan)
    for (view, frames, file), slot in zip(files, slots, strict=True):
        positions[view, frames, slot] = file.positions
    return Keypoints(positions=positions, skeleton=known_skeleton("coco_17"))


def in_skeleton(column: Array, source: Skeleton, target: Skeleton) -> Array:
    """Joints (..., J, D) of one skeleton as those of another, by name; NaN for those that it lacks."""
    flat = column.reshape(-1, *column.shape[-2:])
    mapped: Array = joints_by_name(flat, source, target)
    return mapped.reshape(*column.shape[:-2], len(target), column.shape[-1])


def image_sizes(recording: Recording) -> Array:
    """(V, 2) width and height of the views' images; of the calibration where there are no frames, 0 if unknown."""
    sizes = np.zeros((len(recording.names), 2), dtype=np.int64)
    for view, source in enumerate(recording.frames):
        if source is not None:
            sizes[view] = source.size
        elif recording.cameras is not None:
            known = recording.cameras.image_size[view]
            sizes[view] = torch.nan_to_num(known).round().long().numpy()
    return sizes


def has_places(cameras: Cameras | None) -> bool:
    """Whether cameras are known with their places in the world."""
    return cameras is not None and cameras.has_extrinsics
