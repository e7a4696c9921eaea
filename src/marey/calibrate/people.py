"""Cameras refined by the people whom they see: bundle adjustment on the keypoints of a recording."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.calibrate.adjust import keep_people
from marey.calibrate.calibration import Calibration, Finding
from marey.calibrate.people_agreement import PeopleAgreement, agree_about_people
from marey.core import Cameras, InputError, Keypoints2D
from marey.geometry.bundle import BundleAdjustment, BundleSettings, CameraPrior, adjust_bundle
from marey.geometry.bundle_cameras import FreeIntrinsics, camera_difference
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import geodesic_angle, skew

PARAMETERS = ("rx", "ry", "rz", "x", "y", "z")
"""Rotation vector in the camera's frame, radians, and the centre in the world, metres."""


@dataclass(frozen=True, kw_only=True)
class PeopleRefinementConfig:
    """How far the cameras may be from where they are said to be, and which frames tell."""

    rotation: float = 0.02
    """Radians: standard deviation of the given orientations about each axis."""
    center: float = 0.03
    """Metres: standard deviation of the given places along each axis."""
    intrinsics: bool = False
    """Adjust the focal length and the principal point of each camera too."""
    focal: float = 0.02
    """Relative standard deviation of the given focal lengths."""
    principal_point: float = 10.0
    """Pixels: standard deviation of the given principal points along each axis."""
    spacing: float = 0.1
    """Seconds between the frames used: errors of neighbouring frames repeat each other."""
    most_frames: int = 200
    redundancy: float = 10.0
    """Fewest measurements beyond those that fix the joints, for each unknown of the cameras."""
    groups: int = 8
    """Into how many groups the joints are divided, which are left out in turn to see how well the cameras are known."""

    def __post_init__(self) -> None:
        if self.groups < 2:
            raise InputError(f"groups: expected 2 or more, got {self.groups}")

    @property
    def free(self) -> FreeIntrinsics:
        """What is adjusted beside the extrinsics."""
        return FreeIntrinsics(focal=self.intrinsics, principal_point=self.intrinsics)


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleRefinement:
    """Cameras refined by people, and what that gained on frames that took no part."""

    calibration: Calibration
    """The refined cameras, or the given ones if the unseen frames do not agree better about the refined."""
    before: PeopleAgreement
    """Of the given cameras, on the frames that took no part."""
    after: PeopleAgreement
    """Of the refined cameras, on the same frames."""
    refined: bool


_DEFAULTS = PeopleRefinementConfig()


def refine_with_people(
    keypoints: Keypoints2D, cameras: Cameras, *, fps: float, config: PeopleRefinementConfig = _DEFAULTS
) -> PeopleRefinement:
    """Bundle-adjust cameras on people's joints, and judge them on frames that were not used.

    People tell where cameras stand to each other, not where in the world nor how far apart: the place, the orientation
    and the scale of the whole are those of the given cameras, as far as the prior knows them, and afterwards all move
    together such that people stay where they were.

    The uncertainty is that of the cameras relative to each other. It is the larger of two: the covariance of the
    adjustment, for which every keypoint errs by itself, and the spread of the results when groups of joints are left
    out in turn (jackknife: Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982, chapter 3), which
    notices that a detector errs the same way about the same joint from frame to frame.

    Args:
        keypoints: (V, T, P) with covariance, slot p the same person throughout; sides and bad views dealt with.
        cameras: (V,) full.
        fps: of the T frames.
        config: what may be adjusted, and how far.

    Raises:
        InputError: too few joints are seen by two views or more.
    """
    cameras = cameras.to(torch.float64)
    fitted, judged = _split(keypoints.to(torch.float64), fps, config)
    _check(fitted, cameras, config)
    settings = BundleSettings(
        free=config.free,
        prior=CameraPrior(
            rotation=config.rotation,
            center=config.center,
            focal=config.focal,
            principal_point=config.principal_point,
        ),
        held_views=(),
        loss=RobustLoss("huber", 2.0),
    )
    whole = _adjust(fitted, cameras, settings)
    deviation = torch.maximum(
        _formal_deviation(whole, config), _jackknife_deviation(fitted, cameras, settings, config.groups)
    )
    refined = keep_people(fitted, cameras, whole.cameras)
    before, after = agree_about_people(judged, cameras), agree_about_people(judged, refined)
    better = after.median_px < before.median_px
    calibration = Calibration(
        cameras=refined if better else cameras,
        parameter_names=(*PARAMETERS, *(("fx", "fy", "cx", "cy") if config.intrinsics else ())),
        deviation=deviation,
        findings=(_outcome(before, after, better=better),),
        notes=_moves(cameras, refined) if better else (),
    )
    return PeopleRefinement(calibration=calibration, before=before, after=after, refined=better)


