"""Losses of joints and volumes (Learnable Triangulation of Human Pose, Iskakov et al., ICCV 2019, section 3).

`known` (B, J) says which joints have labels; what has none is not counted, whatever stands there.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_error(joints: Tensor, truth: Tensor, known: Tensor, *, bend: float | None = None) -> Tensor:
    """Mean squared error of coordinates (B, J, D).

    Args:
        joints: (B, J, D).
        truth: (B, J, D).
        known: (B, J) boolean.
        bend: squared errors beyond it grow with the tenth root only: `e^0.1 bend^0.9`. None: nowhere.
    """
    squared = (_known(joints, truth, known)).square()
    if bend is not None:
        beyond = squared > bend
        # where: the root's derivative is infinite at zero, and must not be asked for there
        bent = torch.where(beyond, squared, bend) ** 0.1 * bend**0.9
        squared = torch.where(beyond, bent, squared)
    return squared.sum() / (joints.shape[-1] * known.sum().clamp_min(1))


def absolute_error(joints: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean absolute error of coordinates (B, J, D)."""
    return _known(joints, truth, known).abs().sum() / (joints.shape[-1] * known.sum().clamp_min(1))


def distance(joints: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean Euclidean distance of joints (B, J, D); its derivative at zero distance is zero."""
    squared = _known(joints, truth, known).square().sum(-1)
    apart = squared > 0
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0).sum() / known.sum().clamp_min(1)


def volumetric_cross_entropy(volumes: Tensor, grid: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Minus the logarithm of the probability at the voxel nearest to each joint, mean over all B J.

    Args:
        volumes: (B, J, X, Y, Z), probabilities.
        grid: (B, X, Y, Z, 3) places of the voxels.
        truth: (B, J, 3) in the same units.
        known: (B, J) boolean; unknown joints count as zero.
    """
    places = grid.flatten(1, 3)
    target = torch.where(known[..., None], truth, places[:, :1])
    nearest = torch.cdist(target, places, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
    probability = volumes.flatten(2).gather(-1, nearest[..., None])[..., 0]
    return (-(probability + 1e-6).log() * known).mean()


def _known(joints: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    return torch.where(known[..., None], joints - truth, 0.0)
