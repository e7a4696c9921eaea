"""14 joints regressed from the mesh, as papers score 3DPW, and as 3DNBF scores people behind things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from marey.core import InputError
from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.aligned import procrustes_errors
from marey.metrics.correct import auc_scores, pck_hits, pckh_hits, percent
from marey.metrics.joints import joint_errors, root_position
from marey.metrics.known import mean_of_known, mean_over_joints
from marey.metrics.mesh import root_relative_pve_mm
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.pairing import Pair, paired, tensor

JOINTS = skeleton("lsp_14").joints
HIPS = [JOINTS.index("right_hip"), JOINTS.index("left_hip")]
HEAD = (JOINTS.index("neck"), JOINTS.index("head_top"))
NEAR = 0.150
"""Metres."""
GRID = torch.linspace(0, NEAR, 31, dtype=torch.float64)
SCENES_3DPW_OCC = (
    "courtyard_backpack", "courtyard_basketball", "courtyard_bodyScannerMotions", "courtyard_box", "courtyard_golf",
    "courtyard_jacket", "courtyard_laceShoe", "downtown_stairs", "flat_guitar", "flat_packBags", "outdoors_climbing",
    "outdoors_crosscountry", "outdoors_fencing", "outdoors_freestyle", "outdoors_golf", "outdoors_parcours",
    "outdoors_slalom",
)  # fmt: skip
"""Of all splits of 3DPW; sequences are named so, with `_00` and the like after it."""

Root = Literal["mid_hips", "pelvis", "as_3dnbf", "none"]


@dataclass(frozen=True, kw_only=True)
class Lsp14:
    """MPJPE and PA-MPJPE over 14 joints; over visible ones only where asked, then labels have `visible`.

    With `keypoints` in both, PCKh too; with `vertices` in both, PVE.
    """

    name: str = "3dpw-14"
    root: Root = "mid_hips"
    """What is brought together: the middles of the hips, the joints `pelvis`, or (3DNBF) the true joint `pelvis` and
    the middle of the estimated hips; none for files that are relative already."""
    visible_only: bool = False
    """Whether hidden joints are neither aligned on nor averaged."""
    scenes: tuple[str, ...] = ()
    """The sequences that belong to the benchmark, by the beginning of their names; none: all."""

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        roots = {
            "mid_hips": "middle of the hips on middle of the hips",
            "pelvis": "pelvis on pelvis",
            "as_3dnbf": "middle of the estimated hips on the true pelvis",
            "none": "as in the files",
        }
        which = "visible joints" if self.visible_only else "joints"
        return ProtocolCard(
            name=self.name,
            source="Angtian/3DNBF, HumanImageDataset" if self.root == "as_3dnbf" else "SPIN, HMR2 and the papers after",
            joints="14 of LSP, regressed from the mesh by the regressor of Human3.6M",
            alignment=f"{roots[self.root]}; pa: a similarity without a reflection over the {which} of each pose",
            averaging=f"over all {which} of all people alike; pckh over people, then over joints",
            thresholds="PCK below 150 mm; AUC over 0, 5, ... 150 mm; PCKh up to half of neck to head top",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, lack a joint, belong to another benchmark, or no joint is visible at all.
        """
        pair = paired(predictions, labels)
        self._check(pair)
        hidden = ~self._visible(pair)
        estimated, truth = pair.joints(JOINTS)
        seen = truth.masked_fill(hidden[..., None], torch.nan)  # what nothing aligns on or averages
        ours, theirs = self._roots(pair, estimated, truth)
        relative = estimated - ours[:, None], seen - theirs[:, None]
        joints = {
            "mpjpe_mm": 1000 * joint_errors(*relative),
            "pa_mpjpe_mm": 1000 * procrustes_errors(estimated, seen),
            "pck": 100 * pck_hits(*relative, threshold=NEAR),
            "auc": 100 * auc_scores(*relative, thresholds=GRID),
        }
        values = {name: float(mean_of_known(found, name)) for name, found in joints.items()}
        if "keypoints" in predictions.values and "keypoints" in labels.values:
            joints["pckh"] = 100 * _pckh_hits(pair, hidden)
            values["pckh"] = float(percent(joints["pckh"] / 100, by_joint=True))
        if "vertices" in predictions.values and "vertices" in labels.values:
            meshes = tensor(pair.predictions, "vertices"), tensor(pair.labels, "vertices", what="labels")
            values["pve_mm"] = float(root_relative_pve_mm(*meshes, roots=(ours, theirs)))
        return Scores(
            card=self.card,
            values=values,
            per_row={name: mean_over_joints(found).numpy() for name, found in joints.items()},
            counts={
                "rows": len(labels),
                "joints": int((~hidden).sum()),
                "rows_without_visible_joint": int(hidden.all(1).sum()),
            },
        )

    def _check(self, pair: Pair) -> None:
        if self.scenes:
            other = [row for row, name in enumerate(pair.labels.sequence) if not str(name).startswith(self.scenes)]
            if other:
                raise InputError(
                    f"labels: {len(other)} are of no sequence of {self.name}, {pair.labels.described(other)}; "
                    f"it has {', '.join(self.scenes)}"
                )

    def _visible(self, pair: Pair) -> Tensor:
        if not self.visible_only:
            return torch.ones(len(pair.labels), len(JOINTS), dtype=torch.bool)
        visible = tensor(pair.labels, "visible", JOINTS, "labels") > 0
        if not bool(visible.any()):
            raise InputError(f"labels: no joint is visible in rows 0 to {len(pair.labels) - 1}; there is no mean error")
        return visible

    def _roots(self, pair: Pair, estimated: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3) twice, what is brought together."""
        if self.root == "none":
            return torch.zeros_like(estimated[:, 0]), torch.zeros_like(truth[:, 0])
        ours, theirs = root_position(estimated, HIPS), root_position(truth, HIPS)
        if self.root in ("pelvis", "as_3dnbf"):
            theirs = tensor(pair.labels, "joints", ("pelvis",), "labels")[:, 0]
        if self.root == "pelvis":
            ours = tensor(pair.predictions, "joints", ("pelvis",))[:, 0]
        return ours, theirs


def _pckh_hits(pair: Pair, hidden: Tensor) -> Tensor:
    """(N, J), NaN for hidden joints; heads are measured whether seen or not."""
    hits = pckh_hits(*pair.joints(JOINTS, "keypoints"), head=HEAD)
    return hits.masked_fill(hidden, torch.nan)
