"""A small estimate with everything in it, made without any method."""

import torch

from marey.core import Diagnostics, Estimate, Joints3D
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.geometry.projection import project

JOINT = 9
"""The joint that the gaps are made in."""


def small_estimate(
    *, frames: int = 12, people: int = 2, distortion: tuple[float, ...] = (-0.2, 0.05, 0.001, 0.002, 0.0)
):
    """True joints with random covariances; frame 3 filled and frame 5 unknown for one joint of person 0."""
    capture = make_keypoint_capture(
        KeypointCaptureConfig(frames=frames, people=people, shuffle=False, distortion=distortion, seed=3)
    )
    generator = torch.Generator().manual_seed(0)
    truth, keypoints = capture.truth, capture.detections.keypoints[:, :, :people]
    root = 0.01 * torch.randn(*truth.positions.shape, 3, generator=generator)
    positions, covariance = truth.positions.clone(), root @ root.mT + 1e-6 * torch.eye(3)
    score, filled = truth.score.clone(), truth.filled.clone()
    filled[3, 0, JOINT] = True
    positions[5, 0, JOINT], covariance[5, 0, JOINT], score[5, 0, JOINT] = torch.nan, torch.nan, 0.0
    pixels = project(positions.expand(4, *positions.shape), capture.cameras)
    residuals = (pixels - keypoints.positions).norm(dim=-1)
    return Estimate(
        joints=Joints3D(
            positions=positions, covariance=covariance, score=score, filled=filled, skeleton=truth.skeleton
        ),
        cameras=capture.cameras,
        keypoints=keypoints,
        diagnostics=Diagnostics(
            weights=torch.where(residuals < 10, 0.9, 0.1) * residuals.isfinite(), residuals=residuals
        ),
        fps=60.0,
        frames=tuple(range(100, 100 + frames)),
        notes=("cam_2 was turned round.",),
        provenance={"inputs": ["walk/cam_1", "walk/cam_2"], "method": "classical", "world_up": "z"},
    )
