"""Where cameras stand, from the boards that they saw together."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Calibration, Finding, Rejection
from marey.calibrate.deviations import parameter_deviations
from marey.calibrate.extrinsics_config import TIMES_MEDIAN, ExtrinsicsConfig
from marey.calibrate.extrinsics_findings import extrinsics_findings
from marey.calibrate.extrinsics_pictures import Pictures, connect, describe_groups, match_cameras, rejections
from marey.calibrate.motion_findings import moved_findings
from marey.calibrate.placement import connected_groups
from marey.calibrate.timing_findings import timing_findings
from marey.core import CalibrationError, Cameras, InputError
from marey.geometry.bundle import BundleSettings
from marey.geometry.bundle_cameras import DISTORTION_NAMES, FreeIntrinsics
from marey.geometry.planar_pose import locate_target
from marey.geometry.projection import project
from marey.geometry.rigid_bundle import RigidBundleAdjustment, adjust_rigid_bundle
from marey.geometry.robust import RobustLoss

MEDIAN_TO_SIGMA = 1.1774
"""Median length of a two-dimensional error over its standard deviation along an axis."""
LEAST_SPREAD = 0.02
"""Pixels: no corner is found better."""
ROUNDS = 4
"""Of adjusting and rejecting."""

__all__ = ["ExtrinsicsConfig", "calibrate_extrinsics"]

_CONTRADICTION = "{} saw the board of this moment elsewhere, {:.0f} px off: a false board, or not the same moment"
_DEFAULTS = ExtrinsicsConfig()


def calibrate_extrinsics(
    observations: BoardObservations, cameras: Cameras, *, config: ExtrinsicsConfig = _DEFAULTS
) -> Calibration:
    """Find where cameras stand from a board that they see at the same moments.

    Each picture of the board gives two poses of it; pairs of views that share boards vote on how they stand to each
    other; the best-connected tree of pairs places all cameras; then cameras and boards are adjusted together, robustly,
    while boards that contradict the rest are taken out and named. The size of the board is the scale.

    Args:
        observations: of V views whose pictures of a moment were taken at the same time.
        cameras: (V,) intrinsics, in the order of the views or with their names; extrinsics, if any, are ignored.
        config: see there.

    Returns:
        Cameras with extrinsics, float64, the deviation of each parameter, the pose of every board, the residuals, what
        was rejected, and what there is to know. Its `observations` are those given, with the corners of checkerboards
        in the order that all views share, and without views left out.

    Raises:
        CalibrationError: views share too few boards; the message names the groups and the missing pairs. Or the
            intrinsics do not belong to these views.
        InputError: there are fewer than two views, or the pictures were not taken together.
    """
    given, notes = match_cameras(observations, cameras)
    pictures = Pictures.gather(observations, given, config)
    pictures, group_notes = connect(pictures, config)
    placed = pictures.placed()
    result, pictures, more_notes = _adjusted(pictures, placed, config)
    # a late view moves its boards to and fro, which a camera in two places would explain in part
    findings = timing_findings(pictures.observations, pictures.listed, result) if config.time_offsets else ()
    if not findings:
        findings = moved_findings(pictures.observations, pictures.listed, result)
    return _calibration(pictures, result, (*notes, *group_notes, *more_notes), findings)


def _adjusted(
    pictures: Pictures, placed: Cameras, config: ExtrinsicsConfig
) -> tuple[RigidBundleAdjustment, Pictures, tuple[str, ...]]:
    """Adjust cameras and boards, leaving out boards that contradict, until none does."""
    board = pictures.observations.board.points
    pictures, notes = pictures.in_order(pictures.located(placed))
    cameras, free = placed, FreeIntrinsics()
    prior = replace(config.prior, rotation=torch.inf, center=torch.inf)
    located = locate_target(pictures.listed, board, cameras, poses=pictures.poses)
    rotation, translation, off = located.rotation, located.translation, located.rms
    spread = _spread_of_corners(pictures, cameras, rotation, translation)
    for turn in range(ROUNDS):
        contradicting = _contradicting(off, config.contradiction if turn else 3 * config.contradiction)
        if turn > 1 and (contradicting == pictures.contradicting).all():
            break
        pictures = pictures.without(contradicting)
        _stillconnect(pictures, config)
        if turn and config.intrinsics == "adjust":
            free = _free_intrinsics(cameras)
        settings = BundleSettings(loss=RobustLoss("huber", config.huber * spread), free=free, prior=prior)
        # the prior is about the intrinsics that were given, not about those of the round before
        start = replace(cameras, intrinsics=placed.intrinsics, distortion=placed.distortion)
        result = adjust_rigid_bundle(pictures.pixels, board, start, poses=(rotation, translation), settings=settings)
        cameras = result.cameras
        # boards that only a view saw that is left out, and moments without a pose, get one from the cameras
        located = locate_target(pictures.listed, board, cameras, poses=pictures.poses)
        known = result.rotation.isfinite().all(-1).all(-1)
        rotation = torch.where(known[:, None, None], result.rotation, located.rotation)
        translation = torch.where(known[:, None], result.translation, located.translation)
        off = _off(pictures, cameras, rotation, translation)
        spread = _spread_of_corners(pictures, cameras, rotation, translation)
    why = _contradictions(pictures, off)
    result, world = _in_world(pictures, result, config, settings)
    return result, replace(pictures, rejected=pictures.rejected + why), (*notes, world)


def _off(pictures: Pictures, cameras: Cameras, rotation: Tensor, translation: Tensor) -> Tensor:
    """How far each picture's board is from the pose that all views agreed on, (V, M) root mean square pixels."""
    corners = pictures.observations.board.points @ rotation.mT + translation[:, None]
    squared = (project(corners[None], cameras) - pictures.listed).square().sum(-1)
    seen = pictures.listed.isfinite().all(-1)
    # a corner behind the camera is as far off as can be
    squared = torch.where(seen, squared.nan_to_num(torch.inf), 0.0)
    return (squared.sum(-1) / seen.sum(-1)).sqrt()


