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

_SKELETON = skeleton("coco_17")
_HIPS = _SKELETON.indices(("left_hip", "right_hip"))


@dataclass(frozen=True, kw_only=True)
class SyntheticCaptures:
    """MPJPE, PA- and N-MPJPE of one person a sample; the protocol `uncertainty` scores what covariances say."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name="synthetic",
            source="Marey, docs/concepts/benchmark.md",
            joints="17 of COCO; the root is the middle of the hips",
            alignment="mpjpe: the roots; n_mpjpe: the roots and the best scale; pa_mpjpe: a similarity without a "
            "reflection; root: none",
            averaging="over joints, then over samples; a joint that is not predicted counts as lying at the root, "
            "which is the middle of the hips that are predicted, or of all joints that are",
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
        filled, centred = (estimated - _root_of_known(estimated)[:, None]).nan_to_num(0.0), _from_root(truth)
        errors = {
            "mpjpe_mm": 1000 * joint_errors(filled, centred),
            "n_mpjpe_mm": 1000 * scaled_errors(filled, centred),
            "pa_mpjpe_mm": 1000 * procrustes_errors(filled, centred),
            "predicted_percent": 100 * known.double(),
        }
        found = {name: error.mean(-1) for name, error in errors.items()}
        if known[:, _HIPS].all(-1).any():
            away = root_position(estimated, _HIPS) - root_position(truth, _HIPS)
            found["root_mm"] = 1000 * torch.linalg.vector_norm(away, dim=-1)
        return Scores(
            card=self.card,
            values={name: float(rows.nanmean()) for name, rows in found.items()},
            per_row={name: rows.numpy() for name, rows in found.items()},
            counts={"rows": len(labels), "poses": int(known.any(-1).sum()), "missing": int((~known).sum())},
        )


def _from_root(joints: Tensor) -> Tensor:
    return joints - root_position(joints, _HIPS)[..., None, :]


def _root_of_known(joints: Tensor) -> Tensor:
    """(N, 3); NaN where no joint is known."""
    hips = joints[..., _HIPS, :].nanmean(-2)
    return torch.where(hips.isfinite(), hips, joints.nanmean(-2))
