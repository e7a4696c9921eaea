"""Predictions and labels that every protocol takes: six people, made from random numbers."""

import numpy as np

from marey.core.skeletons import skeleton
from marey.io.predictions import pose_rows
from marey.metrics.protocols import PROTOCOLS
from marey.metrics.protocols.mpi_inf_3dhp import ACTIVITIES, SCENES


def people(names, *, count=6, seed=0, per_frame=1, **values):
    source = np.random.default_rng(seed)
    places = np.arange(count)
    return pose_rows(
        source.normal(size=(count, len(names), 3)),
        joint_names=names,
        sequence=np.where(places < count // 2, "first", "second"),
        frame=places // per_frame,
        person=places % per_frame,
        **values,
    )


LSP = (*skeleton("lsp_14").joints, "pelvis")
TDHP = skeleton("mpi_inf_3dhp_17").joints
H36M = skeleton("h36m_17").joints
PIXELS = np.random.default_rng(1).uniform(100, 900, (6, 17, 2))
TURNS = np.broadcast_to(np.eye(3), (6, 3, 3)).copy()
POINTS = np.random.default_rng(2).normal(size=(6, 20, 3))
SPREAD = np.broadcast_to(0.25 * np.eye(3), (6, 17, 3, 3)).copy()
MASKS = np.random.default_rng(3).random((6, 8, 8)) > 0.5

BODY = {
    "vertices": POINTS, "vertices_rest": POINTS, "silhouette": MASKS, "keypoints": PIXELS,
    "keypoint_names": skeleton("coco_17").joints,
}  # fmt: skip
SAMPLES = {
    "vertices_samples": POINTS[:, None], "vertices_rest_samples": POINTS[:, None],
    "joints_samples": np.random.default_rng(4).normal(size=(6, 2, 15, 3)), "keypoints_samples": PIXELS[:, None],
    "silhouette_samples": MASKS[:, None],
}  # fmt: skip


def case(name):
    """Predictions and labels that a protocol takes."""
    if name in ("h36m-metrabs", "h36m-metrabs-pa"):
        return people(H36M, seed=1), people(H36M, action=["Eating", "Photo"] * 3)
    if name.startswith("h36m"):
        words = {"subject": ["S9", "S11"] * 3, "action": ["Eating-1", "Greeting-2", "Posing-1"] * 2}
        return people(H36M, seed=1), people(H36M, **words)
    if name.startswith("3dhp"):
        return people(TDHP, seed=1), people(TDHP, activity=ACTIVITIES[:6], scene=SCENES * 2)
    if name == "mupots":
        labels = people(TDHP, keypoints=PIXELS, joints_universal=POINTS[:, :17])
        return people(TDHP, seed=1, keypoints=PIXELS + 1), labels
    if name in ("3dpw-metrabs", "3dpw-challenge"):
        return people(skeleton("smpl_24").joints, seed=1), people(skeleton("smpl_24").joints)
    if name in ("3dpw-hierprob", "ssp3d"):
        return people(LSP, seed=1, **BODY, **SAMPLES), people(LSP, **BODY)
    if name == "3dpw-occ":
        predictions, labels = people(LSP, seed=1), people(LSP, visible=np.ones((6, 15), dtype=bool))
        names = np.array(["courtyard_box_00", "flat_guitar_01"] * 3)
        return tuple(renamed(rows, names) for rows in (predictions, labels))
    if name.startswith("3d"):
        return people(LSP, seed=1), people(LSP, visible=np.ones((6, 15), dtype=bool))
    if name.startswith("metapose"):
        return people(H36M, seed=1, rotation=TURNS), people(H36M, rotation=TURNS)
    if name == "coco-keypoints":
        names = {"keypoint_names": skeleton("coco_17").joints, "keypoints": PIXELS}
        marks = {
            "keypoints_visibility": np.full((6, 17), 2),
            "area": [9e4] * 6,
            "box": [[0, 0, 1000, 1000]] * 6,
            "crowd": [0] * 6,
        }
        return people((), seed=1, score=np.linspace(1, 0.5, 6), **names), people((), **names, **marks)
    if name in ("cmu-panoptic", "panoptic-ap"):
        names = skeleton("panoptic_19").joints
        return people(names, seed=1, score=np.linspace(1, 0.5, 6)), people(names)
    if name in ("shelf", "campus"):
        return people(LSP, seed=1), people(LSP)
    if name in ("synthetic", "uncertainty", "common-joints"):
        names = skeleton("coco_17").joints
        return people(names, seed=1, joints_covariance=SPREAD), people(names)
    raise AssertionError(f"no case for {name}")


def renamed(rows, sequence):
    return pose_rows(
        joint_names=rows.joint_names, sequence=sequence, frame=rows.frame, person=rows.person, **rows.values
    )


DETECTIONS = ("mupots", "coco-keypoints", "panoptic-ap", "shelf", "campus")
"""Which find people in a frame, so that not finding one is no error."""
MISSING_ALLOWED = ("synthetic", "uncertainty", "common-joints")
"""Which take NaN for a joint that is not known, count it and tell it."""
ONE_TO_ONE = [name for name in PROTOCOLS if name not in DETECTIONS]


def changed(rows, **values):
    return pose_rows(
        joint_names=values.pop("joint_names", rows.joint_names),
        keypoint_names=values.pop("keypoint_names", rows.keypoint_names),
        sequence=rows.sequence,
        frame=values.pop("frame", rows.frame),
        person=rows.person,
        benchmark=values.pop("benchmark", ""),
        **(dict(rows.values) | values),
    )
