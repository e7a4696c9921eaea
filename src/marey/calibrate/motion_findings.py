"""Cameras that moved while the boards were shown, found in what a calibration leaves unexplained."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Finding
from marey.core import InputError
from marey.geometry.bundle import BundleSettings
from marey.geometry.bundle_cameras import FreeIntrinsics, move_cameras
from marey.geometry.projection import project
from marey.geometry.rigid_bundle import RigidBundleAdjustment, adjust_rigid_bundle
from marey.geometry.rigid_shares import Knock, likeliest_knock, moment_shares
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import geodesic_angle

LEAST_MOMENTS = 5
"""On either side of a knock."""
KNOCK_SHARE = 0.3
"""Of all squared residuals: a knock that explains less of them is not told. Real boards that are not quite flat, or not
quite the same on both sides, reach 0.2 without any camera moving."""
KNOCK_PIXELS = 1.0
"""Mean displacement of the picture by a knock that is worth a word."""
LEFT_OUT = 4
"""Boards that a view saw elsewhere, from which another place of its camera is tried."""
AGREEMENT = 3.0
"""Pixels, or so many times the error of the view that fits worst: boards nearer than this agree on that place."""


def moved_findings(
    observations: BoardObservations, pixels: Tensor, result: RigidBundleAdjustment, contradicting: Tensor
) -> tuple[Finding, ...]:
    """Name cameras that stood elsewhere during a part of the recording.

    A large move shows in boards that contradict: if these agree among each other on another place of the camera, it
    moved. A small one hides in the residuals: every camera and every moment is tried as that of a single knock. With
    two views alone, either of them may be the one that moved.

    Args:
        observations: V views, with the corners in the order that the views share.
        pixels: (V, M, C, 2) those that were used; NaN = not used.
        result: the adjustment.
        contradicting: (V, M) boolean, boards left out because other views saw them elsewhere.
    """
    large = [_displaced(observations, pixels, result, contradicting[view], view) for view in range(len(pixels))]
    found = tuple(finding for finding in large if finding is not None)
    return found or _knocked(observations, pixels, result)


def _displaced(
    observations: BoardObservations, pixels: Tensor, result: RigidBundleAdjustment, left_out: Tensor, view: int
) -> Finding | None:
    """Whether the boards that a view saw elsewhere agree on another place of its camera."""
    used = pixels.isfinite().all(-1).any(-1)
    elsewhere = left_out & used.any(0) & result.rotation.isfinite().all(-1).all(-1)
    if int(elsewhere.sum()) < LEFT_OUT:
        return None
    # a second camera, free to stand where it likes, sees what the first one must not have seen
    own = torch.where(elsewhere[:, None, None], observations.pixels[view].to(pixels), torch.nan)
    cameras = replace(result.cameras, names=())
    settings = BundleSettings(
        loss=RobustLoss("cauchy", AGREEMENT), held_views=tuple(range(len(pixels))), max_iterations=100
    )
    try:
        second = adjust_rigid_bundle(
            torch.cat((pixels, own[None])),
            observations.board.points,
            cameras[[*range(len(pixels)), view]],
            poses=(result.rotation, result.translation),
            settings=settings,
        )
    except InputError:
        return None
    off = second.residuals[-1].square().sum(-1).nanmean(-1).sqrt()
    bound = max(AGREEMENT, AGREEMENT * float(result.rms[result.rms.isfinite()].max()))
    agree = elsewhere & (off < bound)
    if int(agree.sum()) < max(LEFT_OUT, int(elsewhere.sum()) / 2):
        return None
    rotation, _ = second.cameras.extrinsics
    angle = geodesic_angle(rotation[view], rotation[-1])
    shift = (second.cameras.centers[view] - second.cameras.centers[-1]).norm()
    return _finding(observations, view, used[view], agree, float(shift), float(angle))


def _knocked(observations: BoardObservations, pixels: Tensor, result: RigidBundleAdjustment) -> tuple[Finding, ...]:
    """The single knock, of one camera before one moment, that explains most, if it explains enough."""
    order = torch.tensor(observations.moments).argsort()
    shares = moment_shares(
        pixels[:, order],
        observations.board.points,
        result.cameras,
        (result.rotation[order], result.translation[order]),
        weights=result.weights[:, order],
    )
    seen = (result.weights > 0).any(-1)[:, order]
    knock = likeliest_knock(shares, seen, least_moments=LEAST_MOMENTS)
    if knock is None:
        return ()
    squared = result.residuals.square().sum(-1)
    total = (result.weights * torch.where(squared.isfinite(), squared, 0.0)).sum()
    if knock.gain < KNOCK_SHARE * total or _displacement(observations, result, knock) < KNOCK_PIXELS:
        return ()
    later = torch.zeros(len(order), dtype=torch.bool)
    later[order[knock.moment :]] = True
    used = (result.weights > 0).any(-1)[knock.view]
    shift, angle = float(knock.step[3:].norm()), float(knock.step[:3].norm())
    return (_finding(observations, knock.view, used & ~later, used & later, shift, angle),)


def _displacement(observations: BoardObservations, result: RigidBundleAdjustment, knock: Knock) -> float:
    """How far the knock moves the boards in the picture, on average, pixels."""
    camera = result.cameras[[knock.view]]
    corners = observations.board.points @ result.rotation.mT + result.translation[:, None]
    seen = result.weights[knock.view] > 0
    away = project(corners[None], move_cameras(camera, knock.step[None], FreeIntrinsics())) - project(
        corners[None], camera
    )
    return float(away[0].norm(dim=-1)[seen].nanmean())


def _finding(
    observations: BoardObservations, view: int, here: Tensor, elsewhere: Tensor, shift: float, angle: float
) -> Finding:
    """Between the last moment (M,) of one place and the first of the other, metres and radians."""
    moments, name = torch.tensor(observations.moments), observations.names[view]
    parts = sorted((moments[here], moments[elsewhere]), key=lambda part: float(part.double().mean()))
    start, end = sorted((int(parts[0].max()), int(parts[1].min())))
    degrees = float(torch.tensor(angle).rad2deg())
    told = name
    if len(observations.names) == 2:
        told = f"{name} (or {observations.names[1 - view]}, two views cannot tell which)"
    return Finding(
        severity="problem",
        text=f"{told} moved between moments {start} and {end}: by {1000 * shift:.0f} mm and {degrees:.2f} degrees.",
        advice=f"Fix {name} firmly and calibrate again, or calibrate from the moments on one side of the move alone.",
    )
