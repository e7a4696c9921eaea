"""One camera: keypoints and the detector's own 3D guess become absolute joints with covariance.

The guess is root-relative: its size is settled first (`body_size`), then every frame is placed by full-perspective
least squares and every joint moved towards its own pixels (`marey.geometry.absolute`). The two errors that no pixel
shows, of the body's size and of the focal length, are in the covariance along the line of sight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import (
    CalibrationError,
    Cameras,
    Diagnostics,
    Estimate,
    InputError,
    Joints3D,
    Keypoints2D,
    Observation,
    Requirements,
    ShapeError,
    Skeleton,
)
from marey.core.results import DISTANCE
from marey.detect.noise import is_seen
from marey.geometry.absolute import absolute_joints
from marey.geometry.projection import camera_to_world, reprojection_error
from marey.methods.classical.body_size import BodySize, SizePrior, estimate_size

_TRUNK = frozenset(
    ("nose", "eye", "eye_inner", "eye_outer", "ear", "mouth", "head", "head_top", "neck", "shoulder", "hip", "pelvis")
)
"""Joints of the head and the trunk, whose place in the body hardly changes."""


@dataclass(frozen=True, kw_only=True)
class GuessNoise:
    """Standard deviations of a detector's relative joints, metres, across and along the line of sight."""

    trunk: tuple[float, float] = (0.03, 0.05)
    """Of head, shoulders and hips."""
    limbs: tuple[float, float] = (0.04, 0.09)
    """Of everything else."""
    score_power: float = 0.5
    """Deviations are divided by the score to this power."""
    least_score: float = 0.1
    """Lower scores are not believed to be worse still."""
    shared_depth: float = 0.02
    """Relative: of the distance, by errors that all joints share and that last (limbs foreshortened alike)."""


_SIZE, _NOISE = SizePrior(), GuessNoise()


@dataclass(frozen=True, kw_only=True)
class MonocularEstimator:
    """Absolute joints from one camera: the detector's own 3D guess placed by its keypoints, with covariance."""

    stature: float | None = None
    """Of everybody in view, metres; None: adults of unknown stature."""
    focal_deviation: float = 0.0
    """Relative standard deviation of the focal length: 0 for a calibrated camera."""
    size: SizePrior = _SIZE
    noise: GuessNoise = _NOISE

    requires = Requirements(views=(1, 1), evidence="monocular", calibration="intrinsics", temporal="sequence")

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate the joints of every person in every frame.

        They are in the world if the camera's place is known, else in the camera's frame.

        Raises:
            InputError: there are no keypoints or no 3D guess, or there is more than one view.
            CalibrationError: nothing is known of the camera.
        """
        keypoints, guess, cameras = observation.keypoints, observation.monocular, observation.cameras
        if keypoints is None or guess is None:
            raise InputError(
                "one camera needs keypoints and a 3D guess; detect with mediapipe, which has one of its own, or make "
                "one of the keypoints with marey.detect.lifting.lift_keypoints"
            )
        if cameras is None:
            raise CalibrationError(
                "one camera needs its intrinsics; marey.geometry.cameras_from_field_of_view makes some from an angle"
            )
        if keypoints.batch_shape[0] != 1:
            raise InputError(
                f"one camera is expected, got {keypoints.batch_shape[0]} views; several are triangulated by "
                "ClassicalEstimator"
            )
        if not cameras.has_extrinsics:
            cameras = at_the_origin(cameras)
        prior = self.size if self.stature is None else replace(self.size, stature=self.stature, stature_deviation=0.0)
        joints, diagnostics, size = place_people(
            keypoints,
            guess,
            cameras,
            prior=prior,
            noise=self.noise,
            focal_deviation=self.focal_deviation,
            covariance=observation.monocular_covariance,
        )
        frames = tuple(range(observation.start, observation.start + keypoints.batch_shape[1]))
        return Estimate(
            joints=joints,
            cameras=cameras,
            keypoints=keypoints,
            diagnostics=diagnostics,
            frames=frames,
            notes=_notes(size, prior, self),
            provenance={DISTANCE: distance_deviation(size, self.noise, self.focal_deviation).tolist()},
        )


def place_people(
    keypoints: Keypoints2D,
    guess: Tensor,
    cameras: Cameras,
    *,
    prior: SizePrior,
    noise: GuessNoise,
    focal_deviation: float = 0.0,
    covariance: Tensor | None = None,
) -> tuple[Joints3D, Diagnostics, BodySize]:
    """Place people seen by one camera in the world.

    Args:
        keypoints: (1, T, P) with covariance; slot p is one person in all frames.
        guess: (1, T, P, J, 3) root-relative joints in axes parallel to the camera's, metres; NaN = missing.
        cameras: (1,) with extrinsics.
        prior: of the size of everybody.
        noise: of the guess, where its covariance is not known.
        focal_deviation: relative standard deviation of the focal length.
        covariance: (1, T, P, J, 3, 3) of the guess, square metres, if whoever guessed states it; NaN = unknown.

    Returns:
        Joints (T, P) in the world, metres, NaN where the guess or the place is unknown, with the least score of the
        noise where only the guess tells; weights and residuals (1, T, P); and the size of everybody.

    Raises:
        ShapeError: guess and keypoints do not belong together.
    """
    if guess.shape != (*keypoints.positions.shape[:-1], 3):
        raise ShapeError(
            f"guess: expected {(*keypoints.positions.shape[:-1], 3)} for these keypoints, got {tuple(guess.shape)}"
        )
    score = keypoints.score
    size = estimate_size(guess[0], score[0], keypoints.skeleton, prior)
    factor = size.factor[None, ..., None, None]
    spread = guess_covariance(score, keypoints.skeleton, noise)
    if covariance is not None:
        stated = covariance.isfinite().all(-1).all(-1)[..., None, None]
        spread = torch.where(stated, factor[..., None].square() * covariance, spread)
    placed = absolute_joints(
        factor * guess,
        keypoints.positions,
        cameras,
        relative_covariance=spread,
        pixel_covariance=keypoints.covariance,
        distance_deviation=distance_deviation(size, noise, focal_deviation),
    )
    rotation = cameras.extrinsics[0].to(score.dtype)[0]
    positions = camera_to_world(placed.positions, cameras)
    weights = placed.placement.weights
    known = positions.isfinite().all(-1)
    unseen = known & ~is_seen(keypoints)
    joints = Joints3D(
        positions=positions[0],
        covariance=(rotation.mT @ placed.covariance @ rotation)[0],
        score=torch.where(unseen, noise.least_score, torch.where(known, weights * score, 0.0))[0].clamp(0.0, 1.0),
        filled=torch.zeros_like(known[0]),
        skeleton=keypoints.skeleton,
    )
    residuals = reprojection_error(positions, keypoints.positions, cameras)
    return joints, Diagnostics(weights=weights, residuals=residuals), size


def guess_covariance(score: Tensor, skeleton: Skeleton, noise: GuessNoise) -> Tensor:
    """Covariances (..., J, 3, 3), square metres, of relative joints with scores (..., J)."""
    parts = (joint.removeprefix("left_").removeprefix("right_") for joint in skeleton.joints)
    across, along = zip(*(noise.trunk if part in _TRUNK else noise.limbs for part in parts), strict=True)
    axes = torch.tensor([across, across, along], dtype=score.dtype, device=score.device).T
    return torch.diag_embed((axes * score.clamp_min(noise.least_score)[..., None] ** -noise.score_power).square())


def distance_deviation(size: BodySize, noise: GuessNoise, focal_deviation: float) -> Tensor:
    """Relative standard deviation (P,) of everybody's distance by errors that last."""
    return (size.deviation.square() + noise.shared_depth**2 + focal_deviation**2).sqrt()