def _contradicting(off: Tensor, limit: float) -> Tensor:
    """Which boards (V, M) are farther off than the limit and most others."""
    bound = max(limit, TIMES_MEDIAN * float(off[off.isfinite()].median()))
    return off.nan_to_num(0.0, posinf=torch.inf) > bound


def _spread_of_corners(pictures: Pictures, cameras: Cameras, rotation: Tensor, translation: Tensor) -> float:
    """Standard deviation of the corners along an axis, pixels, from the median."""
    corners = pictures.observations.board.points @ rotation.mT + translation[:, None]
    distance = (project(corners[None], cameras) - pictures.pixels).norm(dim=-1)
    return max(float(distance.nanmedian()) / MEDIAN_TO_SIGMA, LEAST_SPREAD)


def _stillconnect(pictures: Pictures, config: ExtrinsicsConfig) -> None:
    shared = pictures.shared
    groups = connected_groups(shared >= config.least_shared)
    if len(groups) > 1:
        count = int(pictures.contradicting.sum())
        raise CalibrationError(
            f"{count} pictures of the board contradict the others; without them, "
            + describe_groups(groups, shared, pictures.observations.names, config.least_shared)
            + ". If the board was hardly turned, show it tilted in many directions; if clocks differ, "
            "synchronise them first"
        )


def _contradictions(pictures: Pictures, off: Tensor) -> tuple[Rejection, ...]:
    """A sentence for each board that contradicts, naming who saw it elsewhere."""
    used = pictures.pixels.isfinite().all(-1).any(-1)
    names = pictures.observations.names

    def why(view: int, moment: int) -> str:
        others = [names[other] for other in range(len(names)) if used[other, moment] and other != view]
        return _CONTRADICTION.format(" and ".join(others) or "the other views", float(off[view, moment]))

    return rejections(pictures.contradicting, why)


