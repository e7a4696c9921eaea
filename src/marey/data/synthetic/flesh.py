"""How much flesh is before a joint: what tells a joint that is seen from one that something else hides."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.core.motion import JointTree

_DIRECTIONS = 12
"""Around a joint, in which its body is measured."""
_SLICE = 0.05
"""Metres along the limb to either side of a joint within which its body is measured."""
_FARTHEST, _NEAREST = 1.1, 2.6
"""Factors of the largest and the smallest distance of the surface around a joint, whose lesser is its flesh."""
_CLOTH = 0.03
"""Metres added for what people wear."""


def neighbours(tree: JointTree) -> Tensor:
    """(J, J) boolean: the parts of the body around each joint.

    Its own, its parent's and its children's, and those of the trunk that are two joints away: a hip is under the belly.
    """
    near = torch.eye(len(tree), dtype=torch.bool)
    for joint, parent in enumerate(tree.parents[1:], start=1):
        near[joint, parent] = near[parent, joint] = True
    trunk = torch.tensor([not joint.startswith(("left", "right")) for joint in tree.joints])
    return near | ((near.int() @ near.int() > 0) & trunk)


def rings(model: BodyModel) -> Tensor:
    """The vertices (J, R) that are farthest from each joint around the limb, on the mean body at rest."""
    near = neighbours(model.tree).to(model.template.device)
    parts = model.vertex_parts["joints24"]
    around = []
    for joint, place in enumerate(model.joint_template):
        offset = model.template - place
        axis = _axis(model, joint)
        level = offset @ axis
        mine = near[joint, parts] & (level.abs() <= level[near[joint, parts]].abs().min() + _SLICE)
        reach = offset @ _circle(axis).mT
        around.append(torch.where(mine[:, None], reach, -torch.inf).argmax(0))
    return torch.stack(around)


def flesh_before(vertices: Tensor, joints: Tensor, around: Tensor) -> Tensor:
    """How far before a joint its own surface can be, seen from any side.

    Args:
        vertices: (..., N, 3) metres.
        joints: (..., J, 3).
        around: (J, R) of `rings`.

    Returns:
        (..., J) metres.
    """
    distance = (vertices[..., around, :] - joints[..., None, :]).square().sum(-1).sqrt()
    return torch.minimum(_FARTHEST * distance.amax(-1), _NEAREST * distance.amin(-1)) + _CLOTH


def _axis(model: BodyModel, joint: int) -> Tensor:
    """(3,) unit vector along the limb at a joint: from its parent to its children."""
    places, children = model.joint_template, model.tree.children[joint]
    end = places[list(children)].mean(0) if children else places[joint]
    start = places[max(model.tree.parents[joint], 0)]
    along = end - start
    unit: Tensor = along / along.norm()
    return unit


def _circle(axis: Tensor) -> Tensor:
    """(R, 3) unit vectors around an axis."""
    aside = torch.eye(3).to(axis)[int(axis.abs().argmin())]
    first = torch.linalg.cross(axis, aside)
    first = first / first.norm()
    angle = torch.arange(_DIRECTIONS).to(axis) * (2 * math.pi / _DIRECTIONS)
    circle: Tensor = angle.cos()[:, None] * first + angle.sin()[:, None] * torch.linalg.cross(axis, first)
    return circle
