"""What people in a recording do: they walk about, squat, wave and turn, and nobody walks into anybody.

The motion is that of the jointed figure of `marey.data.figure_motion`, as rotations of the body's joints. In the harder
tiers trunk, head and arms move as the tier's poses do, smoothly from one to the next.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.motion_sampling import SmoothMotions
from marey.body.skinning import blend_shapes
from marey.body.smpl_tree import POSED_JOINTS
from marey.body.trees import part_of
from marey.core.results import BodyState
from marey.data.figure import Array, FigurePose, rotation_about
from marey.data.figure_motion import walking_poses
from marey.data.synthetic.bodies import pose_samplers
from marey.data.synthetic.config import Tier

UPPER_BODY = ("spine1", "spine2", "spine3", "neck", "head", "collar", "shoulder", "elbow", "wrist")
_AREA = (1.0, 1.3, 1.6, 1.8)
"""Metres, half the longest walk of 1, 2, 3 and 4 people."""
_KEY_SECONDS = 0.8
"""Between the poses of the upper body."""
_CALM = 0.5
"""Tiers that use no more than this share of the range of joints leave the upper body to the walk."""
_ARM = 0.08
"""Radians by which a body's arms hang farther out than a figure's, whose trunk is a line."""
_AXES = np.array(((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)))
"""From the figure's axes (x forward, y left, z up) to the body's (x left, y up, z forward)."""


def choreography(
    model: BodyModel, shape: Tensor, tier: Tier, *, frames: int, fps: float, rng: np.random.Generator
) -> BodyState:
    """The motion (T, P) of P people in a world whose z points up; the ground is found later, see `grounded`.

    Args:
        model: The body, with the joints of SMPL.
        shape: (P, S) of the people.
        tier: What trunk, head and arms do.
        frames: T.
        fps: Frames per second.
        rng: Draws all of it.
    """
    people = len(shape)
    height = blend_shapes(model.template, model.shape_basis, shape)[..., 1]
    stature = (height.amax(-1) - height.amin(-1)).numpy()
    times = np.arange(frames) / fps
    figure = walking_poses(times, people=people, area=_AREA[people - 1], rng=rng, stature=stature)
    pose = _pose(figure)
    sources = rng.choice(list(tier.motions), size=people, p=np.array(list(tier.motions.values())))
    if tier.joint_range > _CALM:
        reaching = _reaching(tier, sources.tolist(), frames=frames, fps=fps, rng=rng)
        upper = [part_of(joint) in UPPER_BODY for joint in POSED_JOINTS]
        pose = torch.where(torch.tensor(upper)[:, None, None], reaching, pose)
    return BodyState(
        orientation=torch.from_numpy(rotation_about("z", figure.heading) @ _AXES.T),
        pose=pose,
        shape=shape.expand(frames, -1, -1).clone(),
        translation=torch.from_numpy(np.concatenate((figure.place, np.zeros((frames, people, 1))), -1)),
    )


def _reaching(tier: Tier, sources: list[str], *, frames: int, fps: float, rng: np.random.Generator) -> Tensor:
    """(T, P, 23, 3, 3): poses of each person's source, joined smoothly."""
    samplers = pose_samplers(tier)
    motions = [
        SmoothMotions(poses=samplers[name], frames=frames, fps=fps, key_seconds=_KEY_SECONDS) for name in sources
    ]
    return torch.stack([motion(torch.from_numpy(rng.random(motion.numbers))).pose for motion in motions], 1)


def _pose(figure: FigurePose) -> Tensor:
    """Rotations (T, P, 23, 3, 3) of the body's joints for the angles of figures."""
    rest = np.broadcast_to(np.eye(3), (*figure.heading.shape, 3, 3))
    third, half = figure.lean / 3, -0.25 * figure.lean
    local = dict.fromkeys(("spine1", "spine2", "spine3"), _bent(third))
    local |= dict.fromkeys(("neck", "head"), rotation_about("z", figure.look / 2) @ _bent(half))
    for side, name in enumerate(("left", "right")):
        outward = 1 if side == 0 else -1
        hanging = rotation_about("x", np.full_like(figure.heading, -outward * np.pi / 2))
        aside = rotation_about("x", outward * (figure.spread[side] + _ARM))
        local[f"{name}_hip"] = _bent(-figure.hip[side])
        local[f"{name}_knee"] = _bent(figure.knee[side])
        local[f"{name}_ankle"] = _bent(0.6 * (figure.hip[side] - figure.knee[side]))
        local[f"{name}_shoulder"] = aside @ _bent(-figure.shoulder[side]) @ hanging
        local[f"{name}_elbow"] = hanging.swapaxes(-1, -2) @ _bent(-figure.elbow[side]) @ hanging
    stacked: Array = np.stack([local.get(joint, rest) for joint in POSED_JOINTS], axis=-3)
    return torch.from_numpy(_AXES @ stacked @ _AXES.T)


def _bent(angle: Array) -> Array:
    """Rotations (..., 3, 3) about the axis to the left: what points up goes forward."""
    return rotation_about("y", angle)
