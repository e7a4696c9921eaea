"""`marey estimate`: the main job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from marey.core import InputError
from marey.pipeline.config import FORMATS, CameraUse, EstimateConfig, Format, Method, Refinement, Unit

_DEFAULTS = EstimateConfig()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Estimate the 3D joints of the people in a recording made with several calibrated cameras, or with one camera."""

    inputs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos, image folders or keypoint folders (OpenPose JSON), one a camera; or one folder that holds them; or a
    Caliscope csv."""
    out: Path
    """Folder for the results; made if it is not there."""
    calibration: Path | None = None
    """Camera file or folder, of any camera format that `marey info formats` lists."""
    frames: str | None = None
    """A:B works on the frames from A up to but not including B, counted from 0; either may be left out."""
    method: str = "auto"
    """auto, or a name that `marey info methods` lists."""
    triangulation: Method = _DEFAULTS.triangulation
    """robust; weighted: by the keypoints' covariances; dlt: by their scores."""
    refine: Refinement = _DEFAULTS.refine
    """none; smooth: fill gaps and smooth; bones: smooth, with constant bone lengths."""
    detector: str = _DEFAULTS.detector
    """For images: auto (mediapipe if it is installed, otherwise marey), marey, mediapipe, or POSE.onnx, or
    POSE.onnx,PERSON.onnx."""
    people: int | None = _DEFAULTS.people
    """How many people to follow; if not given, everyone but bystanders, whom few of the views see."""
    format: str = ",".join(_DEFAULTS.formats)
    """What to write, separated by commas: joints as trc, csv, npz, c3d; rotating joints as bvh, glb, usda, amass; joint
    angles as mot; for other programs' training and evaluation coco, humandata, videopose3d."""
    cameras: CameraUse = _DEFAULTS.cameras
    """adjusted: within the accuracy of a calibration, if the views disagree without; as-given: never."""
    sync: str = _DEFAULTS.sync
    """auto: shift views that are surely not synchronous; none; or offsets such as cam_1=0.12,cam_2=-3f (seconds,
    frames), or the synchronisation.json that `marey synchronize` wrote."""
    skeleton: str | None = _DEFAULTS.skeleton
    """Of the keypoint files, if their joint count does not say it; see `marey info skeletons`."""
    unit: Unit | float | None = _DEFAULTS.unit
    """Of the calibration's translations, if the file is not in metres."""
    fps: float | None = _DEFAULTS.fps
    """Frames per second, if the inputs do not say it."""
    fov: float | None = _DEFAULTS.field_of_view
    """One camera without calibration: its field of view along the larger side of the image, degrees."""
    stature: float | None = _DEFAULTS.stature
    """One camera: how tall the people are, metres; their distance is known as well as this is."""
    weights: Path | None = _DEFAULTS.weights
    """Of the method's network: a checkpoint, or a folder that `marey train` wrote; if not given, what is shipped."""
    overlay: bool = _DEFAULTS.overlay
    """Draw the result over the images as a video."""


def run(options: Options) -> None:
    """Estimate, and say what was found and where it lies."""
    from marey.pipeline import estimate

    result = estimate(
        options.inputs,
        calibration=options.calibration,
        frames=parse_frames(options.frames),
        method=options.method,
        config=EstimateConfig(
            triangulation=options.triangulation,
            refine=options.refine,
            people=options.people,
            detector=options.detector,
            cameras=options.cameras,
            formats=parse_formats(options.format),
            sync=options.sync,
            skeleton=options.skeleton,
            unit=options.unit,
            fps=options.fps,
            field_of_view=options.fov,
            stature=options.stature,
            weights=options.weights,
            overlay=options.overlay,
        ),
        out=options.out,
        progress=True,
    )
    for note in result.notes:
        print(f"- {note}")
    known = result.joints.positions.isfinite().all(-1)
    there = known.any(-1).any(0)
    known, filled = known[:, there], result.joints.filled[:, there]
    frames, people, joints = known.shape
    print(
        f"people: {people}, frames: {frames}, joints: {joints}; {100 * (known & ~filled).float().mean():.1f} % "
        f"measured, {100 * (known & filled).float().mean():.1f} % filled in"
    )
    for file in sorted(options.out.iterdir()):
        if file.is_file():
            print(f"wrote {file}")


def parse_frames(text: str | None) -> tuple[int | None, int | None] | None:
    """Read A:B.

    Raises:
        InputError: it is something else.
    """
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return (int(first) if first else None, int(last) if last else None)
    except ValueError:
        raise InputError(f"frames: expected A:B such as 0:50, got '{text}'") from None


def parse_formats(text: str) -> tuple[Format, ...]:
    """Read formats separated by commas.

    Raises:
        InputError: one of them is none.
    """
    words = {word.strip() for word in text.split(",")} - {""}
    if unknown := words - set(FORMATS):
        raise InputError(f"format: expected some of {', '.join(FORMATS)}, got {', '.join(sorted(unknown))}")
    return tuple(name for name in FORMATS if name in words)
