"""Bodies in space against the detections of a frame: what each would gain, and the evidence once they are matched."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.detect.agreement import best_side, inlier, log_ratio
from marey.detect.scene import Scene, Sighting, look, widen


def agreement(scene: Scene, position: Tensor, covariance: Tensor, sighting: Sighting) -> tuple[Tensor, Tensor, Tensor]:
    """What every detection gains as every one of K people.

    Args:
        scene: V cameras.
        position: (K, J, 3) expected.
        covariance: (K, J, 3, 3).
        sighting: one frame.

    Returns:
        Gain (V, K, P), ratios (V, K, P, J) with the better side taken, and where the sides are exchanged (V, K, P, J).
    """
    expected, jacobian, slack = look(scene, position)
    doubt = widen(jacobian @ covariance @ jacobian.mT, slack)
    offset = sighting.points[:, None] - expected[:, :, None, None]
    spread = sighting.spread[:, None] + doubt[:, :, None, None]
    ratio = log_ratio(offset, spread, scene.area.reshape(-1, 1, 1, 1, 1), scene.outlier)
    ratio, swapped = best_side(ratio, scene.mirror, scene.swap_penalty)
    gain = torch.where(sighting.present[:, None], ratio.sum(-1), 0.0)
    return gain, ratio, swapped


def evidence(
    scene: Scene, sighting: Sighting, chosen: Tensor, ratio: Tensor, swapped: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Collect the keypoints of the chosen slots (V, K), the sides put right.

    Args:
        scene: for its share of outliers.
        sighting: one frame.
        chosen: (V, K) slots, -1 for none.
        ratio: (V, K, P, J) of `agreement`.
        swapped: (V, K, P, J) of `agreement`.

    Returns:
        Points (V, K, J, 2), NaN = not seen; spreads (V, K, J, 2, 2); weights (V, K, J).
    """
    views, people, joints = chosen.shape[0], chosen.shape[1], ratio.shape[-1]
    slot = chosen.clamp(min=0)[..., None, None].expand(views, people, 1, joints)
    side = swapped.gather(2, slot)[:, :, 0].long()
    weight = inlier(ratio.gather(2, slot)[:, :, 0], scene.outlier)
    view = torch.arange(views)[:, None, None]
    joint = torch.arange(joints)
    points = sighting.points[view, side, slot[:, :, 0], joint]
    spread = sighting.spread[view, side, slot[:, :, 0], joint]
    return torch.where((chosen >= 0)[..., None, None], points, torch.nan), spread, weight
