"""Boxes of people in a picture, from any detector of the house."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from marey.core import Detections2D, Image
from marey.data.boxes import boxes_of_points, expand_boxes
from marey.detect.detector import Detector
from marey.detect.trunk_search import box_overlap
from marey.methods.metrabs.plausibility import suppress_similar

_KEYPOINT_ROOM = 1.2
"""Sides of a person's box over those of the box around the keypoints."""


def detected_boxes(
    detector: Detector,
    picture: Tensor,
    *,
    least_score: float | None = None,
    most_overlap: float = 0.7,
    most: int | None = None,
    mirrored: bool = False,
) -> Tensor:
    """Boxes (n, 5) left, top, width, height and score, the surest first, double precision.

    Args:
        detector: Opened.
        picture: (3, H, W) uint8, or floating point in 0..1.
        least_score: None: all that the detector gives.
        most_overlap: Intersection over union of two boxes above which the worse one goes.
        most: How many; None: all.
        mirrored: Whether the mirrored picture is searched as well.
    """
    stored = picture if picture.dtype == torch.uint8 else (255 * picture).round_().to(torch.uint8)
    image = np.ascontiguousarray(stored.permute(1, 2, 0).cpu().numpy())
    corners, scores = _searched(detector, image)
    if mirrored:
        others, sure = _searched(detector, np.ascontiguousarray(image[:, ::-1]))
        left, top, right, bottom = others.unbind(-1)
        last = image.shape[1] - 1
        corners = torch.cat((corners, torch.stack((last - right, top, last - left, bottom), -1)))
        scores = torch.cat((scores, sure))
    if least_score is not None:
        corners, scores = corners[scores >= least_score], scores[scores >= least_score]
    kept = suppress_similar(box_overlap(corners, corners), scores, most=most_overlap)[:most]
    return torch.cat((corners[kept, :2], corners[kept, 2:] - corners[kept, :2], scores[kept, None]), -1)


def _searched(detector: Detector, image: Image) -> tuple[Tensor, Tensor]:
    """Left, top, right, bottom (n, 4) and scores (n,) of the people of one picture."""
    found = next(iter(detector([image])))
    corners, scores = _around_keypoints(found) if found.boxes is None else (found.boxes.corners, found.boxes.score)
    corners, scores = corners.double().cpu(), scores.double().cpu()
    good = corners.isfinite().all(-1) & (corners[:, 2:] > corners[:, :2]).all(-1) & (scores > 0)
    return corners[good], scores[good]


def _around_keypoints(found: Detections2D) -> tuple[Tensor, Tensor]:
    """Boxes of a detector that gives keypoints alone, with the mean score of the keypoints that are there."""
    spans = expand_boxes(boxes_of_points(found.keypoints.positions.double().cpu().numpy()), _KEYPOINT_ROOM)
    seen = found.keypoints.positions.isfinite().all(-1)
    score = (found.keypoints.score * seen).sum(-1) / seen.sum(-1).clamp_min(1)
    return torch.from_numpy(np.concatenate((spans[..., :2], spans[..., :2] + spans[..., 2:]), axis=-1)), score
