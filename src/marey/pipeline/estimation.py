"""The one way through the house: files in, an estimate and its files out."""

from __future__ import annotations

import dataclasses
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey._version import __version__
from marey.core import Estimate, InputError, Observation, Recording
from marey.io.atomic import check_writable
from marey.io.recordings import open_recording
from marey.pipeline.config import EstimateConfig
from marey.pipeline.detections import FoundKeypoints, find_detections
from marey.pipeline.evidence import Evidence, gather_evidence
from marey.pipeline.methods import build_estimator, choose_method
from marey.pipeline.outputs import DEFAULT_FPS, write_outputs
from marey.pipeline.progress import Stages
from marey.pipeline.world import find_up
from marey.refine.refine import refine

_DEFAULTS = EstimateConfig()

PathLike = str | os.PathLike[str]


def estimate(
    inputs: PathLike | Sequence[PathLike],
    *,
    calibration: PathLike | None = None,
    frames: tuple[int | None, int | None] | None = None,
    method: str = "auto",
    config: EstimateConfig = _DEFAULTS,
    out: PathLike | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate the 3D joints of the people in a recording, with their covariance.

    Args:
        inputs: videos, image folders or keypoint folders, one a view; or one folder that holds them.
        calibration: camera file; views match cameras by name, else by natural order.
        frames: first and last + 1 of the frames to work on; None at either end: from the first, to the last.
        method: `auto` or a name of `marey info methods`.
        config: everything else that can be set.
        out: folder for the files: estimate.npz, joints.csv, person_N.trc, overlay.mp4, report.html. A run on images
            that was interrupted goes on from what it kept there. None: no files.
        progress: show bars.

    Returns:
        Joints (T, P, J, 3) in the calibration's world frame in metres, NaN where unknown, with covariance, scores,
        flags of filled values, the evidence, its residuals and weights, and notes on what was rejected or assumed.

    Raises:
        InputError, CalibrationError, FormatError, MissingDependencyError: each says what to do.
    """
    folder = None if out is None else check_writable(out)
    stages = Stages(progress)
    paths = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    with stages("open the recording"):
        recording = open_recording(
            paths, calibration=calibration, skeleton=config.skeleton, unit=config.unit, fps=config.fps
        )
        name, why = choose_method(method, views=len(recording.names), cameras=recording.cameras)
    span = frame_range(frames, recording.length)
    rate, rate_note = _rate(recording)
    with stages.bar("find keypoints", total=len(span) * len(recording.names)) as done:
        found = find_detections(
            recording, span, detector=config.detector, people=config.people, folder=folder, progress=done
        )
    recording = dataclasses.replace(recording, detections=None)  # a long recording is held once, in `found`
    with stages("who is who, and which view errs"):
        evidence = _evidence_of(found, recording, span, config, rate)
    found_notes = found.notes
    del found
    times = timestamps_of(recording, span)
    with stages("triangulate"):
        result = build_estimator(name, config)(
            Observation(
                keypoints=evidence.keypoints,
                frames=recording.frames,
                cameras=evidence.cameras,
                timestamps=times,
                start=span.start,
            )
        )
    with stages("refine"):
        shared = None if times is None else times.nanmedian(dim=0).values
        joints, refine_notes = refine(result.joints, fps=rate, mode=config.refine, times=shared)
    up, up_note = find_up(joints)
    result = dataclasses.replace(
        result,
        joints=joints,
        fps=rate,
        frames=tuple(span),
        notes=(why, *recording.notes, *rate_note, *found_notes, *evidence.notes, *refine_notes, up_note),
        provenance=_provenance(paths, calibration, (name, why), config, evidence, recording, up),
    )
    if folder is not None:
        with stages("write files"):
            write_outputs(folder, result, recording.frames, config=config, progress=progress)
    return result


def _evidence_of(
    found: FoundKeypoints, recording: Recording, span: range, config: EstimateConfig, rate: float
) -> Evidence:
    assert recording.cameras is not None  # choose_method has raised otherwise
    return gather_evidence(
        found.detections,
        recording.cameras.to(found.detections.keypoints.positions.dtype),
        detector=found.detector,
        fps=rate,
        people=config.people,
        adjust=config.cameras == "adjusted",
        first_frame=span.start,
    )


def frame_range(frames: tuple[int | None, int | None] | None, length: int) -> range:
    """The frames to work on, checked against the recording's length.

    Raises:
        InputError: the range is empty or lies outside the recording.
    """
    first, last = frames or (None, None)
    start, stop = first or 0, length if last is None else last
    if not 0 <= start < stop or stop > length:
        raise InputError(f"frames {start}:{stop}: expected a part of 0:{length}, the frames of the recording")
    return range(start, stop)


def timestamps_of(recording: Recording, span: range) -> Tensor | None:
    """Seconds (V, T) at which the views took the frames of a span, NaN where a view took none.

    None where the recording does not say, or where some frame has no time at all.
    """
    if recording.timestamps is not None:
        times = torch.from_numpy(recording.timestamps[:, span.start : span.stop])
    else:
        sources = [source for source in recording.frames if source is not None and source.fps is not None]
        if not sources or any(len(source.timestamps) < span.stop for source in sources):
            return None
        times = torch.stack([torch.from_numpy(source.timestamps[span.start : span.stop]) for source in sources])
    times = times.to(torch.float64)
    shared = times.nanmedian(dim=0).values
    return times if bool((shared.diff() > 0).all()) and bool(shared.isfinite().all()) else None


def _rate(recording: Recording) -> tuple[float, tuple[str, ...]]:
    if recording.fps is not None:
        return recording.fps, ()
    note = f"The inputs do not say their frame rate; {DEFAULT_FPS:g} per second is taken. Pass fps to set it."
    warnings.warn(note, stacklevel=3)
    return DEFAULT_FPS, (note,)


def _provenance(
    paths: Sequence[PathLike],
    calibration: PathLike | None,
    choice: tuple[str, str],
    config: EstimateConfig,
    evidence: Evidence,
    recording: Recording,
    up: str,
) -> Mapping[str, Any]:
    """What is needed to make the result again; `choice` is the method and why."""
    method, why = choice
    return {
        "marey": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "inputs": [str(Path(path)) for path in paths],
        "calibration": None if calibration is None else str(Path(calibration)),
        "views": list(recording.names),
        "method": method,
        "method_reason": why,
        "config": dataclasses.asdict(config),
        "noise": dataclasses.asdict(evidence.noise),
        "world_up": up,
    }
