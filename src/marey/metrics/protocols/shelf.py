"""Shelf and Campus: the percentage of correct parts of three actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from marey.core import ShapeError
from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.joints import joint_errors
from marey.metrics.protocols.contract import Array, ProtocolCard, Scores
from marey.metrics.protocols.pairing import check_sequences, frame_codes, people_slots, tensor

JOINTS = skeleton("lsp_14").joints
"""The bottom of the head is `neck` here."""
PARTS = {
    "lower legs": ((0, 1), (4, 5)),
    "upper legs": ((1, 2), (3, 4)),
    "lower arms": ((6, 7), (10, 11)),
    "upper arms": ((7, 8), (9, 10)),
    "head": ((12, 13),),
    "torso": ((14, 12),),
}
"""Ends of the ten parts; 14 is the middle of the hips."""
SHARE = 0.5
"""Of a part's length that its ends may be off on average."""
FOUND_MM = 500.0


@dataclass(frozen=True, kw_only=True)
class PartsOfActors:
    """Labels have the actor as `person`; every actor takes the detection nearest to them, which others may take too.

    A frame without detections costs the actors in it all their parts.
    """

    name: Literal["shelf", "campus"] = "shelf"
    actors: int = 3
    """Of the first actors the mean is reported; the fourth of Shelf is hardly annotated."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name=self.name,
            source="microsoft/voxelpose-pytorch, Shelf.evaluate and Campus.evaluate (without its 1e-8 in counts)",
            joints="14 of Shelf: ankle to head top, world frame",
            alignment="none",
            averaging=f"parts of an actor over all frames, then over the first {self.actors} actors",
            matching="each actor's nearest detection by mean joint error, which may serve several actors",
            thresholds="a part is correct if its two ends are off by up to half its true length on average; found: "
            "mean joint error below 500 mm",
            units="percent",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score detections in rows with the labels' sequence and frame.

        Raises:
            InputError: rows do not fit, or lack a joint.
        """
        check_sequences(predictions, labels)
        correct, near = self._correct(predictions, labels)
        actors, place = np.unique(labels.person, return_inverse=True)
        shares = np.stack([np.bincount(place, weights=part) for part in correct.T], -1) / np.bincount(place)[:, None]
        by_actor = {f"actor {actor}": 100 * float(share.mean()) for actor, share in zip(actors, shares, strict=True)}
        ends = np.cumsum([0, *map(len, PARTS.values())])
        by_part = {
            f"actor {actor}/{name}": 100 * float(share[first:last].mean())
            for actor, share in zip(actors, shares, strict=True)
            for name, first, last in zip(PARTS, ends[:-1], ends[1:], strict=True)
        }
        return Scores(
            card=self.card,
            values={
                "pcp": float(np.mean(list(by_actor.values())[: self.actors])),
                "recall": 100 * float(near.mean()),
            },
            groups={"pcp/actor": by_actor, "pcp/actor/part": by_part},
            per_row={"pcp": 100 * correct.mean(1)},
            counts={"rows": len(labels), "actors": len(actors), "detections": len(predictions)},
        )

    def _correct(self, predictions: PoseRows, labels: PoseRows) -> tuple[Array, Array]:
        """(N, 10) whether the parts of each label are correct, (N,) whether it was found."""
        ours, theirs = frame_codes(predictions, labels)
        slots = people_slots(ours, frames=int(theirs.max()) + 1)[theirs]
        truth = tensor(labels, "joints", JOINTS, "labels")
        estimated = tensor(predictions, "joints", JOINTS)[slots]
        errors = torch.where(torch.from_numpy(slots >= 0), joint_errors(estimated, truth[:, None]).mean(-1), torch.inf)
        least, place = errors.min(-1)
        best = _with_hips(estimated[torch.arange(len(truth)), place])
        parts = _correct_parts(best, _with_hips(truth)) & least.isfinite()[:, None]
        return parts.numpy(), (1000 * least < FOUND_MM).numpy()


def _with_hips(joints: Tensor) -> Tensor:
    return torch.cat((joints, joints[:, 2:4].mean(1, keepdim=True)), dim=1)


def _correct_parts(estimated: Tensor, truth: Tensor) -> Tensor:
    """(N, 10) of joints (N, 15, 3)."""
    first, last = torch.tensor([ends for part in PARTS.values() for ends in part]).T
    errors = joint_errors(estimated, truth)
    lengths = torch.linalg.vector_norm(truth[:, first] - truth[:, last], dim=-1)
    correct: Tensor = (errors[:, first] + errors[:, last]) / 2 <= SHARE * lengths
    return correct


def joints_from_coco(joints: Tensor, dataset: Literal["shelf", "campus"] = "shelf") -> Tensor:
    """The 14 joints (..., 14, 3) as VoxelPose makes them from the 17 of COCO (..., 17, 3), z up.

    Campus: the bottom of the head lies half-way from the shoulders to the ears, its top as far beyond the ears. Shelf:
    three quarters of the way from there to points that depend on the nose.

    Raises:
        ShapeError: there are not 17 joints.
    """
    if joints.shape[-2:] != (17, 3):
        raise ShapeError(f"joints: expected (..., 17, 3) of COCO, got {tuple(joints.shape)}")
    shoulders, ears, nose = joints[..., 5:7, :].mean(-2), joints[..., 3:5, :].mean(-2), joints[..., 0, :]
    bottom = (shoulders + ears) / 2
    top = 2 * ears - bottom
    if dataset == "shelf":
        forward = nose - shoulders
        bottom = 0.25 * bottom + 0.75 * (shoulders + 0.5 * forward)
        top = 0.25 * top + 0.75 * (shoulders + forward * forward.new_tensor([0.75, 0.75, 1.5]))
    limbs = joints[..., [16, 14, 12, 11, 13, 15, 10, 8, 6, 5, 7, 9], :]
    return torch.cat((limbs, bottom[..., None, :], top[..., None, :]), dim=-2)
