"""`marey synth`: recordings whose truth is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marey.core import Estimate, InputError

if TYPE_CHECKING:
    from marey.data.synthetic.recording import RecordingConfig


@dataclass(frozen=True, kw_only=True)
class Options:
    """Render a recording of people by several cameras: videos, calibration, truth, and a sheet to look at.

    The same options make the same recording. `marey estimate` takes the folder as it is.
    """

    out: Path
    """Folder for the recording; made if it is not there."""
    tier: Literal["easy", "medium", "hard"] = "easy"
    """easy: adults whose arms go with the walk; medium: children too, poses that people take, occluders, wide and long
    lenses; hard: anything that joints allow, fisheyes too, a third of the picture covered at most."""
    views: int = 4
    """Cameras."""
    people: int = 1
    """1 to 4."""
    frames: int = 150
    """Of each camera."""
    fps: float = 30.0
    """Frames per second."""
    size: str = "640x480"
    """Width and height of the pictures, pixels; even numbers."""
    seed: int = 0
    """Another number is another recording."""
    split: Literal["training", "benchmark"] = "benchmark"
    """They share no clothes, backgrounds and random numbers."""
    keypoints: bool = False
    """Also write what a simulated, faulty detector reports (OpenPose JSON), so that marey estimate needs none."""
    masks: bool = False
    """Also write who is seen in every pixel (PNG)."""


def run(options: Options) -> None:
    """Render, and say what was written."""
    from marey.data.synthetic.recording import RecordingConfig

    config = RecordingConfig(
        tier=options.tier,
        views=options.views,
        people=options.people,
        frames=options.frames,
        fps=options.fps,
        image_size=parse_size(options.size),
        split=options.split,
        seed=options.seed,
    )
    render(config, options.out, keypoints=options.keypoints, masks=options.masks)
    print(
        f"recording: {options.out} ({config.views} cameras, {config.frames} frames at {config.fps:g} a second, "
        f"{config.people} {'person' if config.people == 1 else 'people'})"
    )
    for file in sorted(options.out.iterdir()):
        if not file.name.startswith("."):
            print(f"wrote {file}{'/' if file.is_dir() else ''}")


def render(config: RecordingConfig, folder: Path, *, keypoints: bool, masks: bool = False) -> Estimate:
    """Write a recording while a bar shows how far it is, and a sheet of its pictures; return its truth."""
    from tqdm import tqdm

    from marey.data.synthetic.recording import SHEET_FILE, write_recording
    from marey.io.images import write_image
    from marey.io.video import VideoFrames
    from marey.viz.recording_sheet import recording_sheet

    with tqdm(total=config.frames, desc="render", unit="frame", leave=False) as bar:
        truth = write_recording(config, folder, keypoints=keypoints, masks=masks, progress=bar.update)
    assert truth.cameras is not None
    films = [VideoFrames(folder / f"{name}.mp4") for name in truth.cameras.names]
    write_image(folder / SHEET_FILE, recording_sheet(films))
    return truth


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT.

    Raises:
        InputError: it is something else.
    """
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise InputError(f"size: expected WIDTHxHEIGHT such as 640x480, got '{text}'")
    return int(found[1]), int(found[2])
