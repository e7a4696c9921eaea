"""Who may be somebody new: detections of different views that one body in space explains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.detect.matching import agreement
from marey.detect.scene import Scene, Sighting

_DOUBT = 0.01
"""Metres, standard deviation of a joint where two rays meet."""
_BLOCK = 256
"""Bodies looked at together: bounds the memory when a crowd is new."""
_REACH = (0.1, 0.8)
"""Metres: root-mean-square distance of a body's joints from their mean; 0.2 for a toddler, 0.45 for a tall adult."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposal:
    """A body in space and the detections that it explains."""

    position: Tensor
    """(J, 3) metres; the mean of the joints where two rays did not meet."""
    slots: Tensor
    """(V,) slot of each view, -1 for none; two views or more."""


def propose(scene: Scene, sighting: Sighting, free: Tensor, known: Tensor | None, separation: float) -> list[Proposal]:
    """Find bodies among the free detections, best supported first.

    Every pair of detections of two views, the second also with left and right exchanged, is met in space and looked at
    from all views; greedily, the body that gains most takes its detections. Quadratic in what is free, which is little
    once the people are known.

    Args:
        scene: V cameras.
        sighting: one frame.
        free: (V, P) boolean, detections to choose from.
        known: (K, J, 3) people who are there already; no proposal lies within `separation` of one.
        separation: metres between the centres of two bodies.
    """
    first, second = _pairs(free)
    position = _meet(scene, sighting, first, second)
    known_joints = position.isfinite().all(-1)
    position, sound = _complete(position, known_joints)
    taken = [] if known is None else [known.mean(-2)]
    sound &= _apart(position, taken, separation)
    position, known_joints = position[sound], known_joints[sound]
    if not len(position):
        return []
    gain = _support(scene, sighting, position, known_joints)
    found: list[Proposal] = []
    free = free.clone()
    while True:
        best, slot = torch.where(free[:, None], gain, 0.0).max(-1)
        total = torch.where((best > 0).sum(0) >= 2, best.sum(0), 0.0)
        total = torch.where(_apart(position, taken, separation), total, 0.0)
        winner = int(total.argmax())
        if total[winner] <= 0:
            return found
        slots = torch.where(best[:, winner] > 0, slot[:, winner], -1)
        found.append(Proposal(position=position[winner], slots=slots))
        taken.append(position[winner].mean(-2)[None])
        views = torch.nonzero(slots >= 0)[:, 0]
        free[views, slots[views]] = False


def _pairs(free: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs of free detections of different views: two (N, 2) of view and slot, the first view the smaller."""
    where = torch.nonzero(free)
    one, other = torch.triu_indices(len(where), len(where), 1)
    apart = where[one, 0] != where[other, 0]
    return where[one[apart]], where[other[apart]]


def _meet(scene: Scene, sighting: Sighting, first: Tensor, second: Tensor) -> Tensor:
    """Where the rays of two detections are closest, (2 N, J, 3): as they are, then the second one mirrored.

    NaN where a joint is not seen by both, or where the rays meet behind a camera.
    """
    points = torch.cat((sighting.points[first[:, 0], 0, first[:, 1]], sighting.points[first[:, 0], 0, first[:, 1]]))
    others = torch.cat((sighting.points[second[:, 0], 0, second[:, 1]], sighting.points[second[:, 0], 1, second[:, 1]]))
    view, other_view = first[:, 0].repeat(2), second[:, 0].repeat(2)
    ray, other_ray = _rays(scene, view, points), _rays(scene, other_view, others)
    apart = (scene.center[other_view] - scene.center[view])[:, None]
    a, b, c = (ray * ray).sum(-1), (ray * other_ray).sum(-1), (other_ray * other_ray).sum(-1)
    d, e = (ray * apart).sum(-1), (other_ray * apart).sum(-1)
    determinant = a * c - b * b
    along, other_along = (c * d - b * e) / determinant, (b * d - a * e) / determinant
    middle = 0.5 * (
        scene.center[view][:, None]
        + along[..., None] * ray
        + scene.center[other_view][:, None]
        + other_along[..., None] * other_ray
    )
    front = (along > 0) & (other_along > 0) & (determinant > 1e-9 * a * c)
    return torch.where(front[..., None], middle, torch.nan)


def _rays(scene: Scene, view: Tensor, points: Tensor) -> Tensor:
    """Directions (N, J, 3) in the world, of depth 1, of normalised points (N, J, 2) in views (N,)."""
    forward = torch.cat((points, torch.ones_like(points[..., :1])), -1)
    return forward @ scene.rotation[view]


def _complete(position: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Put missing joints at the mean of the others; say which bodies have the size of one."""
    count = known.sum(-1)[..., None]
    filled = torch.where(known[..., None], position, 0.0)
    mean = filled.sum(-2) / count
    reach = (torch.where(known[..., None], position - mean[:, None], 0.0).square().sum((-1, -2)) / count[:, 0]).sqrt()
    sound = (count[:, 0] >= 3) & (reach > _REACH[0]) & (reach < _REACH[1])
    return torch.where(known[..., None], position, mean[:, None]), sound


def _apart(position: Tensor, taken: list[Tensor], separation: float) -> Tensor:
    """Which bodies (N, J, 3) lie apart from all centres (.., 3) taken."""
    if not taken:
        return torch.ones(len(position), dtype=torch.bool)
    return (torch.cdist(position.mean(-2), torch.cat(taken)) > separation).all(-1)


def _support(scene: Scene, sighting: Sighting, position: Tensor, known: Tensor) -> Tensor:
    """What every detection gains as each of N bodies, (V, N, P); only joints where rays met count."""
    doubt = (_DOUBT**2 * torch.eye(3, dtype=position.dtype)).expand(position.shape[1], 3, 3)
    gains = []
    for start in range(0, len(position), _BLOCK):
        part = position[start : start + _BLOCK]
        _, ratio, _ = agreement(scene, part, doubt.expand(len(part), -1, 3, 3), sighting)
        gains.append((ratio * known[start : start + _BLOCK, None]).sum(-1))
    return torch.where(sighting.present[:, None], torch.cat(gains, dim=1), 0.0)
