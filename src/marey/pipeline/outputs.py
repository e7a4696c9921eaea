"""The files of a result."""

from __future__ import annotations

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
    from marey.viz.overlay import write_overlay_video
    from marey.viz.report import write_report

    written: list[Path] = []
    if "npz" in config.formats:
        write_estimate_npz(folder / "estimate.npz", estimate)
        written.append(folder / "estimate.npz")
    if "csv" in config.formats:
        write_joint_table(folder / "joints.csv", estimate.joints, fps=estimate.fps, frames=estimate.frames)
        written.append(folder / "joints.csv")
    if "trc" in config.formats:
        written += _write_trc_files(folder, estimate)
    overlay = None
    if config.overlay:
        overlay = folder / "overlay.mp4"
        write_overlay_video(overlay, estimate, sources, progress=progress)
        written.append(overlay)
    write_report(folder / "report.html", estimate, recording_names=estimate.provenance["views"], overlay=overlay)
    written.append(folder / "report.html")
    return written


def _write_trc_files(folder: Path, estimate: Estimate) -> list[Path]:
    """One TRC file a person, y up as OpenSim wants it."""
    up: Axis = estimate.provenance.get("world_up", "z")
    positions = to_y_up(estimate.joints.positions, up).cpu().numpy()
    names = estimate.joints.skeleton.joints
    files = [folder / f"person_{person}.trc" for person in range(positions.shape[1])]
    for person, file in enumerate(files):
        write_trc(file, positions[:, person], names, fps=estimate.fps or DEFAULT_FPS, frames=estimate.frames)
    return files
