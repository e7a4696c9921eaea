"""Small recordings of joints for the tests of this room."""

import torch
from torch import Tensor

from marey.core import Joints3D, skeleton


def joints_of(positions: Tensor, *, sigma: float | Tensor = 0.01, name: str = "coco_17") -> Joints3D:
    """Joints from positions (T, P, J, 3) with NaN, of standard deviation `sigma` (broadcasts to T, P, J)."""
    known = positions.isfinite().all(-1)
    variance = torch.as_tensor(sigma, dtype=positions.dtype).square().expand(known.shape)
    covariance = variance[..., None, None] * torch.eye(3, dtype=positions.dtype)
    return Joints3D(
        positions=positions,
        covariance=torch.where(known[..., None, None], covariance, torch.nan),
        score=torch.where(known, 0.8, 0.0).to(positions.dtype),
        filled=torch.zeros_like(known),
        skeleton=skeleton(name),
    )


def seconds(frames: int, fps: float = 60.0) -> Tensor:
    return torch.arange(frames, dtype=torch.float64) / fps


def waving(frames: int, people: int = 1, *, fps: float = 60.0, joints: int = 17) -> Tensor:
    """Smooth positions (T, P, J, 3), metres: every joint circles at its own pace."""
    time = seconds(frames, fps)[:, None, None]
    place = torch.arange(people)[:, None] * 2.0 + torch.arange(joints) * 0.1
    pace = 2 * torch.pi * (0.3 + 0.05 * torch.arange(joints))
    circle = (0.3 * torch.sin(pace * time), 0.3 * torch.cos(pace * time), 0.1 * torch.sin(2 * pace * time))
    return torch.stack([place + part for part in circle], dim=-1)
