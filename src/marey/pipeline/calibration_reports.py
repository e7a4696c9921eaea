"""What is said about cameras, from boards, from people, or from their numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from marey.calibrate.assessment import assess, camera_names
from marey.calibrate.calibration import Calibration, Finding
from marey.calibrate.people import refine_with_people
from marey.calibrate.people_agreement import PeopleAgreement
from marey.calibrate.plausibility import camera_heights, check_cameras, check_stature
from marey.calibrate.report import CalibrationReport
from marey.calibrate.rigidity import board_rigidity
from marey.core import Cameras, InputError, Joints3D, Keypoints2D, Recording
from marey.geometry.triangulation import triangulate
from marey.pipeline.world import find_up


def make_report(
    calibration: Calibration,
    facts: Mapping[str, str],
    *,
    title: str,
    findings: tuple[Finding, ...] = (),
    agreement: PeopleAgreement | None = None,
) -> CalibrationReport:
    """Judge a calibration, with `findings` besides its own, and gather everything that its report shows."""
    return CalibrationReport(
        calibration=calibration,
        assessment=assess(calibration, agreement=agreement, findings=findings),
        agreement=agreement,
        rigid_mm=_rigid_mm(calibration),
        title=title,
        facts=facts,
    )


def _rigid_mm(calibration: Calibration) -> float | None:
    """Root mean square distance of triangulated corners from a rigid board; None where no view shares a board."""
    observations, used = calibration.observations, calibration.used
    if observations is None or used is None or not calibration.cameras.has_extrinsics:
        return None
    pixels: Tensor = torch.where(used[..., None], observations.pixels, torch.nan)
    try:
        return board_rigidity(observations, calibration.cameras, pixels=pixels).rms_mm
    except InputError:
        return None


def odd_numbers(cameras: Cameras) -> tuple[Finding, ...]:
    """What the numbers of the cameras alone give reason to say; nothing where they are plausible."""
    return tuple(finding for finding in check_cameras(cameras) if finding.severity != "good")


def about_people(
    keypoints: Keypoints2D, cameras: Cameras, agreement: PeopleAgreement
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Whether people have a human size and cameras stand above the ground; the heights of the cameras."""
    findings = check_stature(keypoints, cameras)
    up, note = find_up(_joints(keypoints, cameras))
    direction = torch.zeros(3, dtype=torch.float64)
    direction["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    heights, _ = camera_heights(cameras.centers, agreement.points, direction)
    names = camera_names(cameras)
    listed = ", ".join(f"{name} {height:.2f} m" for name, height in zip(names, heights.tolist(), strict=True))
    low = [name for name, height in zip(names, heights.tolist(), strict=True) if height < -0.2]
    if low:
        text = f"{', '.join(low)} would stand below the ground that people stand on."
        advice = "The world of the calibration is mirrored or upside down, or its unit is another one."
        findings = (*findings, Finding(severity="notice", text=text, advice=advice))
    return findings, (note, f"Heights above the ground that people stand on: {listed}.")


def _joints(keypoints: Keypoints2D, cameras: Cameras) -> Joints3D:
    found = triangulate(keypoints.positions.double(), cameras.to(torch.float64), method="dlt")
    known = found.positions.isfinite().all(-1)
    return Joints3D(
        positions=found.positions,
        covariance=found.covariance,
        score=known.double(),
        filled=torch.zeros_like(known),
        skeleton=keypoints.skeleton,
    )


def reachable_px(keypoints: Keypoints2D, cameras: Cameras, fps: float) -> float | None:
    """The median error of cameras adjusted to some of the frames, on others; None where people tell too little."""
    try:
        return refine_with_people(keypoints, cameras, fps=fps).after.median_px
    except InputError:
        return None


def with_given_names(calibration: Calibration, recording: Recording) -> Calibration:
    """With the names of the given cameras, if there were any and no view was left out."""
    given = recording.cameras
    if given is None or not given.names or len(given.names) != len(calibration.cameras.intrinsics):
        return calibration
    return replace(calibration, cameras=replace(calibration.cameras, names=given.names))
