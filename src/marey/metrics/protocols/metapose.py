"""MetaPose's errors of one fused pose a frame from cameras that nobody calibrated."""

from __future__ import annotations

from dataclasses import dataclass

from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.aligned import nmpjpe_errors, procrustes_errors
from marey.metrics.protocols.contract import ProtocolCard, Scores
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
        turns = (
            tensor(pair.predictions, "rotation", shape=(3, 3)),
            tensor(pair.labels, "rotation", what="labels", shape=(3, 3)),
        )
        seen = nmpjpe_errors(
            estimated @ turns[0].transpose(-1, -2), truth @ turns[1].transpose(-1, -2), allow_mirror=self.mirror
        )
        errors = {
            "pmpjpe_mm": 1000 * procrustes_errors(estimated, truth, transform="symmetric", reflection=True),
            "nmpjpe_mm": 1000 * seen,
            "pck": 100 * (1000 * seen < self.near_mm).double(),
            "pa_mpjpe_mm": 1000 * procrustes_errors(estimated, truth),
        }
        return Scores(
            card=self.card,
            values={name: float(found.mean()) for name, found in errors.items()},
            per_row={name: found.mean(-1).numpy() for name, found in errors.items()},
            counts={"rows": len(labels)},
        )
