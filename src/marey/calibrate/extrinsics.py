"""Where cameras stand, from the boards that they saw together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Calibration, Finding, Rejection
from marey.calibrate.extrinsics_findings import extrinsics_findings
from marey.calibrate.motion_findings import moved_findings
from marey.calibrate.placement import connected_groups, place_cameras, possible_orders
from marey.calibrate.timing_findings import timing_findings
from marey.core import CalibrationError, Cameras, InputError
from marey.geometry.bundle import BundleSettings, CameraPrior
from marey.geometry.bundle_cameras import DISTORTION_NAMES, FreeIntrinsics
from marey.geometry.planar_pose import PlanarPoses, TargetPoses, locate_target, planar_poses
from marey.geometry.projection import project
from marey.geometry.rigid_bundle import RigidBundleAdjustment, adjust_rigid_bundle
from marey.geometry.robust import RobustLoss
from marey.geometry.views import fit_to_image

MEDIAN_TO_SIGMA = 1.1774
"""Median length of a two-dimensional error over its standard deviation along an axis."""
LEAST_SPREAD = 0.02
"""Pixels: no corner is found better."""
ROUNDS = 4
"""Of adjusting and rejecting."""


@dataclass(frozen=True, kw_only=True)
class ExtrinsicsConfig:
    """What is adjusted, what is believed, and what defines the world."""

    intrinsics: Literal["hold", "adjust"] = "hold"
    """`adjust`: focal lengths, principal points and the distortion terms that the given cameras have, jointly with the
    extrinsics and from the same boards. Needs boards all over every view's image, or a prior."""
    prior: CameraPrior = field(default_factory=CameraPrior)
    """How far intrinsics that are adjusted may be from those given. Default: anywhere."""
    world_moment: int | None = None
    """None: the first camera is the world. Else one of `BoardObservations.moments`: the board that lay on the ground
    then, its first corner the origin, x along its columns, z up, on the side from which the cameras see it."""
    unconnected: Literal["raise", "leave_out"] = "raise"
    """What to do if some views share no boards with the others: `leave_out` goes on with the largest group."""
    least_shared: int = 3
    """Boards that connect two views."""
    least_corners: int = 6
    """Corners without which a picture of the board does not count."""
    false_board: float = 5.0
    """Pixels, root mean square: a picture that fits the flat board no better than this alone, and 6 times worse than
    the view's median picture, shows something else."""
    contradiction: float = 3.0
    """Pixels, root mean square: a picture farther off than this from where the other views see the board, and 6 times
    farther than the median picture, contradicts them."""
    huber: float = 2.0
    """Standard deviations beyond which a corner pulls no harder."""
    time_offsets: bool = True
    """Whether to look for views whose clocks are off, where the board moves from moment to moment."""


