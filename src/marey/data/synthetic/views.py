"""What the pixels of pictures look along: rays in the world."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras
from marey.data.synthetic.rows import Rows
from marey.geometry.projection import pixels_to_rays

_NODES = 17
"""Rays a side that are computed exactly; between them directions are blended."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Views(Rows):
    """M pictures and what of the world matters for what is behind the people; float32."""

    origins: Tensor
    """(M, 3) optical centres, metres."""
    rays: Tensor
    """(M, 3, H, W) directions of the pixels, not of unit length."""
    feet: Tensor
    """(M, F, 3) points of the people under which the ground is in shadow; far away where there is nobody."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rays.shape[-2], self.rays.shape[-1]


def ray_nodes(cameras: Cameras, size: tuple[int, int]) -> Tensor:
    """Directions (M, 3, 17, 17) float32 in the world on a grid over the pictures of cameras (M,).

    Where a lens has no ray (in the corners of a very wide picture) it is that of the pinhole.
    """
    height, width = size
    x = torch.linspace(0, width - 1, _NODES, dtype=torch.float64, device=cameras.device)
    y = torch.linspace(0, height - 1, _NODES, dtype=torch.float64, device=cameras.device)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).expand(len(cameras.intrinsics), -1, -1, -1)
    _, rays = pixels_to_rays(grid, cameras)
    straight = Cameras(
        intrinsics=cameras.intrinsics,
        distortion=cameras.distortion[..., :0],
        image_size=cameras.image_size,
        rotation=cameras.rotation,
        translation=cameras.translation,
    )
    _, pinhole = pixels_to_rays(grid, straight)
    return torch.where(rays.isnan(), pinhole, rays).permute(0, 3, 1, 2).to(torch.float32)


def between_nodes(nodes: Tensor, size: tuple[int, int]) -> Tensor:
    """Directions (M, 3, H, W) of all pixels, bilinear: good to a fraction of a pixel, for what is far away."""
    return _tents(size[0], nodes) @ (nodes @ _tents(size[1], nodes).mT)


def _tents(count: int, like: Tensor) -> Tensor:
    """(count, nodes): the weights of the nodes at `count` pixels from the first node to the last."""
    place = torch.linspace(0, _NODES - 1, count, dtype=like.dtype, device=like.device)[:, None]
    return (1 - (place - torch.arange(_NODES, device=like.device)).abs()).clamp_min(0)
