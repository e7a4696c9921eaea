"""The triangulation as a module of tensors alone, for export: closed forms of standard operators, no decomposition."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from marey.core import Cameras
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.engine.networks import Network, Port
from marey.geometry.projection import undistort_pixels
from marey.geometry.triangulation_kernels import least_squares

LENS_TERMS = 14
"""k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tx ty; a lens with fewer has zeros."""

_PIXELS = "image, x right and y down, pixel centres at integers"


class Triangulation(nn.Module):
    """`triangulate(..., method="robust")` for cameras given as tensors."""

    def forward(
        self,
        keypoints: Tensor,
        keypoint_covariance: Tensor,
        intrinsics: Tensor,
        rotation: Tensor,
        translation: Tensor,
        distortion: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Triangulate.

        Args:
            keypoints: (V, T, J, 2) pixels; NaN = not seen.
            keypoint_covariance: (V, T, J, 2, 2) square pixels; NaN = not seen.
            intrinsics: (V, 3, 3)
            rotation: (V, 3, 3) world to camera.
            translation: (V, 3) metres, world to camera.
            distortion: (V, 14) in OpenCV's order; None: the keypoints are those of cameras without.

        Returns:
            Positions (T, J, 3), metres in the world, and covariance (T, J, 3, 3), NaN where unknown; weights (V, T, J).
        """
        seen = keypoints.shape[:3]
        points, spread = keypoints.flatten(1, 2), keypoint_covariance.flatten(1, 2)
        if distortion is not None:
            cameras = Cameras(intrinsics=intrinsics, distortion=distortion, image_size=intrinsics[..., :2, 2] * 2)
            points, jacobian = undistort_pixels(points, cameras)
            spread = jacobian @ spread @ jacobian.transpose(-1, -2)
        positions, covariance, weights = least_squares(intrinsics, rotation, translation, points, spread, None)
        return (
            positions.reshape(*seen[1:], 3),
            covariance.reshape(*seen[1:], 3, 3),
            weights.reshape(seen),
        )


def pinhole() -> Network:
    """The triangulation of keypoints from which the lens is already taken out."""
    return _network(lens=False)


def with_lens() -> Network:
    """The triangulation of keypoints as the cameras saw them."""
    return _network(lens=True)


def _network(*, lens: bool) -> Network:
    config = KeypointCaptureConfig(frames=3, views=3, skeleton="h36m_17", shuffle=False)
    distortion = (-0.1, 0.03, 0.001, -0.002, 0.01, *[0.0] * (LENS_TERMS - 5)) if lens else ()
    capture = make_keypoint_capture(replace(config, distortion=distortion))
    seen, cameras = capture.detections.keypoints[:, :, 0], capture.cameras
    rotation, translation = cameras.extrinsics
    distortions = (cameras.distortion,) if lens else ()
    ports = (
        Port(
            name="keypoints",
            shape=("views", "frames", "joints", 2),
            unit="pixels",
            frame=_PIXELS if lens else f"{_PIXELS}, as a camera without distortion sees it",
            meaning="Keypoints; NaN where a view did not see one.",
        ),
        Port(
            name="keypoint_covariance",
            shape=("views", "frames", "joints", 2, 2),
            unit="square pixels",
            frame=_PIXELS,
            meaning="Their covariance; it decides what each view counts and which is an outlier.",
        ),
        Port(
            name="intrinsics", shape=("views", 3, 3), unit="pixels", meaning="[[fx, skew, cx], [0, fy, cy], [0, 0, 1]]."
        ),
        Port(name="rotation", shape=("views", 3, 3), frame="world to camera", meaning="x_camera = R x_world + t."),
        Port(name="translation", shape=("views", 3), unit="metres", frame="world to camera"),
        Port(
            name="distortion",
            shape=("views", LENS_TERMS),
            meaning="OpenCV's order k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tx ty; zeros for what a lens lacks.",
        ),
    )
    return Network(
        module=Triangulation(),
        example=(seen.positions, seen.covariance, cameras.intrinsics, rotation, translation, *distortions),
        inputs=ports if lens else ports[:-1],
        outputs=(
            Port(
                name="positions",
                shape=("frames", "joints", 3),
                unit="metres",
                frame="world",
                meaning="NaN with fewer than two usable views.",
            ),
            Port(
                name="covariance",
                shape=("frames", "joints", 3, 3),
                unit="square metres",
                frame="world",
                meaning="Of the positions; NaN where they are.",
            ),
            Port(
                name="weights",
                shape=("views", "frames", "joints"),
                meaning="0 to 1, what each view counted; 0: not seen.",
            ),
        ),
        least={"views": 2},
    )
