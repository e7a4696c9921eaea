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
FAR, FAR_SHARE = 5.0, 0.03
"""Pixels, and the share of corners farther off than that, from which on whole frames are tried at all."""
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
    """() median reprojection error with the clocks put right to whole frames, pixels."""
    error_before: Tensor
    """() the same with the clocks as they are."""


def timing_findings(
    observations: BoardObservations, listed: Tensor, result: RigidBundleAdjustment
) -> tuple[Finding, ...]:
    """Name views that are late or early, where the board moved enough to tell.

    Args:
        observations: V views, with the corners in the order that the views share.
        listed: (V, M, C, 2) all corners that may be the board's; NaN = not seen.
        result: the adjustment.
    """
    found = estimate_time_offsets(observations, listed, result.cameras)
    if found is None:
        return ()
    late = (found.late.abs() > LATE_FRAMES) & (found.late.abs() > LATE_DEVIATIONS * found.deviation)
    if not late.any() or found.error > LATE_GAIN * found.error_before:
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
            f"{float(found.error_before):.2f} to {float(found.error):.2f} px.",
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
    poses = planar_poses(listed, observations.board.points, cameras)
    whole = torch.zeros(len(listed), dtype=torch.long)
    first = _one_round(observations, listed, poses, cameras)
    if first is None:
        return None
    if first.far_off > FAR_SHARE:
        whole, cameras = _whole_frames(observations, listed, poses, cameras)
    for _ in range(ROUNDS):
        index = _places(observations.moments, whole)
        found = _one_round(observations, _taken(listed, *index), _taken_poses(poses, *index), cameras)
        if found is None:
            return None
        step, deviation, cameras = found.late, found.deviation, found.cameras
        certain = (step.abs() > 0.5) & (step.abs() > LATE_DEVIATIONS * deviation)
        if not certain.any():
            return TimeOffsets(late=whole + step, deviation=deviation, error=found.error, error_before=first.error)
        whole = whole + torch.where(certain, step.round().long(), 0)
    return None


def _whole_frames(
    observations: BoardObservations, listed: Tensor, poses: PlanarPoses, cameras: Cameras
) -> tuple[Tensor, Cameras]:
    """How late views are in whole frames (V,), from how well pairs agree, and the cameras placed accordingly."""
    board, moments = observations.board.points, observations.moments
    orders = torch.arange(len(board))[None]
    views = len(listed)
    late = torch.zeros(views, dtype=torch.long)
    rotation = torch.eye(3, dtype=torch.float64).repeat(views, 1, 1)
    translation = torch.zeros(views, 3, dtype=torch.float64)
    has = listed.isfinite().all(-1).any(-1).double()
    changed = False
    for known, new in spanning_tree(has @ has.T):

        def tried(offset: int, known: int = known, new: int = new) -> RelativePose | None:
            shifted = late.clone()
            shifted[new] = late[known] + offset
            index, there = _places(moments, shifted[[known, new]])
            pair = _taken(listed[[known, new]], index, there)
            if int(pair.isfinite().all(-1).any(-1).all(0).sum()) < LEAST_SHARED:
                return None
            own = _taken_poses(poses.of([known, new]), index, there)
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


def _taken_poses(poses: PlanarPoses, index: Tensor, there: Tensor) -> PlanarPoses:
    """The poses (V, M, 2) at other places of M, NaN where there is none."""
    return PlanarPoses(
        rotation=_taken(poses.rotation, index, there),
        translation=_taken(poses.translation, index, there),
        rms=_taken(poses.rms, index, there),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Round:
    """What one adjustment tells."""

    late: Tensor
    """(V,) frames by which views still are late."""
    deviation: Tensor
    cameras: Cameras
    error: Tensor
    """() median reprojection error, pixels."""
    far_off: float
    """Share of the corners that are far from where they should be."""


def _one_round(observations: BoardObservations, pixels: Tensor, poses: PlanarPoses, cameras: Cameras) -> _Round | None:
    """Adjust cameras and boards, then take one Newton step in all clocks and places together."""
    board = observations.board.points
    located = locate_target(pixels, board, cameras, poses=poses)
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
    distance = result.residuals.norm(dim=-1)
    distance = distance[distance.isfinite()]
    return _Round(
        # a view that is late sees an earlier pose
        late=torch.cat((zero, -clocks)),
        deviation=torch.cat((zero, deviation)),
        cameras=result.cameras,
        error=distance.median(),
        far_off=float((distance > FAR).double().mean()),
    )


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
