"""Pictures of the captures that networks are trained on, and of what they make of them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from marey.core import Image
from marey.core.skeletons import skeleton
from marey.engine.captures import Captures
from marey.nn.trunk import KEYPOINTS
from marey.viz.figure_sketch import GUESS, TRUTH, draw_figure

_ENLARGED = 2


def capture_preview(samples: Captures, joints: Tensor) -> dict[str, Image]:
    """Show the first person in all views: true joints (green), then estimated ones (B, K, 3) (orange), projected."""
    pictures = samples.images[0].permute(0, 2, 3, 1).numpy(force=True)
    plain = [
        cv2.resize(np.ascontiguousarray(picture), None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
        for picture in pictures
    ]
    shown = {"truth": (samples.joints[0], TRUTH), "estimate": (joints[0].to(samples.joints), GUESS)}
    return {
        name: _row(plain, _pixels(places, samples.projections[0]), color) for name, (places, color) in shown.items()
    }


def _row(pictures: list[Image], pixels: Tensor, color: tuple[int, int, int]) -> Image:
    links = skeleton(KEYPOINTS).links
    drawn = []
    for picture, points in zip(pictures, pixels, strict=True):
        canvas = picture.copy()
        places = (points.numpy(force=True) + 0.5) * _ENLARGED - 0.5
        draw_figure(canvas, places, links, color=color, shown=np.isfinite(places).all(-1))
        drawn.append(canvas)
    return np.concatenate(drawn, axis=1).astype(np.uint8)


def _pixels(joints: Tensor, projections: Tensor) -> Tensor:
    """Joints (K, 3) in the pictures (V, K, 2); NaN behind a camera."""
    moved = torch.einsum("vij,kj->vki", projections[..., :3], joints) + projections[:, None, :, 3]
    depth = moved[..., 2:]
    return torch.where(depth > 0, moved[..., :2] / depth.clamp_min(1e-6), torch.nan)
