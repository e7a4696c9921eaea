"""Rest shapes and skin weights whose linear blend skinning comes closest to Anny's posing.

Anny skins from arms that hang, we from a T: skinned twice, creases of the T would stay. Posed vertices are linear in
the rest vertex and, separately, in the weights, so both follow in turn by least squares, the weights within the simplex
(James and Twigg, Skinning mesh animations, ACM Trans. Graphics 24, 2005, without the search for bones).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from anny_source import Rest
from groups import Groups, skin
from rest_pose import t_pose
from torch import Tensor

from marey.body.skinning import forward_kinematics, from_rest
from marey.body.smpl_tree import SMPL_TREE

INFLUENCES = 6
_CANDIDATES = 9
_STEPS = 400
_PRIOR = 2e-6
"""Square metres a sample: how much a weight is held where poses say nothing."""
_REST_PRIOR = 2e-3
"""How much a rest vertex is held at Anny's own T, against one sample."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Bodies:
    """B people in the T-pose, the pelvis at the origin, and how Anny poses them."""

    unposed: Tensor
    """(B, M, 3) vertices as Anny has them."""
    heads: Tensor
    """(B, bones, 3)"""
    to_t: Tensor
    """(B, G, 3, 3) orientations that bring them into the T."""
    vertices: Tensor
    """(B, M, 3) in the T as Anny poses it."""
    joints: Tensor
    """(B, 24, 3) in the T."""

    def __len__(self) -> int:
        return len(self.unposed)


def bodies_of(rest: Rest, groups: Groups, weights: Tensor) -> Bodies:
    """People in the T.

    Args:
        rest: of B people.
        groups: of the rig.
        weights: (M, G) Anny's, of groups.
    """
    to_t = t_pose(groups, rest.heads)
    origin = rest.heads.new_zeros(len(rest.heads), 3)
    moved = groups.transforms(rest.heads, to_t, origin)
    pivots = rest.heads.clone()
    placed = (moved[..., :3] @ rest.heads[:, groups.pivot, :, None])[..., 0] + moved[..., 3]
    pivots[:, groups.pivot] = placed
    vertices = torch.cat([skin(v[None], weights, t[None]) for v, t in zip(rest.vertices, moved, strict=True)])
    return Bodies(unposed=rest.vertices, heads=rest.heads, to_t=to_t, vertices=vertices, joints=groups.joints(pivots))


