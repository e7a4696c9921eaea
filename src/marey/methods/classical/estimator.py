"""The estimator of the classical method: associated keypoints and calibrated cameras in, joints with covariance out."""

from __future__ import annotations

from dataclasses import dataclass

from marey.core import CalibrationError, Estimate, InputError, Observation, Requirements
from marey.geometry.triangulation import Method
from marey.methods.classical.model import triangulate_keypoints


@dataclass(frozen=True, kw_only=True)
class ClassicalEstimator:
    """Least squares or robust triangulation of keypoints seen by calibrated cameras."""

    triangulation: Method = "robust"
    compiled: bool = False

    requires = Requirements(views=(2, None), evidence="keypoints", calibration="full", temporal="frame")

    def __call__(self, observation: Observation) -> Estimate:
        """Estimate the joints of every person in every frame.

        Raises:
            InputError: there are no keypoints, or fewer than two views.
            CalibrationError: the cameras are unknown or have no extrinsics.
        """
        keypoints, cameras = observation.keypoints, observation.cameras
        if keypoints is None:
            raise InputError("triangulation needs keypoints; run a detector or give keypoint files")
        if cameras is None:
            raise CalibrationError("triangulation needs calibrated cameras; pass a calibration file")
        views = keypoints.batch_shape[0]
        if views < 2:
            raise InputError(f"triangulation needs two or more views, got {views}; add a camera")
        joints, diagnostics = triangulate_keypoints(
            keypoints, cameras, method=self.triangulation, compiled=self.compiled
        )
        frames = tuple(range(observation.start, observation.start + keypoints.batch_shape[1]))
        return Estimate(joints=joints, cameras=cameras, keypoints=keypoints, diagnostics=diagnostics, frames=frames)
