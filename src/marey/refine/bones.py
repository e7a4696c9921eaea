"""Bones of constant length: move the joints of each frame, by their covariance, until every bone has its length."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import Joints3D
from marey.geometry.small import inverse_3x3_symmetric
from marey.refine.bone_lengths import BoneLengths

FRAMES_AT_ONCE = 1024
"""Bounds the memory: about 30 kB a frame and person."""
WIDEST = 0.05
"""Metres by which bones may be off at first; halved from step to step down to the tolerance."""
POLISHING = 4
"""Steps with the tolerance itself."""
STEP_SHARES = (1.0, 0.5, 0.2)
"""Parts of a Gauss-Newton step that are tried: it knows no curvature, so at short bones it may go too far."""


def constrain_bones(joints: Joints3D, lengths: BoneLengths, *, tolerance: float = 0.0005) -> Joints3D:
    """Move the joints of every frame so that bones have the given lengths.

    Minimises the squared Mahalanobis distance from the joints plus the squared deviation of each bone from its length
    in units of `tolerance`, by Gauss-Newton in the space of the bones (the iterated update of Bell and Cathey, The
    iterated Kalman filter update as a Gauss-Newton method, IEEE Trans. Automatic Control 38, 1993) with a line search
    and a tolerance that narrows from step to step. A joint moves as far as its own uncertainty allows: the wrist that
    one view guessed moves, the elbow that four views agree on stays.

    The posterior covariance counts the uncertainty of the lengths, which is common to all frames, beside the spread
    that the joints keep. Unknown joints stay unknown and hold no other. Cost: linear in frames and people.

    Args:
        joints: (T, P), finite covariance where the position is.
        lengths: (P,) of the same skeleton.
        tolerance: How far a bone may be off in a frame, metres.
    """
    positions, covariance = joints.positions.double(), joints.covariance.double()
    moved, posterior = torch.empty_like(positions), torch.empty_like(covariance)
    for start in range(0, len(positions), FRAMES_AT_ONCE):
        block = slice(start, start + FRAMES_AT_ONCE)
        moved[block], posterior[block] = _constrain(positions[block], covariance[block], lengths, tolerance)
    return replace(joints, positions=moved.to(joints.dtype), covariance=posterior.to(joints.covariance.dtype))


def _constrain(positions: Tensor, covariance: Tensor, lengths: BoneLengths, tolerance: float) -> tuple[Tensor, Tensor]:
    """Positions (T, P, J, 3) and covariance (T, P, J, 3, 3) with the bones at their lengths."""
    known = positions.isfinite().all(-1) & covariance.isfinite().all((-1, -2))
    tail, head = torch.tensor(lengths.bones, dtype=torch.long, device=positions.device).reshape(-1, 2).T
    spread = torch.where(known[..., None, None], covariance, 0.0)
    axes = torch.eye(3, dtype=spread.dtype, device=spread.device)
    figures = _Figures(
        start=torch.where(known[..., None], positions, 0.0),
        spread=spread,
        information=inverse_3x3_symmetric(torch.where(known[..., None, None], spread, axes)),
        tail=tail,
        head=head,
        held=known[..., tail] & known[..., head] & lengths.length.isfinite(),
        length=lengths.length,
    )
    place = figures.start
    slack = min(WIDEST, float(figures.excess(place).abs().amax())) if figures.held.any() else 0.0
    while slack > tolerance:
        place = figures.improved(place, slack)
        slack *= 0.5
    for _ in range(POLISHING):
        place = figures.improved(place, tolerance)
    system, gain, _ = figures.linearised(place, tolerance)
    kept = system - torch.diag_embed(torch.where(figures.held, lengths.deviation.square(), 0.0))
    columns = gain.reshape(*gain.shape[:-1], *place.shape[-2:]).movedim(-3, -1)  # (T, P, J, 3, B)
    posterior = spread - columns @ kept[..., None, :, :] @ columns.transpose(-1, -2)
    return (
        torch.where(known[..., None], place, positions),
        torch.where(known[..., None, None], posterior, covariance),
    )


@dataclass(frozen=True, kw_only=True)
class _Figures:
    """The least-squares problems of T x P figures; joints that are unknown lie at zero, without spread."""

    start: Tensor
    """(T, P, J, 3)"""
    spread: Tensor
    """(T, P, J, 3, 3)"""
    information: Tensor
    """(T, P, J, 3, 3) inverse of the spread; anything where the joint is unknown."""
    tail: Tensor
    """(B,) joint at one end of each bone."""
    head: Tensor
    """(B,) joint at the other end."""
    held: Tensor
    """(T, P, B) bones of which both ends and the length are known."""
    length: Tensor
    """(P, B) metres."""

    def excess(self, place: Tensor) -> Tensor:
        """By how much each bone (T, P, B) is too long; 0 where it is not held."""
        distance = (place[..., self.head, :] - place[..., self.tail, :]).square().sum(-1).sqrt()
        return torch.where(self.held, distance - self.length, 0.0)

    def cost(self, place: Tensor, tolerance: float) -> Tensor:
        """What is minimised, (T, P)."""
        moved = place - self.start
        distance = (moved * (self.information @ moved[..., None])[..., 0]).sum((-1, -2))
        return distance + (self.excess(place) / tolerance).square().sum(-1)

    def linearised(self, place: Tensor, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
        """With the bones' directions at `place`: system (T, P, B, B), gain (T, P, B, 3 J), solution (T, P, J, 3)."""
        span = place[..., self.head, :] - place[..., self.tail, :]
        distance = span.square().sum(-1, keepdim=True).sqrt()
        along = torch.where(self.held[..., None], span / distance.clamp_min(1e-9), 0.0)
        lever_tail = (self.spread[..., self.tail, :, :] @ along[..., None])[..., 0]
        lever_head = (self.spread[..., self.head, :, :] @ along[..., None])[..., 0]
        rows, levers = self._at_ends(-along, along), self._at_ends(-lever_tail, lever_head)
        slack = torch.where(self.held, tolerance**2, 1.0)
        system = levers @ rows.transpose(-1, -2) + torch.diag_embed(slack)
        gain = torch.cholesky_solve(levers, torch.linalg.cholesky(system))
        wanted = self.excess(place) + (rows @ (self.start - place).flatten(-2)[..., None])[..., 0]
        return system, gain, self.start - (gain.transpose(-1, -2) @ wanted[..., None]).reshape(self.start.shape)

    def improved(self, place: Tensor, tolerance: float) -> Tensor:
        """The best of some parts of a Gauss-Newton step from `place`, or `place` where none lowers the cost."""
        direction = self.linearised(place, tolerance)[2] - place
        best, lowest = place, self.cost(place, tolerance)
        for share in STEP_SHARES:
            tried = place + share * direction
            cost = self.cost(tried, tolerance)
            better = cost < lowest
            best, lowest = torch.where(better[..., None, None], tried, best), torch.where(better, cost, lowest)
        return best

    def _at_ends(self, of_tail: Tensor, of_head: Tensor) -> Tensor:
        """Rows (T, P, B, 3 J) that hold the vectors (T, P, B, 3) of each bone at its two joints, zeros elsewhere."""
        bones = torch.arange(len(self.tail), device=self.tail.device)
        shape = self.start.shape
        rows = self.start.new_zeros(*shape[:-2], len(bones), *shape[-2:])
        rows[..., bones, self.tail, :] = of_tail
        rows[..., bones, self.head, :] = of_head
        return rows.flatten(-2)
