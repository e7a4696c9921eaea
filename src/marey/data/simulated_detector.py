"""A keypoint detector that is simulated: it knows where people are, and errs as `DetectorFaults` says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, Detections2D, Estimate, InputError, Joints3D, Keypoints2D, Skeleton
from marey.data.detector_faults import DetectorFaults, FaultyView, apply_faults
from marey.data.figure import Array
from marey.geometry.projection import project, world_to_camera

Order = npt.NDArray[np.int64]

_NOISE = 1 / 200
_OUTLIER = 1 / 10
"""Of the height of the picture."""


def simulated_faults(image_height: float) -> DetectorFaults:
    """The usual faults in pictures of a height in pixels, in which people fill about half of it."""
    return DetectorFaults(noise_px=_NOISE * image_height, outlier_px=_OUTLIER * image_height)


def simulate_detections(truth: Estimate, *, faults: DetectorFaults | None = None, seed: int = 0) -> Detections2D:
    """Detect the people of a recording whose truth is known.

    Slots come in random order, empty ones last, and no covariance is stated, as from a detector. A keypoint that the
    truth does not see though it is in the picture is hidden: missing, or guessed.

    Args:
        truth: With cameras and keypoints, as `truth.npz` of a synthetic recording has them.
        faults: None: `simulated_faults` of the height of the pictures.
        seed: Draws all of it.

    Returns:
        (V, T, P)

    Raises:
        CalibrationError: the truth has no cameras.
        InputError: it has no keypoints or no frame rate.
    """
    if truth.cameras is None:
        raise CalibrationError("truth: expected its cameras, got none; give what `marey synth` wrote as truth.npz")
    if truth.keypoints is None or truth.fps is None:
        raise InputError("truth: expected keypoints and fps; give what `marey synth` wrote as truth.npz")
    rng = np.random.default_rng(seed)
    names, cameras = truth.joints.skeleton, truth.cameras.to(torch.float64)
    width, height = (int(length) for length in cameras.image_size[0].tolist())
    pixels, depth = image_points(truth.joints.positions.to(torch.float64), cameras)
    size = cameras.intrinsics[:, 1, 1].numpy()[:, None, None, None] / depth
    view = apply_faults(
        pixels,
        size / np.nanmean(size),
        truth.keypoints.score.numpy() == 0,
        names=names,
        image_size=(width, height),
        fps=truth.fps,
        faults=faults or simulated_faults(height),
        rng=rng,
    )
    return detections_of(view, slot_order(view, shuffle=True, rng=rng), names, state_covariance=False)


def image_points(joints: Tensor, cameras: Cameras) -> tuple[Array, Array]:
    """Pixels (V, T, P, J, 2) and depth (V, T, P, J) of world joints (T, P, J, 3); NaN behind a camera."""
    points = joints.expand(*cameras.batch_shape, *joints.shape)
    return project(points, cameras).numpy(), world_to_camera(points, cameras)[..., 2].numpy()


def slot_order(view: FaultyView, *, shuffle: bool, rng: np.random.Generator) -> Order:
    """(V, T, S): which figure each slot shows; in a shuffled order who is not seen comes last."""
    if not shuffle:
        return np.broadcast_to(np.arange(view.present.shape[-1]), view.present.shape)
    return np.argsort(rng.random(view.present.shape) + ~view.present, axis=-1)


def detections_of(view: FaultyView, order: Order, names: Skeleton, *, state_covariance: bool) -> Detections2D:
    """What the detector reports, in slots (V, T, S); without its covariance that is NaN."""
    positions = np.take_along_axis(view.pixels, order[..., None, None], -3)
    sigma = np.take_along_axis(view.sigma, order[..., None], -2)
    score = np.take_along_axis(view.score, order[..., None], -2)
    if not state_covariance:
        sigma = np.full_like(sigma, np.nan)
    variance = torch.from_numpy((sigma**2).astype(np.float32))
    keypoints = Keypoints2D(
        positions=torch.from_numpy(positions.astype(np.float32)),
        covariance=variance[..., None, None] * torch.eye(2),
        score=torch.from_numpy(score.astype(np.float32)),
        skeleton=names,
    )
    return Detections2D(keypoints=keypoints)


def exact_joints(positions: Tensor, names: Skeleton) -> Joints3D:
    """Joints (T, P, J, 3) that are known without any error."""
    positions = positions.to(torch.float32)
    return Joints3D(
        positions=positions,
        covariance=torch.zeros(*positions.shape, 3),
        score=torch.ones(positions.shape[:-1]),
        filled=torch.zeros(positions.shape[:-1], dtype=torch.bool),
        skeleton=names,
    )
