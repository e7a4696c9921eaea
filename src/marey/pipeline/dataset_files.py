"""An estimate as the files that other people's programs of training and evaluation read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marey.core import CalibrationError, Estimate, InputError, Joints3D, Keypoints2D
from marey.geometry.projection import world_to_camera
from marey.io.coco import write_coco_results
from marey.io.human_data import write_human_data
from marey.io.naming import file_stem
from marey.io.videopose3d import VideoPose2D, write_videopose_2d, write_videopose_3d

ACTION = "recording"
"""What VideoPose3D archives call the one action of an estimate; its subjects are `person_0`, ..."""


def write_coco_files(folder: Path, estimate: Estimate) -> list[Path]:
    """Write each view's keypoints as COCO results, `coco_VIEW.json`; the image id is the frame's index.

    Raises:
        InputError: the estimate has no keypoints, or its skeleton lacks joints of COCO.
    """
    keypoints = _keypoints(estimate, "COCO results")
    files = []
    for view, name in enumerate(_view_names(estimate, len(keypoints.positions))):
        files.append(folder / f"coco_{file_stem(name)}.json")
        frames, people = keypoints.batch_shape[1:]
        indices = estimate.frames or tuple(range(frames))
        ids = [frame for frame in indices for _ in range(people)]
        write_coco_results(files[-1], keypoints[view].map(lambda tensor: tensor.flatten(0, 1)), ids)
    return files


def write_human_data_files(folder: Path, estimate: Estimate) -> list[Path]:
    """Write each view's keypoints and the joints in its camera's frame as HumanData, `human_data_VIEW.npz`.

    The N entries are the frames, and within them the people. Of a recording without images the paths are made up of
    the view and the frame's index.

    Raises:
        InputError: the estimate has no keypoints.
        CalibrationError: it has no cameras in the world.
    """
    keypoints = _keypoints(estimate, "HumanData")
    if estimate.cameras is None or not estimate.cameras.has_extrinsics:
        raise CalibrationError("HumanData holds joints in the camera's frame: the estimate has no placed cameras")
    frames, people = keypoints.batch_shape[1:]
    indices = estimate.frames or tuple(range(frames))
    files = []
    for view, name in enumerate(_view_names(estimate, len(keypoints.positions))):
        files.append(folder / f"human_data_{file_stem(name)}.npz")
        write_human_data(
            files[-1],
            keypoints=keypoints[view].map(lambda tensor: tensor.flatten(0, 1)),
            joints=_in_camera(estimate, view),
            image_paths=[f"{name}/{frame:06d}" for frame in indices for _ in range(people)],
        )
    return files


def write_videopose_files(folder: Path, estimate: Estimate) -> list[Path]:
    """Write `data_3d_marey.npz` and, if there are keypoints, `data_2d_marey.npz`; unknown joints are NaN.

    Joints keep the estimate's skeleton and world. A view without a size has 0 x 0.
    """
    subjects = [f"person_{person}" for person in range(estimate.joints.batch_shape[1])]
    files = [folder / "data_3d_marey.npz"]
    positions = estimate.joints.positions.cpu().numpy()
    write_videopose_3d(files[0], {name: {ACTION: positions[:, person]} for person, name in enumerate(subjects)})
    if estimate.keypoints is None:
        return files
    pixels = estimate.keypoints.positions.cpu().numpy()
    skeleton = estimate.keypoints.skeleton
    pairs = [(at, other) for at, other in enumerate(skeleton.mirror) if skeleton.joints[at].startswith("left_")]
    tracks = {name: {ACTION: tuple(pixels[:, :, person])} for person, name in enumerate(subjects)}
    files.append(folder / "data_2d_marey.npz")
    write_videopose_2d(
        files[1],
        VideoPose2D(
            positions=tracks,
            layout=skeleton.name,
            mirror=(tuple(left for left, _ in pairs), tuple(right for _, right in pairs)),
            sizes=_sizes(estimate, len(pixels)),
        ),
    )
    return files


def _keypoints(estimate: Estimate, kind: str) -> Keypoints2D:
    if estimate.keypoints is None:
        raise InputError(f"{kind} holds keypoints in the images, and this estimate has none")
    return estimate.keypoints


def _view_names(estimate: Estimate, views: int) -> Sequence[str]:
    names = estimate.provenance.get("views") or (estimate.cameras.names if estimate.cameras is not None else ())
    return names if len(names) == views else [f"view_{view}" for view in range(views)]


def _sizes(estimate: Estimate, views: int) -> dict[str, tuple[int, int]]:
    if estimate.cameras is None:
        return {}
    sizes = estimate.cameras.image_size.nan_to_num(0.0).round().int().tolist()
    return {name: (width, height) for name, (width, height) in zip(_view_names(estimate, views), sizes, strict=True)}


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
