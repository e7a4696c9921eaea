"""The one way through the house: files in, an estimate and its files out."""

from __future__ import annotations

import dataclasses
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey._version import __version__
from marey.core import Estimate, InputError, Joints3D, Observation, Recording
from marey.core.results import DISTANCE
from marey.detect.detector import default_detector
from marey.io.atomic import check_writable
from marey.io.recordings import open_recording
from marey.methods.classical.body_size import LIFTED_SIZE
from marey.methods.classical.monocular import with_distance_error, without_distance_error
from marey.pipeline.assumed_camera import KnownCamera, single_camera
from marey.pipeline.config import EstimateConfig
from marey.pipeline.detections import FoundKeypoints
from marey.pipeline.evidence import Evidence, gather_evidence
from marey.pipeline.methods import build_estimator, choose_method
from marey.pipeline.monocular_evidence import gather_monocular_evidence
from marey.pipeline.outputs import DEFAULT_FPS, write_outputs
from marey.pipeline.progress import Stages
from marey.pipeline.synchronisation import found_in_one_time
from marey.pipeline.view_clocks import common_length
from marey.pipeline.world import find_up
from marey.refine.refine import Refinement, refine

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
        calibration: camera file; views match cameras by name, else by natural order. A single view does without.
        frames: first and last + 1 of the frames to work on; None at either end: from the first, to the last.
        method: `auto` or a name of `marey info methods`.
        config: everything else that can be set.
        out: folder for the files: estimate.npz, joints.csv, person_N.trc, overlay.mp4, report.html. A run on images
            that was interrupted goes on from what it kept there. None: no files.
        progress: show bars.

    Returns:
        Joints (T, P, J, 3) in the calibration's world frame in metres (in the camera's own frame for a single camera
        whose place is not known), NaN where unknown, with covariance, scores, flags of filled values, the evidence, its
        residuals and weights, and notes on what was rejected or assumed.

    Raises:
        InputError, CalibrationError, FormatError, MissingDependencyError: each says what to do.
    """
    folder = None if out is None else check_writable(out)
    stages = Stages(progress)
    with stages("open the recording"):
        opened = _open(inputs, calibration, frames, method, config)
    with stages.bar("find keypoints", total=len(opened.span) * len(opened.recording.names)) as done:
        recording, found, sync_notes = found_in_one_time(
            opened.recording,
            opened.span,
            sync=config.sync,
            detector=config.detector,
            people=config.people,
            folder=folder,
            done=done,
        )
    # a long recording is held once, in `found`
    opened = dataclasses.replace(opened, recording=dataclasses.replace(recording, detections=None))
    del recording
    with stages("who is who, and which view errs"):
        evidence = _evidence_of(found, opened, config)
    notes = (*opened.notes, *found.notes, *sync_notes, *evidence.notes)
    del found
    times = timestamps_of(opened.recording, opened.span)
    with stages("from pixels to space"):
        result = _placed(opened, evidence, config, times)
    with stages("refine"):
        result = _finished(result, opened, evidence, config, times)
    result = dataclasses.replace(result, notes=(*notes, *result.notes))
    if folder is not None:
        with stages("write files"):
            write_outputs(folder, result, opened.recording.frames, config=config, progress=progress)
    return result


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A recording, and what is settled before anybody looks at its images."""

    recording: Recording
    paths: tuple[PathLike, ...]
    calibration: PathLike | None
    method: str
    why: str
    single: KnownCamera | None
    """The camera of a recording of one view; None: there are several."""
    span: range
    """Frames to work on."""
    rate: float
    rate_note: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen and assumed so far."""
        camera_notes = () if self.single is None else self.single.notes
        return (self.why, *self.recording.notes, *camera_notes, *self.rate_note)


def _open(
    inputs: PathLike | Sequence[PathLike],
    calibration: PathLike | None,
    frames: tuple[int | None, int | None] | None,
    method: str,
    config: EstimateConfig,
) -> _Opened:
    """Open the recording and choose the method, the camera if there is one view, and the frames."""
    paths = (inputs,) if isinstance(inputs, (str, os.PathLike)) else tuple(inputs)
    recording = open_recording(
        list(paths),
        calibration=calibration,
        skeleton=config.skeleton,
        unit=config.unit,
        fps=config.fps,
        mixed_rates=config.sync != "none",
    )
    views = len(recording.names)
    images = all(source is not None for source in recording.frames)
    found_by = config.detector
    if found_by == "auto":
        found_by = default_detector() if recording.detections is None else ""
    name, why = choose_method(method, views=views, cameras=recording.cameras, images=images, detector=found_by)
    single = single_camera(recording, config.field_of_view) if views == 1 else None
    if single is not None:
        recording = dataclasses.replace(recording, cameras=single.cameras)
    span = frame_range(frames, common_length(recording))
    rate, rate_note = _rate(recording)
    return _Opened(
        recording=recording,
        paths=paths,
        calibration=calibration,
        method=name,
        why=why,
        single=single,
        span=span,
        rate=rate,
        rate_note=rate_note,
    )


def _evidence_of(found: FoundKeypoints, opened: _Opened, config: EstimateConfig) -> Evidence:
    """Who is who, which side is which, how noisy everything is."""
    recording = opened.recording
    assert recording.cameras is not None  # choose_method has raised otherwise
    cameras = recording.cameras.to(found.detections.keypoints.positions.dtype)
    if opened.single is not None:
        return gather_monocular_evidence(
            found.detections, cameras, detector=found.detector, fps=opened.rate, people=config.people
        )
    return gather_evidence(
        found.detections,
        cameras,
        detector=found.detector,
        fps=opened.rate,
        people=config.people,
        adjust=config.cameras == "adjusted",
        first_frame=opened.span.start,
    )


def _placed(opened: _Opened, evidence: Evidence, config: EstimateConfig, times: Tensor | None) -> Estimate:
    """What the method makes of the evidence."""
    focal_deviation = 0.0 if opened.single is None else opened.single.focal_deviation
    known = {"focal_deviation": focal_deviation, **({"size": LIFTED_SIZE} if evidence.lifted else {})}
    observation = Observation(
        keypoints=evidence.keypoints,
        monocular=evidence.monocular,
        monocular_covariance=evidence.monocular_covariance,
        frames=opened.recording.frames,
        boxes=evidence.boxes,
        cameras=evidence.cameras,
        timestamps=times,
        start=opened.span.start,
    )
    return build_estimator(opened.method, config, **known)(observation)


def _finished(
    result: Estimate, opened: _Opened, evidence: Evidence, config: EstimateConfig, times: Tensor | None
) -> Estimate:
    """Refine the joints, find which way is up, and note what is needed to make the result again."""
    shared = None if times is None else times.nanmedian(dim=0).values
    mode = config.refine if len(opened.span) > 1 else "none"  # a single picture has no neighbours in time
    joints, refine_notes = _refined(result, fps=opened.rate, mode=mode, times=shared)
    up, up_note = find_up(joints, otherwise="z" if opened.single is None or opened.single.placed else "-y")
    return dataclasses.replace(
        result,
        joints=joints,
        fps=opened.rate,
        frames=tuple(opened.span),
        notes=(*result.notes, *refine_notes, up_note),
        provenance={**result.provenance, **_provenance(opened, config, evidence, up)},
    )


def _refined(
    result: Estimate, *, fps: float, mode: Refinement, times: Tensor | None
) -> tuple[Joints3D, tuple[str, ...]]:
    """Refine; the error of one camera's distance is the same in all frames and takes no part in it."""
    if DISTANCE not in result.provenance or result.cameras is None:
        return refine(result.joints, fps=fps, mode=mode, times=times)
    deviation, center = torch.tensor(result.provenance[DISTANCE]), result.cameras.centers[0]
    passing = without_distance_error(result.joints, center, deviation)
    joints, notes = refine(passing, fps=fps, mode=mode, times=times)
    return with_distance_error(joints, center, deviation), notes


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
    if recording.length == 1:
        return DEFAULT_FPS, ()  # a single picture has none
    note = f"The inputs do not say their frame rate; {DEFAULT_FPS:g} per second is taken. Pass fps to set it."
    warnings.warn(note, stacklevel=4)  # the caller of `estimate`
    return DEFAULT_FPS, (note,)


def _provenance(opened: _Opened, config: EstimateConfig, evidence: Evidence, up: str) -> Mapping[str, Any]:
    """What is needed to make the result again."""
    calibration = opened.calibration
    return {
        "marey": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "inputs": [str(Path(path)) for path in opened.paths],
        "calibration": None if calibration is None else str(Path(calibration)),
        "views": list(opened.recording.names),
        "method": opened.method,
        "method_reason": opened.why,
        "config": {**dataclasses.asdict(config), "weights": None if config.weights is None else str(config.weights)},
        "noise": dataclasses.asdict(evidence.noise),
        "world_up": up,
    }
