"""Human3.6M as it is downloaded, prepared as MeTRAbs (2020) does.

    Release-v1.2/metadata.xml
    S9/MyPoseFeatures/D3_Positions/Greeting.cdf
    S9/Videos/Greeting.54138969.mp4
    S9/BBoxes/Greeting.54138969.npy                           or S9/MySegmentsMat/ground_truth_bb/Greeting.54138969.mat

Training subjects: every fifth frame, left out while nobody moved; the others: every 64th.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marey.core import Cameras, FormatError, InputError
from marey.data.crops import Crops
from marey.data.labels import Labels
from marey.data.prepare.h36m_boxes import boxes_of_joints, check_frames, count_masks, read_mask_boxes, read_table_boxes
from marey.data.prepare.h36m_cameras import read_metadata_cameras
from marey.data.prepare.h36m_crops import CropJob, crop_unit, labels_of_crops, planned_crops, write_crop
from marey.data.prepare.h36m_names import CAMERAS, IMAGE_SIZES, KNOWN_GAPS, SKELETON, metrabs_action, official_name
from marey.data.prepare.h36m_options import H36MOptions
from marey.data.prepare.h36m_poses import read_cdf_poses
from marey.data.prepare.h36m_protocol2 import PROTOCOL_2_STEP, write_protocol_2
from marey.data.prepare.h36m_takes import Take, joined_takes, put_right
from marey.data.prepare.kept_frames import frames_apart
from marey.data.prepare.moments import Naming, labels_of_moments
from marey.data.prepare.pictures import Picture, film_pictures, write_picture
from marey.data.prepare.units import Unit, do_units
from marey.data.prepare.work import Work
from marey.data.square_boxes import edges_to_spans
from marey.io.video import VideoFrames

Array = npt.NDArray[Any]

METADATA = Path("Release-v1.2") / "metadata.xml"


class OfficialFiles(NamedTuple):
    """Where the files of a download are."""

    root: Path

    def poses(self, subject: str, name: str) -> Path:
        """Of one action."""
        return self.root / subject / "MyPoseFeatures" / "D3_Positions" / f"{name}.cdf"

    def video(self, subject: str, name: str, camera: str) -> Path:
        """Of one camera."""
        return self.root / subject / "Videos" / f"{name}.{camera}.mp4"

    def boxes(self, subject: str, name: str, camera: str) -> Path:
        """Of one camera, as MeTRAbs has them."""
        return self.root / subject / "BBoxes" / f"{name}.{camera}.npy"

    def masks(self, subject: str, name: str, camera: str) -> Path:
        """Of the boxes of one camera, as they are downloaded."""
        return self.root / subject / "MySegmentsMat" / "ground_truth_bb" / f"{name}.{camera}.mat"


def prepare_official(root: Path, out: Path, options: H36MOptions, work: Work) -> Labels:
    """Write images and give the labels.

    Raises:
        MissingAssetError: a file is absent.
        FormatError: a file is not what its format demands, or the files of a take do not fit together.
        InputError: a file cannot be read or written.
    """
    files, subjects = OfficialFiles(root), options.subjects
    rigs = read_metadata_cameras(work.record(work.require(root / METADATA, "cameras")))
    cameras = rigs[[int(subject[1:]) - 1 for subject in subjects]]
    pairs = [(subject, action) for subject in subjects for action in options.chosen_actions]

    def take(pair: tuple[str, str]) -> Take:
        make = partial(_take, files, pair, cameras[subjects.index(pair[0])], options, work)
        return Take.of(*pair, work.part(f"take {pair[0]} {pair[1]}", make))

    takes = [take(pair) for pair in work.progress(pairs, what="poses and boxes")]
    moments, sizes = joined_takes(takes, subjects, cameras)
    naming = Naming(
        name="h36m",
        version=options.version("official"),
        path=_path if options.images != "none" else lambda *_: "",
        sequence=lambda subject, action: f"{subject}/{official_name(subject, action)}",
        split={pair: options.split(pair[0]) for pair in pairs},
        action=metrabs_action,
    )
    labels = labels_of_moments(moments, naming, sizes=sizes, skeleton=SKELETON)
    if options.images == "frames":
        do_units(work, [*_units(files, out, takes)], write_picture, what="frames")
    if options.images == "crops":
        crops = planned_crops(labels, parts=options.partial)
        do_units(work, [*_crop_units(files, out, takes, labels, crops)], write_crop, what="crops")
        labels = labels_of_crops(labels, crops)
    if options.images == "frames" and options.test_step in (1, PROTOCOL_2_STEP):
        write_protocol_2(out, labels)
    return labels


def _take(
    files: OfficialFiles, pair: tuple[str, str], cameras: Cameras, options: H36MOptions, work: Work
) -> dict[str, Array]:
    subject, action = pair
    name = official_name(subject, action)
    path = work.record(work.require(files.poses(subject, name), f"joints of {subject} {name}"))
    poses = read_cdf_poses(path)
    frames = _chosen(poses, options.split(subject) == "train", options)
    sizes, lengths = _videos(files, pair, options, work)
    boxes = _boxes(files, pair, poses[frames], frames, cameras, sizes, options, work)
    joints = poses[frames]
    if options.corrects("official"):
        joints, boxes = put_right(subject, action, joints, boxes, cameras)
    filmed = frames[:, None] < lengths
    for view, lost in enumerate((~filmed & (lengths > 0)).sum(0).tolist()):
        if lost:
            work.note(f"{subject} {name}: the video of camera {CAMERAS[view]} ends before {lost} of the poses")
    boxes = np.where(filmed[..., None], boxes, np.nan)
    return Take(subject=subject, action=action, frames=frames, joints=joints, boxes=boxes, sizes=sizes).arrays()


def _chosen(poses: Array, train: bool, options: H36MOptions) -> Array:
    """Frames to take."""
    frames = np.arange(0, len(poses), options.train_step if train else options.test_step)
    return frames[frames_apart(poses[frames], options.least_motion_mm / 1000)] if train else frames


def _videos(files: OfficialFiles, pair: tuple[str, str], options: H36MOptions, work: Work) -> tuple[Array, Array]:
    """(4, 2) widths and heights, and (4,) numbers of frames; 0 for a camera that did not record."""
    sizes, lengths = np.zeros((len(CAMERAS), 2), dtype=np.int64), np.zeros(len(CAMERAS), dtype=np.int64)
    for view, camera in enumerate(CAMERAS):
        path = files.video(pair[0], official_name(*pair), camera)
        if options.images == "none":
            sizes[view], lengths[view] = IMAGE_SIZES[camera], np.iinfo(np.int64).max
        elif video := _video(path, (*pair, camera), work):
            sizes[view], lengths[view] = video.size, len(video)
    return sizes, lengths


def _video(path: Path, place: tuple[str, str, str], work: Work) -> VideoFrames | None:
    """The video; None for the one that the data set lacks or has in pieces."""
    subject, action, camera = place
    if place not in KNOWN_GAPS:
        return VideoFrames(work.record(work.require(path, f"video of {subject} {path.stem}")))
    try:
        return VideoFrames(path)
    except (FormatError, InputError):
        work.note(f"{subject} {action}: camera {camera} recorded nothing that can be read")
        return None


def _boxes(
    files: OfficialFiles,
    pair: tuple[str, str],
    joints: Array,
    frames: Array,
    cameras: Cameras,
    sizes: Array,
    options: H36MOptions,
    work: Work,
) -> Array:
    """(F, 4, 4) left, top, width, height."""
    if options.boxes == "detections":
        raise InputError("boxes: detections are of the fetched layout; pass --boxes files or joints")
    if options.boxes == "joints":
        return boxes_of_joints(joints, cameras, np.where(sizes > 0, sizes, np.inf))
    found = np.full((len(frames), len(CAMERAS), 4), np.nan)
    for view, camera in enumerate(CAMERAS):
        if sizes[view].any():
            found[:, view] = _boxes_of_view(files, pair, camera, frames, work)
    empty = ~np.all(found[..., 2:] > 0, axis=-1) & np.all(sizes > 0, axis=-1)
    for view, count in enumerate(empty.sum(0).tolist()):
        if count:
            work.note(f"{pair[0]} {pair[1]}: {count} boxes of camera {CAMERAS[view]} are empty; left out")
    return np.where(empty[..., None], np.nan, found)


def _boxes_of_view(files: OfficialFiles, pair: tuple[str, str], camera: str, frames: Array, work: Work) -> Array:
    name = official_name(*pair)
    table, masks = files.boxes(pair[0], name, camera), files.masks(pair[0], name, camera)
    path = masks if masks.exists() and not table.exists() else table
    work.require(path, f"boxes (nor is there {masks}; --boxes joints does without)")
    work.record(path)
    stored = None if path == masks else read_table_boxes(path)
    count = count_masks(path) if stored is None else len(stored)
    inside = frames < count
    if not inside.all():
        if count < _LEAST_COVERED * frames.max():
            check_frames(path, "boxes", count, frames)
        work.note(f"{path.name}: {count} boxes, so that {(~inside).sum()} of the poses have none")
    found = np.zeros((len(frames), 4))
    found[inside] = edges_to_spans(read_mask_boxes(path, frames[inside])) if stored is None else stored[frames[inside]]
    return found


_LEAST_COVERED = 0.98
"""Of a take: tables of boxes may end a few frames before the poses do; one of another take is an error."""


def _units(files: OfficialFiles, out: Path, takes: Sequence[Take]) -> Iterator[Unit[Picture]]:
    for take in takes:
        name = official_name(take.subject, take.action)
        for view, camera in enumerate(CAMERAS):
            frames = take.frames[np.isfinite(take.boxes[:, view, 0])]
            target = partial(_target, out, take.subject, take.action, camera)
            yield Unit(
                key=f"frames {take.subject}/{take.action}/{camera}",
                items=partial(film_pictures, files.video(take.subject, name, camera), frames, target),
                count=len(frames),
            )


def _target(out: Path, subject: str, action: str, camera: str, frame: int) -> Path:
    return out / _path(subject, action, camera, frame)


def _crop_units(
    files: OfficialFiles, out: Path, takes: Sequence[Take], labels: Labels, crops: Crops
) -> Iterator[Unit[CropJob]]:
    """Rows are in the order of takes, frames and cameras."""
    view = labels.images.views()[labels.image]
    ends = np.cumsum([np.isfinite(take.boxes[..., 0]).sum() for take in takes])
    for take, end in zip(takes, ends.tolist(), strict=True):
        name = official_name(take.subject, take.action)
        of_take = np.arange(end - int(np.isfinite(take.boxes[..., 0]).sum()), end)
        for place, camera in enumerate(CAMERAS):
            key, film = f"crops {take.subject}/{take.action}/{camera}", files.video(take.subject, name, camera)
            yield crop_unit(key, film, of_take[view[of_take] == place], labels, crops, out)


def _path(subject: str, action: str, camera: str, frame: int) -> str:
    return f"images/{subject}/{official_name(subject, action)}.{camera}/frame_{frame:06d}.jpg"
