"""Pictures of what training shows and of what the network makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Image
from marey.methods.metrabs.losses import Guess
from marey.methods.metrabs.samples import CropSamples
from marey.viz.figure_sketch import GUESS, TRUTH, blank, draw_figure, fitted

TILE = 192
"""Pixels along a side of each picture."""
_EXTENT = 1.2
"""Metres from the middle of a person seen from the side to the rim."""
_GAP = 3


def crops_preview(samples: CropSamples, guess: Guess, links: Sequence[tuple[int, int]]) -> Image:
    """Show crops beside each other, truth green and estimate orange; below each, people in space from the left.

    Args:
        samples: B crops.
        guess: What the network says of them, in the joints of the samples' keypoints.
        links: Between these joints.

    Returns:
        (H, W, 3) uint8.
    """
    scale = TILE / samples.images.shape[-1]
    pictures = samples.images.permute(0, 2, 3, 1).numpy(force=True)
    front = [(samples.keypoints, TRUTH), *([] if guess.keypoints is None else [(guess.keypoints, GUESS)])]
    drawn = [((points.float().numpy(force=True) + 0.5) * scale - 0.5, color) for points, color in front]
    spatial = bool(samples.joints.isfinite().any())
    columns = []
    for place, picture in enumerate(pictures):
        tile = cv2.resize(np.ascontiguousarray(picture), (TILE, TILE), interpolation=cv2.INTER_AREA).astype(np.uint8)
        for points, color in drawn:
            _draw(tile, points[place], links, color)
        side = [_from_left(samples.joints[place], guess.relative[place], links)] if spatial else []
        columns.append(np.concatenate([tile, *side]))
    gap = np.full((columns[0].shape[0], _GAP, 3), 24, np.uint8)
    return np.concatenate([part for column in columns for part in (column, gap)][:-1], axis=1)


def _from_left(truth: Tensor, guess: Tensor, links: Sequence[tuple[int, int]]) -> Image:
    """Joints (J, 3) about their middles: depth to the right, y down."""
    tile = blank(TILE)
    known = truth.isfinite().all(-1)
    for joints, color in ((truth, TRUTH), (guess, GUESS)):
        centered = joints - joints[known].mean(0)
        points = torch.stack((centered[:, 2], centered[:, 1]), -1).float().numpy(force=True)
        _draw(tile, fitted(points, TILE, extent=_EXTENT), links, color)
    return tile


def _draw(tile: Image, points: npt.NDArray[Any], links: Sequence[tuple[int, int]], color: tuple[int, int, int]) -> None:
    draw_figure(tile, points, links, color=color, shown=np.isfinite(points).all(-1))
