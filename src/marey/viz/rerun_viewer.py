"""An estimate in the Rerun viewer, for those who have it: the extra `viewer`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, Estimate, MissingDependencyError
from marey.geometry.small import eigh_3x3
from marey.io.atomic import atomic_path
from marey.viz.style import SIGMAS_90_SPACE, person_color

Array = npt.NDArray[Any]

_JOINT_RADIUS = 0.014
_LINK_RADIUS = 0.009
_DEFAULT_FPS = 30.0


def show_rerun(estimate: Estimate) -> None:
    """Open the viewer on an estimate; returns at once, the viewer stays.

    Raises:
        MissingDependencyError: Rerun is not installed.
    """
    stream = _stream()
    stream.spawn()
    _log(stream, estimate)
    stream.flush()


def write_rerun(path: str | os.PathLike[str], estimate: Estimate) -> None:
    """Write a recording, `.rrd`, that the viewer opens: skeletons, 90 % ellipsoids, cameras and their keypoints.

    Raises:
        MissingDependencyError: Rerun is not installed.
        InputError: the file cannot be written.
    """
    stream = _stream()
    with atomic_path(path) as temporary:
        stream.save(temporary)
        _log(stream, estimate)
        stream.flush()
        stream.disconnect()


def _rerun() -> Any:
    try:
        import rerun
    except ImportError as error:
        raise MissingDependencyError.of("rerun-sdk", "the Rerun viewer", "pip install 'marey[viewer]'") from error
    return rerun


def _stream() -> Any:
    return _rerun().RecordingStream("marey")


def _log(stream: Any, estimate: Estimate) -> None:
    rerun = _rerun()
    up = str(estimate.provenance.get("world_up", "z"))
    axes = f"RIGHT_HAND_{up[-1].upper()}_{'DOWN' if up.startswith('-') else 'UP'}"
    stream.log("world", getattr(rerun.ViewCoordinates, axes), static=True)
    if estimate.cameras is not None and estimate.cameras.has_extrinsics:
        for view, name in enumerate(_view_names(estimate.cameras)):
            _log_camera(rerun, stream, estimate.cameras, view, name)
    frames = estimate.joints.batch_shape[0]
    for place, number in enumerate(estimate.frames or range(frames)):
        stream.set_time("frame", sequence=number)
        stream.set_time("time", duration=number / (estimate.fps or _DEFAULT_FPS))
        _log_people(rerun, stream, estimate, place)
        _log_keypoints(rerun, stream, estimate, place)


def _view_names(cameras: Cameras) -> tuple[str, ...]:
    return cameras.names or tuple(f"view_{view + 1}" for view in range(cameras.batch_shape[0]))


def _log_camera(rerun: Any, stream: Any, cameras: Cameras, view: int, name: str) -> None:
    rotation, _ = cameras.extrinsics
    size = cameras.image_size[view]
    stream.log(
        f"world/cameras/{name}",
        rerun.Transform3D(translation=_numpy(cameras.centers[view]), mat3x3=_numpy(rotation[view].mT)),
        static=True,
    )
    stream.log(
        f"world/cameras/{name}/image",
        rerun.Pinhole(
            image_from_camera=_numpy(cameras.intrinsics[view]),
            resolution=_numpy(size) if size.isfinite().all() else None,
            camera_xyz=rerun.ViewCoordinates.RDF,
        ),
        static=True,
    )


def _log_people(rerun: Any, stream: Any, estimate: Estimate, place: int) -> None:
    joints = estimate.joints[place]
    skeleton, positions = joints.skeleton, _numpy(joints.positions)
    half_sizes, quaternions = _ellipsoids(joints.covariance)
    for person, points in enumerate(positions):
        known = np.isfinite(points).all(-1)
        color = person_color(person)
        strips = [points[list(link)] for link in skeleton.links if known[list(link)].all()]
        labels = [joint for joint, there in zip(skeleton.joints, known, strict=True) if there]
        where = f"world/person_{person}"
        stream.log(
            f"{where}/joints",
            rerun.Points3D(points[known], colors=color, radii=_JOINT_RADIUS, labels=labels, show_labels=False),
        )
        stream.log(f"{where}/links", rerun.LineStrips3D(strips, colors=color, radii=_LINK_RADIUS))
        stream.log(
            f"{where}/uncertainty",
            rerun.Ellipsoids3D(
                centers=points[known],
                half_sizes=half_sizes[person][known],
                quaternions=quaternions[person][known],
                colors=(*color, 60),
            ),
        )


def _ellipsoids(covariance: torch.Tensor) -> tuple[Array, Array]:
    """Half sizes (..., 3) and orientations (..., 4), xyzw, of the ellipsoids that hold 90 % of the uncertainty."""
    import roma

    known = covariance.isfinite().all(-1).all(-1)[..., None, None]
    values, vectors = eigh_3x3(torch.where(known, covariance, torch.eye(3).to(covariance)))
    half_sizes = SIGMAS_90_SPACE * values.clamp_min(0.0).sqrt()
    return _numpy(half_sizes), _numpy(roma.rotmat_to_unitquat(vectors))


def _log_keypoints(rerun: Any, stream: Any, estimate: Estimate, place: int) -> None:
    if estimate.keypoints is None or estimate.cameras is None:
        return
    for view, name in enumerate(_view_names(estimate.cameras)):
        for person, points in enumerate(_numpy(estimate.keypoints.positions[view, place])):
            seen = points[np.isfinite(points).all(-1)]
            where = f"world/cameras/{name}/image/person_{person}"
            stream.log(where, rerun.Points2D(seen, colors=person_color(person), radii=3.0))


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
