"""What networks said of batches of people, put together for all views, frames and people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Cameras, Diagnostics, Estimate, Joints3D, Keypoints2D, Skeleton, skeleton
from marey.data.observed_people import keypoints_of_skeleton
from marey.geometry.projection import reprojection_error
from marey.io.h36m_labels import H36M_JOINTS
from marey.methods.triangulation.crops import CropBatch, to_pictures
from marey.methods.triangulation.model import AlgebraicOutput, VolumetricOutput
from marey.methods.triangulation.networks import LoadedNetwork

_CERTAIN_PIXELS = 1 / 16
"""Deviation of a keypoint that halves its score, shares of the crop's side."""
_CERTAIN_METRES = 0.1
"""Deviation of a joint of a volume that halves its score."""
_LEAST_CONFIDENCE = 0.5
"""Sum over the views of confidences, which is 1 or more unless all of them are 0."""


class Said(NamedTuple):
    """What is kept of what a network says of B people in n views; on the CPU."""

    joints: Tensor
    """(B, J, 3)."""
    covariance: Tensor
    """(B, J, 3, 3)."""
    confidences: Tensor
    """(B, n, J) of keypoints or (B, n, C) of channels; (B, 1, 1) ones if it has none."""
    keypoints: Tensor
    """(B, n, J, 2) pixels of the crops; of volumes (B, 0)."""
    keypoint_covariance: Tensor
    """(B, n, J, 2, 2); of volumes (B, 0)."""

    @classmethod
    def of(cls, output: AlgebraicOutput | VolumetricOutput) -> Said:
        """Without heatmaps, features and volumes."""
        nothing = output.joints.new_empty(len(output.joints), 0)
        parts = (
            output.joints,
            output.covariance,
            torch.ones_like(output.joints[:, :1, :1]) if output.confidences is None else output.confidences,
            nothing if isinstance(output, VolumetricOutput) else output.keypoints,
            nothing if isinstance(output, VolumetricOutput) else output.keypoint_covariance,
        )
        return cls(*(part.cpu() for part in parts))

    def replaced(self, rows: Tensor, other: Said) -> Said:
        """With other words on some of the people."""
        return Said(*(old.index_copy(0, rows, new) for old, new in zip(self, other, strict=True)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """Results (T, P) and (V, T, P) that are filled batch by batch: single precision, joints in the network's order."""

    positions: Tensor
    """(T, P, J, 3) metres in the world."""
    covariance: Tensor
    """(T, P, J, 3, 3)."""
    keypoints: Tensor
    """(V, T, P, J, 2) pixels of the pictures."""
    keypoint_covariance: Tensor
    """(V, T, P, J, 2, 2)."""
    keypoint_score: Tensor
    """(V, T, P, J)."""
    weights: Tensor
    """(V, T, P, J)."""
    used: Tensor
    """(V, T, P) boolean: the view's crop was looked at."""
    undecided: Tensor
    """(T, P, J) boolean: no view had any confidence."""
    outside: Tensor
    """(T, P) boolean: the person was not found in the cuboid."""

    @classmethod
    def nothing(cls, shape: tuple[int, int, int], joints: int) -> Gathered:
        """Of V views, T frames and P people, NaN and 0."""
        views, frames, people = shape
        each = frames, people, joints
        return cls(
            positions=torch.full((*each, 3), torch.nan),
            covariance=torch.full((*each, 3, 3), torch.nan),
            keypoints=torch.full((views, *each, 2), torch.nan),
            keypoint_covariance=torch.full((views, *each, 2, 2), torch.nan),
            keypoint_score=torch.zeros(views, *each),
            weights=torch.zeros(views, *each),
            used=torch.zeros(shape, dtype=torch.bool),
            undecided=torch.zeros(each, dtype=torch.bool),
            outside=torch.zeros(frames, people, dtype=torch.bool),
        )

    def put_joints(self, batch: CropBatch, positions: Tensor, covariance: Tensor) -> None:
        """Joints (B, J, 3) in the world with their covariance."""
        place = batch.frames, batch.people
        known = positions.isfinite().all(-1) & covariance.isfinite().all(-1).all(-1)
        self.positions[place] = torch.where(known[..., None], positions, torch.nan).float()
        self.covariance[place] = torch.where(
            known[..., None, None], (covariance + covariance.mT) / 2, torch.nan
        ).float()
        self.used[_by_view(batch)] = True

    def put_outside(self, batch: CropBatch, outside: Tensor) -> None:
        """Who (B,) was not found in the cuboid."""
        self.outside[batch.frames, batch.people] = outside

    def put_keypoints(self, batch: CropBatch, output: Said, cameras: Cameras, network: LoadedNetwork) -> Tensor:
        """Keypoints and what they counted; returns which joints (B, J) any view had confidence in."""
        pixels, spread = to_pictures(output.keypoints, output.keypoint_covariance, batch, cameras, network.image)
        variance = output.keypoint_covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
        confidences = output.confidences
        decided = confidences.sum(1) > _LEAST_CONFIDENCE
        most = confidences.amax(1, keepdim=True).clamp_min(torch.finfo(confidences.dtype).tiny)
        known = pixels.isfinite().all(-1) & spread.isfinite().all(-1).all(-1)
        place = _by_view(batch)
        self.keypoints[place] = torch.where(known[..., None], pixels, torch.nan).float()
        self.keypoint_covariance[place] = torch.where(known[..., None, None], spread, torch.nan).float()
        score = _certainty(variance, _CERTAIN_PIXELS * max(network.image.side))
        self.keypoint_score[place] = torch.where(known, score, 0.0).float()
        self.weights[place] = torch.where(decided[:, None] & known, confidences / most, 0.0).float()
        self.undecided[batch.frames, batch.people] = ~decided
        return decided

    def of_keypoints(self, cameras: Cameras, network: LoadedNetwork) -> Estimate:
        """The estimate of networks that triangulate keypoints."""
        order, joints = house_order(network.skeleton)
        known = self.positions.isfinite().all(-1)
        weights = torch.where(known, self.weights, 0.0)
        seen = self.keypoints.isfinite().all(-1)
        score = ((weights * self.keypoint_score).sum(0) / seen.sum(0).clamp_min(1)).clamp(0.0, 1.0)
        keypoints = Keypoints2D(
            positions=self.keypoints[..., order, :],
            covariance=self.keypoint_covariance[..., order, :, :],
            score=self.keypoint_score[..., order],
            skeleton=joints,
        )
        return self._estimate(cameras, keypoints, score[..., order], weights[..., order], order, joints)

    def of_volumes(self, cameras: Cameras, network: LoadedNetwork, evidence: Keypoints2D | None) -> Estimate:
        """The estimate of a network that has no keypoints: beside it stand those of the observation, by their names.

        Weights tell which views were looked at.
        """
        order, joints = house_order(network.skeleton)
        variance = self.covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
        score = torch.where(variance.isfinite(), _certainty(variance, _CERTAIN_METRES), 0.0)
        keypoints = None if evidence is None else keypoints_of_skeleton(evidence, joints)
        known = self.positions.isfinite().all(-1)
        weights = (self.used[..., None] & known).float()
        return self._estimate(cameras, keypoints, score[..., order], weights[..., order], order, joints)

    def _estimate(
        self,
        cameras: Cameras,
        keypoints: Keypoints2D | None,
        score: Tensor,
        weights: Tensor,
        order: list[int],
        joints: Skeleton,
    ) -> Estimate:
        positions = self.positions[..., order, :]
        found = Joints3D(
            positions=positions,
            covariance=self.covariance[..., order, :, :],
            score=torch.where(positions.isfinite().all(-1), score, 0.0),
            filled=torch.zeros(score.shape, dtype=torch.bool),
            skeleton=joints,
        )
        if keypoints is None:
            return Estimate(joints=found, cameras=cameras)
        seen = keypoints.positions.isfinite().all(-1)
        residuals = reprojection_error(positions[None], keypoints.positions, cameras)
        diagnostics = Diagnostics(weights=torch.where(seen, weights, 0.0), residuals=residuals)
        return Estimate(joints=found, cameras=cameras, keypoints=keypoints, diagnostics=diagnostics)

    def notes(self, seen: Tensor, least_views: int) -> tuple[str, ...]:
        """What is missing and why, in plain sentences.

        Args:
            seen: (V, T, P) boolean: the view shows the person.
            least_views: That the network needs.
        """
        lines = []
        views = seen.sum(0)
        alone = (views > 0) & (views < least_views)
        for person in range(seen.shape[2]):
            counts = (
                (views[:, person] == 0, "is seen by no view"),
                (alone[:, person], f"is seen by fewer than {least_views} views"),
                (self.outside[:, person], "is not found within the cuboid, whose place or size is wrong"),
                (self.undecided[:, person].all(-1), "has a confidence of 0 in all views"),
            )
            lines += [
                f"Person {person} {why} in {int(count.sum())} of {len(count)} frames: unknown there."
                for count, why in counts
                if count.any()
            ]
        return tuple(lines)


def house_order(joints: Skeleton) -> tuple[list[int], Skeleton]:
    """Joints of a network in the order of the shipped skeleton that has the same ones: the places, and the skeleton."""
    if joints is H36M_JOINTS:
        shipped = skeleton("h36m_17")
        return joints.indices(shipped.joints), shipped
    return list(range(len(joints))), joints


def _by_view(batch: CropBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Index of (V, T, P) that gives (B, n)."""
    return batch.views, batch.frames[:, None], batch.people[:, None]


def _certainty(variance: Tensor, scale: float) -> Tensor:
    """1 without a variance, a half at `scale` squared."""
    return 1 / (1 + variance / scale**2)
