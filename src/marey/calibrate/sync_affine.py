"""Fundamental matrices of affine cameras, from motion that is about synchronised: for views without calibration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marey.calibrate.sync_geometry import Clocks, used_moments
from marey.calibrate.sync_signals import ViewMotion, on_grid

_ROUNDS = 4
_FAR = 2.0
"""Robust standard deviations from which on a point counts less."""


def affine_matrices(views: Sequence[ViewMotion], tracks: Sequence[Tensor], clocks: Clocks) -> Tensor | None:
    """Fit an affine epipolar geometry to every pair of views.

    The normal of the plane that the points (x, y, x', y') of two affine views fill is the eigenvector of their
    covariance with the least eigenvalue (Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 14.3);
    points far from the plane are weighed down and the fit is repeated.

    Args:
        views: V views.
        tracks: (T, 1, J, 2) positions of one person, or of the mean of all.
        clocks: right within some frames.

    Returns:
        (V, V, 3, 3) indexed [source, target]; None where too few views overlap.
    """
    moments = used_moments(views, clocks)
    if moments is None:
        return None
    when = moments.flatten()
    seen = torch.stack(
        [
            on_grid(track[:, 0], view.times, clocks.to_view(index, when))
            for index, (view, track) in enumerate(zip(views, tracks, strict=True))
        ]
    )
    i, j = torch.triu_indices(len(views), len(views), 1)
    points = torch.cat((seen[i], seen[j]), -1).flatten(1, 2)  # (pairs, M J, 4)
    known = points.isfinite().all(-1)
    points = torch.where(known[..., None], points, 0.0)
    normal, level = _planes(points, known.to(points.dtype))
    matrices = points.new_zeros(len(views), len(views), 3, 3)
    matrices[i, j, 2, :2], matrices[i, j, :2, 2], matrices[i, j, 2, 2] = normal[:, :2], normal[:, 2:], -level
    return matrices + matrices.mT.transpose(0, 1)


def _planes(points: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Unit normals (pairs, 4) and levels (pairs,) of the hyperplanes nearest to points (pairs, N, 4)."""
    known = weight > 0
    for _ in range(_ROUNDS):
        total = weight.sum(1).clamp_min(1e-9)
        mean = (weight[..., None] * points).sum(1) / total[:, None]
        centred = points - mean[:, None]
        spread = (weight[..., None] * centred).mT @ centred / total[:, None, None]
        normal = torch.linalg.eigh(spread).eigenvectors[..., 0]
        distance = (centred @ normal[..., None])[..., 0].abs()
        scale = 1.4826 * torch.where(known, distance, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num(nan=1.0)
        weight = torch.where(known, 1 / (1 + (distance / (_FAR * scale.clamp_min(1e-6))).square()).square(), 0.0)
    return normal, (mean * normal).sum(-1)
