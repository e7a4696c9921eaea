"""Views whose clocks are off, found in boards that move while they are shown.

A view that is late sees the board where it was: the residuals lie along the board's motion and grow with its speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Finding
from marey.calibrate.placement import RelativePose, relative_pose, spanning_tree
from marey.core import CalibrationError, Cameras, InputError
from marey.geometry.bundle import BundleSettings
from marey.geometry.planar_pose import PlanarPoses, locate_target, planar_poses
from marey.geometry.rigid_bundle import RigidBundleAdjustment, adjust_rigid_bundle
from marey.geometry.rigid_shares import moment_shares
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import matrix_to_rotvec

LATE_FRAMES = 0.3
"""Offsets of a view's clock below this are not told."""
LATE_DEVIATIONS = 6.0
"""Offsets below so many standard deviations are not told."""
LATE_GAIN = 0.8
"""The median reprojection error has to fall to this share when the clocks are put right."""
WIDEST_GAP = 4
"""Frames between two moments that still tell how fast the board moves."""
FASTEST = 0.2
"""Metres by which a board moves from one frame to the next: beyond, a pose is wrong."""
FARTHEST = 10
"""Whole frames tried either way where views disagree."""
DISAGREEMENT = 0.1
"""Of a pair of views, from which on whole frames are tried."""
LEAST_SHARED = 5
"""Boards that a pair has to share at an offset for it to be tried."""
ROUNDS = 6
LOSS = RobustLoss("cauchy", 2.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeOffsets:
    """How late views are, in steps of the moments (frames)."""

    late: Tensor
    """(V,) by which a view shows the world later than the first one."""
    deviation: Tensor
    """(V,) one standard deviation; 0 for the first."""
    error: Tensor
    """() median reprojection error with the clocks put right, pixels."""


def timing_findings(
    observations: BoardObservations, listed: Tensor, result: RigidBundleAdjustment
) -> tuple[Finding, ...]:
    """Name views that are late or early, where the board moved enough to tell.

    Args:
        observations: V views, with the corners in the order that the views share.
        listed: (V, M, C, 2) all corners that may be the board's; NaN = not seen.
        result: the adjustment.
    """
    plain = _agreement(observations, listed, result.cameras)
    found = estimate_time_offsets(observations, listed, result.cameras)
    if found is None:
        return ()
    late = (found.late.abs() > LATE_FRAMES) & (found.late.abs() > LATE_DEVIATIONS * found.deviation)
    if not late.any() or found.error > LATE_GAIN * plain:
        return ()
    names = observations.names
    told = ", ".join(
        f"{names[view]} is {'late' if found.late[view] > 0 else 'early'} by {abs(float(found.late[view])):.1f} "
        f"+- {float(found.deviation[view]):.1f} frames"
        for view in late.nonzero()[:, 0].tolist()
    )
    return (
        Finding(
            severity="problem",
            text=f"The clocks differ: against {names[0]}, {told}. Put right, the median reprojection error falls from "
            f"{plain:.2f} to {float(found.error):.2f} px.",
            advice="Synchronise the videos, or give their offsets, and calibrate again.",
        ),
    )


def estimate_time_offsets(observations: BoardObservations, listed: Tensor, cameras: Cameras) -> TimeOffsets | None:
    """Estimate how late each view is against the first, from a board that moves.

    Where pairs of views disagree about many boards, whole frames are tried first, pair by pair along the tree that
    places the cameras. Then each round shifts the views by the whole frames found so far, adjusts cameras and boards,
    and takes one Newton step in all clocks and places together, until no clock moves by half a frame any more.

    Args:
        observations: V views; `moments` count the frames.
        listed: (V, M, C, 2), NaN = not seen.
        cameras: (V,) with extrinsics, the start.

    Returns:
        None where the board hardly moves from frame to frame, or views share too few moments.
    """
    whole, cameras = _whole_frames(observations, listed, cameras)
    for _ in range(ROUNDS):
        pixels = _taken(listed, *_places(observations.moments, whole))
        found = _one_round(observations, pixels, cameras)
        if found is None:
            return None
        step, deviation, cameras, error = found
        certain = (step.abs() > 0.5) & (step.abs() > LATE_DEVIATIONS * deviation)
        if not certain.any():
            return TimeOffsets(late=whole + step, deviation=deviation, error=error)
        whole = whole + torch.where(certain, step.round().long(), 0)
    return None


def _whole_frames(observations: BoardObservations, listed: Tensor, cameras: Cameras) -> tuple[Tensor, Cameras]:
    """How late views are in whole frames (V,), from how well pairs agree, and the cameras placed accordingly."""
    board, moments = observations.board.points, observations.moments
    orders = torch.arange(len(board))[None]
    views = len(listed)
    late = torch.zeros(views, dtype=torch.long)
    rotation = torch.eye(3, dtype=torch.float64).repeat(views, 1, 1)
    translation = torch.zeros(views, 3, dtype=torch.float64)
    has = listed.isfinite().all(-1).any(-1).double()
    changed = False
    poses = planar_poses(listed, board, cameras)
    for known, new in spanning_tree(has @ has.T):

        def tried(offset: int, known: int = known, new: int = new) -> RelativePose | None:
            shifted = late.clone()
            shifted[new] = late[known] + offset
            index, there = _places(moments, shifted[[known, new]])
            pair = _taken(listed[[known, new]], index, there)
            if int(pair.isfinite().all(-1).any(-1).all(0).sum()) < LEAST_SHARED:
                return None
            own = PlanarPoses(
                rotation=_taken(poses.rotation[[known, new]], index, there),
                translation=_taken(poses.translation[[known, new]], index, there),
                rms=_taken(poses.rms[[known, new]], index, there),
            )
            return relative_pose(pair, board, cameras[[known, new]], orders=orders, poses=own)

        found = {0: tried(0)}
        if found[0] is None or found[0].disagreement > DISAGREEMENT:
            found |= {offset: tried(offset) for step in range(1, FARTHEST + 1) for offset in (step, -step)}
        usable = {offset: pose for offset, pose in found.items() if pose is not None}
        if not usable:
            return torch.zeros_like(late), cameras
        offset = min(usable, key=lambda key: float(usable[key].disagreement))
        late[new] = late[known] + offset
        changed = changed or offset != 0
        best = usable[offset]
        rotation[new] = best.rotation @ rotation[known]
        translation[new] = best.rotation @ translation[known] + best.translation
    placed = replace(cameras, rotation=rotation, translation=translation) if changed else cameras
    return late, placed


def _places(moments: tuple[int, ...], late: Tensor) -> tuple[Tensor, Tensor]:
    """Where views that are late by whole frames (V,) saw each moment: places (V, M), and whether they did (V, M)."""
    frames = torch.tensor(moments)
    ascending, order = frames.sort()
    wanted = frames + late[:, None]
    place = torch.searchsorted(ascending, wanted).clamp_max(len(frames) - 1)
    return order[place], ascending[place] == wanted


def _taken(values: Tensor, index: Tensor, there: Tensor) -> Tensor:
    """Values (V, M, ...) at other places of M, NaN where there is none."""
    free = (1,) * (values.ndim - 2)
    moved = values.gather(1, index.reshape(*index.shape, *free).expand_as(values))
    return torch.where(there.reshape(*there.shape, *free), moved, torch.nan)


def _one_round(
    observations: BoardObservations, pixels: Tensor, cameras: Cameras
) -> tuple[Tensor, Tensor, Cameras, Tensor] | None:
    """How late views still are (V,), with deviations (V,), the cameras, and the median reprojection error ()."""
    board = observations.board.points
    located = locate_target(pixels, board, cameras)
    settings = BundleSettings(loss=LOSS, tolerance=1e-4, max_iterations=50)
    try:
        result = adjust_rigid_bundle(
            pixels, board, cameras, poses=(located.rotation, located.translation), settings=settings
        )
    except (InputError, CalibrationError):
        return None
    velocity = _velocity(observations.moments, result.rotation, result.translation)
    known = velocity.isfinite().all(-1)
    if known.sum() < 2:
        return None
    shares = moment_shares(
        pixels,
        board,
        result.cameras,
        (result.rotation, result.translation),
        weights=result.weights * known[None, :, None],
        velocity=torch.where(known[:, None], velocity, 0.0),
    )
    free = torch.arange(shares.size, shares.matrix.shape[-1])
    inner, failed = torch.linalg.cholesky_ex(shares.matrix.sum(0)[free][:, free])
    if failed:
        return None
    covariance = torch.cholesky_inverse(inner) * result.variance_factor
    step = -torch.cholesky_solve(shares.gradient.sum(0)[free][:, None], inner)[:, 0]
    clocks = step.reshape(-1, shares.size)[:, 6]
    deviation = covariance.diagonal().reshape(-1, shares.size)[:, 6].sqrt()
    zero = torch.zeros(1, dtype=torch.float64)
    error = result.residuals.norm(dim=-1).nanmedian()
    # a view that is late sees an earlier pose
    return torch.cat((zero, -clocks)), torch.cat((zero, deviation)), result.cameras, error


def _velocity(moments: tuple[int, ...], rotation: Tensor, translation: Tensor) -> Tensor:
    """Rotation vector and shift of the board in the world per frame, (M, 6), from the moments before and after."""
    frames, order = torch.tensor(moments).sort()
    turn, place = rotation[order], translation[order]
    gap = (frames[2:] - frames[:-2]).double()
    relative = turn[2:] @ turn[:-2].mT
    solid = relative.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    spin = matrix_to_rotvec(torch.where(solid, relative, torch.eye(3).to(relative)))
    known = solid[:, 0, 0] & (gap <= WIDEST_GAP)
    middle = torch.cat((spin, place[2:] - place[:-2]), -1) / gap[:, None]
    known = known & (middle[:, 3:].norm(dim=-1) < FASTEST)
    inner = torch.where(known[:, None], middle, torch.nan)
    result = torch.full((len(frames), 6), torch.nan, dtype=torch.float64)
    result[order[1:-1]] = inner
    return result


def _agreement(observations: BoardObservations, listed: Tensor, cameras: Cameras) -> float:
    """Median reprojection error of the boards as listed, pixels, clocks as they are."""
    found = _one_round(observations, listed, cameras)
    return float("nan") if found is None else float(found[3])