def _in_world(
    pictures: Pictures, result: RigidBundleAdjustment, config: ExtrinsicsConfig, settings: BundleSettings
) -> tuple[RigidBundleAdjustment, str]:
    """The result in the frame of the board that lay on the ground, if one is named; and what the world is."""
    names, moments = pictures.observations.names, pictures.observations.moments
    if config.world_moment is None:
        return result, f"The world is the frame of {names[0]}: x to its right, y down, z forward, metres."
    if config.world_moment not in moments:
        raise InputError(
            f"world_moment: no board at {config.world_moment}; expected one of the moments between {min(moments)} and "
            f"{max(moments)} at which the board was seen"
        )
    moment = moments.index(config.world_moment)
    turn, place = result.rotation[moment], result.translation[moment]
    if not turn.isfinite().all():
        raise InputError(
            f"world_moment: what was seen of the board at {config.world_moment} does not fix its pose; take another one"
        )
    # z up is the side from which cameras see the board
    seeing = (result.weights[:, moment] > 0).any(-1)
    above = float(((result.cameras.centers[seeing] - place) @ turn[:, 2]).mean()) > 0
    upright = torch.diag(torch.tensor([1.0, 1.0, 1.0] if above else [1.0, -1.0, -1.0], dtype=torch.float64))
    to_world = upright @ turn.mT
    rotation, translation = result.cameras.extrinsics
    turned = rotation @ to_world.mT
    moved = translation + (rotation @ place[:, None])[..., 0]
    cameras = replace(result.cameras, rotation=turned, translation=moved)
    poses = to_world @ result.rotation, (result.translation - place) @ to_world.mT
    there = replace(settings, held_views=())
    start = replace(cameras, intrinsics=pictures.cameras.intrinsics, distortion=pictures.cameras.distortion)
    board = pictures.observations.board.points
    again = adjust_rigid_bundle(pictures.pixels, board, start, poses=poses, held_moment=moment, settings=there)
    side = "along" if above else "against"
    return again, (
        f"The world is the board at {config.world_moment}: its first corner is the origin, x runs along its columns, y "
        f"{side} its rows, z up from it towards the cameras, metres."
    )


def _calibration(
    pictures: Pictures, result: RigidBundleAdjustment, notes: tuple[str, ...], findings: tuple[Finding, ...]
) -> Calibration:
    observations = pictures.observations
    names, deviation = parameter_deviations(result)
    corners = observations.board.points @ result.rotation.mT + result.translation[:, None]
    residuals = observations.pixels.to(torch.float64) - project(corners[None], result.cameras)
    used = result.weights > 0
    calibration = Calibration(
        cameras=result.cameras,
        parameter_names=names,
        deviation=deviation,
        observations=observations,
        board_rotation=result.rotation,
        board_translation=result.translation,
        residuals=residuals,
        used=used,
        rejected=(*observations.rejected, *pictures.rejected),
        notes=(*observations.notes, *notes),
    )
    more = extrinsics_findings(calibration, pictures.least_shared)
    return replace(calibration, findings=(*findings, *observations.findings, *more))


def _free_intrinsics(cameras: Cameras) -> FreeIntrinsics:
    """What the given lens models use: the leading coefficients up to the last that is not zero, view by view."""
    K, coefficients = cameras.intrinsics, cameras.distortion[:, : len(DISTORTION_NAMES)]
    places = torch.arange(1, coefficients.shape[1] + 1)
    terms = (coefficients.ne(0) * places).amax(1) if coefficients.shape[1] else torch.zeros(len(K), dtype=torch.long)
    return FreeIntrinsics(
        focal=True,
        aspect=bool((K[:, 0, 0] != K[:, 1, 1]).any()),
        principal_point=True,
        distortion=int(terms.max()),
        terms=tuple(terms.tolist()),
    )
