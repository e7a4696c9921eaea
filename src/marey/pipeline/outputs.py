"""The files of a result."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from marey.core import Estimate, FrameSource
from marey.io.npz import write_estimate_npz
from marey.io.table import write_joint_table
from marey.io.trc import write_trc
from marey.pipeline.config import EstimateConfig
from marey.pipeline.world import Axis, to_y_up

DEFAULT_FPS = 30.0
"""Taken where neither the inputs nor the user say it."""


def write_outputs(
    folder: Path, estimate: Estimate, sources: Sequence[FrameSource | None], *, config: EstimateConfig, progress: bool
) -> list[Path]:
    """Write every file that was asked for, the report and the overlay; each is whole or not there.

    Args:
        folder: exists and is writable.
        estimate: with `world_up` in its provenance.
        sources: (V,) frames to draw on.
        config: formats and overlay.
        progress: show a bar while the overlay is drawn.

    Returns:
        The files, in the order written.
    """
    from marey.viz.report import write_report

    _remove_earlier(folder)
    written: list[Path] = []
    if "npz" in config.formats:
        write_estimate_npz(folder / "estimate.npz", estimate)
        written.append(folder / "estimate.npz")
    if "csv" in config.formats:
        write_joint_table(folder / "joints.csv", estimate.joints, fps=estimate.fps, frames=estimate.frames)
        written.append(folder / "joints.csv")
    if "trc" in config.formats:
        written += _write_trc_files(folder, estimate)
    overlay = _write_overlay(folder / "overlay.mp4", estimate, sources, progress) if config.overlay else None
    if overlay is not None:
        written.append(overlay)
    write_report(folder / "report.html", estimate, recording_names=estimate.provenance["views"], overlay=overlay)
    return [*written, folder / "report.html"]


def _remove_earlier(folder: Path) -> None:
    """Take away what an earlier run wrote, so that all files of a folder are of one run."""
    for name in ("estimate.npz", "joints.csv", "overlay.mp4", "report.html", "person_*.trc"):
        for file in folder.glob(name):
            file.unlink()


def _write_overlay(
    path: Path, estimate: Estimate, sources: Sequence[FrameSource | None], progress: bool
) -> Path | None:
    """Draw the video; None, with a warning, where the sizes of the images are unknown."""
    from marey.viz.overlay import write_overlay_video

    cameras = estimate.cameras
    if cameras is not None and all(source is None for source in sources) and not cameras.image_size.isfinite().all():
        warnings.warn(
            "no overlay video: neither images nor the calibration say the size of the views; add `size` to the "
            "calibration",
            stacklevel=4,
        )
        return None
    write_overlay_video(path, estimate, sources, progress=progress)
    return path


def _write_trc_files(folder: Path, estimate: Estimate) -> list[Path]:
    """One TRC file a person, y up as OpenSim wants it."""
    up: Axis = estimate.provenance.get("world_up", "z")
    positions = to_y_up(estimate.joints.positions, up).cpu().numpy()
    names = estimate.joints.skeleton.joints
    there = estimate.joints.score.gt(0).any(-1).any(0)  # a slot may be empty if fewer people were found than asked for
    files = {person: folder / f"person_{person}.trc" for person in there.nonzero()[:, 0].tolist()}
    for person, file in files.items():
        write_trc(file, positions[:, person], names, fps=estimate.fps or DEFAULT_FPS, frames=estimate.frames)
    return list(files.values())
