"""Detections of a view at other moments than its frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.core import Boxes, Detections2D, InputError, Keypoints2D
from marey.detect.noise import person_size

LONGEST_GAP = 1.5
"""Frames, relative to the usual distance of frames, between two that are interpolated."""
_FAR = 0.5
"""Of a person's size: detections of neighbouring frames that are farther apart are different people."""
_ON_FRAME = 0.02
"""Of a frame: so near to a frame its detections are taken as they are."""


def resample_detections(detections: Detections2D, times: Tensor, at: Tensor) -> Detections2D:
    """Interpolate linearly between neighbouring frames, person by person.

    Slots need no identity: who is who in the next frame is told by who is nearest. A joint that either frame lacks is
    missing, and so is what lies outside the frames or in a gap of more than `LONGEST_GAP` frames. The score is the
    lower one. The covariance is that of a weighted mean of two independent measurements plus the square of what the
    path may be curved by; NaN stays NaN. Identities of `track` are not kept.

    Args:
        detections: (T, P) of one view.
        times: (T,) seconds, ascending.
        at: (S,) seconds.

    Returns:
        (S, P)

    Raises:
        InputError: times do not ascend or are not one a frame.
    """
    if times.shape != detections.batch_shape[:1] or not (times.isfinite().all() and (times.diff() > 0).all()):
        raise InputError(f"times: expected {detections.batch_shape[0]} ascending seconds, got {tuple(times.shape)}")
    if len(times) < 2:
        empty = detections[torch.zeros(len(at), dtype=torch.long)]
        return _masked(empty, (at == times[0])[:, None].expand(empty.batch_shape))
    after = torch.searchsorted(times, at).clamp(1, len(times) - 1)
    start, stop = times[after - 1], times[after]
    share = (at - start) / (stop - start)
    near = share.round().clamp(0.0, 1.0)
    share = torch.where((share - near).abs() <= _ON_FRAME, near, share)
    inside = (share >= 0) & (share <= 1)
    bridged = (stop - start <= LONGEST_GAP * times.diff().median()) | (share == 0) | (share == 1)
    first, partner = detections[after - 1], _partners(detections.keypoints)
    partner = partner[after - 1]
    second = _taken(detections[after], partner.clamp_min(0))
    # people whom only the frame that counts shows are kept where a frame is hit exactly
    exact_second = share == 1
    mixed = _mixed(
        first, second, share.to(detections.keypoints.positions.dtype), _bend(detections.keypoints)[after - 1]
    )
    mixed = _chosen(exact_second, detections[after], _chosen(share == 0, first, mixed))
    linked = (partner >= 0) | (share == 0)[:, None] | exact_second[:, None]
    return _masked(replace(mixed, track=None), linked & (inside & bridged)[:, None])


def _partners(keypoints: Keypoints2D) -> Tensor:
    """(T, P) slot in the next frame of each person, -1 where there is none; the last frame has none."""
    positions = keypoints.positions
    here, there = positions[:-1], positions[1:]
    between = (here[:, :, None] - there[:, None]).square().sum(-1).sqrt().nanmedian(-1).values / person_size(positions)[
        :-1, :, None
    ]
    between = torch.where(between.isnan(), torch.inf, between)
    distance, partner = between.min(-1)
    mutual = between.argmin(1).gather(1, partner) == torch.arange(positions.shape[1], device=positions.device)
    found = torch.where((distance < _FAR) & mutual, partner, -1)
    return torch.cat((found, torch.full_like(found[:1], -1)) if len(found) else (torch.full_like(partner, -1),))


def _bend(keypoints: Keypoints2D) -> Tensor:
    """Square pixels (T, P, J): the second difference around each frame, per coordinate; 0 where it is unknown."""
    positions = keypoints.positions
    bend = torch.zeros_like(positions[..., 0])
    if len(positions) > 2:
        bend[1:-1] = positions.diff(n=2, dim=0).square().sum(-1).nan_to_num() / 2
    return bend


def _mixed(first: Detections2D, second: Detections2D, share: Tensor, bend: Tensor) -> Detections2D:
    """Between two frames, `share` (S,) of the way."""
    one, two = first.keypoints, second.keypoints
    s = share[:, None, None]
    eye = torch.eye(2, dtype=share.dtype, device=share.device)
    curved = (s * (1 - s) / 2).square() * bend
    covariance = (1 - s)[..., None, None].square() * one.covariance + s[..., None, None].square() * two.covariance
    keypoints = replace(
        one,
        positions=torch.lerp(one.positions, two.positions, s[..., None]),
        covariance=covariance + curved[..., None, None] * eye,
        score=torch.minimum(one.score, two.score),
    )
    boxes, monocular, spread = None, None, None
    if first.boxes is not None and second.boxes is not None:
        corners = torch.lerp(first.boxes.corners, second.boxes.corners, s)
        boxes = Boxes(corners=corners, score=torch.minimum(first.boxes.score, second.boxes.score))
    if first.monocular is not None and second.monocular is not None:
        monocular = torch.lerp(first.monocular, second.monocular, s[..., None])
    if first.monocular_covariance is not None and second.monocular_covariance is not None:
        # two guesses of one pose err alike: no smaller between them
        spread = torch.lerp(first.monocular_covariance, second.monocular_covariance, s[..., None, None])
    return Detections2D(keypoints=keypoints, boxes=boxes, monocular=monocular, monocular_covariance=spread)


def _taken(detections: Detections2D, slots: Tensor) -> Detections2D:
    """Detections (S, P) with the people reordered by slots (S, P)."""
    rows = torch.arange(slots.shape[0], device=slots.device)[:, None]
    return detections.map(lambda values: values[rows, slots])


def _chosen(where: Tensor, yes: Detections2D, no: Detections2D) -> Detections2D:
    """One or the other at each moment (S,)."""
    parts = iter(list(replace(yes, track=None).tensors()))

    def pick(values: Tensor) -> Tensor:
        return torch.where(where.reshape(-1, *(1,) * (values.ndim - 1)), next(parts), values)

    return replace(no, track=None).map(pick)


def _masked(detections: Detections2D, kept: Tensor) -> Detections2D:
    """Missing where not kept (S, P), joint by joint where a position is missing."""

    def hidden(values: Tensor) -> Tensor:
        return torch.where(kept.reshape(*kept.shape, *(1,) * (values.ndim - 2)), values, torch.nan)

    masked = detections.map(hidden)
    seen = masked.keypoints.positions.isfinite().all(-1)
    keypoints = replace(
        masked.keypoints,
        score=torch.where(seen, masked.keypoints.score, 0.0),
        covariance=torch.where(seen[..., None, None], masked.keypoints.covariance, torch.nan),
    )
    boxes = masked.boxes
    if boxes is not None:
        boxes = replace(boxes, score=torch.where(kept, boxes.score, 0.0))
    return replace(masked, keypoints=keypoints, boxes=boxes)
