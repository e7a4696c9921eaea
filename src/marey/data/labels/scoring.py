"""Labels as the rows that protocols score."""

from __future__ import annotations

from typing import Literal

import numpy as np

from marey.data.labels.projection import joints_in_camera, joints_in_world
from marey.data.labels.table import Labels
from marey.io.predictions import PoseRows, places_in_groups


def rows_to_score(
    labels: Labels, frame: Literal["world", "camera"] = "world", *, by_camera: bool | None = None
) -> PoseRows:
    """What protocols score: sequence, frame and person of each row, and its values.

    Args:
        labels: Of any data set.
        frame: Of the joints. Where labels hold them in the other frame only, the cameras move them; where that is
            unknown they are NaN.
        by_camera: Whether the camera's name follows the sequence's (`walking/54138969`). None: if a person is seen by
            several cameras in one frame of one sequence.

    Raises:
        CalibrationError: joints have to be moved, and the cameras' places are unknown.
    """
    images = labels.images
    sequence, number = images.sequence[labels.image], images.frame[labels.image]
    if by_camera is None:
        by_camera = bool(places_in_groups(sequence, number, labels.person).any())
    if by_camera:
        sequence = np.char.add(np.char.add(sequence, "/"), labels.camera_names()[labels.image])
    values = {name: column for name, column in labels.values.items() if name not in ("joints", "joints_camera")}
    if {"joints", "joints_camera"} & set(labels.values):
        values["joints"] = joints_in_world(labels) if frame == "world" else joints_in_camera(labels)
    return PoseRows(
        joint_names=labels.skeleton.joints,
        sequence=sequence,
        frame=number.astype(np.int64),
        person=labels.person.astype(np.int64),
        values=values,
        benchmark=f"{labels.name} {labels.version}".strip(),
    )
