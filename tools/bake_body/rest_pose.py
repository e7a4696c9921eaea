"""How Anny's unposed person turns into a T: arms level, legs upright, every joint straight, feet forward."""

from __future__ import annotations

import torch
from groups import Groups
from torch import Tensor

from marey.body.smpl_tree import SMPL_TREE


def t_pose(groups: Groups, heads: Tensor) -> Tensor:
    """Orientations (B, G, 3, 3) of all groups that bring unposed people with bones (B, bones, 3) into a T."""
    joints = groups.joints(heads)
    turned = torch.eye(3, dtype=heads.dtype).repeat(len(heads), len(SMPL_TREE), 1, 1)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        places = {name: SMPL_TREE.joints.index(f"{side}_{name}") for name in _NAMES}
        at = {name: joints[:, place] for name, place in places.items()}
        for name, orientation in (_arm(at, sign) | _leg(at)).items():
            turned[:, places[name]] = orientation
    return turned[:, groups.joint]


_NAMES = ("shoulder", "elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")


def _arm(at: dict[str, Tensor], sign: float) -> dict[str, Tensor]:
    """Straightened about the axis of the elbow, which then is upright: a bent elbow brings the hand forward."""
    upper, lower, hand = at["elbow"] - at["shoulder"], at["wrist"] - at["elbow"], at["hand"] - at["wrist"]
    out = upper.new_tensor((sign, 0, 0)).expand_as(upper)
    axis = torch.linalg.cross(upper, lower)
    upright = upper.new_tensor((0, -sign, 0)).expand_as(upper)
    forearm = _frame(out, upright) @ _frame(lower, axis).mT
    wrist = _onto((forearm @ hand[..., None])[..., 0], out) @ forearm
    return {
        "shoulder": _frame(out, upright) @ _frame(upper, axis).mT,
        "elbow": forearm,
        "wrist": wrist,
        "hand": wrist,
    }


def _leg(at: dict[str, Tensor]) -> dict[str, Tensor]:
    """Thigh and shank upright, the foot as level as it stood, looking along +z."""
    down = at["hip"].new_tensor((0, -1, 0)).expand_as(at["hip"])
    thigh = _onto(at["knee"] - at["hip"], down)
    shank = _onto((thigh @ (at["ankle"] - at["knee"])[..., None])[..., 0], down) @ thigh
    level = (at["foot"] - at["ankle"]) * down.new_tensor((1, 0, 1))
    foot = _onto(level, down.new_tensor((0, 0, 1)).expand_as(down))
    return {"hip": thigh, "knee": shank, "ankle": foot, "foot": foot}


def _frame(first: Tensor, second: Tensor) -> Tensor:
    """Axes (B, 3, 3) in columns: the first direction, the second made perpendicular to it, and their product."""
    one = torch.nn.functional.normalize(first, dim=-1)
    two = torch.nn.functional.normalize(second - (second * one).sum(-1, keepdim=True) * one, dim=-1)
    return torch.stack((one, two, torch.linalg.cross(one, two)), -1)


def _onto(source: Tensor, target: Tensor) -> Tensor:
    """The smallest rotation (B, 3, 3) that takes one direction onto another."""
    a = torch.nn.functional.normalize(source, dim=-1)
    b = torch.nn.functional.normalize(target, dim=-1)
    v = torch.linalg.cross(a, b)
    cosine = (a * b).sum(-1)[:, None, None]
    zero = torch.zeros_like(v[:, 0])
    cross = torch.stack((zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero), -1)
    K = cross.unflatten(-1, (3, 3))
    return torch.eye(3, dtype=v.dtype) + K + K @ K / (1 + cosine)
