"""14 joints regressed from the mesh, as papers score 3DPW, and as 3DNBF scores people behind things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from marey.core import InputError
from marey.core.skeletons import skeleton
from marey.geometry.alignment import align
from marey.io.predictions import PoseRows
from marey.metrics.joints import joint_errors
from marey.metrics.protocols.contract import Array, ProtocolCard, Scores
from marey.metrics.protocols.pairing import Pair, paired, tensor, value

JOINTS = skeleton("lsp_14").joints
HIPS = [JOINTS.index("right_hip"), JOINTS.index("left_hip")]
HEAD = [JOINTS.index("neck"), JOINTS.index("head_top")]
NEAR_MM = 150.0
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
        visible = self._visible(pair)
        estimated, truth = pair.joints(JOINTS)
        turned = _aligned(estimated, truth, visible)
        estimated, truth_here = self._centred(pair, estimated, truth)
        errors = {
            "mpjpe_mm": 1000 * joint_errors(estimated, truth_here),
            "pa_mpjpe_mm": 1000 * joint_errors(turned, truth),
        }
        near = errors["mpjpe_mm"][visible]
        grid = torch.linspace(0, NEAR_MM, 31, dtype=near.dtype)
        values = {name: float(found[visible].mean()) for name, found in errors.items()}
        values["pck"] = 100 * float((near < NEAR_MM).double().mean())
        values["auc"] = 100 * float((near[:, None] < grid).double().mean())
        rows = {name: _row_means(found, visible) for name, found in errors.items()}
        if "keypoints" in predictions.values and "keypoints" in labels.values:
            values["pckh"], rows["pckh"] = _pckh(*pair.joints(JOINTS, "keypoints"), visible)
        if "vertices" in predictions.values and "vertices" in labels.values:
            values["pve_mm"] = self._pve(pair)
        unseen = int((~visible.any(1)).sum())
        return Scores(
            card=self.card,
            values=values,
            per_row={name: found.numpy() for name, found in rows.items()},
            counts={"rows": len(labels), "joints": int(visible.sum()), "rows_without_visible_joint": unseen},
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

    def _centred(self, pair: Pair, estimated: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        if self.root == "none":
            return estimated, truth
        roots = [_middle(estimated), _middle(truth)]
        if self.root in ("pelvis", "as_3dnbf"):
            roots[1] = tensor(pair.labels, "joints", ("pelvis",), "labels")
        if self.root == "pelvis":
            roots[0] = tensor(pair.predictions, "joints", ("pelvis",))
        return estimated - roots[0], truth - roots[1]

    def _pve(self, pair: Pair) -> float:
        """Of vertices on the same roots as the joints."""
        middle = self._centred(pair, *pair.joints(JOINTS))
        shifts = [moved - joints for moved, joints in zip(middle, pair.joints(JOINTS), strict=True)]
        meshes = (tensor(pair.predictions, "vertices"), tensor(pair.labels, "vertices", what="labels"))
        estimated, truth = (mesh + shift[:, :1] for mesh, shift in zip(meshes, shifts, strict=True))
        return 1000 * float(joint_errors(estimated, truth).mean())


def _middle(joints: Tensor) -> Tensor:
    return joints[:, HIPS].mean(1, keepdim=True)


def _aligned(estimated: Tensor, truth: Tensor, visible: Tensor) -> Tensor:
    """Poses on the truth as far as it is visible; those without a visible joint as they are, nothing counts them."""
    turned = align(estimated, truth, transform="similarity", weights=visible.to(estimated)).apply(estimated)
    return torch.where(visible.any(1)[:, None, None], turned, estimated)


def _row_means(errors: Tensor, visible: Tensor) -> Tensor:
    """(N,) NaN for rows without a visible joint."""
    return torch.where(visible, errors, 0.0).sum(1) / visible.sum(1)


def _pckh(estimated: Tensor, truth: Tensor, visible: Tensor) -> tuple[float, Tensor]:
    heads = torch.linalg.vector_norm(truth[:, HEAD[0]] - truth[:, HEAD[1]], dim=-1)
    distances = torch.linalg.vector_norm(estimated - truth, dim=-1)
    correct = visible & (distances <= 0.5 * heads[:, None])
    seen = visible.sum(0)
    shares = 100 * correct.sum(0).double()[seen > 0] / seen[seen > 0]
    return float(shares.mean()), 100 * _row_means(correct.double(), visible)


def hidden_share(labels: PoseRows) -> Array:
    """(N,) the share of each label's joints that is hidden, from its `visible`."""
    share: Array = 1 - value(labels, "visible").astype(float).mean(1)
    return share
