"""Meshes, joints, silhouettes and samples as HierarchicalProbabilistic3DHuman scores SSP-3D and 3DPW."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.core.skeletons import skeleton
from marey.io.predictions import PoseRows
from marey.metrics.aligned import procrustes_errors, scale_corrected_errors
from marey.metrics.joints import joint_errors, keypoint_errors
from marey.metrics.known import mean_of_known, mean_over_joints
from marey.metrics.protocols.contract import ProtocolCard, Scores
from marey.metrics.protocols.pairing import Pair, paired, tensor, value
from marey.metrics.samples import best_of
from marey.metrics.silhouette import silhouette_counts

SSP3D = (
    "pve_pa", "pve_t_sc", "silhouette_iou", "joints2d_px", "joints2d_samples_px", "silhouette_samples_iou",
)  # fmt: skip
_PW3D = ("pve", "pve_sc", "pve_pa", "pve_t_sc", "mpjpe", "mpjpe_sc", "mpjpe_pa")
PW3D = (*_PW3D, *(f"{name}_best" for name in _PW3D))
TRACKER = tuple(dict.fromkeys((*PW3D, "pve_t", "pve_t_best", *SSP3D)))
"""Everything that the program can track."""

ARRAYS = {"pve": "vertices", "pve_t": "vertices_rest", "mpjpe": "joints"}

JOINTS = skeleton("lsp_14").joints
KEYPOINTS = skeleton("coco_17").joints

ERRORS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "": joint_errors,
    "_sc": scale_corrected_errors,
    "_pa": procrustes_errors,
}

CHUNK = 64
"""Rows whose meshes are handled at once."""


@dataclass(frozen=True, kw_only=True)
class Bodies:
    """Means over all points of all rows.

    What rows hold, in metres unless said otherwise, by what is asked for: `vertices`, `joints` (N, K, 3) in the body's
    own frame, which pve and mpjpe do not align; `vertices_rest` of the zero pose (pve_t); `keypoints` pixels;
    `silhouette` (N, H, W) boolean. Predictions for `best` and `samples` also `vertices_samples`,
    `vertices_rest_samples`, `joints_samples` (N, S, K, 3), `keypoints_samples` (N, S, K, 2), `silhouette_samples`
    (N, S, H, W), the first of which is the mode in the published numbers. Labels may have `keypoints_visible` (N, K)
    for the keypoints of samples.
    """

    name: str
    metrics: tuple[str, ...]

    @property
    def card(self) -> ProtocolCard:
        """What its numbers mean."""
        return ProtocolCard(
            name=self.name,
            source="akashsengupta1997/HierarchicalProbabilistic3DHuman, EvalMetricsTracker (3e5c64e)",
            joints="pve all vertices, pve_t those of the zero pose; mpjpe 14 regressed joints; joints2d 17 of COCO",
            alignment="none (the body's own frame); sc: centroid and extent (rms) of each pose; pa: a similarity "
            "without a reflection of each pose, or of each sample",
            averaging="over all points of all rows alike; IoU from the pixels of all rows together",
            matching="best: of each row the sample with the least mean error; samples: the mean over all of them",
            units="millimetres; joints2d pixels of the stored crop; IoU in percent",
        )

    def score(self, predictions: PoseRows, labels: PoseRows) -> Scores:
        """Score predictions in rows with the labels' sequence, frame and person.

        Raises:
            InputError: rows do not fit, or lack an array that a metric needs.
            ShapeError: two arrays do not belong together.
        """
        pair = paired(predictions, labels)
        values: dict[str, float] = {}
        rows: dict[str, Tensor] = {}
        for metric in self.metrics:
            if metric.startswith("silhouette"):
                values[metric], rows[metric] = _silhouette_iou(pair, samples="samples" in metric)
            elif metric.startswith("joints2d"):
                values[metric], rows[metric] = _pixels(pair, samples="samples" in metric)
            else:
                rows[f"{metric}_mm"] = 1000 * _distances(pair, metric)
                values[f"{metric}_mm"] = float(rows[f"{metric}_mm"].mean())
        return Scores(
            card=self.card,
            values=values,
            per_row={name: found.numpy() for name, found in rows.items()},
            counts={"rows": len(labels)},
        )


def _distances(pair: Pair, metric: str) -> Tensor:
    """(N,) mean distances of points, metres."""
    kind, best = metric.removesuffix("_best"), metric.endswith("_best")
    alignment = kind[-3:] if kind.endswith(("_sc", "_pa")) else ""
    key = ARRAYS[kind.removesuffix(alignment)]
    estimates = value(pair.predictions, f"{key}_samples" if best else key, "predictions")
    if best and estimates.ndim == 4 and not estimates.shape[1]:
        raise ShapeError(f"predictions: '{key}_samples' has no samples, shape {estimates.shape}; pass at least one")
    found = []
    names = JOINTS if key == "joints" else ()
    for start in range(0, len(pair.labels), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(pair.labels)))
        estimated = tensor(pair.predictions[rows], f"{key}_samples" if best else key, names)
        truth = tensor(pair.labels[rows], key, names, "labels")
        truth = truth[:, None] if best else truth
        _check_points(estimated, truth, key)
        errors = ERRORS[alignment](estimated, truth.expand_as(estimated))
        found.append(mean_over_joints(best_of(errors) if best else errors))
    return torch.cat(found)


def _check_points(estimated: Tensor, truth: Tensor, key: str) -> None:
    if estimated.ndim != truth.ndim or estimated.shape[-2:] != truth.shape[-2:] or truth.shape[-1] != 3:
        raise ShapeError(
            f"'{key}': expected points (N, K, 3), and samples of them (N, S, K, 3), with the same K in predictions and "
            f"labels, got {tuple(estimated.shape)} and {tuple(truth.shape)}; are they of the same body model?"
        )


def _pixels(pair: Pair, *, samples: bool) -> tuple[float, Tensor]:
    """Mean distance in the image over all joints, or over all visible joints of all samples; and (N,) of each row."""
    truth = tensor(pair.labels, "keypoints", KEYPOINTS, "labels")
    estimated = tensor(pair.predictions, "keypoints_samples" if samples else "keypoints", KEYPOINTS)
    errors = keypoint_errors(estimated, (truth[:, None] if samples else truth).expand_as(estimated))
    if samples and "keypoints_visible" in pair.labels.values:
        visible = tensor(pair.labels, "keypoints_visible", KEYPOINTS, "labels") > 0
        errors = errors.masked_fill(~visible[:, None], torch.nan)
    return float(mean_of_known(errors, "keypoints")), errors.flatten(1).nanmean(1)


def _silhouette_iou(pair: Pair, *, samples: bool) -> tuple[float, Tensor]:
    """Of the pixels of all rows together, in percent; and (N,) of each row."""
    key = "silhouette_samples" if samples else "silhouette"
    estimated, truth = _masks(pair.predictions, key, "predictions"), _masks(pair.labels, "silhouette", "labels")
    if estimated.ndim != 3 + samples or estimated.shape[-2:] != truth.shape[-2:]:
        raise ShapeError(f"'{key}': expected masks of {tuple(truth.shape[-2:])}, got {tuple(estimated.shape)}")
    if len(empty := (~truth.flatten(1).any(1)).nonzero()[:, 0].numpy()):
        raise InputError(f"labels: 'silhouette' is empty in {pair.labels.described(empty)}; leave those rows out")
    # Of a row's samples in one image below one another, so that their pixels count together.
    truth = truth[:, None].expand_as(estimated).flatten(1, 2) if samples else truth
    counts = silhouette_counts(estimated.flatten(1, 2) if samples else estimated, truth)
    return 100 * float(counts.total().iou()), 100 * counts.iou()


def _masks(rows: PoseRows, key: str, what: str) -> Tensor:
    """Boolean, of what is greater than zero."""
    array = value(rows, key, what)
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"{what}: '{key}' is of {array.dtype} in every row; expected numbers or booleans")
    if len(bad := np.flatnonzero(np.isnan(array).reshape(len(array), -1).any(1))):
        raise InputError(f"{what}: '{key}' is NaN in {len(bad)} rows, {rows.described(bad)}; a pixel is in or out")
    return torch.from_numpy(array > 0)
