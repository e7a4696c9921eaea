"""Rotations and joint angles of an estimate, in the world that files of motion have: y up."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.body.angles import joint_angles
from marey.body.kinematics import inverse_kinematics
from marey.core import Estimate, Joints3D
from marey.core.motion import Motion
from marey.pipeline.world import Axis, to_y_up

DEFAULT_FPS = 30.0
"""Taken where neither the inputs nor the user say it."""


def joints_y_up(joints: Joints3D, up: Axis) -> Joints3D:
    """The joints, covariances too, in a world that is turned so that y is up."""
    turn = to_y_up(torch.eye(3, dtype=joints.dtype, device=joints.device), up).mT
    return replace(
        joints, positions=to_y_up(joints.positions, up), covariance=turn @ joints.covariance.to(turn.dtype) @ turn.mT
    )


def motions_of(estimate: Estimate) -> dict[int, Motion]:
    """Person -> motion with y up, of everybody whose posture is known in some frame."""
    up: Axis = estimate.provenance.get("world_up", "z")
    motions = inverse_kinematics(joints_y_up(estimate.joints, up), fps=estimate.fps or DEFAULT_FPS)
    return {person: motion for person, motion in enumerate(motions) if motion.known.any()}


def opensim_coordinates(motion: Motion) -> tuple[tuple[str, ...], Tensor]:
    """Names and values (T, C) of what OpenSim's models call coordinates: degrees, and metres for the pelvis' place."""
    angles = joint_angles(motion)
    pelvis = [place for place, name in enumerate(angles.names) if name.startswith("pelvis")]
    others = [place for place, name in enumerate(angles.names) if not name.startswith("pelvis")]
    degrees = angles.values.rad2deg()
    names = [angles.names[place] for place in pelvis] + ["pelvis_tx", "pelvis_ty", "pelvis_tz"]
    values = torch.cat((degrees[:, pelvis], motion.translation, degrees[:, others]), -1)
    return (*names, *(angles.names[place] for place in others)), values