_DEFAULTS = ExtrinsicsConfig()
_TIMES_MEDIAN = 6.0


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
    given, notes = _matched(observations, cameras)
    pictures = _Pictures.gather(observations, given, config)
    pictures, group_notes = _connected(pictures, config)
    placed = pictures.placed()
    result, pictures, more_notes = _adjusted(pictures, placed, config)
    # a late view moves its boards to and fro, which a camera in two places would explain in part
    findings = timing_findings(pictures.observations, pictures.listed, result) if config.time_offsets else ()
    if not findings:
        findings = moved_findings(pictures.observations, pictures.listed, result)
    return _calibration(pictures, result, (*notes, *group_notes, *more_notes), findings)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pictures:
    """What is believed so far."""

    observations: BoardObservations
    cameras: Cameras
    """(V,) intrinsics as given, float64."""
    poses: PlanarPoses
    listed: Tensor
    """(V, M, C, 2) all corners that were seen on boards, in the order that the views share."""
    pixels: Tensor
    """(V, M, C, 2) the same without boards that contradict; NaN = not used."""
    rejected: tuple[Rejection, ...]
    contradicting: Tensor
    """(V, M) boolean: boards left out because the other views see them elsewhere."""
    least_shared: int

    @classmethod
    def gather(cls, observations: BoardObservations, cameras: Cameras, config: ExtrinsicsConfig) -> _Pictures:
        """Take out the pictures that show too little of the board, or something else."""
        pixels = observations.pixels.to(torch.float64)
        seen = pixels.isfinite().all(-1)
        enough = seen.sum(-1) >= min(config.least_corners, seen.shape[-1])
        poses = planar_poses(
            torch.where(enough[..., None, None], pixels, torch.nan), observations.board.points, cameras
        )
        rms = poses.rms[..., 0]
        bound = (_TIMES_MEDIAN * rms.nanmedian(1, keepdim=True).values).clamp_min(config.false_board)
        flat = rms.isfinite()
        false = flat & (rms > bound)
        few, lost = seen.any(-1) & ~enough, enough & ~flat
        rejected = _rejections(few, lambda view, moment: _FEW.format(int(seen[view, moment].sum())))
        rejected += _rejections(lost, lambda view, moment: _LOST)
        rejected += _rejections(false, lambda view, moment: _FALSE.format(float(rms[view, moment])))
        good = (flat & ~false)[..., None, None]
        pixels = torch.where(good & seen[..., None], pixels, torch.nan)
        kept = PlanarPoses(
            rotation=torch.where(good[..., None], poses.rotation, torch.nan),
            translation=torch.where(good, poses.translation, torch.nan),
            rms=torch.where(good[..., 0], poses.rms, torch.nan),
        )
        return cls(
            observations=observations,
            cameras=cameras,
            poses=kept,
            listed=pixels,
            pixels=pixels,
            rejected=rejected,
            contradicting=torch.zeros_like(flat),
            least_shared=config.least_shared,
        )

    @property
    def shared(self) -> Tensor:
        """(V, V) how many boards pairs of views share."""
        return shared_boards(self.pixels)

    def of(self, views: list[int]) -> _Pictures:
        """Some of the views alone."""
        if len(views) == len(self.pixels):
            return self
        poses = self.poses
        place = {view: at for at, view in enumerate(views)}
        rejected = tuple(replace(item, view=place[item.view]) for item in self.rejected if item.view in place)
        return replace(
            self,
            observations=_restricted(self.observations, views),
            cameras=self.cameras[views],
            poses=poses.of(views),
            listed=self.listed[views],
            pixels=self.pixels[views],
            rejected=rejected,
            contradicting=self.contradicting[views],
        )

    def placed(self) -> Cameras:
        """Rough extrinsics."""
        return place_cameras(
            self.pixels,
            self.observations.board.points,
            self.cameras,
            poses=self.poses,
            shared=self.shared,
            orders=possible_orders(self.observations.board),
        )

    def located(self, cameras: Cameras) -> TargetPoses:
        """The boards before placed cameras, with the order in which each view listed the corners."""
        board = self.observations.board
        orders = possible_orders(board)
        return locate_target(self.listed, board.points, cameras, poses=self.poses, orders=orders)

    def in_order(self, located: TargetPoses) -> tuple[_Pictures, tuple[str, ...]]:
        """With the corners of every view in the same order, and a sentence for each view where they were not."""
        places = possible_orders(self.observations.board)[located.order]
        index = places[..., None].expand_as(self.listed)
        turned = (located.order > 0) & self.listed.isfinite().all(-1).any(-1)
        notes = tuple(
            f"{name}: in {count} pictures the corners of the checkerboard were listed the other way round than other "
            "views saw them; they were turned."
            for name, count in zip(self.observations.names, turned.sum(1).tolist(), strict=True)
            if count
        )
        if not turned.any():
            return self, ()
        listed = self.listed.gather(2, index)
        given = self.observations.pixels.gather(2, index.to(self.observations.pixels.device))
        poses = planar_poses(listed, self.observations.board.points, self.cameras)
        observations = replace(self.observations, pixels=given)
        return replace(self, listed=listed, pixels=listed, poses=poses, observations=observations), notes

    def without(self, contradicting: Tensor) -> _Pictures:
        """Leave boards (V, M) out."""
        left = torch.where(contradicting[..., None, None], torch.nan, self.listed)
        return replace(self, pixels=left, contradicting=contradicting)


_FEW = "only {} corners of the board were seen, too few to rely on"
_LOST = "the corners lie on a line, or no place of the board explains them"
_FALSE = "the corners do not lie on the board, at best {:.0f} px off: probably something else was taken for it"
_CONTRADICTION = "{} saw the board of this moment elsewhere, {:.0f} px off: a false board, or not the same moment"


def shared_boards(pixels: Tensor) -> Tensor:
    """How many boards pairs of views share, (V, V) float64, from pixels (V, M, C, 2)."""
    has = pixels.isfinite().all(-1).any(-1).double()
    return has @ has.T


