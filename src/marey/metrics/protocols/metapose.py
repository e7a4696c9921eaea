"""MetaPose's errors of one fused pose a frame from cameras that nobody calibrated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core.skeletons import skeleton
from marey.geometry.alignment import align
from marey.io.predictions import PoseRows
from marey.metrics.joints import joint_errors
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.curves import aligned
from marey.metrics.protocols.pairing import paired, tensor

JOINTS = skeleton("h36m_17").joints
NEAR_MM = 150.0


@dataclass(frozen=True, kw_only=True)
class MetaPose:
    """PMPJPE, NMPJPE and PCK; both have `rotation` (N, 3, 3), from the joints' frame to that of the first camera."""

    mirror: bool = True
    """Whether a pose may be mirrored in depth for NMPJPE and PCK where that fits better, as published."""
    near_mm: float = NEAR_MM

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        mirrored = "; the better of the pose and its mirror image in depth" if self.mirror else ""
        return ProtocolCard(
            name="metapose" if self.mirror else "metapose-strict",
            source="google-research/metapose, train_metapose",
            joints="17 of Human3.6M",
            alignment="pmpjpe: rotation or reflection, translation and the ratio of extents (not the best scale); "
            f"nmpjpe: centroid and ratio of extents in the first camera{mirrored}; pa_mpjpe: a similarity without a "
            "reflection, which MetaPose does not report",
            averaging="over joints, then over frames",
            thresholds=f"PCK of the joints of nmpjpe below {self.near_mm:g} mm",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, or lack a joint or the rotation.
        """
        pair = paired(predictions, labels)
        estimated, truth = pair.joints(JOINTS)
        turns = tensor(pair.predictions, "rotation"), tensor(pair.labels, "rotation", what="labels")
        seen = normalised_errors(
            estimated @ turns[0].transpose(-1, -2), truth @ turns[1].transpose(-1, -2), mirror=self.mirror
        )
        errors = {
            "pmpjpe_mm": 1000 * reflected_errors(estimated, truth),
            "nmpjpe_mm": 1000 * seen,
            "pck": 100 * (1000 * seen < self.near_mm).double(),
            "pa_mpjpe_mm": 1000 * joint_errors(aligned(estimated, truth), truth),
        }
        return Scores(
            card=self.card,
            values={name: float(found.mean()) for name, found in errors.items()},
            per_row={name: found.mean(-1).numpy() for name, found in errors.items()},
            counts={"rows": len(labels)},
        )


def reflected_errors(estimated: Tensor, truth: Tensor) -> Tensor:
    """(..., J) distances after the best rotation or reflection of (..., J, 3), centred and brought to equal extent."""
    x, y = _equal_extent(estimated, truth)
    return joint_errors(align(x, y, reflection=True).apply(x), y)


def normalised_errors(estimated: Tensor, truth: Tensor, *, mirror: bool) -> Tensor:
    """(..., J) distances of poses (..., J, 3) of one camera, centred and brought to equal extent.

    Args:
        estimated: Joints.
        truth: Joints.
        mirror: Whether the pose with its depth reversed counts where its mean error is smaller.
    """
    x, y = _equal_extent(estimated, truth)
    errors = joint_errors(x, y)
    if not mirror:
        return errors
    mirrored = joint_errors(x * x.new_tensor([1, 1, -1]), y)
    better = mirrored.mean(-1, keepdim=True) < errors.mean(-1, keepdim=True)
    return torch.where(better, mirrored, errors)


def _equal_extent(estimated: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    x, y = (joints - joints.mean(-2, keepdim=True) for joints in (estimated, truth))
    extents = [torch.linalg.vector_norm(joints, dim=(-2, -1), keepdim=True) for joints in (x, y)]
    return x * (extents[1] / extents[0]), y