def without_distance_error(joints: Joints3D, center: Tensor, deviation: Tensor) -> Joints3D:
    """Joints (T, P) whose covariance no longer holds the error of the distance, which is the same in all frames.

    A smoother must not see it: it would average out what lasts. Add it again afterwards, `with_distance_error`.

    Args:
        joints: as `place_people` returns them.
        center: (3,) of the camera, metres.
        deviation: (P,) relative.
    """
    return replace(joints, covariance=joints.covariance - _distance_covariance(joints, center, deviation))


def with_distance_error(joints: Joints3D, center: Tensor, deviation: Tensor) -> Joints3D:
    """The same with the error of the distance: the inverse of `without_distance_error`."""
    return replace(joints, covariance=joints.covariance + _distance_covariance(joints, center, deviation))


def _distance_covariance(joints: Joints3D, center: Tensor, deviation: Tensor) -> Tensor:
    ray = deviation.to(joints.dtype)[:, None, None] * (joints.positions - center.to(joints.dtype))
    return ray[..., None] * ray[..., None, :]


def at_the_origin(cameras: Cameras) -> Cameras:
    """The cameras with their own frame for the world."""
    eye = torch.eye(3, dtype=cameras.dtype, device=cameras.device)
    return replace(
        cameras,
        rotation=eye.expand(*cameras.batch_shape, 3, 3),
        translation=eye[0].expand(*cameras.batch_shape, 3) * 0.0,
    )


def _notes(size: BodySize, prior: SizePrior, estimator: MonocularEstimator) -> tuple[str, ...]:
    """How tall everybody was taken to be, and what the distance owes to that."""
    depth = distance_deviation(size, estimator.noise, estimator.focal_deviation)
    why = "the given stature" if estimator.stature is not None else f"adults' {prior.stature:.2f} m"
    why = f", weighed against {why}" if prior.stature_deviation < prior.stature else ""
    rows = zip(size.measured.tolist(), size.stature.tolist(), depth.tolist(), strict=True)
    return tuple(
        f"Person {person}: {_told_size(measured, settled, why)}; the distance is uncertain by {100 * spread:.0f} %."
        for person, (measured, settled, spread) in enumerate(rows)
    )


def _told_size(measured: float, settled: float, why: str) -> str:
    if measured != measured:
        return "the trunk is not seen, so the size is the detector's own"
    return f"taken to be {settled:.2f} m tall ({measured:.2f} m by the 3D guess{why})"