def _matched(observations: BoardObservations, cameras: Cameras) -> tuple[Cameras, tuple[str, ...]]:
    """The cameras of the views in their order, float64 without extrinsics, fitted to the images."""
    names = observations.names
    if len(names) < 2:
        raise InputError("calibrating extrinsics: expected boards of two or more views, got one")
    if not observations.simultaneous:
        raise InputError(
            "these pictures were not taken at the same time, so they tell nothing about where cameras stand to each "
            "other; give synchronised videos or pictures of the board seen by several cameras at once"
        )
    if cameras.batch_shape != (len(names),):
        raise CalibrationError(
            f"cameras: expected one for each of the views {', '.join(names)}, got {cameras.batch_shape}"
        )
    if cameras.names and set(cameras.names) != set(names):
        raise CalibrationError(
            f"cameras: the intrinsics are of {', '.join(cameras.names)} and the views are {', '.join(names)}; rename "
            "one of them"
        )
    if cameras.names:
        cameras = cameras[[cameras.names.index(name) for name in names]]
    bare = replace(cameras.to(torch.float64), rotation=None, translation=None, names=names)
    if not bare.intrinsics.isfinite().all() or not bare.distortion.isfinite().all():
        raise CalibrationError(
            "cameras: the intrinsics of every view have to be known and finite; calibrate them first"
        )
    return fit_to_image(bare, observations.sizes.to(torch.float64), names)


def _connected(pictures: _Pictures, config: ExtrinsicsConfig) -> tuple[_Pictures, tuple[str, ...]]:
    """All views if boards connect them; else complain, or go on with the largest group."""
    shared = pictures.shared
    groups = connected_groups(shared >= config.least_shared)
    if len(groups) == 1:
        return pictures, ()
    names = pictures.observations.names
    largest = max(groups, key=lambda group: (len(group), float(shared[group][:, group].sum())))
    if config.unconnected == "raise" or len(largest) < 2:
        raise CalibrationError(_unconnected(groups, shared, names, config.least_shared))
    left = [name for view, name in enumerate(names) if view not in largest]
    note = (
        f"Left out, because they share fewer than {config.least_shared} boards with the others: {', '.join(left)}. "
        "Show the board to them together with another camera."
    )
    return pictures.of(largest), (note,)


def _unconnected(groups: list[list[int]], shared: Tensor, names: tuple[str, ...], least: int) -> str:
    called = [" + ".join(names[view] for view in group) for group in groups]
    missing = []
    for first, second in combinations(groups, 2):
        block = shared[first][:, second]
        a, b = divmod(int(block.argmax()), len(second))
        count = int(block[a, b])
        had = f" (so far {count})" if count else ""
        missing.append(f"to {names[first[a]]} and {names[second[b]]} together{had}")
    return (
        f"not all cameras can be placed: expected pairs of views that share {least} boards or more to connect all, got "
        f"the separate groups {'; '.join(called)}. Show the board {', or '.join(missing)}"
    )


def _adjusted(
    pictures: _Pictures, placed: Cameras, config: ExtrinsicsConfig
) -> tuple[RigidBundleAdjustment, _Pictures, tuple[str, ...]]:
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
        _still_connected(pictures, config)
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


def _off(pictures: _Pictures, cameras: Cameras, rotation: Tensor, translation: Tensor) -> Tensor:
    """How far each picture's board is from the pose that all views agreed on, (V, M) root mean square pixels."""
    corners = pictures.observations.board.points @ rotation.mT + translation[:, None]
    squared = (project(corners[None], cameras) - pictures.listed).square().sum(-1)
    seen = pictures.listed.isfinite().all(-1)
    # a corner behind the camera is as far off as can be
    squared = torch.where(seen, squared.nan_to_num(torch.inf), 0.0)
    return (squared.sum(-1) / seen.sum(-1)).sqrt()


def _contradicting(off: Tensor, limit: float) -> Tensor:
    """Which boards (V, M) are farther off than the limit and most others."""
    bound = max(limit, _TIMES_MEDIAN * float(off[off.isfinite()].median()))
    return off.nan_to_num(0.0, posinf=torch.inf) > bound


