"""Who is in the scene: shapes, poses and places of people, at rest or moving.

A person moves from one random pose to the next as people reach for things: along the shortest rotation of every joint,
with the profile of least jerk (Flash and Hogan, "The coordination of arm movements", J. Neuroscience 1985). At time
zero a person is in the first pose, so a still picture is the first frame of a film.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.phenotypes import PEOPLE_NUMBERS, shapes_of_people
from marey.body.pose_prior import PriorPoses
from marey.body.pose_sampling import LimitPoses, PoseSampler
from marey.core.results import BodyState
from marey.data.synthetic.clips import Clips, slerp
from marey.data.synthetic.config import SyntheticConfig, Tier
from marey.data.synthetic.random import Draws
from marey.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix, rotvec_to_matrix

_NEIGHBOUR = (0.55, 1.5)
"""Metres between the first person and others."""
_STROLL = 0.5
"""Metres about its place within which a person moves in a film."""
_TURN = 0.35
"""Standard deviation in radians of the heading from one pose to the next."""
_FILMED = 0.5
"""Share of the people who move as in the user's files, where there are any."""
_PACE = (0.9, 1.8)
"""Seconds from one pose to the next."""

_CHILDREN = (3.0, 16.0)
_ADULTS = (18.0, 85.0)
"""Years."""
_SAMPLERS: dict[str, Callable[[Tier], PoseSampler]] = {
    "limits": lambda tier: LimitPoses(fraction=tier.joint_range),
    "prior": lambda tier: PriorPoses(),
}
"""Sources of poses, by the names of `Tier.motions`."""

Shapes = Callable[[Draws, Tier], Tensor]
"""Shape coefficients (G, S) of G people."""


@dataclass(frozen=True, kw_only=True)
class People:
    """What people are drawn from."""

    model: BodyModel
    """In the precision that bodies are computed in."""
    shapes: Shapes
    samplers: dict[str, PoseSampler]
    """By the names of `Tier.motions`."""
    clips: Clips | None = None
    """Motions of files, which half of the people then take."""


def pose_samplers(tier: Tier) -> dict[str, PoseSampler]:
    """The sources of poses that a tier uses."""
    return {name: _SAMPLERS[name](tier) for name in tier.motions}


def people_shapes(draws: Draws, tier: Tier) -> Tensor:
    """Shapes (G, S) of the open body of people as old as those of a tier are."""
    numbers = draws.uniform("people", PEOPLE_NUMBERS)
    child = draws.chance("child", tier.children)[:, None]
    # both are computed for all, so that what is computed has one size whoever is a child
    return torch.where(child, shapes_of_people(numbers, _CHILDREN), shapes_of_people(numbers, _ADULTS))


def draw_people(
    draws: Draws, config: SyntheticConfig, people: People, azimuth: Tensor, times: Tensor
) -> tuple[BodyState, Tensor]:
    """Draw P people for each of B samples at a time; they are not on the ground yet, see `grounded`.

    Args:
        draws: of the samples, (B,).
        config: how many there are, and of which tier.
        people: what they are drawn from.
        azimuth: (B,) radians, where the first camera stands.
        times: (B,) seconds.

    Returns:
        The bodies (B, P) and who is present (B, P), boolean.
    """
    slots, tier = config.slots, config.difficulty
    persons = draws.fork(torch.arange(slots, device=azimuth.device).expand(len(azimuth), -1), "person")
    times = times.repeat_interleave(slots)
    heading = azimuth.repeat_interleave(slots) + persons.uniform("yaw", low=-tier.yaw, high=tier.yaw)
    local, stroll = _moving(persons, tier, people, heading, times)
    if people.clips is not None:
        filmed = people.clips.rotations(persons, times)
        filmed = torch.cat(((_upright(heading) @ filmed[:, 0])[:, None], filmed[:, 1:]), 1)
        local = torch.where(persons.chance("filmed", _FILMED)[:, None, None, None], filmed, local)
    count = config.people or tier.people[0] + draws.choice("people", (1.0,) * (tier.people[1] - tier.people[0] + 1))
    state = BodyState(
        orientation=local[:, 0].reshape(-1, slots, 3, 3),
        pose=local[:, 1:].reshape(len(azimuth), slots, -1, 3, 3),
        shape=people.shapes(persons, tier).reshape(len(azimuth), slots, -1),
        translation=torch.nn.functional.pad(_places(draws, slots) + stroll.reshape(-1, slots, 2), (0, 1)),
    )
    present = torch.arange(slots, device=azimuth.device) < torch.as_tensor(count, device=azimuth.device).reshape(-1, 1)
    return state, present.expand(len(azimuth), slots)


