"""MPI-INF-3DHP's test set as labels, what protocols and other programs read of it, and boxes as in the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, Skeleton
from marey.data.boxes import box_iou, boxes_of_points, expand_boxes, hull_of_boxes
from marey.data.human_data import write_labels_as_human_data
from marey.data.labels import Images, Labels, rows_to_score, with_keypoints
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.mpi_inf_3dhp_files import JOINTS, SCENES, evaluation_cameras, read_evaluation_poses
from marey.data.prepare.work import Work
from marey.geometry.projection import camera_to_world, project_from_camera
from marey.io.atomic import check_writable
from marey.io.person_boxes import PersonBoxes, boxes_of_image
from marey.io.predictions import write_pose_rows

Array = npt.NDArray[Any]

NAME = "3dhp"
VERSION = "1"

SEQUENCES = range(1, 7)
TEST_FOLDER = "mpi_inf_3dhp_test_set"
JOINT_BOX = 1.05
"""Times the box around the joints."""
LEAST_HULL_IOU = 0.5
"""Of the hull of joints and detection with the box of the joints, or the detection is somebody else."""


def person_boxes(pixels: Array, names: Sequence[str], detected: PersonBoxes) -> Array:
    """Boxes (N, 4) of people with joints at pixels (N, J, 2).

    That is the box of the joints, 1.05 times as large, and the hull of it with the most confident detection of the
    image if that is the same person: if hull and joints overlap by more than half.
    """
    own = expand_boxes(boxes_of_points(pixels), JOINT_BOX)
    found = own.copy()
    for row, name in enumerate(names):
        candidates = boxes_of_image(detected, name)
        if len(candidates):
            hull = hull_of_boxes(candidates[candidates[:, 4].argmax(), :4], own[row])
            found[row] = hull if box_iou(hull, own[row]) > LEAST_HULL_IOU else own[row]
    return found


def one_person_labels(*, skeleton: Skeleton, images: Images, split: str, cameras: Cameras, **values: Array) -> Labels:
    """Labels of one person an image, joints (and universal joints) in the world."""
    count = len(images)
    return Labels(
        name=NAME,
        version=VERSION,
        skeleton=skeleton,
        images=images,
        split=np.full(count, split),
        image=np.arange(count),
        person=np.zeros(count, dtype=np.int64),
        values=values,
        cameras=cameras,
    )


def evaluation_labels(root: Path, place: int, boxes: PersonBoxes, work: Work) -> Labels:
    """Labels of a test sequence, 1 to 6; its images are those of the download.

    Raises:
        MissingAssetError: it is absent.
        MissingDependencyError: h5py is not installed.
        FormatError: its annotation is damaged.
    """
    name = f"TS{place}"
    folder = _test_folder(root, name, work)
    found = read_evaluation_poses(work.record(work.require(folder / "annot_data.mat", "annotation")))
    camera, count = evaluation_cameras()[(place - 1) // 4], len(found.frame)
    files = [f"imageSequence/img_{frame + 1:06d}.jpg" for frame in found.frame.tolist()]
    pixels = project_from_camera(torch.from_numpy(found.poses.joints), camera).numpy()
    return one_person_labels(
        skeleton=JOINTS,
        images=Images(
            path=np.array([relative_path(folder / file, work.out) for file in files], dtype=np.str_),
            size=np.broadcast_to(camera.image_size.numpy().astype(np.int64), (count, 2)),
            camera=np.zeros(count, dtype=np.int64),
            sequence=np.full(count, name),
            frame=found.frame,
            moment=np.arange(count),
            view=np.zeros(count, dtype=np.int64),
        ),
        split="test",
        cameras=replace(camera[None], names=("0",)),
        joints=camera_to_world(torch.from_numpy(found.poses.joints), camera).numpy(),
        joints_universal=camera_to_world(torch.from_numpy(found.poses.universal), camera).numpy(),
        box=person_boxes(pixels, [f"{name}/{file}" for file in files], boxes),
        subject=np.full(count, name),
        activity=found.activity,
        scene=np.full(count, SCENES[(place - 1) // 2]),
    )


def _test_folder(root: Path, name: str, work: Work) -> Path:
    """Of a test sequence: beside the training set, or in the folder that the download puts it in."""
    places = (root / name, root / TEST_FOLDER / name, root / TEST_FOLDER / TEST_FOLDER / name)
    return work.require(next((place for place in places if place.is_dir()), places[0]), "test sequence")


def write_evaluation_files(out: Path, labels: Labels) -> None:
    """`protocols/3dhp.npz`, and `human_data/mpi_inf_3dhp_test.npz`, whose joints are universal as mmhuman3d's are.

    Raises:
        InputError: they cannot be written.
    """
    write_pose_rows(check_writable(out / "protocols") / "3dhp.npz", rows_to_score(labels, "camera"))
    seen = with_keypoints(labels)
    values = {**seen.values, "joints": seen.values["joints_universal"]}
    folders = zip(labels.images.sequence.tolist(), labels.images.frame.tolist(), strict=True)
    write_labels_as_human_data(
        check_writable(out / "human_data") / "mpi_inf_3dhp_test.npz",
        replace(seen, values=values),
        image_paths=[f"{TEST_FOLDER}/{name}/imageSequence/img_{frame + 1:06d}.jpg" for name, frame in folders],
    )