def _spread_of_corners(pictures: _Pictures, cameras: Cameras, rotation: Tensor, translation: Tensor) -> float:
    """Standard deviation of the corners along an axis, pixels, from the median."""
    corners = pictures.observations.board.points @ rotation.mT + translation[:, None]
    distance = (project(corners[None], cameras) - pictures.pixels).norm(dim=-1)
    return max(float(distance.nanmedian()) / MEDIAN_TO_SIGMA, LEAST_SPREAD)


def _still_connected(pictures: _Pictures, config: ExtrinsicsConfig) -> None:
    shared = pictures.shared
    groups = connected_groups(shared >= config.least_shared)
    if len(groups) > 1:
        count = int(pictures.contradicting.sum())
        raise CalibrationError(
            f"{count} pictures of the board contradict the others; without them, "
            + _unconnected(groups, shared, pictures.observations.names, config.least_shared)
            + ". If the board was hardly turned, show it tilted in many directions; if clocks differ, "
            "synchronise them first"
        )


def _contradictions(pictures: _Pictures, off: Tensor) -> tuple[Rejection, ...]:
    """A sentence for each board that contradicts, naming who saw it elsewhere."""
    used = pictures.pixels.isfinite().all(-1).any(-1)
    names = pictures.observations.names

    def why(view: int, moment: int) -> str:
        others = [names[other] for other in range(len(names)) if used[other, moment] and other != view]
        return _CONTRADICTION.format(" and ".join(others) or "the other views", float(off[view, moment]))

    return _rejections(pictures.contradicting, why)


def _rejections(left_out: Tensor, why: Callable[[int, int], str]) -> tuple[Rejection, ...]:
    places = left_out.nonzero().tolist()
    return tuple(Rejection(view=view, moment=moment, why=why(view, moment)) for view, moment in places)


def _in_world(
    pictures: _Pictures, result: RigidBundleAdjustment, config: ExtrinsicsConfig, settings: BundleSettings
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


def _restricted(observations: BoardObservations, views: list[int]) -> BoardObservations:
    """Some of the views alone."""
    place = {view: at for at, view in enumerate(views)}
    sources = observations.sources
    return replace(
        observations,
        pixels=observations.pixels[views],
        names=tuple(observations.names[view] for view in views),
        sizes=observations.sizes[views],
        frame_indices=observations.frame_indices[views],
        sources=tuple(sources[view] for view in views) if sources else (),
        rejected=tuple(replace(item, view=place[item.view]) for item in observations.rejected if item.view in place),
    )


def _calibration(
    pictures: _Pictures, result: RigidBundleAdjustment, notes: tuple[str, ...], findings: tuple[Finding, ...]
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
    return replace(calibration, findings=(*findings, *extrinsics_findings(calibration, pictures.least_shared)))


def parameter_deviations(result: RigidBundleAdjustment) -> tuple[tuple[str, ...], Tensor]:
    """The names of a `Calibration`'s parameters and their standard deviations (V, K).

    From what single moments pull where enough of them tell, because errors of one picture of a board belong together;
    else from the scatter of the corners.
    """
    clustered = result.clustered_covariance
    whole = clustered if clustered.isfinite().all() else result.camera_covariance
    views = torch.arange(len(whole))
    own = whole[views, :, views]
    names = list(result.parameter_names)
    # to rows of: rotation, centre, fx, fy, cx, cy, coefficients
    rotation, _ = result.cameras.extrinsics
    rows = torch.eye(len(names), dtype=own.dtype).repeat(len(own), 1, 1)
    rows[:, 3:6, 3:6] = -rotation.mT
    said = ["rx", "ry", "rz", "x", "y", "z"]
    rest = names[6:]
    order = list(range(6))
    if "focal" in rest:
        at = names.index("focal")
        K = result.cameras.intrinsics
        fx, fy = torch.zeros_like(rows[:, 0]), torch.zeros_like(rows[:, 0])
        fx[:, at], fy[:, at] = K[:, 0, 0], K[:, 1, 1]
        if "aspect" in rest:
            fy[:, names.index("aspect")] = K[:, 1, 1]
        others = [names.index(name) for name in rest if name not in ("focal", "aspect")]
        rows = torch.cat((rows[:, order], fx[:, None], fy[:, None], rows[:, others]), 1)
        said += ["fx", "fy"] + [names[place] for place in others]
    variance = (rows @ own @ rows.mT).diagonal(dim1=-2, dim2=-1)
    return tuple(said), variance.clamp_min(0.0).sqrt()


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
