"""A synthetic recording of moving people by several cameras, as a keypoint detector reports it, with exact truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras, Detections2D, InputError, Joints3D, Skeleton, skeleton
from marey.data.camera_ring import ring_of_cameras
from marey.data.detector_faults import DetectorFaults, apply_faults, hidden_by_others
from marey.data.figure import Array, figure_joints
from marey.data.figure_motion import standing_poses, walking_poses
from marey.data.simulated_detector import detections_of, exact_joints, image_points, slot_order


@dataclass(frozen=True, kw_only=True)
class KeypointCaptureConfig:
    """What is recorded, by what, and what goes wrong. The recording is a pure function of this."""

    frames: int = 300
    fps: float = 60.0
    people: int = 1
    """Who walk, squat, wave and turn; they cross one another's paths."""
    skeleton: str = "body_25b"
    views: int = 4
    image_size: tuple[int, int] = (1920, 1080)
    """Width and height, pixels."""
    focal_length: float = 1100.0
    """Pixels."""
    distortion: tuple[float, ...] = ()
    """Of every camera, in OpenCV's order: 0, 4, 5, 8, 12 or 14 numbers."""
    ring_radius: float = 5.0
    """Metres from the middle of the scene to each camera."""
    area: float = 1.6
    """Half the length of the longest walk, metres."""
    bystanders_in_one_view: int = 0
    """Standing people whom a single camera sees, as in a mirror or on a poster."""
    bystanders_standing: int = 0
    """Standing people whom two or more cameras see."""
    faults: DetectorFaults = field(default_factory=DetectorFaults)
    """Noise, outliers, swaps, occlusion and losses."""
    shuffle: bool = True
    """Order the slots of every view and frame by chance, empty ones last; else slot p is person p, then bystanders."""
    state_covariance: bool = True
    """Give the covariance the noise really has; else NaN, as a detector that states none."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("frames", "people", "views"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if not (self.fps > 0 and self.focal_length > 0 and self.ring_radius > 1.5 * self.area > 0):
            raise InputError(
                "expected fps, focal_length and area > 0 and ring_radius > 1.5 area, got "
                f"{self.fps}, {self.focal_length}, {self.area} and {self.ring_radius}"
            )


@dataclass(frozen=True, kw_only=True)
class KeypointCapture:
    """A recording and its truth: V views, T frames, P people, S slots (people and bystanders)."""

    detections: Detections2D
    """(V, T, S)"""
    cameras: Cameras
    """(V,), named cam_1, cam_2, ..."""
    truth: Joints3D
    """(T, P) in the world, z up, covariance zero."""
    identity: Tensor
    """(V, T, S) the person in each slot; -1: a bystander or nobody."""
    swapped: Tensor
    """(V, T, S) boolean: left and right are exchanged in the slot."""
    outlier: Tensor
    """(V, T, S, J) boolean: the keypoint is grossly wrong."""
    fps: float


def make_keypoint_capture(config: KeypointCaptureConfig) -> KeypointCapture:
    """Record moving figures with simulated cameras and a simulated, faulty detector.

    Vectorised over views, frames and people: 10,000 frames of 2 people in 4 views take a few seconds.

    Raises:
        InputError: the figure lacks a joint of the skeleton.
        CalibrationError: the distortion has a length that OpenCV does not know.
    """
    rng = np.random.default_rng(config.seed)
    names = skeleton(config.skeleton)
    cameras = ring_of_cameras(
        views=config.views,
        radius=config.ring_radius,
        image_size=config.image_size,
        focal_length=config.focal_length,
        distortion=config.distortion,
        rng=rng,
    )
    walkers, bystanders = _scene(config, names, rng)
    joints = np.concatenate((walkers, bystanders), axis=1)
    faults = config.faults
    pixels, depth = image_points(torch.from_numpy(joints), cameras)
    pixels[:, :, config.people :][~_sighted(config, rng)] = np.nan
    hidden = (
        hidden_by_others(joints, cameras.centers.numpy()) if faults.occlusion else np.zeros(pixels.shape[:-1], bool)
    )
    scale = config.ring_radius / depth if faults.noise_follows_size else np.ones_like(depth)
    view = apply_faults(
        pixels, scale, hidden, names=names, image_size=config.image_size, fps=config.fps, faults=faults, rng=rng
    )
    order = slot_order(view, shuffle=config.shuffle, rng=rng)
    person = np.where(np.arange(order.shape[-1]) < config.people, np.arange(order.shape[-1]), -1)
    identity = np.where(np.take_along_axis(view.present, order, -1), person[order], -1)
    return KeypointCapture(
        detections=detections_of(view, order, names, state_covariance=config.state_covariance),
        cameras=cameras.to(torch.float32),
        truth=exact_joints(torch.from_numpy(walkers), names),
        identity=torch.from_numpy(identity),
        swapped=torch.from_numpy(np.take_along_axis(view.swapped & view.present, order, -1)),
        outlier=torch.from_numpy(np.take_along_axis(view.outlier, order[..., None], -2)),
        fps=config.fps,
    )


def _scene(config: KeypointCaptureConfig, names: Skeleton, rng: np.random.Generator) -> tuple[Array, Array]:
    """World joints (T, P, J, 3) of who walk and of who stand by."""
    times = np.arange(config.frames) / config.fps
    walkers = walking_poses(times, people=config.people, area=config.area, rng=rng)
    count = config.bystanders_in_one_view + config.bystanders_standing
    angle = rng.uniform(0, 2 * np.pi, count)
    distance = rng.uniform(1.15, 1.4, count) * config.area
    places = distance[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    bystanders = standing_poses(times, places, rng=rng)
    return figure_joints(walkers, names.joints), figure_joints(bystanders, names.joints)


def _sighted(
    config: KeypointCaptureConfig, rng: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """(V, T, bystanders): which cameras take notice of which bystander."""
    lone, standing = config.bystanders_in_one_view, config.bystanders_standing
    rank = rng.permuted(np.tile(np.arange(config.views)[:, None], (1, lone + standing)), axis=0)
    noticed = np.concatenate((np.ones(lone), rng.integers(2, max(config.views, 2) + 1, standing)))
    return np.broadcast_to((rank < noticed)[:, None], (config.views, config.frames, lone + standing))