def global_orientations(poses: Tensor) -> Tensor:
    """Orientations (P, 24, 3, 3) in the world of rotations relative to the parent."""
    turned = [poses[:, 0]]
    for joint, parent in enumerate(SMPL_TREE.parents[1:], 1):
        turned.append(turned[parent] @ poses[:, joint])
    return torch.stack(turned, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Posed:
    """One person in P poses."""

    person: int
    transforms: Tensor
    """(P, 24, 3, 4) of our joints, from the T."""
    target: Tensor
    """(P, M, 3) vertices as Anny poses them."""


def posed(bodies: Bodies, poses: Tensor, groups: Groups, weights: Tensor) -> Iterator[Posed]:
    """All people, each in P poses of their own.

    Args:
        bodies: B people.
        poses: (B, P, 24, 3, 3).
        groups: of the rig.
        weights: (M, G) Anny's, of groups.
    """
    for person in range(len(bodies)):
        pose = poses[person].to(bodies.joints)
        orientations = global_orientations(pose)[:, groups.joint] @ bodies.to_t[person]
        count = len(pose)
        heads = bodies.heads[person].expand(count, -1, -1)
        moved = groups.transforms(heads, orientations, heads.new_zeros(count, 3))
        target = skin(bodies.unposed[person].expand(count, -1, -1), weights, moved)
        joints = bodies.joints[person].expand(count, -1, -1)
        ours = from_rest(forward_kinematics(SMPL_TREE, joints, pose), joints)
        yield Posed(person=person, transforms=ours, target=target)


def fit_rest(sample: Posed, prior: Tensor, weights: Tensor) -> Tensor:
    """The rest vertices (M, 3) of one person that come closest over the poses, held weakly at a prior (M, 3)."""
    blended = (weights @ sample.transforms.flatten(2)).unflatten(2, (3, 4))
    A, shift = blended[..., :3], blended[..., 3]
    normal = torch.einsum("pmji,pmjk->mik", A, A) + _REST_PRIOR * torch.eye(3, dtype=A.dtype)
    right = torch.einsum("pmji,pmj->mi", A, sample.target - shift) + _REST_PRIOR * prior
    return torch.linalg.solve(normal, right)


class WeightFit:
    """Accumulates what poses say of the weights, then solves for them."""

    def __init__(self, weights: Tensor) -> None:
        """Start.

        Args:
            weights: (M, 24) the weights to start from and to be held at.
        """
        self.start = weights
        self.places = _candidates(weights)
        count = len(weights)
        self._gram = weights.new_zeros(count, _CANDIDATES, _CANDIDATES)
        self._right = weights.new_zeros(count, _CANDIDATES)
        self._samples = 0

    def add(self, sample: Posed, rest: Tensor) -> None:
        """Take the poses of one person with rest vertices (M, 3)."""
        for transforms, target in zip(sample.transforms, sample.target, strict=True):
            moved = torch.einsum("jab,mb->mja", transforms[..., :3], rest) + transforms[..., 3]
            columns = moved.gather(1, self.places[..., None].expand(-1, -1, 3)) - target[:, None]
            self._gram += columns @ columns.mT  # weights that sum to 1 leave sum w_j (moved_j - target)
            self._samples += 1

    def solve(self) -> Tensor:
        """The weights (M, 24), at most `INFLUENCES` of a vertex, that sum to 1."""
        prior = self.start.gather(1, self.places)
        hold = _PRIOR * self._samples
        gram = self._gram + hold * torch.eye(_CANDIDATES, dtype=prior.dtype)
        every = _simplex_least_squares(gram, hold * prior, prior, torch.ones_like(prior, dtype=torch.bool))
        kept = torch.zeros_like(prior, dtype=torch.bool).scatter(1, every.topk(INFLUENCES, 1).indices, True)
        chosen = _simplex_least_squares(gram, hold * prior, every * kept, kept)
        chosen = torch.where(chosen < _SMALLEST, 0.0, chosen)
        chosen = chosen / chosen.sum(1, keepdim=True)
        return torch.zeros_like(self.start).scatter(1, self.places, chosen)


_SMALLEST = 2e-3
"""Weights below are noise of the fit."""


def _candidates(weights: Tensor) -> Tensor:
    """The joints (M, _CANDIDATES) that may move a vertex: its own, then those next to them in the tree."""
    near = torch.zeros(len(SMPL_TREE), len(SMPL_TREE), dtype=weights.dtype)
    for joint, parent in enumerate(SMPL_TREE.parents[1:], 1):
        near[joint, parent] = near[parent, joint] = 1
    score = weights + 1e-3 * weights @ near + 1e-6 * weights @ near @ near
    return score.topk(_CANDIDATES, 1).indices


def _simplex_least_squares(gram: Tensor, right: Tensor, start: Tensor, free: Tensor) -> Tensor:
    """Minimise w'Gw/2 - r'w over w >= 0 that sum to 1, many at once, by accelerated projected gradients."""
    step = 1 / torch.linalg.eigvalsh(gram)[:, -1:]
    now = ahead = _onto_simplex(start, free)
    momentum = 1.0
    for _ in range(_STEPS):
        moved = _onto_simplex(ahead - step * ((gram @ ahead[..., None])[..., 0] - right), free)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = moved + (momentum - 1) / following * (moved - now)
        now, momentum = moved, following
    return now


def _onto_simplex(values: Tensor, free: Tensor) -> Tensor:
    """The nearest point (M, K) of the simplex, zero where not free (Duchi et al., ICML 2008)."""
    held = values.masked_fill(~free, -1e9)
    ordered = held.sort(1, descending=True).values
    sums = ordered.cumsum(1) - 1
    counts = torch.arange(1, values.shape[1] + 1, dtype=values.dtype)
    used = (ordered * counts > sums).sum(1, keepdim=True)
    level = sums.gather(1, used - 1) / used
    return (held - level).clamp_min(0)


def as_triplets(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Joints and weights (M, INFLUENCES) of dense weights (M, 24), the largest first."""
    top = weights.topk(INFLUENCES, 1)
    return top.indices, top.values / top.values.sum(1, keepdim=True)
