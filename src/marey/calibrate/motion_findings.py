"""Cameras that moved while the boards were shown, found in what a calibration leaves unexplained."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Finding
from marey.core import Cameras, InputError
from marey.geometry.bundle import BundleSettings
from marey.geometry.bundle_cameras import FreeIntrinsics, move_cameras
from marey.geometry.projection import project
from marey.geometry.rigid_bundle import RigidBundleAdjustment, adjust_rigid_bundle
from marey.geometry.rigid_shares import Knock, likeliest_knock, moment_shares
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import geodesic_angle

LEAST_MOMENTS = 5
"""On either side of a move."""
SHARE = 0.3
"""Of what is unexplained: a move that explains less is not told. Real boards that are not quite flat, or not quite the
same on both sides, reach 0.2 without any camera moving."""
LARGE_SHARE = 0.02
"""The same where corners are off by more than `LEAST_PIXELS`: one linear step explains little of a large move, so it is
tried in earnest, and then has to explain as much as any other."""
LEAST_PIXELS = 1.0
"""Mean displacement of the picture by a move that is worth a word."""
FAR = 20.0
"""Pixels: corners that are farther off say little about a move until it has been tried."""
LOSS = RobustLoss("huber", 2.0)


def moved_findings(
    observations: BoardObservations, listed: Tensor, result: RigidBundleAdjustment
) -> tuple[Finding, ...]:
    """Name the camera that stood elsewhere during a part of the recording.

    Every camera and every moment is tried, by one Newton step, as that of a single move; the one that explains most is
    adjusted in earnest, with two places for the camera, and told if that explains much. Boards that were left out
    because they contradict take part: the move may be why. With two views alone, either may be the one that moved.

    Args:
        observations: V views.
        listed: (V, M, C, 2) all corners that may be the board's, in the order that the views share; NaN = not seen.
        result: the adjustment.
    """
    order = torch.tensor(observations.moments).argsort()
    poses = result.rotation[order], result.translation[order]
    pixels = torch.where(poses[0].isfinite().all(-1).all(-1)[:, None, None], listed[:, order], torch.nan)
    target = observations.board.points
    corners = target @ poses[0].mT + poses[1][:, None]
    squared = (project(corners[None], result.cameras) - pixels).square().sum(-1)
    known = squared.isfinite()
    weights = torch.where(known, 1 / (1 + squared / FAR**2), 0.0)
    shares = moment_shares(pixels, target, result.cameras, poses, weights=weights)
    seen = known.any(-1)
    knock = likeliest_knock(shares, seen, least_moments=LEAST_MOMENTS)
    if knock is None or not _worth_trying(knock, torch.where(known, weights * squared, 0.0)):
        return ()
    split = _split(pixels, target, result.cameras, poses, knock)
    if split is None:
        return ()
    later = torch.arange(len(order)) >= knock.moment
    shift = float((split.centers[knock.view] - split.centers[-1]).norm())
    angle = float(geodesic_angle(split.extrinsics[0][knock.view], split.extrinsics[0][-1]))
    away = project(corners[None], split[[-1]]) - project(corners[None], split[[knock.view]])
    if away[0].norm(dim=-1)[known[knock.view]].mean() < LEAST_PIXELS:
        return ()
    here, there = order[seen[knock.view] & ~later], order[seen[knock.view] & later]
    return (_finding(observations, knock.view, here, there, shift, angle),)


def _worth_trying(knock: Knock, unexplained: Tensor) -> bool:
    """Whether the move explains enough of the weighted squared distances (V, M, C), 0 where no corner was seen."""
    total, seen = float(unexplained.sum()), int((unexplained > 0).sum())
    return knock.gain >= (LARGE_SHARE if total > LEAST_PIXELS**2 * seen else SHARE) * total


def _split(
    pixels: Tensor, target: Tensor, cameras: Cameras, poses: tuple[Tensor, Tensor], knock: Knock
) -> Cameras | None:
    """Adjust cameras of which one has two places: (V + 1,), the last its second. None if that explains too little."""
    later = (torch.arange(pixels.shape[1]) >= knock.moment)[:, None, None]
    own = pixels[knock.view]
    both = torch.cat((pixels, torch.where(later, own, torch.nan)[None]))
    both[knock.view] = torch.where(later, torch.nan, own)
    nameless = replace(cameras, names=())
    copy = move_cameras(nameless[[knock.view]], knock.step[None], FreeIntrinsics())
    joined: Cameras = Cameras.cat([nameless, copy])
    settings = BundleSettings(loss=LOSS, tolerance=1e-5, max_iterations=100)
    try:
        one = adjust_rigid_bundle(pixels, target, nameless, poses=poses, settings=settings)
        two = adjust_rigid_bundle(both, target, joined, poses=poses, settings=settings)
    except InputError:
        return None
    enough = two.cost_history[-1] < (1 - SHARE) * one.cost_history[-1]
    return two.cameras if enough else None


def _finding(
    observations: BoardObservations, view: int, here: Tensor, there: Tensor, shift: float, angle: float
) -> Finding:
    """Say that a camera moved, by metres and radians, after the moments `here` and before the moments `there`."""
    moments, name = torch.tensor(observations.moments), observations.names[view]
    start, end = int(moments[here].max()), int(moments[there].min())
    degrees = float(torch.tensor(angle).rad2deg())
    told = name
    if len(observations.names) == 2:
        told = f"{name} (or {observations.names[1 - view]}, two views cannot tell which)"
    return Finding(
        severity="problem",
        text=f"{told} moved between moments {start} and {end}: by {1000 * shift:.0f} mm and {degrees:.2f} degrees.",
        advice=f"Fix {name} firmly and calibrate again, or calibrate from the moments on one side of the move alone.",
    )
