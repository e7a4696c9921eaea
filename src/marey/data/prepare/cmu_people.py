"""The people of one sequence of CMU Panoptic, and what its cameras have of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, InputError, MissingAssetError
from marey.data.boxes import match_boxes
from marey.data.prepare.cmu_files import (
    SKELETON,
    SequenceFiles,
    image_frames,
    numbered_files,
    read_detections,
    read_hd_cameras,
    read_people,
)
from marey.data.prepare.cmu_frames import read_frame_lists
from marey.data.prepare.cmu_options import CMUOptions
from marey.data.prepare.cmu_sequences import FRAMES, Ranges, frames_in
from marey.data.prepare.h36m_boxes import boxes_of_joints
from marey.data.prepare.work import Work
from marey.data.square_boxes import edges_to_spans
from marey.io.video import VideoFrames

Array = npt.NDArray[Any]

_NOBODY = np.array([-1]), np.full((1, len(SKELETON), 4), np.nan)
"""Stands for an empty frame: its images are kept, and nobody is in them."""

LEAST_IOU = 0.1
"""Between a detected box and the one around a person's joints, for the detected one to be the person's."""


def chosen_rig(files: SequenceFiles, options: CMUOptions, work: Work) -> Cameras:
    """The chosen cameras of a sequence, high definition, by name.

    Raises:
        MissingAssetError: there is no calibration.
        InputError: none of its cameras is left.
    """
    cameras = read_hd_cameras(work.record(work.require(files.calibration, "calibration")))
    chosen = [place for place, name in enumerate(cameras.names) if options.wants(name)]
    if not chosen:
        raise InputError(f"cameras: none of {files.calibration} is left; it has {', '.join(cameras.names)}")
    return cameras[chosen]


def completed_rig(rig: Cameras, names: Sequence[str]) -> Cameras:
    """The rig with all cameras that any sequence has, in their order; NaN for those that it lacks."""
    places = [rig.names.index(name) if name in rig.names else -1 for name in names]
    absent = torch.tensor(places) < 0
    filled = rig.map(lambda tensor: torch.where(_like(absent, tensor[places]), torch.nan, tensor[places]))
    return replace(filled, names=tuple(names))


def _like(mask: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    return mask.reshape(-1, *(1 for _ in tensor.shape[1:]))


def people_of_sequence(files: SequenceFiles, cameras: Cameras, options: CMUOptions, work: Work) -> dict[str, Array]:
    """Everybody in the chosen frames, and what C cameras have of them: N rows, arrays by the names of `Sequence`.

    Raises:
        MissingAssetError: there are no poses, or no images of them.
        FormatError: a file is not what its format demands.
        InputError: a file cannot be read, or nobody is there.
    """
    name = files.folder.name
    frames = numbered_files(work.require(files.poses, f"folder of poses of {name}"))
    chosen = frames[frames_in(_listed(name, options, work), frames)][:: options.step]
    read = list(
        work.map(read_people, [files.pose(frame) for frame in chosen.tolist()], len(chosen), f"poses of {name}")
    )
    if not any(len(people) for people, _ in read):
        raise InputError(f"{files.poses}: nobody in the {len(chosen)} chosen frames of {len(frames)}")
    read = [found if len(found[0]) else _NOBODY for found in read]
    counts = [len(people) for people, _ in read]
    frame = np.repeat(chosen, counts)
    points = np.concatenate([joints for _, joints in read])
    joints = np.where(points[..., 3:] > options.least_confidence, points[..., :3], np.nan)
    there, sizes, filmed = _recorded(files, cameras, frame, work)
    boxes = boxes_of_joints(joints, cameras, sizes)
    if options.boxes == "detections":
        boxes = _detected(files, cameras.names, frame, np.where(there[..., None], boxes, np.nan), work)
    return {
        "frame": frame,
        "person": np.concatenate([people for people, _ in read]),
        "joints": joints,
        "boxes": np.where(there[..., None], boxes, np.nan),
        "there": there,
        "sizes": sizes,
        "filmed": filmed,
    }


def _listed(sequence: str, options: CMUOptions, work: Work) -> Ranges:
    """The frames of a sequence that are wanted; all if it is not listed."""
    if options.frames == "all":
        return ()
    if not options.frames_file:
        return FRAMES.get(sequence, ())
    lists = read_frame_lists(work.record(work.require(Path(options.frames_file), "list of frames")))
    return tuple(pair for sequences in lists.values() for pair in sequences.get(sequence, ()))


def _recorded(files: SequenceFiles, cameras: Cameras, frame: Array, work: Work) -> tuple[Array, Array, Array]:
    """(N, C) whether there is an image, (C, 2) their sizes, (C,) whether they are in a video only."""
    there = np.zeros((len(frame), len(cameras.names)), dtype=bool)
    sizes = np.nan_to_num(cameras.image_size.numpy(), nan=0).astype(np.int64)
    filmed = np.zeros(len(cameras.names), dtype=bool)
    for view, name in enumerate(cameras.names):
        known = image_frames(files.images(name), name)
        if len(known):
            there[:, view] = np.isin(frame, known)
        elif files.video(name).exists():
            video = VideoFrames(work.record(files.video(name)))
            there[:, view], filmed[view], sizes[view] = frame < len(video), True, video.size
        if lost := int((~there[:, view]).sum()):
            work.note(f"{files.folder.name}: camera {name} has no image for {lost} of {len(frame)} rows")
    if not there.any():
        first = cameras.names[0]
        raise MissingAssetError(
            f"{files.folder}: no image of a frame with poses, neither in {files.images(first)} nor in "
            f"{files.video(first)}, nor of another camera; get them with the toolbox of the data set"
        )
    return there, sizes, filmed


def _detected(files: SequenceFiles, names: Sequence[str], frame: Array, boxes: Array, work: Work) -> Array:
    """The boxes (N, C, 4), replaced by the detected ones that lie on them."""
    found = boxes.copy()
    groups = np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1)
    for view, name in enumerate(names):
        if not np.isfinite(boxes[:, view]).any():
            continue
        path = work.require(files.detections(name), "file of detected boxes (--boxes joints does without)")
        detections = read_detections(work.record(path))
        for rows in groups:
            some = rows[np.isfinite(boxes[rows, view]).all(-1)]
            number = int(frame[rows[0]])
            if not len(some) or number >= len(detections):
                continue
            spans = edges_to_spans(detections[number][:, :4])
            partner = match_boxes(boxes[some, view], spans, least_iou=LEAST_IOU)
            found[some[partner >= 0], view] = spans[partner[partner >= 0]]
    return found
