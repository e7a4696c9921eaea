"""Which poses are people: what contradicts itself, its box or the human body is dropped, and so is whoever is twice.

The rules and their limits are MeTRAbs's (the code of 2021 to 2023); everything that is dropped is told with its reason.
Poses are (N, J, 3) in the frame of the camera, metres; what has no finite numbers is nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from marey.body.open_body import open_body
from marey.core import ShapeError, Skeleton
from marey.core import skeleton as shipped_skeleton
from marey.metrics.protocols.association import pose_agreement

Reason = Literal["outside", "unknown", "bones", "views", "box", "double"]
"""Why somebody was dropped: the box lies outside of the picture; the network gave no finite pose; bones no human has;
augmented views contradict each other; the joints lie beside the box; the same person as another one."""

SHORTEST, LONGEST, BONE_SLACK = 0.1, 3.0, 0.3
"""Of the mean length of a bone, and metres that it must be off besides."""
VIEW_DEVIATION = 0.2
"""Metres: standard deviation of a joint between views, total of the three axes."""
BOX_SHARE = 0.5
"""Of a box that the joints' box must cover."""
MOST_SIMILAR = 0.4
SIMILAR_WITHIN = 0.3
"""Metres."""
MOST_PEOPLE = 150
"""In one picture."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Somebody whom a filter took out."""

    index: int
    """Of the box, as given or as detected."""
    reason: Reason
    detail: str
    """A plain sentence with numbers."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a filter leaves."""

    indices: Tensor
    """(M,) of the N people, the surest first."""
    dropped: tuple[Dropped, ...]
    """By index."""


def has_plausible_bones(poses: Tensor, edges: Tensor, lengths: Tensor) -> Tensor:
    """Whether no bone (N,) is less than a tenth or more than three times its mean and off by 0.3 m besides.

    Args:
        poses: (N, J, 3) metres; a pose with a NaN is not plausible.
        edges: (E, 2) joints of the ends.
        lengths: (E,) mean lengths, metres; NaN: unknown, not looked at.
    """
    found = torch.linalg.vector_norm(poses[:, edges[:, 0]] - poses[:, edges[:, 1]], dim=-1)
    share = found / lengths
    wrong = ((share < SHORTEST) | (share > LONGEST)) & ((found - lengths).abs() > BONE_SLACK)
    plausible: Tensor = ~wrong.any(-1) & poses.isfinite().flatten(1).all(-1)
    return plausible


def have_consistent_views(poses: Tensor) -> Tensor:
    """Whether more than a quarter of the joints (N,) deviate by less than 0.2 m between views of one scale.

    Args:
        poses: (N, A, J, 3) metres, of A views.
    """
    joints = poses.shape[2]
    return (view_deviations(poses) < VIEW_DEVIATION).sum(-1) > joints // 4


def view_deviations(poses: Tensor) -> Tensor:
    """Standard deviations (N, J) between views (N, A, J, 3), metres, total of the axes, after scaling to one size.

    The size is the root mean square of all coordinates, as they are in the camera's frame.
    """
    square = poses.square().mean((-2, -1), keepdim=True)
    scaled = poses * (square.mean(1, keepdim=True) / square).sqrt()
    return (scaled - scaled.mean(1, keepdim=True)).square().mean(1).sum(-1).sqrt()


def are_in_their_boxes(pixels: Tensor, boxes: Tensor, *, share: float = BOX_SHARE) -> Tensor:
    """Whether the box of the joints (N,) covers more than a share of the box that somebody was found in.

    Args:
        pixels: (N, J, 2) joints in the picture; NaN: behind the camera, nowhere.
        boxes: (N, 4) left, top, width, height.
        share: Of the box's area.
    """
    known = pixels.isfinite().all(-1, keepdim=True)
    low = torch.where(known, pixels, torch.inf).amin(1).maximum(boxes[:, :2])
    high = torch.where(known, pixels, -torch.inf).amax(1).minimum(boxes[:, :2] + boxes[:, 2:4])
    covered: Tensor = (high - low).clamp_min(0).prod(-1) > share * boxes[:, 2:4].prod(-1)
    return covered


