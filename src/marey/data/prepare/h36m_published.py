"""Files of Learnable Triangulation that others hand on: its label file, and poses that its nets predicted."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import InputError
from marey.data.labels import Labels
from marey.data.prepare.h36m_names import DAMAGED, SKELETON, action_of_official
from marey.data.prepare.moments import Naming, labels_of_moments
from marey.data.prepare.undistortion import without_lens
from marey.io.h36m_labels import MultiviewLabels, read_h36m_labels
from marey.io.predictions import PoseRows, pose_rows

Array = npt.NDArray[np.int64]

TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")


def read_published_labels(path: str | os.PathLike[str], *, images: str = "", undistorted: bool = True) -> Labels:
    """The labels of a file `human36m-multiview-labels-*.npy`.

    Args:
        path: The file.
        images: Folder `processed`, relative to where the labels will be written.
        undistorted: Whether the images in `imageSequence-undistorted` are meant, whose cameras have no lens.

    Raises:
        InputError: the file cannot be read, or has subjects that belong to no split.
        FormatError: it is no such file.
    """
    found = read_h36m_labels(path)
    if strange := set(found.subjects) - {*TRAIN_SUBJECTS, *TEST_SUBJECTS}:
        raise InputError(f"{path}: subjects {', '.join(sorted(strange))} belong neither to training nor to test")
    if undistorted:
        found = found.with_cameras(without_lens(found.cameras))
    naming = Naming(
        name="h36m",
        version="published label file" + (", undistorted" if undistorted else ""),
        path=partial(_path, images.rstrip("/"), "imageSequence-undistorted" if undistorted else "imageSequence"),
        sequence=lambda subject, action: f"{subject}/{action}",
        split={
            (subject, action): "train" if subject in TRAIN_SUBJECTS else "test"
            for subject in found.subjects
            for action in found.actions
        },
    )
    sizes = np.zeros((*found.cameras.batch_shape, 2), dtype=np.int64)
    return labels_of_moments(found, naming, sizes=sizes, skeleton=SKELETON)


def _path(images: str, folder: str, subject: str, action: str, camera: str, frame: int) -> str:
    path = f"{subject}/{action}/{folder}/{camera}/img_{frame + 1:06d}.jpg"
    return f"{images}/{path}" if images else path


def dataset_rows(
    found: MultiviewLabels, *, train: bool = False, test: bool = False, damaged: bool = True, every: int = 1
) -> Array:
    """Rows of a label file in the order in which its data set counts them, to which `indexes` of predictions refer.

    Args:
        found: The label file.
        train: Whether the training subjects come (first).
        test: Whether the test subjects come.
        damaged: Whether the three actions of S9 with displaced labels are among them.
        every: Of the test rows, those that are left, every so many are taken.

    Raises:
        InputError: `every` is not 1 or more.
    """
    if every < 1:
        raise InputError(f"every: expected 1 or more, got {every}")
    subjects, actions = np.array(found.subjects), np.array(found.actions)
    kept = np.isin(subjects, TEST_SUBJECTS)[found.subject]
    if not damaged:
        for subject, names in DAMAGED.items():
            kept &= ~((subjects[found.subject] == subject) & np.isin(actions[found.action], names))
    training = np.flatnonzero(np.isin(subjects, TRAIN_SUBJECTS)[found.subject])
    return np.concatenate(
        (training if train else training[:0], np.flatnonzero(kept)[::every] if test else training[:0])
    )


def moment_rows(found: MultiviewLabels, rows: Array) -> PoseRows:
    """Some moments of a label file as rows that predictions are paired with, and that protocols score.

    The sequence is `S9/Greeting-2`; of CMU Panoptic it is the sequence's own name.
    """
    sequence = actions = np.array(found.actions, dtype=np.str_)[found.action[rows]]
    about: dict[str, Any] = {"action": actions}
    if found.subjects:
        about["subject"] = np.array(found.subjects, dtype=np.str_)[found.subject[rows]]
        sequence = np.char.add(np.char.add(about["subject"], "/"), actions)
    return pose_rows(
        found.joints[rows],
        joint_names=found.skeleton.joints,
        sequence=sequence,
        frame=found.frame[rows],
        person=found.person[rows],
        **about,
    )


def trial_of_sequence(sequence: str) -> str:
    """The sequence by the trial's name, `S9/Greeting-2`, of one by the official file's name, `S9/Greeting`."""
    subject, _, name = sequence.partition("/")
    action = action_of_official(subject, name)
    return f"{subject}/{action}" if action else sequence
