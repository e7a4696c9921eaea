"""Estimates as the files that other people's programs of training and evaluation read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marey.core import CalibrationError, Estimate, InputError, Joints3D, Keypoints2D
from marey.geometry.projection import world_to_camera
from marey.io.coco import write_coco_results
from marey.io.human_data import write_human_data
from marey.io.videopose3d import VideoPose2D, write_videopose_2d, write_videopose_3d

ACTION = "recording"
"""What 3D archives of VideoPose3D call the one action of an estimate; its subjects are `person_0`, ..."""
VIDEO_ACTION = "custom"
"""What VideoPose3D calls the action of its user's own videos."""


@dataclass(frozen=True, kw_only=True)
class ViewKeypoints:
    """Keypoints of a recording, with what files of keypoints hold beside them."""

    keypoints: Keypoints2D
    """(V, T, P); P counts slots where the file does not say who is who."""
    names: tuple[str, ...]
    """Of the V views."""
    frames: tuple[int, ...]
    """Indices of the T frames, ascending."""
    sizes: tuple[tuple[int, int], ...]
    """(V,) width and height in pixels; 0 x 0 where unknown."""


def keypoints_of(estimate: Estimate) -> ViewKeypoints:
    """The keypoints that an estimate was made of.

    Raises:
        InputError: it has none.
    """
    if estimate.keypoints is None:
        raise InputError("there are no keypoints in images, only joints")
    views, frames = estimate.keypoints.batch_shape[:2]
    sizes = ((0, 0),) * views
    if estimate.cameras is not None:
        sizes = tuple((w, h) for w, h in estimate.cameras.image_size.nan_to_num(0.0).round().int().tolist())
    return ViewKeypoints(
        keypoints=estimate.keypoints,
        names=_view_names(estimate, views),
        frames=estimate.frames or tuple(range(frames)),
        sizes=sizes,
    )


def write_coco_files(files: Sequence[Path], views: ViewKeypoints) -> None:
    """Write each view's keypoints as COCO results; the image id is the frame's index.

    Args:
        files: (V,) one a view.
        views: V views.

    Raises:
        InputError: the skeleton lacks joints of COCO, or a file cannot be written.
    """
    people = views.keypoints.batch_shape[2]
    ids = [frame for frame in views.frames for _ in range(people)]
    for view, file in enumerate(files):
        write_coco_results(file, views.keypoints[view].map(lambda tensor: tensor.flatten(0, 1)), ids)


def write_human_data_files(files: Sequence[Path], estimate: Estimate) -> None:
    """Write each view's keypoints and the joints in its camera's frame as HumanData.

    The N entries are the frames, and within them the people. Of a recording without images the paths are made up of
    the view and the frame's index.

    Args:
        files: (V,) one a view.
        estimate: Of V views.

    Raises:
        InputError: the estimate has no keypoints, or a file cannot be written.
        CalibrationError: it has no cameras in the world.
    """
    views = keypoints_of(estimate)
    if estimate.cameras is None or not estimate.cameras.has_extrinsics:
        raise CalibrationError("there are no placed cameras, and HumanData holds joints in the camera's frame")
    people = views.keypoints.batch_shape[2]
    for view, file in enumerate(files):
        write_human_data(
            file,
            keypoints=views.keypoints[view].map(lambda tensor: tensor.flatten(0, 1)),
            joints=_in_camera(estimate, view),
            image_paths=[f"{views.names[view]}/{frame:06d}" for frame in views.frames for _ in range(people)],
        )


def write_videopose_joints(path: Path, estimate: Estimate) -> None:
    """Write joints as `data_3d_*.npz`; they keep the estimate's skeleton and world, and unknown joints are NaN."""
    positions = estimate.joints.positions.cpu().numpy()
    people = range(estimate.joints.batch_shape[1])
    write_videopose_3d(path, {f"person_{person}": {ACTION: positions[:, person]} for person in people})


def write_videopose_keypoints(path: Path, views: ViewKeypoints) -> None:
    """Write the keypoints of all views as `data_2d_custom_*.npz`, which VideoPose3D takes with `-d custom`.

    It knows one person a video and calls each video a subject, so of several people each is a video of its own.
    Unknown keypoints are NaN, an unknown size is 0 x 0.
    """
    pixels = views.keypoints.positions.cpu().numpy()
    joints = views.keypoints.skeleton
    pairs = [(at, other) for at, other in enumerate(joints.mirror) if joints.joints[at].startswith("left_")]
    people = pixels.shape[2]
    videos = {
        (name if people == 1 else f"{name}_person_{person}"): (view, person)
        for view, name in enumerate(views.names)
        for person in range(people)
    }
    content = VideoPose2D(
        positions={name: {VIDEO_ACTION: (pixels[view, :, person],)} for name, (view, person) in videos.items()},
        layout=joints.name,
        mirror=(tuple(left for left, _ in pairs), tuple(right for _, right in pairs)),
        sizes={name: views.sizes[view] for name, (view, _) in videos.items()},
    )
    write_videopose_2d(path, content)


def _view_names(estimate: Estimate, views: int) -> tuple[str, ...]:
    for names in (estimate.provenance.get("views"), estimate.cameras.names if estimate.cameras is not None else ()):
        if isinstance(names, (list, tuple)) and len(names) == views:
            return tuple(map(str, names))
    return tuple(f"view_{view}" for view in range(views))


def _in_camera(estimate: Estimate, view: int) -> Joints3D:
    """Joints (T P,) in the frame of one camera; their covariance turned alike."""
    joints, cameras = estimate.joints, estimate.cameras
    assert cameras is not None  # the caller has looked
    camera = cameras[view].to(joints.positions.dtype)
    rotation, _ = camera.extrinsics
    return Joints3D(
        positions=world_to_camera(joints.positions, camera).flatten(0, 1),
        covariance=(rotation @ joints.covariance @ rotation.mT).flatten(0, 1),
        score=joints.score.flatten(0, 1),
        filled=joints.filled.flatten(0, 1),
        skeleton=joints.skeleton,
    )
