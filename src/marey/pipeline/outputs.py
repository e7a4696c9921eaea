"""The files of a result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core import CalibrationError, Estimate, FrameSource, InputError
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
from marey.pipeline.conversion_parts import view_labels
from marey.pipeline.dataset_files import (
    ViewKeypoints,
    keypoints_of,
    write_coco_files,
    write_human_data_files,
    write_videopose_joints,
    write_videopose_keypoints,
)
from marey.pipeline.joint_conversion import markers_of
from marey.pipeline.motion_conversion import write_motion_amass
from marey.pipeline.motions import DEFAULT_FPS, motions_of, opensim_coordinates

__all__ = ["DEFAULT_FPS", "write_outputs"]

_VIDEOPOSE_JOINTS, _VIDEOPOSE_KEYPOINTS = "data_3d_marey.npz", "data_2d_custom_marey.npz"


def write_outputs(
    folder: Path, estimate: Estimate, sources: Sequence[FrameSource | None], *, config: EstimateConfig, progress: bool
) -> list[Path]:
    """Write every file that was asked for, the report and the overlay; each is whole or not there.

    A format for which the estimate lacks something is left out, and one warning says which and why.

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
    result.tell_left_out()
    overlay = _write_overlay(folder / "overlay.mp4", estimate, sources, progress) if config.overlay else None
    if overlay is not None:
        written.append(overlay)
    write_report(folder / "report.html", estimate, recording_names=estimate.provenance["views"], overlay=overlay)
    return [*written, folder / "report.html"]


def _remove_earlier(folder: Path) -> None:
    """Take away what an earlier run wrote, so that all files of a folder are of one run."""
    whole = ("estimate.npz", "joints.csv", "motion.glb", "motion.usda", "overlay.mp4", "report.html")
    people = (*(f"person_*.{kind}" for kind in ("trc", "bvh", "mot", "c3d")), "person_*_amass.npz")
    views = ("view_*_coco.json", "view_*_human_data.npz")
    for name in (*whole, *people, *views, _VIDEOPOSE_JOINTS, _VIDEOPOSE_KEYPOINTS):
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
    """An estimate, what several formats need of it, and what could not be written."""

    estimate: Estimate
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Reason -> kinds of files."""

    @property
    def fps(self) -> float:
        return self.estimate.fps or DEFAULT_FPS

    @cached_property
    def markers(self) -> dict[int, npt.NDArray[np.float64]]:
        """Person -> joints (T, J, 3) with y up, of everybody who is there."""
        return markers_of(self.estimate)

    @cached_property
    def motions(self) -> dict[int, Motion]:
        """Person -> motion with y up."""
        motions = motions_of(self.estimate)
        if not motions:
            warnings.warn("no motion: nobody is seen from hips to shoulders in any frame", stacklevel=4)
        return motions

    def keypoints_for(self, kind: str) -> ViewKeypoints | None:
        """The keypoints, None where there are none, which is noted as the reason why a kind of file is left out."""
        try:
            return keypoints_of(self.estimate)
        except InputError as error:
            self.leave_out(kind, error)
            return None

    def leave_out(self, kind: str, why: Exception) -> None:
        """Note that a kind of file cannot be written."""
        self.left_out.setdefault(str(why), []).append(kind)

    def tell_left_out(self) -> None:
        """Warn once of everything that could not be written."""
        if self.left_out:
            reasons = "; ".join(f"{', '.join(kinds)} ({why})" for why, kinds in self.left_out.items())
            warnings.warn(f"not written: {reasons}", stacklevel=4)


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


def _write_amass(folder: Path, result: _Result) -> list[Path]:
    """One file a person."""
    files = {person: folder / f"person_{person}_amass.npz" for person in result.motions}
    for person, file in files.items():
        write_motion_amass(file, result.motions[person])
    return list(files.values())


def _write_coco(folder: Path, result: _Result) -> list[Path]:
    """One file a view."""
    views = result.keypoints_for("COCO results")
    if views is None:
        return []
    files = [folder / f"view_{name}_coco.json" for name in view_labels(views.names)]
    try:
        write_coco_files(files, views)
    except InputError as error:  # the skeleton lacks joints of COCO
        result.leave_out("COCO results", error)
    return [file for file in files if file.exists()]


def _write_human_data(folder: Path, result: _Result) -> list[Path]:
    """One file a view."""
    views = result.keypoints_for("HumanData")
    if views is None:
        return []
    files = [folder / f"view_{name}_human_data.npz" for name in view_labels(views.names)]
    try:
        write_human_data_files(files, result.estimate)
    except CalibrationError as error:
        result.leave_out("HumanData", error)
    return [file for file in files if file.exists()]


def _write_videopose(folder: Path, result: _Result) -> list[Path]:
    """One file of joints, and one of keypoints if there are any."""
    files = [folder / _VIDEOPOSE_JOINTS]
    write_videopose_joints(files[0], result.estimate)
    views = result.keypoints_for("VideoPose3D's 2D keypoints")
    if views is not None:
        files.append(folder / _VIDEOPOSE_KEYPOINTS)
        write_videopose_keypoints(files[1], views)
    return files


_WRITERS: Mapping[Format, Callable[[Path, _Result], list[Path]]] = {
    "trc": _write_trc,
    "csv": _write_csv,
    "npz": _write_npz,
    "bvh": _write_bvh,
    "glb": _write_glb,
    "mot": _write_mot,
    "c3d": _write_c3d,
    "usda": _write_usda,
    "amass": _write_amass,
    "coco": _write_coco,
    "humandata": _write_human_data,
    "videopose3d": _write_videopose,
}
