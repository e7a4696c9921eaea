"""`marey synchronize`: how the clocks of the cameras are set against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from marey.calibrate.synchronise import SURE
from marey.io.units import Unit
from marey.pipeline.synchronisation import SYNCHRONISATION_FILE, synchronize


@dataclass(frozen=True, kw_only=True)
class Options:
    """Find how the clocks of the cameras are set against each other, from the motion of the people they see."""

    inputs: Positional[tuple[Path, ...]]
    """Videos, image folders or keypoint folders, one a camera; or one folder that holds them. Frame rates and lengths
    may differ."""
    calibration: Path | None = None
    """Camera file. With it offsets are found to a fraction of a frame, without to a few frames."""
    out: Path | None = None
    """Folder for synchronisation.json, which `marey estimate --sync` takes, and a picture of the aligned motion."""
    detector: str = "auto"
    """For images: auto, marey, mediapipe, or POSE.onnx, or POSE.onnx,PERSON.onnx."""
    skeleton: str | None = None
    """Of the keypoint files, if their joint count does not say it; see `marey info skeletons`."""
    unit: Unit | float | None = None
    """Of the calibration's translations, if the file is not in metres."""
    fps: float | None = None
    """Frames per second, if the inputs do not say it."""


def run(options: Options) -> None:
    """Synchronise, and say how sure it is."""
    result = synchronize(
        options.inputs,
        calibration=options.calibration,
        detector=options.detector,
        skeleton=options.skeleton,
        unit=options.unit,
        fps=options.fps,
        out=options.out,
        progress=True,
    )
    print(f"reference: {result.names[result.reference]}")
    for note in result.notes:
        print(f"- {note}")
    if options.out is None:
        print("Nothing was written; --out FOLDER keeps the offsets for marey estimate --sync.")
        return
    file = options.out / SYNCHRONISATION_FILE
    print(f"wrote {file}\nwrote {options.out / 'synchronisation.png'}")
    if bool((result.confidence >= SURE).all()):
        print(f"use it: marey estimate ... --sync {file}")
    else:
        print("Not every view is sure: look at the picture before you use it.")
