"""The arrays that Marey and its peers are measured on: seeded, NumPy only, the same in every environment.

Four cameras (or 2..8) stand on a ring around a volume of 1.4 m, 3 to 4 m away, 1920 x 1080 pixels; the world is z up,
in metres. Everything about a workload follows from its arguments, so two processes can make it instead of exchanging
it; `save` and `load` exchange it all the same, as npz without pickle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

IMAGE_SIZE = (1920.0, 1080.0)
CENTER = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What was seen, by whom, and the truth."""

    intrinsics: Array
    """(V, 3, 3) pixels."""
    distortion: Array
    """(V, 5) OpenCV order; zeros unless asked for."""
    image_size: Array
    """(V, 2) width and height in pixels."""
    rotation: Array
    """(V, 3, 3) world to camera."""
    translation: Array
    """(V, 3) world to camera, metres."""
    points: Array
    """(N, 3) truth, metres."""
    pixels: Array
    """(V, N, 2) with noise and outliers."""
    outliers: npt.NDArray[np.bool_]
    """(V, N) which observations were displaced."""

    def save(self, path: Path) -> None:
        """Write the arrays as npz."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Workload:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})


def triangulation(
    *,
    views: int = 4,
    points: int = 100_000,
    noise: float = 2.0,
    outlier_share: float = 0.1,
    outlier_size: float = 80.0,
    distorted: bool = False,
    seed: int = 0,
) -> Workload:
    """Points uniform in the volume, seen with isotropic Gaussian noise; some have one displaced observation.

    Args:
        views: number of cameras.
        points: number of points N.
        noise: standard deviation of each coordinate, pixels.
        outlier_share: share of the points that have one observation displaced in a random direction; 0 gives the
            noise-only workload of the coverage test.
        outlier_size: length of that displacement, pixels.
        distorted: give the cameras a mild lens (5 coefficients) instead of none.
        seed: of everything random.
    """
    random = np.random.default_rng(seed)
    cameras = _ring(views, random, distorted=distorted)
    truth = CENTER + random.uniform(-0.7, 0.7, (points, 3))
    pixels = project(truth, **cameras) + random.normal(scale=noise, size=(views, points, 2))
    outliers = np.zeros((views, points), dtype=bool)
    displaced = random.permutation(points)[: round(outlier_share * points)]
    outliers[random.integers(views, size=len(displaced)), displaced] = True
    angle = random.uniform(0, 2 * np.pi, points)
    pixels += outliers[..., None] * outlier_size * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return _workload(cameras, truth, pixels, outliers)


def bundle(
    *, views: int = 4, frames: int = 200, joints: int = 17, noise: float = 2.0, distorted: bool = False, seed: int = 0
) -> Workload:
    """A cloud of joints that walks through the volume: N = frames * joints points, noise only."""
    random = np.random.default_rng(seed)
    cameras = _ring(views, random, distorted=distorted)
    body = random.normal(scale=(0.25, 0.25, 0.4), size=(joints, 3))
    phase = np.linspace(0, 2 * np.pi, frames)[:, None]
    path = 0.4 * np.concatenate((np.cos(phase), np.sin(2 * phase), 0 * phase), axis=-1)
    sway = 0.05 * random.normal(size=(frames, joints, 3))
    truth = (CENTER + path[:, None] + body + sway).reshape(-1, 3)
    pixels = project(truth, **cameras)
    pixels += random.normal(scale=noise, size=pixels.shape)
    return _workload(cameras, truth, pixels, np.zeros(pixels.shape[:2], dtype=bool))


def perturbed_extrinsics(
    workload: Workload, *, degrees: float = 1.0, metres: float = 0.03, seed: int = 1
) -> tuple[Array, Array]:
    """A starting point for bundle adjustment: each camera but the first turned about its centre and moved.

    Args:
        workload: gives the true extrinsics.
        degrees: standard deviation of each component of the rotation vector.
        metres: standard deviation of each component of the optical centre.
        seed: of the perturbation.

    Returns:
        rotation (V, 3, 3) and translation (V, 3), world to camera.
    """
    random = np.random.default_rng(seed)
    views = len(workload.rotation)
    free = (np.arange(views) > 0)[:, None]
    turn = rotvec_to_matrix(free * np.radians(degrees) * random.normal(size=(views, 3)))
    center = -np.einsum("vji,vj->vi", workload.rotation, workload.translation)
    center = center + free * metres * random.normal(size=(views, 3))
    rotation = turn @ workload.rotation
    return rotation, -np.einsum("vij,vj->vi", rotation, center)


def project(
    points: Array, *, intrinsics: Array, distortion: Array, rotation: Array, translation: Array, **_: Array
) -> Array:
    """Project points (N, 3) into V cameras: distorted pixels (V, N, 2). Equals `cv2.projectPoints`."""
    x, y, z = np.moveaxis(points @ rotation.transpose(0, 2, 1) + translation[:, None], -1, 0)
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = distortion.T[..., None]
    s = x * x + y * y
    gain = 1 + s * (k1 + s * (k2 + s * k3))
    xd = x * gain + 2 * p1 * x * y + p2 * (s + 2 * x * x)
    yd = y * gain + p1 * (s + 2 * y * y) + 2 * p2 * x * y
    homogeneous = np.stack((xd, yd, np.ones_like(xd)), axis=-1)
    return (homogeneous @ intrinsics.transpose(0, 2, 1))[..., :2]


def rotvec_to_matrix(rotvec: Array) -> Array:
    """Rodrigues' formula: (..., 3) radians to (..., 3, 3)."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotvec, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1).reshape(*rotvec.shape, 3)
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * cross @ cross


def _ring(views: int, random: np.random.Generator, *, distorted: bool) -> dict[str, Array]:
    """Cameras around the volume that look at its centre, none alike."""
    around = 2 * np.pi * np.arange(views) / max(views, 3) + random.uniform(-0.15, 0.15, views)
    radius = random.uniform(3.0, 4.0, views)
    height = random.uniform(1.0, 2.0, views)
    center = np.stack((radius * np.cos(around), radius * np.sin(around), height), axis=-1)
    forward = CENTER - center
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    rotation = np.stack((right, np.cross(forward, right), forward), axis=1)
    intrinsics = np.tile(np.eye(3), (views, 1, 1))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = random.uniform(1200, 1400, views)
    intrinsics[:, :2, 2] = (np.array(IMAGE_SIZE) - 1) / 2 + random.uniform(-10, 10, (views, 2))
    lens = random.normal(size=(views, 5)) * [0.1, 0.03, 0.001, 0.001, 0.01]
    return {
        "intrinsics": intrinsics,
        "distortion": lens if distorted else np.zeros((views, 5)),
        "rotation": rotation,
        "translation": -np.einsum("vij,vj->vi", rotation, center),
    }


def _workload(cameras: dict[str, Array], points: Array, pixels: Array, outliers: npt.NDArray[np.bool_]) -> Workload:
    size = np.tile(IMAGE_SIZE, (len(pixels), 1))
    return Workload(**cameras, image_size=size, points=points, pixels=pixels, outliers=outliers)
