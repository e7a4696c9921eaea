"""Triangulate one workload with the peers, each timed on one thread. Runs in the peers' environment.

    python triangulate.py WORKLOAD.npz OUT.npz [--ransac-points 200] [--colmap-points 20000] [--runs 7]

WORKLOAD.npz: what `workloads.Workload.save` wrote: `pixels` (V, N, 2), intrinsics, distortion, rotation, translation.
OUT.npz: for each peer `<name>` the points `<name>` (n, 3) float64 in metres, NaN where it gave none; n = N, but for the
two slow ones, which do the first `--ransac-points` (aniposelib_ransac) and `--colmap-points` (pycolmap_ransac) only.
OUT.json beside it: {"meta": {...}, "peers": {"<name>": {"seconds": {median, low, high, runs}, "points": n,
"points_per_second": x}}}.

Names: numpy_svd, numpy_eigh (batched DLT on normalised rows), aniposelib_dlt, aniposelib_ransac, pycolmap_ransac
(LO-RANSAC on the reprojection error), opencv_two_views (the first two views alone).
Call it by `measure.run_peer("triangulate.py", workload, out)`, which sets the threads.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from aniposelib_cameras import camera_group

from measure import Timing, describe, pin_to_one_core, write_json
from workloads import Array, Workload

INLIER_PIXELS = 12.0
"""RANSAC's bound: 6 standard deviations of the workload's noise, the best of 4..25 pixels for its mean error."""


def main() -> None:
    """Measure every peer and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ransac-points", type=int, default=200)
    parser.add_argument("--colmap-points", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    pin_to_one_core()
    cv2.setNumThreads(1)
    work = Workload.load(options.workload)
    timings, points = {}, {}
    for name, (method, count) in _peers(options.ransac_points, options.colmap_points).items():
        part = _first(work, count)
        timing, points[name] = Timing.of(method(part), warmup=1, runs=options.runs)
        done = part.pixels.shape[1]
        timings[name] = {"seconds": timing.asdict(), "points": done, "points_per_second": timing.per_second(done)}
    np.savez(options.out, **points)
    meta = describe("numpy", "aniposelib", "pycolmap", "jax", "opencv-contrib-python")
    write_json(options.out.with_suffix(".json"), {"meta": meta, "peers": timings})


def _peers(ransac: int, colmap: int) -> dict[str, tuple[Callable[[Workload], Callable[[], Array]], int | None]]:
    """Name -> (function that prepares the call to be timed, number of points or None for all)."""
    return {
        "numpy_svd": (numpy_svd, None),
        "numpy_eigh": (numpy_eigh, None),
        "aniposelib_dlt": (aniposelib_dlt, None),
        "aniposelib_ransac": (aniposelib_ransac, ransac),
        "pycolmap_ransac": (pycolmap_ransac, colmap),
        "opencv_two_views": (opencv_two_views, None),
    }


def numpy_svd(work: Workload) -> Callable[[], Array]:
    """Right singular vector of the stacked rows."""

    def run() -> Array:
        _, _, right = np.linalg.svd(_rows(work), full_matrices=False)
        return right[:, -1, :3] / right[:, -1, 3:]

    return run


def numpy_eigh(work: Workload) -> Callable[[], Array]:
    """Smallest eigenvector of the 4x4 normal matrices."""

    def run() -> Array:
        rows = _rows(work)
        _, vectors = np.linalg.eigh(rows.transpose(0, 2, 1) @ rows)
        return vectors[:, :3, 0] / vectors[:, 3:, 0]

    return run


def aniposelib_dlt(work: Workload) -> Callable[[], Array]:
    """`CameraGroup.triangulate`: SVD by jax."""
    group = camera_group(work)
    return lambda: np.asarray(group.triangulate(work.pixels))


def aniposelib_ransac(work: Workload) -> Callable[[], Array]:
    """`CameraGroup.triangulate_ransac`: every subset of views until one is good to half a pixel."""
    group = camera_group(work)
    return lambda: group.triangulate_ransac(work.pixels)[0]


def pycolmap_ransac(work: Workload) -> Callable[[], Array]:
    """`estimate_triangulation`: LO-RANSAC, one point a call."""
    poses = [
        pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), translation)
        for rotation, translation in zip(work.rotation, work.translation, strict=True)
    ]
    cameras = [_colmap_camera(*view) for view in zip(work.intrinsics, work.distortion, work.image_size, strict=True)]
    settings = pycolmap.EstimateTriangulationOptions()
    settings.residual_type = pycolmap.TriangulationResidualType.REPROJECTION_ERROR
    settings.ransac.max_error = INLIER_PIXELS
    settings.ransac.random_seed = 0
    observed = np.ascontiguousarray(work.pixels.transpose(1, 0, 2))

    def run() -> Array:
        found = [pycolmap.estimate_triangulation(point, poses, cameras, settings) for point in observed]
        missing = np.full(3, np.nan)
        return np.array([missing if one is None else one["xyz"] for one in found])

    return run


def opencv_two_views(work: Workload) -> Callable[[], Array]:
    """`cv2.triangulatePoints` of the first two views."""
    matrices = np.concatenate((work.rotation, work.translation[..., None]), axis=-1)

    def run() -> Array:
        first, second = _normalised(_views(work, 2)).transpose(0, 2, 1)
        homogeneous = cv2.triangulatePoints(matrices[0], matrices[1], first, second)
        return (homogeneous[:3] / homogeneous[3]).T

    return run


def _rows(work: Workload) -> Array:
    """The rows of the direct linear transformation, (N, 2 V, 4)."""
    matrices = np.concatenate((work.rotation, work.translation[..., None]), axis=-1)
    rows = _normalised(work)[..., None] * matrices[:, None, 2:] - matrices[:, None, :2]
    return rows.transpose(1, 0, 2, 3).reshape(rows.shape[1], -1, 4)


def _normalised(work: Workload) -> Array:
    """Ideal normalised coordinates (V, N, 2)."""
    if work.distortion.any():
        views = zip(work.pixels, work.intrinsics, work.distortion, strict=True)
        return np.stack([cv2.undistortPoints(np.ascontiguousarray(p), K, d)[:, 0] for p, K, d in views])
    focal = work.intrinsics[:, [0, 1], [0, 1]][:, None]
    return (work.pixels - work.intrinsics[:, None, :2, 2]) / focal


def _colmap_camera(intrinsics: Array, distortion: Array, image_size: Array) -> pycolmap.Camera:
    """COLMAP's functions on bare points use cx and cy as they are, so its half-pixel convention does not matter."""
    fx, fy, cx, cy = intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]]
    if distortion.any():
        k1, k2, p1, p2, k3 = distortion
        model, values = "FULL_OPENCV", [fx, fy, cx, cy, k1, k2, p1, p2, k3, 0, 0, 0]
    else:
        model, values = "PINHOLE", [fx, fy, cx, cy]
    width, height = (int(size) for size in image_size)
    return pycolmap.Camera(model=model, width=width, height=height, params=values)


def _first(work: Workload, count: int | None) -> Workload:
    """The workload of the first points alone."""
    parts = {"points": work.points[:count], "pixels": work.pixels[:, :count], "outliers": work.outliers[:, :count]}
    return Workload(**{**vars(work), **parts})


def _views(work: Workload, count: int) -> Workload:
    """The workload of the first views alone."""
    return Workload(**{name: value if name == "points" else value[:count] for name, value in vars(work).items()})


if __name__ == "__main__":
    main()
