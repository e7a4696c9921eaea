"""How well cameras as they are agree about a board: nothing of them is changed, only the board is looked for."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.calibrate.assessment import camera_names
from marey.calibrate.calibration import BoardObservations, Calibration, Finding
from marey.core import Cameras, InputError
from marey.geometry.bundle import BundleSettings, CameraPrior
from marey.geometry.planar_pose import planar_poses
from marey.geometry.rigid_bundle import adjust_rigid_bundle
from marey.geometry.robust import RobustLoss

GOOD_PX, BAD_PX = 1.0, 3.0
"""Root mean square errors up to which cameras are good, and beyond which they cannot be used."""
HELD = 1e-7
"""Radians and metres that the cameras may give way."""
LOSS = RobustLoss("huber", 2.0)
MOVED = 2.5
"""A camera's place is off if all views together miss its corners this many times farther than its lens alone does."""


def agree_about_boards(observations: BoardObservations, cameras: Cameras) -> Calibration:
    """Measure the errors of given cameras: at each moment the board is put where all views together miss it least.

    Args:
        observations: of V views, taken at the same moments.
        cameras: (V,) full, in the order of the views.

    Returns:
        The cameras as given, with residuals of every corner seen (none is left out) and findings.

    Raises:
        InputError: no moment shows enough of the board.
    """
    cameras = cameras.to(torch.float64)
    try:
        found = adjust_rigid_bundle(
            observations.pixels,
            observations.board.points,
            cameras,
            settings=BundleSettings(prior=CameraPrior(rotation=HELD, center=HELD), held_views=(), loss=LOSS),
        )
    except InputError as error:
        raise InputError(f"the board tells nothing about these cameras: {error}") from error
    findings = _findings(camera_names(cameras), _view_rms(found.residuals), _lens_rms(observations, cameras))
    return Calibration(
        cameras=cameras,
        observations=observations,
        board_rotation=found.rotation,
        board_translation=found.translation,
        residuals=found.residuals,
        used=found.residuals.isfinite().all(-1),
        findings=(*findings, *observations.findings),
    )


def _view_rms(residuals: Tensor) -> Tensor:
    """(V,) pixels."""
    return residuals.square().sum(-1).flatten(1).nanmean(-1).sqrt()


def _lens_rms(observations: BoardObservations, cameras: Cameras) -> Tensor:
    """(V,) median over the pictures of the error that is left when each picture may have a board of its own."""
    alone: Tensor = planar_poses(observations.pixels, observations.board.points, cameras).rms[..., 0]
    return alone.nanmedian(-1).values


def _findings(names: tuple[str, ...], together: Tensor, alone: Tensor) -> tuple[Finding, ...]:
    """What the errors (V,) of the views together and of each view by itself say."""
    usual = float(alone.nanmedian())
    odd = (alone > GOOD_PX) | ((alone > MOVED * usual) & (alone > GOOD_PX / 3))
    findings = [
        Finding(
            severity="problem" if lens > BAD_PX else "notice",
            text=f"{name}: even a single picture of the board fits its lens only within {lens:.1f} px.",
            advice=f"Calibrate the lens of {name} anew: focal length, resolution or zoom is another one.",
        )
        for name, lens, wrong in zip(names, alone.tolist(), odd.tolist(), strict=True)
        if wrong
    ]
    unknown = [name for name, error in zip(names, together.tolist(), strict=True) if error != error]
    if unknown:
        findings.append(
            Finding(
                severity="notice",
                text=f"{', '.join(unknown)} never saw enough of the board: nothing can be said about it.",
                advice="Film the board where it is seen together with another camera.",
            )
        )
    worst = float(together.nan_to_num(0).amax())
    if worst > GOOD_PX and worst > MOVED * usual:
        findings.append(_disagreement(names, together, usual))
    if not findings:
        findings.append(Finding(severity="good", text=f"Every camera agrees with the board within {worst:.2f} px."))
    return tuple(findings)


def _disagreement(names: tuple[str, ...], together: Tensor, usual: float) -> Finding:
    """The places of the cameras do not fit each other."""
    order = together.nan_to_num(-1).argsort(descending=True).tolist()
    errors = ", ".join(f"{names[view]} {together[view].item():.1f} px" for view in order)
    return Finding(
        severity="problem" if float(together.nan_to_num(0).amax()) > BAD_PX else "notice",
        text=f"The views do not agree where the board is: {errors}, though a picture by itself usually fits its lens "
        f"within {usual:.1f} px.",
        advice=f"A camera, {names[order[0]]} first of all, has been moved or zoomed since the calibration, or the "
        "videos are out of step: calibrate anew, if only the places changed with --intrinsics and this file.",
    )