def _split(keypoints: Keypoints2D, fps: float, config: PeopleRefinementConfig) -> tuple[Keypoints2D, Keypoints2D]:
    """The frames to fit, evenly spread, and the frames halfway between them."""
    length = keypoints.batch_shape[1]
    step = max(2, round(config.spacing * fps), -(-length // config.most_frames))
    if length < 2:
        raise InputError("cameras cannot be refined on a single frame; give a longer recording")
    return keypoints[:, ::step], keypoints[:, step // 2 :: step]


def _check(keypoints: Keypoints2D, cameras: Cameras, config: PeopleRefinementConfig) -> None:
    views = keypoints.positions.isfinite().all(-1).sum(0)
    extra = int((2 * views - 3)[views >= 2].sum())
    unknowns = (6 + len(config.free.names)) * len(cameras.intrinsics)
    if extra < config.redundancy * unknowns:
        raise InputError(
            f"people tell too little about these cameras: {int((views >= 2).sum())} joints are seen by two views or "
            f"more, {extra} measurements beyond those that fix the joints; expected {config.redundancy * unknowns:.0f} "
            f"for the {unknowns} unknowns; give a longer recording in which the person moves about, or a board"
        )


def _adjust(keypoints: Keypoints2D, cameras: Cameras, settings: BundleSettings) -> BundleAdjustment:
    return adjust_bundle(keypoints.positions, cameras, covariance=keypoints.covariance, settings=settings)


def _formal_deviation(result: BundleAdjustment, config: PeopleRefinementConfig) -> Tensor:
    """Standard deviations (V, K) from the covariance of the adjustment, relative to all cameras together."""
    covariance = result.camera_covariance * result.variance_factor.clamp_min(1)
    turned = _to_parameters(covariance, result.cameras)
    views, size = turned.shape[:2]
    flat = turned.reshape(views * size, views * size)
    remove = _without_common_motion(result.cameras, size, config)
    variance = (remove @ flat @ remove.T).diagonal().reshape(views, size)
    return _spread_focal(variance.clamp_min(0).sqrt(), result.cameras, config)


def _to_parameters(covariance: Tensor, cameras: Cameras) -> Tensor:
    """From the adjustment's steps to rotation vectors and centres in the world: `c = -R^T t`."""
    rotation, _ = cameras.extrinsics
    views, size = covariance.shape[:2]
    jacobian = torch.eye(size, dtype=covariance.dtype).repeat(views, 1, 1)
    jacobian[:, 3:6, 3:6] = -rotation.transpose(-1, -2)
    return torch.einsum("vab,vbwc,wdc->vawd", jacobian, covariance, jacobian)


def _without_common_motion(cameras: Cameras, size: int, config: PeopleRefinementConfig) -> Tensor:
    """The matrix (V K, V K) that takes out what moves, turns or scales all cameras together (S-transformation).

    Of the steps that differ by such a motion it leaves the least, rotations and places weighed as the prior weighs
    them: in this direction the prior alone decides, and it says nothing about how well the cameras fit each other.
    Source: Baarda, S-transformations and criterion matrices (1973).
    """
    rotation, _ = cameras.extrinsics
    views = len(rotation)
    lever = cameras.centers - cameras.centers.mean(0)
    identity = torch.eye(3, dtype=lever.dtype).expand(views, 3, 3)
    zero = torch.zeros_like(identity)
    common = torch.zeros(views, size, 7, dtype=lever.dtype)
    # turning the world by w turns a camera by -R w in its own frame and moves its centre by w x lever
    common[:, :3] = torch.cat((-rotation, zero, zero[..., :1]), dim=-1)
    common[:, 3:6] = torch.cat((-skew(lever), identity, lever[..., None]), dim=-1)
    common = common.reshape(views * size, 7)
    weight = torch.zeros(size, dtype=lever.dtype)
    weight[:3], weight[3:6] = config.rotation**-2, config.center**-2
    weighted = common * weight.repeat(views)[:, None]
    share: Tensor = torch.linalg.solve(weighted.T @ common, weighted.T)
    return torch.eye(views * size, dtype=lever.dtype) - common @ share


def _jackknife_deviation(keypoints: Keypoints2D, cameras: Cameras, settings: BundleSettings, groups: int) -> Tensor:
    """Standard deviations (V, K) from the results with one group of neighbouring joints left out in turn."""
    joints = keypoints.positions.shape[-2]
    group = torch.arange(joints) * groups // joints
    results = []
    for left_out in range(groups):
        out = (group == left_out)[:, None]
        if not out.any():
            continue
        sample = replace(keypoints, positions=torch.where(out, torch.nan, keypoints.positions))
        found = _adjust(sample, cameras, settings).cameras
        results.append(camera_difference(found, cameras, settings.free))
    each = torch.stack(results)
    spread = (len(each) - 1) * each.var(0, correction=0)
    free = settings.free
    return _spread_focal(spread.sqrt(), cameras, PeopleRefinementConfig(intrinsics=free.focal))


def _spread_focal(deviation: Tensor, cameras: Cameras, config: PeopleRefinementConfig) -> Tensor:
    """From one relative deviation of the focal length to those of fx and fy in pixels."""
    if not config.intrinsics:
        return deviation
    focal = cameras.intrinsics[:, [0, 1], [0, 1]] * deviation[:, 6:7]
    return torch.cat((deviation[:, :6], focal, deviation[:, 7:]), dim=-1)


def _outcome(before: PeopleAgreement, after: PeopleAgreement, *, better: bool) -> Finding:
    change = f"from {before.median_px:.1f} to {after.median_px:.1f} px"
    if better:
        return Finding(
            severity="good",
            text=f"On frames that took no part, the median reprojection error of people's joints goes {change}.",
        )
    return Finding(
        severity="notice",
        text=f"On frames that took no part, the median reprojection error of people's joints goes {change}: the "
        "refined cameras are no better, and those given are kept.",
        advice="Nothing has to be done if the given cameras are right; else record people who move about more.",
    )


def _moves(given: Cameras, refined: Cameras) -> tuple[str, ...]:
    angles = geodesic_angle(given.extrinsics[0], refined.extrinsics[0]).rad2deg().tolist()
    shifts = (refined.centers - given.centers).norm(dim=-1).tolist()
    names = given.names or tuple(f"view {view}" for view in range(len(angles)))
    return tuple(
        f"{name} turned by {angle:.2f} degrees and moved by {100 * shift:.1f} cm."
        for name, angle, shift in zip(names, angles, shifts, strict=True)
    )
