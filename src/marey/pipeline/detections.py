"""Keypoints of a recording: from its files, or from a detector whose work is kept, so that it is done once."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from marey._version import __version__
from marey.core import Boxes, Detections2D, FormatError, InputError, Keypoints2D, Recording, Skeleton
from marey.detect.detector import detect_recording, open_default_detector, open_detector
from marey.io.atomic import atomic_path

CHUNK = 300
"""Frames detected before the work is put on disk."""
KEPT = "detections"
"""Folder in the output folder."""


@dataclass(frozen=True, kw_only=True)
class FoundKeypoints:
    """Detections (V, T, P) of the frames asked for."""

    detections: Detections2D
    detector: str
    """Name of the noise model to begin with."""
    notes: tuple[str, ...]


def find_detections(
    recording: Recording,
    span: range,
    *,
    detector: str,
    people: int | None,
    folder: Path | None,
    progress: Callable[[int], object] | None = None,
) -> FoundKeypoints:
    """Take the recording's keypoints, or detect them in its images.

    Args:
        recording: V views.
        span: frames.
        detector: `auto`, a detector's name, or the path of an ONNX model; keypoint files are used only with `auto`.
        people: the most detections to keep of a frame are this and two bystanders; None: all.
        folder: where finished chunks of frames are kept and looked for; None: nowhere.
        progress: called with the number of images done since the last call.

    Raises:
        InputError: there are neither keypoints nor images.
        MissingDependencyError: the detector needs what is not installed.
    """
    if recording.detections is not None and detector == "auto":
        return FoundKeypoints(detections=recording.detections[:, span.start : span.stop], detector="openpose", notes=())
    if any(source is None for source in recording.frames):
        raise InputError(f"detector {detector}: some views have keypoints only; give videos or images for every view")
    opened, notes = open_default_detector() if detector == "auto" else (open_detector(detector), ())
    spec = opened.name if detector == "auto" else detector
    most = None if people is None else people + 2
    chunks = [range(at, min(at + CHUNK, span.stop)) for at in range(span.start, span.stop, CHUNK)]
    key = _key(recording, spec, most, getattr(opened, "fingerprint", ""))
    parts: list[Detections2D] = []
    for chunk in chunks:
        file = None if folder is None else folder / KEPT / f"{key}_{chunk.start}_{chunk.stop}.npz"
        part = None if file is None else _load(file, opened.skeleton)
        if part is None:
            try:
                part = detect_recording(
                    recording, opened, span=(chunk.start, chunk.stop), people=most, progress=progress
                )
            except KeyboardInterrupt as interrupt:
                raise KeyboardInterrupt(_kept(parts, folder)) from interrupt
            if file is not None:
                _save(file, part)
        elif progress is not None:
            progress(len(chunk) * len(recording.names))
        parts.append(part)
    note = f"Keypoints by {opened.name}, {len(opened.skeleton)} joints ({opened.skeleton.name})."
    return FoundKeypoints(detections=_concatenated(parts), detector=opened.name, notes=(note, *notes))


def _kept(parts: list[Detections2D], folder: Path | None) -> str:
    """What an interrupted run leaves, for the person who interrupted it."""
    if folder is None or not parts:
        return ""
    frames = sum(part.batch_shape[1] for part in parts)
    return f"the keypoints of {frames} frames are kept in {folder / KEPT}; the same command goes on from there"


def _key(recording: Recording, spec: str, most: int | None, fingerprint: str) -> str:
    """A name for the work: another detector, version, model, weights or image is other work."""
    models = [Path(part.strip()) for part in spec.split(",") if part.strip().lower().endswith(".onnx")]
    sources = [
        (name, [_stamp(file) for file in source.files])
        for name, source in zip(recording.names, recording.frames, strict=True)
        if source is not None
    ]
    text = json.dumps([__version__, spec, [_stamp(model) for model in models], fingerprint, most, CHUNK, sources])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(file: Path) -> tuple[str, int, int]:
    """What changes when a file does."""
    status = file.stat()
    return str(file.resolve()), status.st_size, status.st_mtime_ns


def _concatenated(parts: list[Detections2D]) -> Detections2D:
    """Join chunks along time after bringing them to the same number of slots."""
    slots = max(part.batch_shape[2] for part in parts)
    return Detections2D.cat([_padded(part, slots) for part in parts], dim=1)


def _padded(part: Detections2D, slots: int) -> Detections2D:
    missing = slots - part.batch_shape[2]
    if not missing:
        return part
    empty = part[:, :, :1].map(lambda tensor: torch.full_like(tensor, torch.nan))
    keypoints = replace(empty.keypoints, score=torch.zeros_like(empty.keypoints.score))
    boxes = None if empty.boxes is None else replace(empty.boxes, score=torch.zeros_like(empty.boxes.score))
    empty = replace(empty, keypoints=keypoints, boxes=boxes)
    return Detections2D.cat([part, *[empty] * missing], dim=2)


def _save(file: Path, part: Detections2D) -> None:
    tensors = {
        "positions": part.keypoints.positions,
        "covariance": part.keypoints.covariance,
        "score": part.keypoints.score,
        "corners": None if part.boxes is None else part.boxes.corners,
        "box_score": None if part.boxes is None else part.boxes.score,
        "monocular": part.monocular,
    }
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
    file.parent.mkdir(exist_ok=True)
    with atomic_path(file) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)


def _load(file: Path, skeleton: Skeleton) -> Detections2D | None:
    """A chunk that an earlier run kept; None if there is none."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        parts = {name: found[name] for name in ("positions", "covariance", "score")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FormatError(f"{file}: not a chunk of detections ({error}); delete it, and it is made again") from error
    keypoints = Keypoints2D(skeleton=skeleton, **parts)
    boxes = Boxes(corners=found["corners"], score=found["box_score"]) if "corners" in found else None
    return Detections2D(keypoints=keypoints, boxes=boxes, monocular=found.get("monocular"))
