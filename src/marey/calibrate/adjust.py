"""Adjust cameras, within the accuracy of their calibration, until the views agree about the people."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from marey.core import Cameras, Keypoints2D
from marey.geometry.alignment import align
from marey.geometry.bundle import BundleSettings, CameraPrior, adjust_bundle
from marey.geometry.projection import reprojection_error
from marey.geometry.robust import RobustLoss
from marey.geometry.rotations import geodesic_angle
from marey.geometry.triangulation import triangulate


@dataclass(frozen=True, kw_only=True)
class AdjustmentConfig:
    """What the calibration is worth, and when adjusting it is."""

    rotation: float = 0.005
    """Radians: standard deviation of a calibrated camera's orientation about each axis."""
    center: float = 0.01
    """Metres: standard deviation of a calibrated camera's place along each axis."""
    improvement: float = 0.1
    """The cameras stay as given unless the median reprojection error falls by this share."""
    spacing: float = 0.25
    """Seconds between the frames used: errors of neighbouring frames repeat each other."""
    most_frames: int = 200
    redundancy: float = 10.0
    """Fewest measurements beyond those that fix the joints, for each of the 6 V unknowns of the cameras."""


@dataclass(frozen=True, kw_only=True)
class CameraAdjustment:
    """The cameras to go on with, and a sentence if they are not those given."""

    cameras: Cameras
    notes: tuple[str, ...]


_DEFAULTS = AdjustmentConfig()


def adjust_cameras(
    keypoints: Keypoints2D, cameras: Cameras, *, fps: float, config: AdjustmentConfig = _DEFAULTS
) -> CameraAdjustment:
    """Bundle-adjust the extrinsics on people's joints, held by a prior on the given calibration.

    A calibration is a measurement. Where it is right, the views agree within the keypoints' noise, an adjustment gains
    nothing on the frames that it has not seen, and the cameras are returned as given, bit for bit. Where it is not, a
    fraction of a degree is often what separates the views; the prior keeps the adjusted cameras within what the
    calibration can be wrong by, and the scale. People's joints tell where cameras stand to each other, not where they
    stand in the world: afterwards all cameras are moved together, such that people stay where the given cameras saw
    them. The uncertainty of the adjusted cameras themselves is in the joints' covariance only as far as it shows in the
    disagreement of the views.

    Args:
        keypoints: (V, T, P) with covariance, sides and bad views dealt with.
        cameras: (V,) full.
        fps: of the T frames.
        config: accuracy of the calibration and the gain asked for.
    """
    length = keypoints.batch_shape[1]
    used = torch.zeros(length, dtype=torch.bool)
    used[:: max(2, round(config.spacing * fps), -(-length // config.most_frames))] = True
    sample, judged = keypoints[:, used], keypoints[:, ~used]
    views = sample.positions.isfinite().all(-1).sum(0)
    extra = int((2 * views - 3)[views >= 2].sum())
    if extra < config.redundancy * 6 * len(keypoints.positions) or length < 2:
        return CameraAdjustment(cameras=cameras, notes=())
    settings = BundleSettings(
        prior=CameraPrior(rotation=config.rotation, center=config.center),
        held_views=(),
        loss=RobustLoss("huber", 2.0),
    )
    result = adjust_bundle(sample.positions, cameras, covariance=sample.covariance, settings=settings)
    like = cameras.extrinsics[0]
    adjusted = result.cameras.to(like.dtype)
    before, after = _median_error(judged, cameras), _median_error(judged, adjusted)
    if not after < (1 - config.improvement) * before:
        return CameraAdjustment(cameras=cameras, notes=())
    angles, shifts = (
        geodesic_angle(cameras.extrinsics[0], adjusted.extrinsics[0]),
        (adjusted.centers - cameras.centers).norm(dim=-1),
    )
    names = cameras.names or tuple(f"view {view}" for view in range(len(angles)))
    changes = ", ".join(
        f"{name} {angle:.1f} degrees and {100 * shift:.1f} cm"
        for name, angle, shift in zip(names, angles.rad2deg().tolist(), shifts.tolist(), strict=True)
    )
    note = (
        f"The calibration disagrees with the people: adjusting the cameras lowers the median reprojection error from "
        f"{before:.1f} to {after:.1f} px. Against each other moved: {changes}. To work with the cameras as given, say "
        "cameras as-given."
    )
    return CameraAdjustment(cameras=keep_people(sample, cameras, adjusted), notes=(note,))


def keep_people(keypoints: Keypoints2D, given: Cameras, adjusted: Cameras) -> Cameras:
    """Move the adjusted cameras together, rigidly, so that they see people on average where the given ones did."""
    target, source = (
        triangulate(keypoints.positions, cameras, covariance=keypoints.covariance).positions.flatten(0, -2)
        for cameras in (given, adjusted)
    )
    move = align(source, target)
    rotation, translation = adjusted.extrinsics
    turned = rotation @ move.rotation.transpose(-1, -2)
    return replace(adjusted, rotation=turned, translation=translation - turned @ move.translation)


def _median_error(keypoints: Keypoints2D, cameras: Cameras) -> float:
    """Median distance in pixels between the keypoints and the triangulated joints' projections."""
    found = triangulate(keypoints.positions, cameras, covariance=keypoints.covariance)
    return float(reprojection_error(found.positions[None], keypoints.positions, cameras).nanmedian())
