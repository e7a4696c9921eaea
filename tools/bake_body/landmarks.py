"""Points of the body that data sets name and the 24 joints are not: where they are on the skin or in the skeleton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from anny_source import Source
from mesh import Indices, Mesh, loop_of
from torch import Tensor

from marey.body.smpl_tree import SMPL_TREE

_KEYPOINTS = ("nose", "left_eye", "left_ear", "left_big_toe", "left_small_toe", "left_heel")
"""Those that Anny defines on the skin, of the middle and the left."""
_LIMBS = ("left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle")
KEYPOINT = "_keypoint"
"""Ends the names of the limbs' joints as people mark them in pictures: some centimetres from where the rig turns."""
_BONES = {"left_index": "finger2-1.L", "left_pinky": "finger5-1.L", "left_thumb": "finger1-2.L"}
"""Knuckles: MediaPipe's points of the hand are the first joints of index and little finger, the second of the thumb."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """Of the middle and the left side; the right side mirrors it."""

    skin: dict[str, Tensor]
    """Name -> weights (M,) of vertices."""
    carried: dict[str, tuple[int, int]]
    """Name -> the bone whose head it is, and the joint it moves with."""


def landmarks(source: Source, mesh: Mesh, regions: dict[str, int], places: Tensor) -> Landmarks:
    """Find them.

    Args:
        source: of bones and of Anny's keypoints.
        mesh: the skin before anything was taken out.
        regions: labels of faces: `mouth`, `left_eye`.
        places: (M, 3) vertices in the T.
    """
    found = source.keypoints()
    skin = {name: found[name] for name in _KEYPOINTS} | {name + KEYPOINT: found[name] for name in _LIMBS}
    middle = places[:, 0].abs() < 0.01
    skin["head_top"] = _single(int(torch.where(middle, places[:, 1], -9.0).argmax()), places)
    mouth = _rim(mesh, regions["mouth"])
    skin["left_mouth"] = _single(int(mouth[places[mouth, 0].argmax()]), places)
    eye = _rim(mesh, regions["left_eye"])
    skin["left_eye_inner"] = _single(int(eye[places[eye, 0].argmin()]), places)
    skin["left_eye_outer"] = _single(int(eye[places[eye, 0].argmax()]), places)
    wrist = SMPL_TREE.joints.index("left_wrist")
    return Landmarks(skin=skin, carried={name: (source.bones.index(bone), wrist) for name, bone in _BONES.items()})


def _rim(mesh: Mesh, region: int) -> Indices:
    return np.array(loop_of(mesh.faces[mesh.labels == region]))


def _single(vertex: int, places: Tensor) -> Tensor:
    weights = places.new_zeros(len(places))
    weights[vertex] = 1
    return weights
