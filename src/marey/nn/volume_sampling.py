"""Sampling maps at voxels with the one operator that other runtimes have for it, for exported networks.

`marey.nn.volumes` samples in ways that are fast in torch and that files for other programs cannot hold; this is the
same sum as a grid sampler computes it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

EXPORT_BLOCK = 1 << 15
"""Voxels at once in an exported network: of 64^3 eight blocks, each written into the file anew."""
_NOWHERE = -1.0
"""Pixel beside a map on which no bilinear tap falls."""


def sample_maps(features: Tensor, pixels: Tensor, in_front: Tensor) -> tuple[Tensor, Tensor]:
    """Sample maps at pixels, bilinearly, zero outside a map and behind a camera.

    Args:
        features: (B, V, C, h, w).
        pixels: (B, V, N, 2) x, y in pixels of the maps, centres at integers.
        in_front: (B, V, N) boolean.

    Returns:
        Values (B, V, N, C), and whether the map shows the place (B, V, N).
    """
    height, width = features.shape[-2:]
    x, y = pixels.unbind(-1)
    seen = (x > -1) & (x < width) & (y > -1) & (y < height) & in_front  # false for NaN
    x, y = torch.where(seen, x, _NOWHERE), torch.where(seen, y, _NOWHERE)
    places = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    values = functional.grid_sample(
        features.flatten(0, 1), places.flatten(0, 1)[:, None], padding_mode="zeros", align_corners=False
    )
    return values[:, :, 0].transpose(1, 2).unflatten(0, features.shape[:2]), seen  # type: ignore[no-untyped-call]
