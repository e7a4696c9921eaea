"""The errors of Marey's own benchmark of synthetic captures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.aligned import procrustes_errors, scaled_errors
from marey.metrics.joints import joint_errors, root_position
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.pairing import paired, tensor
from marey.metrics.uncertainty import confidence_levels, covered

_SKELETON = skeleton("coco_17")
_HIPS = _SKELETON.indices(("left_hip", "right_hip"))
_LEVEL = 0.9


@dataclass(frozen=True, kw_only=True)
class SyntheticCaptures:
    """MPJPE, PA- and N-MPJPE of one person a sample; predictions may have `joints_covariance` (N, J, 3, 3)."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="synthetic",
            source="Marey, docs/concepts/benchmark.md",
            joints="17 of COCO; the root is the middle of the hips",
            alignment="mpjpe: the roots; n_mpjpe: the roots and the best scale; pa_mpjpe: a similarity without a "
            "reflection; root, coverage: none",
            averaging="over joints, then over samples; a joint that is not predicted counts as lying at the root, "
            "and a pose whose root is not predicted as one point",
            thresholds="coverage: share of predicted joints inside the ellipsoid that should hold 90 % of them",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person; NaN is a joint not predicted.

        Raises:
            InputError: rows do not fit, or lack a joint.
        """
        pair = paired(predictions, labels)
        estimated = tensor(pair.predictions, "joints", _SKELETON.joints, known=False)
        truth = tensor(pair.labels, "joints", _SKELETON.joints, "labels")
        known = estimated.isfinite().all(-1)
        filled, centred = _from_root(estimated).nan_to_num(0.0), _from_root(truth)
        errors = {
            "mpjpe_mm": 1000 * joint_errors(filled, centred),
            "n_mpjpe_mm": 1000 * scaled_errors(filled, centred),
            "pa_mpjpe_mm": 1000 * procrustes_errors(filled, centred),
            "predicted_pct": 100 * known.double(),
        }
        found = {name: error.mean(-1) for name, error in errors.items()}
        found |= _absolute(pair.predictions, estimated, truth)
        return Scores(
            card=self.card,
            values={name: float(rows.nanmean()) for name, rows in found.items()},
            per_row={name: rows.numpy() for name, rows in found.items()},
            counts={"rows": len(labels), "poses": int(known.any(-1).sum())},
        )


def _from_root(joints: Tensor) -> Tensor:
    return joints - root_position(joints, _HIPS)[..., None, :]


def _absolute(predictions: PoseRows, estimated: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """How far off the root is, and how honest the covariance, (N,) each; what is known nowhere is absent."""
    places = [root_position(joints, _HIPS) for joints in (estimated, truth)]
    rows = {"root_mm": 1000 * torch.linalg.vector_norm(places[0] - places[1], dim=-1)}
    if "joints_covariance" in predictions.values:
        covariance = tensor(predictions, "joints_covariance", _SKELETON.joints, known=False)
        inside = covered(confidence_levels(estimated, covariance, truth), level=_LEVEL)
        rows["coverage_90_pct"] = 100 * inside.nanmean(-1)
    return {name: values for name, values in rows.items() if values.isfinite().any()}
