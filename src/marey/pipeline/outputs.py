"""The files of a result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core import Estimate, FrameSource
from marey.core.motion import Motion
from marey.io.bvh import write_bvh
from marey.io.c3d import write_c3d
from marey.io.gltf import write_gltf
from marey.io.mot import write_mot
from marey.io.npz import write_estimate_npz
from marey.io.table import write_joint_table
from marey.io.trc import write_trc
from marey.io.usd import write_usd
from marey.pipeline.config import FORMATS, EstimateConfig, Format
from marey.pipeline.motions import DEFAULT_FPS, motions_of, opensim_coordinates
from marey.pipeline.world import Axis, to_y_up

__all__ = ["DEFAULT_FPS", "write_outputs"]


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
    result = _Result(estimate)
    written = [file for name in FORMATS if name in config.formats for file in _WRITERS[name](folder, result)]
    overlay = _write_overlay(folder / "overlay.mp4", estimate, sources, progress) if config.overlay else None
    if overlay is not None:
        written.append(overlay)
    write_report(folder / "report.html", estimate, recording_names=estimate.provenance["views"], overlay=overlay)
    return [*written, folder / "report.html"]


def _remove_earlier(folder: Path) -> None:
    """Take away what an earlier run wrote, so that all files of a folder are of one run."""
    whole = ("estimate.npz", "joints.csv", "motion.glb", "motion.usda", "overlay.mp4", "report.html")
    for name in (*whole, *(f"person_*.{kind}" for kind in ("trc", "bvh", "mot", "c3d"))):
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


@dataclass(frozen=True)
class _Result:
    """An estimate, and what several formats need of it."""

    estimate: Estimate

    @property
    def fps(self) -> float:
        return self.estimate.fps or DEFAULT_FPS

    @cached_property
    def markers(self) -> dict[int, npt.NDArray[np.float64]]:
        """Person -> joints (T, J, 3) with y up, of everybody who is there: a slot may stay empty."""
        up: Axis = self.estimate.provenance.get("world_up", "z")
        positions = to_y_up(self.estimate.joints.positions, up).double().cpu().numpy()
        there = self.estimate.joints.score.gt(0).any(-1).any(0)
        return {person: positions[:, person] for person in there.nonzero()[:, 0].tolist()}

    @cached_property
    def motions(self) -> dict[int, Motion]:
        """Person -> motion with y up."""
        motions = motions_of(self.estimate)
        if not motions:
            warnings.warn("no motion: nobody is seen from hips to shoulders in any frame", stacklevel=4)
        return motions


def _write_npz(folder: Path, result: _Result) -> list[Path]:
    write_estimate_npz(folder / "estimate.npz", result.estimate)
    return [folder / "estimate.npz"]


def _write_csv(folder: Path, result: _Result) -> list[Path]:
    estimate = result.estimate
    write_joint_table(folder / "joints.csv", estimate.joints, fps=estimate.fps, frames=estimate.frames)
    return [folder / "joints.csv"]


def _write_trc(folder: Path, result: _Result) -> list[Path]:
    """One file a person."""
    names, frames = result.estimate.joints.skeleton.joints, result.estimate.frames
    files = {person: folder / f"person_{person}.trc" for person in result.markers}
    for person, file in files.items():
        write_trc(file, result.markers[person], names, fps=result.fps, frames=frames)
    return list(files.values())


def _write_c3d(folder: Path, result: _Result) -> list[Path]:
    """One file a person."""
    names, frames = result.estimate.joints.skeleton.joints, result.estimate.frames
    files = {person: folder / f"person_{person}.c3d" for person in result.markers}
    for person, file in files.items():
        write_c3d(file, result.markers[person], names, fps=result.fps, first_frame=frames[0] + 1 if frames else 1)
    return list(files.values())


def _write_bvh(folder: Path, result: _Result) -> list[Path]:
    """One file a person."""
    files = {person: folder / f"person_{person}.bvh" for person in result.motions}
    for person, file in files.items():
        write_bvh(file, result.motions[person])
    return list(files.values())


def _write_glb(folder: Path, result: _Result) -> list[Path]:
    """One file with everybody."""
    if not result.motions:
        return []
    write_gltf(folder / "motion.glb", list(result.motions.values()))
    return [folder / "motion.glb"]


def _write_usda(folder: Path, result: _Result) -> list[Path]:
    """One file with everybody."""
    if not result.motions:
        return []
    write_usd(folder / "motion.usda", list(result.motions.values()))
    return [folder / "motion.usda"]


def _write_mot(folder: Path, result: _Result) -> list[Path]:
    """One file a person."""
    files = {person: folder / f"person_{person}.mot" for person in result.motions}
    for person, file in files.items():
        names, values = opensim_coordinates(result.motions[person])
        write_mot(file, values.numpy(), names, fps=result.fps, frames=result.estimate.frames or None)
    return list(files.values())


_WRITERS: Mapping[Format, Callable[[Path, _Result], list[Path]]] = {
    "trc": _write_trc,
    "csv": _write_csv,
    "npz": _write_npz,
    "bvh": _write_bvh,
    "glb": _write_glb,
    "mot": _write_mot,
    "c3d": _write_c3d,
    "usda": _write_usda,
}