def grounded(state: BodyState, joints: Tensor, vertices: Tensor) -> BodyState:
    """Move bodies so that their lowest point is on the ground and their root above its place.

    Args:
        state: (...) of the bodies.
        joints: (..., J, 3) of the bodies as they are.
        vertices: (..., N, 3) of their surfaces.
    """
    place = state.translation[..., :2]
    aside = place - joints[..., 0, :2]
    rise = -vertices[..., 2].amin(-1, keepdim=True)
    return replace(state, translation=state.translation + torch.cat((aside, rise), -1))


def _moving(persons: Draws, tier: Tier, people: People, heading: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations (G, 24, 3, 3) of the joints at times (G,), and how far people have strolled, (G, 2) metres."""
    pace = persons.uniform("pace", low=_PACE[0], high=_PACE[1])
    before = (times / pace).floor()
    # a still picture needs one moment only, and films need two of which the second counts nothing at their beginning
    step = torch.stack((before, before + 1), -1) if bool(times.any()) else before[:, None]
    moments = persons.fork(step.long(), "moment")
    began = step == 0
    turned = torch.where(began, 0.0, _TURN * moments.normal("turn").reshape(step.shape))
    root = _root(persons, moments, heading[:, None] + turned, tier)
    poses = _poses(persons, moments, tier, people).reshape(*step.shape, -1, 3, 3)
    quaternions = matrix_to_quaternion(torch.cat((root[:, :, None], poses), 2))
    stroll = moments.uniform("stroll", 2, low=-_STROLL, high=_STROLL).reshape(*step.shape, 2) * ~began[..., None]
    if step.shape[1] == 1:
        return quaternion_to_matrix(quaternions[:, 0]), stroll[:, 0]
    share = _least_jerk(times / pace - before)[:, None]
    local = slerp(quaternions[:, 0], quaternions[:, 1], share)
    return quaternion_to_matrix(local), stroll[:, 0] + share * (stroll[:, 1] - stroll[:, 0])


def _poses(persons: Draws, moments: Draws, tier: Tier, people: People) -> Tensor:
    """(M, K, 3, 3) of the source that each person's poses come from, for the M / G moments of each."""
    names = list(tier.motions)
    each = len(moments.indices) // len(persons.indices)
    source = persons.choice("source", [tier.motions[name] for name in names]).repeat_interleave(each)
    poses = people.samplers[names[0]](moments.uniform(names[0], people.samplers[names[0]].numbers))
    # each source is asked for all, so that what is computed has one size whoever moves how
    for number, name in enumerate(names[1:], start=1):
        sampler = people.samplers[name]
        drawn = sampler(moments.uniform(name, sampler.numbers))
        poses = torch.where((source == number)[:, None, None, None], drawn, poses)
    return poses


def _root(persons: Draws, moments: Draws, heading: Tensor, tier: Tier) -> Tensor:
    """Orientations (G, T, 3, 3) of the root, for headings (G, T): upright and leaning a little, or lying."""
    lean = tier.tilt * moments.normal("lean", 2)
    tilt = rotvec_to_matrix(torch.nn.functional.pad(lean, (0, 1))).reshape(*heading.shape, 3, 3)
    lying = (persons.uniform("lying") < tier.lying)[:, None, None, None]
    return torch.where(
        lying, quaternion_to_matrix(moments.normal("fall", 4)).reshape(*heading.shape, 3, 3), tilt @ _upright(heading)
    )


def _upright(heading: Tensor) -> Tensor:
    """Orientations (..., 3, 3) of bodies that stand and look where headings (...) point."""
    zero, one = torch.zeros_like(heading), torch.ones_like(heading)
    forward = torch.stack((heading.cos(), heading.sin(), zero), -1)
    up = torch.stack((zero, zero, one), -1)
    # the body at rest has its left side at +x, looks along +z, and its y points up
    return torch.stack((torch.linalg.cross(up, forward), up, forward), -1)


def _places(draws: Draws, slots: int) -> Tensor:
    """Where people stand, (B, P, 2): the first at the origin, the others around it in turn."""
    if slots == 1:
        return torch.zeros(len(draws.indices), 1, 2, dtype=torch.float64, device=draws.indices.device)
    sector = 2 * math.pi / (slots - 1)
    number = torch.arange(slots - 1, device=draws.indices.device)
    turn = draws.uniform("others", high=2 * math.pi)[:, None]
    angle = turn + sector * (number + draws.uniform("sector", slots - 1, low=-0.3, high=0.3))
    radius = draws.uniform("radius", slots - 1, low=_NEIGHBOUR[0], high=_NEIGHBOUR[1])
    others = radius[..., None] * torch.stack((angle.cos(), angle.sin()), -1)
    return torch.nn.functional.pad(others, (0, 0, 1, 0))


def _least_jerk(share: Tensor) -> Tensor:
    return share**3 * (10 + share * (6 * share - 15))
