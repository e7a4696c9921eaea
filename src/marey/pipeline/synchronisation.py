"""Views that were recorded by clocks of their own, brought to one time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from marey.calibrate.sync_geometry import Clocks
from marey.calibrate.synchronise import SURE, Synchronisation, SynchroniseConfig, disagreement, synchronise
from marey.core import InputError, Recording
from marey.io.atomic import check_writable
from marey.io.recordings import open_recording
from marey.io.synchronisation_file import write_synchronisation
from marey.io.units import Unit
from marey.pipeline.common_axis import OwnTime, on_one_axis
from marey.pipeline.detections import FoundKeypoints, find_detections
from marey.pipeline.progress import Stages
from marey.pipeline.view_clocks import (
    common_length,
    equal_clocks,
    has_mixed_rates,
    length_of,
    own_times,
    parse_sync,
    reference_view,
)

PathLike = str | os.PathLike[str]

SYNCHRONISATION_FILE = "synchronisation.json"
LEAST_SHIFT = 1.0
"""Frames: views that are off by less are left as they are."""
IMPROVEMENT = 0.1
"""Views are left as they are unless the median epipolar distance falls by this share."""
_MOST_FRAMES = 1200
"""That are looked at to synchronise a recording on the way to an estimate."""


def synchronize(
    inputs: PathLike | Sequence[PathLike],
    *,
    calibration: PathLike | None = None,
    detector: str = "auto",
    skeleton: str | None = None,
    unit: Unit | float | None = None,
    fps: float | None = None,
    out: PathLike | None = None,
    progress: bool = False,
) -> Synchronisation:
    """Find how the clocks of the views of a recording are set against each other, from the people in them.

    Args:
        inputs: as for `estimate`; views may have different frame rates and lengths.
        calibration: camera file. With it offsets are found to a fraction of a frame, without to a few frames.
        detector: for videos and images, as for `estimate`.
        skeleton: of the keypoint files, where their joint count does not say it.
        unit: of the calibration's translations, where the file does not say it.
        fps: frames per second, where the inputs do not say it.
        out: folder for synchronisation.json, which `estimate` takes as `sync`, and synchronisation.png. Keypoints that
            a detector found are kept there, so `estimate` with the same folder need not find them again.
        progress: show bars.

    Returns:
        Offsets and rates with their deviations and confidence; `notes` says them in words.

    Raises:
        InputError, CalibrationError, FormatError, MissingDependencyError: each says what to do.
    """
    folder = None if out is None else check_writable(out)
    stages = Stages(progress)
    paths = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    with stages("open the recording"):
        recording = open_recording(
            paths, calibration=calibration, skeleton=skeleton, unit=unit, fps=fps, mixed_rates=True
        )
    if len(recording.names) < 2:
        raise InputError(f"the recording has one view, {recording.names[0]}; give two or more to synchronise")
    lengths = [length_of(recording, view) for view in range(len(recording.names))]
    with stages.bar("find keypoints", total=sum(lengths)) as done:
        own = _found_in_own_time(
            recording, [range(length) for length in lengths], detector=detector, people=None, folder=folder, done=done
        )
    with stages("compare the views' motion"):
        result = _synchronised(recording, own, SynchroniseConfig(reference=reference_view(recording)))
    if folder is not None:
        _write(folder, result, own)
    return result


def _write(folder: Path, result: Synchronisation, own: OwnTime) -> None:
    """The clocks, and the picture of the motion on the common time."""
    from marey.viz.synchronisation import save_speeds

    columns = (result.offset, result.rate, result.offset_deviation, result.rate_deviation, result.confidence)
    keys = ("offset_seconds", "rate", "offset_deviation_seconds", "rate_deviation", "confidence")
    views = {
        name: dict(zip(keys, (float(column[view]) for column in columns), strict=True))
        for view, name in enumerate(result.names)
    }
    reference = result.names[result.reference]
    write_synchronisation(folder / SYNCHRONISATION_FILE, views, reference=reference, notes=result.notes)
    save_speeds(
        folder / "synchronisation.png",
        [view.keypoints for view in own.detections],
        [result.to_common(view, times) for view, times in enumerate(own.times)],
        names=result.names,
    )


def found_in_one_time(
    recording: Recording,
    span: range,
    *,
    sync: str,
    detector: str,
    people: int | None,
    folder: Path | None,
    done: Callable[[int], object] | None = None,
) -> tuple[Recording, FoundKeypoints, tuple[str, ...]]:
    """Find the keypoints (V, T, P) of a span, all views at the same moments: the frames of the reference view.

    Args:
        recording: V views.
        span: frames of the reference view.
        sync: `none`; `auto`: views that are surely off by a frame or more are shifted; or offsets, see `parse_sync`.
        detector: as for `find_detections`, and so are `people` and `folder`.
        people: see there.
        folder: see there.
        done: called with the number of images done.

    Returns:
        The recording with frames on the common axis, as it was if nothing had to be done; the keypoints; and notes.

    Raises:
        InputError: views of different frame rates cannot be synchronised surely, or share no moment.
    """
    given = None if sync in ("auto", "none") else parse_sync(sync, recording)
    mixed = has_mixed_rates(recording)
    if len(recording.names) < 2 or sync == "none" or (given is None and not mixed):
        found = find_detections(recording, span, detector=detector, people=people, folder=folder, progress=done)
        if len(recording.names) < 2 or sync == "none" or recording.cameras is None:
            return recording, found, ()
        return _shifted_if_sure(recording, span, found)
    reference = reference_view(recording)
    moments = own_times(recording, reference)[span.start : span.stop]
    ranges = [_reached(recording, view, moments, given) for view in range(len(recording.names))]
    own = _found_in_own_time(recording, ranges, detector=detector, people=people, folder=folder, done=done)
    if given is not None:
        return (*on_one_axis(recording, own, given, span), ("The views were shifted by the given offsets.",))
    result = _synchronised(recording, own, SynchroniseConfig(reference=reference))
    if not result.is_sure:
        raise InputError(
            f"the views have different frame rates and could not be synchronised surely: {' '.join(result.notes)} "
            "Give the offsets (--sync NAME=SECONDS,...)"
        )
    clocks = Clocks(offset=result.offset, rate=result.rate)
    return (*on_one_axis(recording, own, clocks, span), ("The views were synchronised by motion.", *result.notes))


def _shifted_if_sure(
    recording: Recording, span: range, found: FoundKeypoints
) -> tuple[Recording, FoundKeypoints, tuple[str, ...]]:
    """Leave a recording as it is unless a view is surely off by `LEAST_SHIFT`, and the views agree better without."""
    assert recording.cameras is not None
    reference = reference_view(recording)
    times = [own_times(recording, view)[span.start : span.stop] for view in range(len(recording.names))]
    own = OwnTime(
        detections=tuple(found.detections[view] for view in range(len(times))),
        times=tuple(times),
        frames=(span,) * len(times),
        found=found,
    )
    if len(span) < 2 or any(len(own_time) != len(span) or not _ascends(own_time) for own_time in times):
        return recording, found, ()
    sample = _sample(own)
    result = _synchronised(recording, sample, SynchroniseConfig(reference=reference, other_rates=False))
    step = float(times[reference].diff().median())
    shifts = torch.stack(
        [(result.to_common(view, own_time) - times[reference]).abs().max() for view, own_time in enumerate(times)]
    )
    off = (shifts > LEAST_SHIFT * step) & (shifts > 2 * result.offset_deviation)
    if not off.any() or not bool((result.confidence[off] >= SURE).all()) or result.confidence[reference] < SURE:
        return recording, found, ()
    kept = torch.where(off, 1.0, 0.0)
    clocks = Clocks(offset=result.offset * kept, rate=1 + (result.rate - 1) * kept)
    views = [detections.keypoints for detections in sample.detections]
    before = disagreement(
        views, [sample.times[reference]] * len(views), recording.cameras, equal_clocks(len(views)), chosen=off
    )
    after = disagreement(views, sample.times, recording.cameras, clocks, chosen=off)
    if not after < (1 - IMPROVEMENT) * before:
        return recording, found, ()
    said = [note for note, moved in zip(result.notes, _moved(off, reference), strict=False) if moved]
    note = (
        f"The views were not synchronous; shifting them lowers the median epipolar distance from {before:.1f} to "
        f"{after:.1f} px. To leave them as they are, say sync none."
    )
    return (*on_one_axis(recording, own, clocks, span), (note, *said))


def _moved(off: Tensor, reference: int) -> list[bool]:
    """Which of the notes, one a view but for the reference, are of views that were moved."""
    return [bool(moved) for view, moved in enumerate(off) if view != reference]


def _sample(own: OwnTime) -> OwnTime:
    """The stretch of at most `_MOST_FRAMES` in which the most is seen."""
    length = len(own.times[0])
    if length <= _MOST_FRAMES:
        return own
    seen = sum(view.keypoints.positions.isfinite().all(-1).sum((-1, -2)) for view in own.detections)
    assert isinstance(seen, Tensor)
    total = torch.nn.functional.pad(seen.cumsum(0), (1, 0))
    start = int((total[_MOST_FRAMES:] - total[:-_MOST_FRAMES]).argmax())
    part = slice(start, start + _MOST_FRAMES)
    return replace(
        own, detections=tuple(view[part] for view in own.detections), times=tuple(times[part] for times in own.times)
    )


def _synchronised(recording: Recording, own: OwnTime, config: SynchroniseConfig) -> Synchronisation:
    return synchronise(
        [view.keypoints for view in own.detections],
        own.times,
        cameras=recording.cameras,
        names=recording.names,
        config=config,
    )


def _found_in_own_time(
    recording: Recording,
    ranges: Sequence[range],
    *,
    detector: str,
    people: int | None,
    folder: Path | None,
    done: Callable[[int], object] | None,
) -> OwnTime:
    """Take or detect the keypoints of every view in frames of its own."""
    found = []
    for view, (name, frames) in enumerate(zip(recording.names, ranges, strict=True)):
        if not len(frames):
            raise InputError(f"{name}: none of its frames belongs to the moments asked for; check the offsets")
        single = Recording(
            names=(name,),
            frames=recording.frames[view : view + 1],
            detections=None if recording.detections is None else recording.detections[view : view + 1],
        )
        found.append(find_detections(single, frames, detector=detector, people=people, folder=folder, progress=done))
    times = [own_times(recording, view)[frames.start : frames.stop] for view, frames in enumerate(ranges)]
    return OwnTime(
        detections=tuple(part.detections[0] for part in found),
        times=tuple(times),
        frames=tuple(ranges),
        found=found[0],
    )


def _reached(recording: Recording, view: int, moments: Tensor, clocks: Clocks | None) -> range:
    """The frames of a view from just before the first to just behind the last moment; all where nothing is known."""
    times = own_times(recording, view)
    if clocks is None:
        reached = moments[[0, -1]] if len(moments) < common_length(recording) else times[[0, -1]]
    else:
        common = clocks.to_common(reference_view(recording), moments[[0, -1]])
        reached = clocks.to_view(view, common)
    first = int(torch.searchsorted(times, reached[0], right=True)) - 1
    last = int(torch.searchsorted(times, reached[1])) + 1
    return range(max(0, first), min(len(times), last))


def _ascends(times: Tensor) -> bool:
    return bool(times.isfinite().all() and (times.diff() > 0).all())