def pose_similarity(poses: Tensor) -> Tensor:
    """How much (N, N) poses are one person's, 0..1: of each pair brought to one scale, by their farthest joints.

    The mean over the quarter of the joints that lie farthest apart of 1 - distance / 0.3 m, not below 0. So one pose
    must lie on the other altogether; people who touch stay two.

    Args:
        poses: (N, J, 3) metres in the camera's frame.
    """
    square = poses.square().mean((-2, -1))[:, None, None]
    first, second = square[:, None], square[None]
    mean = (first + second) / 2
    apart = poses[:, None] * (mean / first).sqrt() - poses[None] * (mean / second).sqrt()
    farthest = torch.linalg.vector_norm(apart, dim=-1).topk(max(1, poses.shape[1] // 4), dim=-1).values
    similar: Tensor = (1 - farthest / SIMILAR_WITHIN).clamp_min(0).mean(-1)
    return similar


def suppress_similar(similarity: Tensor, scores: Tensor, *, most: float = MOST_SIMILAR) -> Tensor:
    """Indices (M,) of those who are not too similar to anybody with a higher score who stays, best first.

    Args:
        similarity: (N, N), symmetric.
        scores: (N,); of equal ones the first is better.
        most: Similarity from which on the worse one goes.
    """
    order = scores.argsort(descending=True, stable=True)
    rivals = (similarity[order][:, order] > most).triu(1)
    stays = torch.ones(len(order), dtype=torch.bool, device=order.device)
    for place in range(len(order)):
        if stays[place]:
            stays &= ~rivals[place]
    return order[stays][:MOST_PEOPLE]


@cache
def mean_bone_lengths(skeleton: Skeleton) -> Tensor:
    """Lengths (E,) of the links of a skeleton in the neutral open body, metres, double precision; NaN where unknown.

    The joints are those of the shipped skeleton of that name, or else of the one that has most joints of these names:
    what they mean differs by centimetres from one skeleton to another, and the limits by a factor of three.
    """
    body = open_body("small")
    shared = {name: sum(joint in shipped_skeleton(name) for joint in skeleton.joints) for name in body.regressors}
    nearest = shipped_skeleton(skeleton.name if skeleton.name in shared else max(shared, key=lambda name: shared[name]))
    joints = body.regress(body(body.neutral()).vertices, nearest.name).double()
    nowhere = torch.full_like(joints[0], torch.nan)
    places = torch.stack([joints[nearest.index(name)] if name in nearest else nowhere for name in skeleton.joints])
    ends = torch.tensor(skeleton.links, dtype=torch.long).reshape(-1, 2)
    lengths: Tensor = torch.linalg.vector_norm(places[ends[:, 0]] - places[ends[:, 1]], dim=-1)
    return lengths


@dataclass(frozen=True, kw_only=True)
class PlausibilityFilter:
    """Drops who is no person or is there twice."""

    edges: Tensor
    """(E, 2) ends of bones."""
    lengths: Tensor
    """(E,) mean lengths, metres; NaN: not looked at."""
    box_share: float = BOX_SHARE
    """Of a box that the joints' box must cover; for skeletons without head or feet less."""
    closest_joints: bool = False
    """Who is the same is told by the five closest joints. November 2020."""

    @classmethod
    def of(cls, skeleton: Skeleton, *, closest_joints: bool = False) -> PlausibilityFilter:
        """The filter of a skeleton, with the bones of the open body."""
        edges = torch.tensor(skeleton.links, dtype=torch.long).reshape(-1, 2)
        return cls(edges=edges, lengths=mean_bone_lengths(skeleton), closest_joints=closest_joints)

    def __call__(self, poses: Tensor, pixels: Tensor, boxes: Tensor, scores: Tensor) -> Kept:
        """Say who stays.

        Args:
            poses: (N, A, J, 3) of A views, metres in the camera's frame.
            pixels: (N, A, J, 2) in the picture.
            boxes: (N, 4) left, top, width, height.
            scores: (N,) of the detections.

        Raises:
            ShapeError: these are not of the same people.
        """
        if not len(poses) == len(pixels) == len(boxes) == len(scores):
            raise ShapeError(f"expected one of each, got {len(poses)}, {len(pixels)}, {len(boxes)}, {len(scores)}")
        mean = poses.mean(1)
        edges, lengths = self.edges.to(mean.device), self.lengths.to(mean)
        good: dict[Reason, Tensor] = {
            "unknown": poses.isfinite().flatten(1).all(-1),
            "bones": has_plausible_bones(mean, edges, lengths),
            "views": have_consistent_views(poses),
            "box": are_in_their_boxes(pixels.mean(1), boxes, share=self.box_share),
        }
        plausible = torch.stack(list(good.values())).all(0)
        alive = plausible.nonzero()[:, 0]
        similar = self.similarity(mean[alive])
        stay = suppress_similar(similar, scores[alive])
        dropped = [_implausible(index, good) for index in (~plausible).nonzero()[:, 0].tolist()]
        dropped += _doubles(alive, stay, similar)
        return Kept(indices=alive[stay], dropped=tuple(sorted(dropped, key=lambda drop: drop.index)))

    def similarity(self, poses: Tensor) -> Tensor:
        """How much (N, N) poses (N, J, 3) are one person's, 0..1."""
        return pose_agreement(poses, poses) if self.closest_joints else pose_similarity(poses)


_DETAILS: dict[Reason, str] = {
    "unknown": "the network gave no finite pose for it",
    "bones": "a bone is shorter than a tenth or longer than three times the usual",
    "views": "three quarters of the joints or more lie farther than 0.2 m apart in the augmented views",
    "box": "its joints cover too little of its box",
}


def _implausible(index: int, good: dict[Reason, Tensor]) -> Dropped:
    reason = next(reason for reason, people in good.items() if not people[index])
    return Dropped(index=index, reason=reason, detail=_DETAILS[reason])


def _doubles(alive: Tensor, stay: Tensor, similar: Tensor) -> list[Dropped]:
    gone = sorted(set(range(len(alive))) - set(stay.tolist()))
    dropped = []
    for place in gone:
        rival = int(stay[similar[place, stay].argmax()])
        share = float(similar[place, rival])
        detail = f"the same person as box {int(alive[rival])} (similarity {share:.2f} above {MOST_SIMILAR})"
        dropped.append(Dropped(index=int(alive[place]), reason="double", detail=detail))
    return dropped
