"""The numbers of a report, from every frame and at full precision, whatever its playback leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import Diagnostics, Estimate, Skeleton
from marey.viz.style import is_limb, link_name, side_of

Array = npt.NDArray[np.floating[Any]]

KEPT_WEIGHT = 0.5
"""A keypoint that counted less is called rejected."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The result in a few numbers; NaN where nothing can be said."""

    people: int
    frames: int
    fps: float | None
    measured: float
    """Share of (frame, person, joint) that was measured."""
    filled: float
    """Share that was filled in from other frames."""
    sigma_mm: float
    """Median standard deviation of a measured joint along one axis: sqrt(trace of the covariance / 3)."""
    residual_px: float
    """Median distance of the keypoints that counted from the projected estimate."""


@dataclass(frozen=True, kw_only=True)
class ViewSummary:
    """One view's evidence against the estimate."""

    name: str
    size: tuple[int, int] | None
    """Width and height, pixels."""
    seen: float
    """Share of (frame, person, joint) with a keypoint."""
    rejected: float
    """Share of the keypoints seen that counted less than `KEPT_WEIGHT`."""
    residual_px: float
    """Median over the keypoints that counted."""
    residual_px_90: float
    """90th percentile over the keypoints that counted."""
    rejected_px: float
    """Median over the rejected ones."""


@dataclass(frozen=True, kw_only=True)
class Length:
    """A length over time, millimetres."""

    mean: float
    deviation: float


@dataclass(frozen=True, kw_only=True)
class LimbSummary:
    """One link of one person, both sides where it has sides."""

    person: int
    name: str
    left: Length | None
    right: Length | None
    middle: Length | None

    @property
    def difference(self) -> float | None:
        """Left minus right, millimetres."""
        return None if self.left is None or self.right is None else self.left.mean - self.right.mean


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Residuals and weights over time, C columns of consecutive frames."""

    edges: tuple[int, ...]
    """(C + 1,) places in 0..T where the columns begin and end."""
    residual: Array
    """(V, C) median pixels over people and joints, NaN where there is none."""
    weight: Array
    """(V, C) mean weight of the keypoints seen, NaN where there is none."""


def headline(estimate: Estimate) -> Headline:
    """Sum up the estimate."""
    joints = estimate.joints
    known = joints.positions.isfinite().all(-1)
    filled = known & joints.filled.bool()
    measured = (known & ~filled).cpu().numpy()
    trace = joints.covariance.detach().diagonal(dim1=-2, dim2=-1).sum(-1).cpu().numpy()
    count = max(measured.size, 1)
    residual = np.nan
    if estimate.diagnostics is not None:
        residual = _quantile(_kept(estimate.diagnostics), 0.5)
    return Headline(
        people=known.shape[1],
        frames=known.shape[0],
        fps=estimate.fps,
        measured=float(measured.sum()) / count,
        filled=float(filled.sum()) / count,
        sigma_mm=1000 * _quantile(np.sqrt(np.maximum(trace[measured], 0.0) / 3), 0.5),
        residual_px=residual,
    )


def view_summaries(estimate: Estimate, names: tuple[str, ...]) -> list[ViewSummary]:
    """Sum up every view; empty for an estimate without diagnostics. `names` are those of the V views."""
    if estimate.diagnostics is None:
        return []
    sizes = None if estimate.cameras is None else estimate.cameras.image_size.cpu().numpy()
    return [
        _view_summary(estimate.diagnostics[view], name, None if sizes is None else sizes[view])
        for view, name in enumerate(names)
    ]


def _view_summary(diagnostics: Diagnostics, name: str, size: Array | None) -> ViewSummary:
    weights, residuals = _numpy(diagnostics.weights), _numpy(diagnostics.residuals)
    seen = np.isfinite(residuals)
    kept = seen & (weights >= KEPT_WEIGHT)
    known_size = size is not None and bool(np.isfinite(size).all())
    return ViewSummary(
        name=name,
        size=(round(float(size[0])), round(float(size[1]))) if size is not None and known_size else None,
        seen=float(seen.mean()) if seen.size else np.nan,
        rejected=1 - float(kept.sum()) / float(seen.sum()) if seen.any() else np.nan,
        residual_px=_quantile(residuals[kept], 0.5),
        residual_px_90=_quantile(residuals[kept], 0.9),
        rejected_px=_quantile(residuals[seen & ~kept], 0.5),
    )


def limb_summaries(estimate: Estimate) -> list[LimbSummary]:
    """Mean and standard deviation of every link's length over the frames in which both ends were measured."""
    joints = estimate.joints
    positions = _numpy(joints.positions).copy()
    positions[_numpy(joints.filled).astype(bool)] = np.nan
    rows = [
        _limb(positions[:, person], joints.skeleton, name, links, person)
        for person in range(positions.shape[1])
        for name, links in _paired_links(joints.skeleton)
    ]
    return [row for row in rows if row.left or row.right or row.middle]


def _paired_links(skeleton: Skeleton) -> Iterable[tuple[str, dict[str, tuple[int, int]]]]:
    """Every link by its name, with its sides; the four limbs first."""
    pairs: dict[str, dict[str, tuple[int, int]]] = {}
    for link in skeleton.links:
        sides = {side_of(skeleton.joints[end]) for end in link} - {""}
        pairs.setdefault(link_name(skeleton, link), {})[sides.pop() if len(sides) == 1 else ""] = link
    return sorted(pairs.items(), key=lambda item: not is_limb(item[0]))


def _limb(
    positions: Array, skeleton: Skeleton, name: str, links: dict[str, tuple[int, int]], person: int
) -> LimbSummary:
    lengths = {side: _length(positions, *link) for side, link in links.items()}
    return LimbSummary(
        person=person, name=name, left=lengths.get("left"), right=lengths.get("right"), middle=lengths.get("")
    )


def _length(positions: Array, start: int, end: int) -> Length | None:
    lengths = 1000 * np.linalg.norm(positions[:, start] - positions[:, end], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    return Length(mean=float(lengths.mean()), deviation=float(lengths.std())) if lengths.size else None


def heat_map(diagnostics: Diagnostics, *, columns: int) -> HeatMap:
    """Gather residuals and weights over time into at most `columns` columns."""
    frames = diagnostics.batch_shape[1]
    count = min(columns, frames)
    edges = np.linspace(0, frames, count + 1).round().astype(int)
    views = diagnostics.batch_shape[0]
    residual, weight = np.full((views, count), np.nan), np.full((views, count), np.nan)
    for column, (first, last) in enumerate(pairwise(edges.tolist())):
        part = diagnostics[:, first:last]
        values = _numpy(part.residuals).reshape(views, -1)
        seen = np.isfinite(values)
        some = seen.any(-1)
        residual[some, column] = np.nanmedian(values[some], axis=-1)
        weights = np.where(seen, _numpy(part.weights).reshape(views, -1), 0.0)
        weight[some, column] = weights[some].sum(-1) / seen[some].sum(-1)
    return HeatMap(edges=tuple(edges.tolist()), residual=residual, weight=weight)


def _kept(diagnostics: Diagnostics) -> Array:
    residuals = _numpy(diagnostics.residuals)
    return residuals[np.isfinite(residuals) & (_numpy(diagnostics.weights) >= KEPT_WEIGHT)]


def _quantile(values: Array, share: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.quantile(values, share)) if values.size else float("nan")


def _numpy(tensor: Any) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
