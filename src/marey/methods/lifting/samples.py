"""Samples to learn lifting from: a person, a camera, what a detector sees, and where the joints truly are.

A sample is a pure function of (seed, split, index): nothing is drawn "next", so a run goes on anywhere and any number
of processes share one stream.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from marey.body.phenotypes import PEOPLE_NUMBERS, shapes_of_people
from marey.data.synthetic.random import Draws
from marey.geometry.rotations import rotvec_to_matrix
from marey.methods.lifting.body_points import BodyPoints
from marey.methods.lifting.detections import Detecting, detect
from marey.methods.lifting.motions import Motions
from marey.nn.lifter import HIPS
from marey.nn.person_view import PersonView, person_view

SKELETONS: Mapping[str, float] = {
    "mediapipe_33": 0.35,
    "coco_17": 0.15,
    "body_25": 0.12,
    "body_25b": 0.1,
    "halpe_26": 0.08,
    "coco_18": 0.04,
    "h36m_17": 0.05,
    "mpi_inf_3dhp_17": 0.03,
    "mpi_inf_3dhp_28": 0.02,
    "panoptic_19": 0.02,
    "lsp_14": 0.02,
    "smpl_24": 0.02,
}
"""Skeletons of detectors, and how often each is drawn."""
NOISE: Mapping[str, float] = {"mediapipe": 0.6, "openpose": 0.25, "onnx": 0.15}
_AGES = (18.0, 85.0)
_PEOPLE = 8192
"""Different people in a split: making a shape takes longer than all else of a sample."""
_MIDDLE = 0.95
"""Metres above the ground: about the middle of a person."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where cameras stand and what they see with."""

    skeletons: Mapping[str, float] = field(default_factory=lambda: dict(SKELETONS))
    detecting: Detecting = field(default_factory=lambda: Detecting(noise=dict(NOISE)))
    distance: tuple[float, float] = (1.6, 12.0)
    """Metres, uniform in its logarithm."""
    height: tuple[float, float] = (0.3, 3.0)
    """Metres above the ground."""
    steep: float = 0.15
    """Share of the cameras that look from anywhere between 30 degrees below and 60 above."""
    aside: tuple[float, float] = (0.5, 0.3)
    """Radians between the person and the optical axis, across and upright, at most."""
    roll: float = 0.06
    """Standard deviation, radians."""


class Samples(NamedTuple):
    """People in M frames; J are `marey.nn.lifter.JOINTS`."""

    view: PersonView
    """(M,) what is seen."""
    joints: Tensor
    """(M, J, 3) metres from midway between the hips, in the frame of the virtual camera."""
    there: Tensor
    """(M, J) boolean: the skeleton of the keypoints has the joint."""
    heading: Tensor
    """(M,) radians, where the body looks in the frame of the virtual camera, about its y axis."""
    shape: Tensor
    """(M, S) of the open body."""

    def to(self, device: torch.device | str) -> Samples:
        """A copy on a device."""
        view = PersonView(*(part.to(device) for part in self.view))
        return Samples(view, *(part.to(device) for part in self[1:]))


class SampleMaker:
    """Makes samples.

    Args:
        motions: Where poses come from.
        scene: What they are seen with.
    """

    def __init__(self, motions: Motions, scene: Scene | None = None) -> None:
        self.motions, self.scene = motions, scene or Scene()
        self.points = BodyPoints.of(tuple(self.scene.skeletons))

    def __call__(self, draws: Draws, frames: int = 1) -> Samples:
        """The frames of C clips, one after the other: M = C * frames."""
        clips = len(draws.indices)
        shape = _people(draws.seed, draws.split)[(draws.uniform("person") * _PEOPLE).long()]
        rotations = self.motions(draws, frames)
        points = self.points(rotations.flatten(0, 1), shape.repeat_interleave(frames, 0))
        kind = draws.choice("skeleton", list(self.scene.skeletons.values()))
        there, meant = self.points.own[kind] >= 0, self.points.meant[kind]
        joints = points.reshape(clips, frames, -1, 3).take_along_dim(meant[:, None, :, None], 2)
        seen, turn = _filmed(draws, joints, self.scene)
        view = person_view(*detect(draws, seen, there, self.scene.detecting))
        hips = seen[:, :, HIPS].mean(2, keepdim=True)
        body = view.rotation @ (turn[:, None] @ rotations[:, :, 0]).flatten(0, 1)
        return Samples(
            view=view,
            joints=(seen - hips).flatten(0, 1) @ view.rotation.mT,
            there=there.repeat_interleave(frames, 0),
            heading=torch.atan2(body[:, 0, 2], body[:, 2, 2]),
            shape=shape.repeat_interleave(frames, 0),
        )


@lru_cache(maxsize=8)
def _people(seed: int, split: str) -> Tensor:
    """Shapes of everybody in a split."""
    draws = Draws(seed=seed, split=split, indices=torch.arange(_PEOPLE))
    return shapes_of_people(draws.uniform("people", PEOPLE_NUMBERS), _AGES).float()


def _filmed(draws: Draws, joints: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """Joints (C, T, J, 3) of the world, y up, in the frame of a camera, and its rotation (C, 3, 3)."""
    draws = draws.within("camera")
    low, high = (math.log(metres) for metres in scene.distance)
    distance = draws.uniform("distance", low=low, high=high).exp()
    height = draws.uniform("height", low=scene.height[0], high=scene.height[1]) - _MIDDLE
    rise = (height / distance).clamp(-0.9, 0.9).asin()
    steep = draws.uniform("steep", low=math.radians(-30), high=math.radians(60))
    rise = torch.where(draws.chance("is steep", scene.steep), steep, rise)
    cosine, sine, zero = rise.cos(), rise.sin(), torch.zeros_like(rise)
    rows = ((zero + 1, zero, zero), (zero, -cosine, sine), (zero, -sine, -cosine))
    upright = torch.stack([torch.stack(row, -1) for row in rows], -2)
    across = scene.aside[0] * draws.uniform("pan", low=-1, high=1)
    along = scene.aside[1] * draws.uniform("tilt", low=-1, high=1)
    aside = rotvec_to_matrix(torch.stack((along, across, scene.roll * draws.normal("roll")), -1))
    centred = joints - joints.mean((1, 2), keepdim=True)
    local = centred @ upright.mT[:, None].float()
    local = local + (distance[:, None] * torch.tensor((0.0, 0.0, 1.0)))[:, None, None].float()
    return local @ aside.mT[:, None].float(), (aside @ upright).float()
