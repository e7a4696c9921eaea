"""Detections and frames of views with clocks of their own, brought to the moments of one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from marey.calibrate.sync_geometry import Clocks
from marey.core import Detections2D, InputError, Recording
from marey.detect.resample import resample_detections
from marey.io.resampled_frames import ResampledFrames
from marey.pipeline.detections import FoundKeypoints
from marey.pipeline.view_clocks import own_times, reference_view


@dataclass(frozen=True, kw_only=True)
class OwnTime:
    """What each view saw on its own clock."""

    detections: tuple[Detections2D, ...]
    """(T_v, P_v) of each view."""
    times: tuple[Tensor, ...]
    """(T_v,) seconds."""
    frames: tuple[range, ...]
    """Which of the view's frames they are."""
    found: FoundKeypoints
    """For the detector's name and notes."""


def on_one_axis(recording: Recording, own: OwnTime, clocks: Clocks, span: range) -> tuple[Recording, FoundKeypoints]:
    """Detections and frames of all views at the moments of the reference view's frames."""
    reference = reference_view(recording)
    moments = own_times(recording, reference)
    now = clocks.to_common(reference, moments)
    resampled = [
        resample_detections(detections, times, clocks.to_view(view, now[span.start : span.stop]))
        for view, (detections, times) in enumerate(zip(own.detections, own.times, strict=True))
    ]
    _demand_overlap(recording, resampled)
    frames = [
        None
        if source is None
        else ResampledFrames(
            source,
            _nearest(own_times(recording, view), clocks.to_view(view, now)),
            timestamps=moments.numpy(),
            fps=recording.fps,
        )
        for view, source in enumerate(recording.frames)
    ]
    people = max(part.batch_shape[1] for part in resampled)
    detections = Detections2D.stack([_padded(part, people) for part in resampled])
    return (
        replace(recording, frames=tuple(frames), detections=None, timestamps=None),
        replace(own.found, detections=detections),
    )


def _demand_overlap(recording: Recording, resampled: Sequence[Detections2D]) -> None:
    seen = torch.stack([part.keypoints.positions.isfinite().flatten(1).any(1) for part in resampled])
    alone = [name for name, view in zip(recording.names, (seen & (seen.sum(0) > 1)), strict=True) if not view.any()]
    if alone:
        raise InputError(
            f"the views {', '.join(alone)} have no moment in common with any other at these offsets; check them"
        )


def _nearest(times: Tensor, wanted: Tensor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Index (S,) of the nearest of the times (T,); -1 where none is within one step."""
    step = float(times.diff().median()) if len(times) > 1 else math.inf
    after = torch.searchsorted(times, wanted).clamp(1, max(len(times) - 1, 1)).clamp_max(len(times) - 1)
    before = (after - 1).clamp_min(0)
    place = torch.where(wanted - times[before] < times[after] - wanted, before, after)
    return torch.where((times[place] - wanted).abs() <= step, place, -1).numpy()


def _padded(detections: Detections2D, people: int) -> Detections2D:
    """With empty slots added, so that there are `people`."""
    missing = people - detections.batch_shape[1]
    if not missing:
        return detections
    slots = torch.arange(people).clamp_max(detections.batch_shape[1] - 1)
    wider = detections[:, slots]
    empty = torch.arange(people) >= detections.batch_shape[1]

    def hidden(values: Tensor) -> Tensor:
        return torch.where(empty.reshape(1, -1, *(1,) * (values.ndim - 2)), torch.nan, values)

    masked = wider.map(hidden)
    keypoints = replace(masked.keypoints, score=masked.keypoints.score.nan_to_num())
    boxes = None if masked.boxes is None else replace(masked.boxes, score=masked.boxes.score.nan_to_num())
    return replace(masked, keypoints=keypoints, boxes=boxes)
