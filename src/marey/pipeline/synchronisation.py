"""Views that were recorded by clocks of their own, brought to one time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marey.calibrate.sync_geometry import Clocks
from marey.calibrate.synchronise import SURE, Synchronisation, SynchroniseConfig, disagreement, synchronise
from marey.core import Detections2D, FormatError, InputError, Recording
from marey.detect.resample import resample_detections
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.recordings import open_recording
from marey.io.resampled_frames import ResampledFrames
from marey.pipeline.detections import FoundKeypoints, find_detections
from marey.pipeline.outputs import DEFAULT_FPS
from marey.pipeline.progress import Stages

PathLike = str | os.PathLike[str]

SYNCHRONISATION_FILE = "synchronisation.json"
LEAST_SHIFT = 1.0
"""Frames: views that are off by less are left as they are."""
IMPROVEMENT = 0.1
"""Views are left as they are unless the median epipolar distance falls by this share."""
_MOST_FRAMES = 1200
"""That are looked at to synchronise a recording on the way to an estimate."""


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


def synchronize(
    inputs: PathLike | Sequence[PathLike],
    *,
    calibration: PathLike | None = None,
    detector: str = "auto",
    skeleton: str | None = None,
    unit: Any = None,
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
    lengths = [_length(recording, view) for view in range(len(recording.names))]
    with stages.bar("find keypoints", total=sum(lengths)) as done:
        own = _found_in_own_time(
            recording, [range(length) for length in lengths], detector=detector, people=None, folder=folder, done=done
        )
    with stages("compare the views' motion"):
        result = _synchronised(recording, own, SynchroniseConfig(reference=reference_view(recording)))
    if folder is not None:
        from marey.viz.synchronisation import save_speeds

        write_synchronisation(folder / SYNCHRONISATION_FILE, result)
        save_speeds(
            folder / "synchronisation.png",
            [view.keypoints for view in own.detections],
            [result.to_common(view, times) for view, times in enumerate(own.times)],
            names=result.names,
        )
    return result


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
        return (*_on_one_axis(recording, own, given, span), ("The views were shifted by the given offsets.",))
    result = _synchronised(recording, own, SynchroniseConfig(reference=reference))
    if not result.is_sure:
        raise InputError(
            f"the views have different frame rates and could not be synchronised surely: {' '.join(result.notes)} "
            "Give the offsets (--sync NAME=SECONDS,...)"
        )
    clocks = Clocks(offset=result.offset, rate=result.rate)
    return (*_on_one_axis(recording, own, clocks, span), ("The views were synchronised by motion.", *result.notes))


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
        views, [sample.times[reference]] * len(views), recording.cameras, _still(len(views)), chosen=off
    )
    after = disagreement(views, sample.times, recording.cameras, clocks, chosen=off)
    if not after < (1 - IMPROVEMENT) * before:
        return recording, found, ()
    said = [note for note, moved in zip(result.notes, _moved(off, reference), strict=False) if moved]
    note = (
        f"The views were not synchronous; shifting them lowers the median epipolar distance from {before:.1f} to "
        f"{after:.1f} px. To leave them as they are, say sync none."
    )
    return (*_on_one_axis(recording, own, clocks, span), (note, *said))


def _moved(off: Tensor, reference: int) -> list[bool]:
    """Which of the notes, one a view but for the reference, are of views that were moved."""
    return [bool(moved) for view, moved in enumerate(off) if view != reference]


def _still(views: int) -> Clocks:
    return Clocks(offset=torch.zeros(views, dtype=torch.float64), rate=torch.ones(views, dtype=torch.float64))


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


def _on_one_axis(recording: Recording, own: OwnTime, clocks: Clocks, span: range) -> tuple[Recording, FoundKeypoints]:
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


def has_mixed_rates(recording: Recording) -> bool:
    """Whether the files state different frame rates."""
    rates = [source.fps for source in recording.frames if source is not None and source.fps]
    return bool(rates) and max(rates) > 1.01 * min(rates)


def reference_view(recording: Recording) -> int:
    """The view whose frames are the common axis: the first of those with the highest frame rate."""
    if not has_mixed_rates(recording):
        return 0
    rates = [0.0 if source is None or source.fps is None else source.fps for source in recording.frames]
    return next(view for view, rate in enumerate(rates) if rate > max(rates) / 1.01)


def own_times(recording: Recording, view: int) -> Tensor:
    """Seconds (T,) of a view's frames on its own clock, float64; videos and images begin at 0."""
    source = recording.frames[view]
    if source is not None and source.fps is not None:
        return torch.from_numpy(source.timestamps - source.timestamps[0]).double()
    if recording.timestamps is not None and np.isfinite(recording.timestamps).all():
        return torch.from_numpy(recording.timestamps[view]).double()
    return torch.arange(_length(recording, view), dtype=torch.float64) / (recording.fps or DEFAULT_FPS)


def _length(recording: Recording, view: int) -> int:
    source = recording.frames[view]
    return len(source.timestamps) if source is not None else recording.length


def common_length(recording: Recording) -> int:
    """Frames of the common axis: of the reference view where frame rates differ, else those that all views have."""
    return _length(recording, reference_view(recording)) if has_mixed_rates(recording) else recording.length


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


def parse_sync(text: str, recording: Recording) -> Clocks:
    """Read offsets: `NAME=SECONDS` or `NAME=FRAMESf`, separated by commas, or the path of a synchronisation.json.

    An offset is what has to be added to the time that a view's clock shows, so a view that started late has a positive
    one. Views that are not named have none.

    Raises:
        InputError: it is something else, or names a view that is not there.
        FormatError: the file is not one that `synchronize` wrote.
    """
    clocks = _still(len(recording.names))
    if text.lower().endswith(".json"):
        values = read_synchronisation(text)
    else:
        values = dict(_offset(part, recording) for part in text.split(",") if part.strip())
    unknown = [name for name in values if name not in recording.names]
    if unknown or not values:
        raise InputError(
            f"sync '{text}': expected auto, none, a synchronisation.json, or offsets such as "
            f"{recording.names[-1]}=0.12 (seconds) or {recording.names[-1]}=-3f (frames) of the views "
            f"{', '.join(recording.names)}" + (f"; there is no {unknown[0]}" if unknown else "")
        )
    for name, (offset, rate) in values.items():
        clocks.offset[recording.names.index(name)] = offset
        clocks.rate[recording.names.index(name)] = rate
    return clocks


def _offset(part: str, recording: Recording) -> tuple[str, tuple[float, float]]:
    """Read one offset; what is none comes back whole in place of the name, which no view has."""
    name, equals, number = (word.strip() for word in part.partition("="))
    try:
        seconds = float(number.removesuffix("f"))
    except ValueError:
        seconds = math.nan
    if not (equals and math.isfinite(seconds)):
        return f"'{part}'", (0.0, 1.0)
    if number.endswith("f") and name in recording.names:
        seconds *= float(own_times(recording, recording.names.index(name)).diff().median())
    return name, (seconds, 1.0)


def write_synchronisation(path: Path, result: Synchronisation) -> None:
    """Write offsets, rates, deviations and confidence as JSON that `read_synchronisation` reads."""
    columns = (result.offset, result.rate, result.offset_deviation, result.rate_deviation, result.confidence)
    keys = ("offset_seconds", "rate", "offset_deviation_seconds", "rate_deviation", "confidence")
    views = {
        name: dict(zip(keys, (float(column[view]) for column in columns), strict=True))
        for view, name in enumerate(result.names)
    }
    document = {"reference": result.names[result.reference], "views": views, "notes": list(result.notes)}
    atomic_write_text(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_synchronisation(path: PathLike) -> Mapping[str, tuple[float, float]]:
    """Offset in seconds and rate of each view.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not one that `write_synchronisation` wrote.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        views = {
            str(name): (float(view["offset_seconds"]), float(view["rate"])) for name, view in document["views"].items()
        }
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"{path}: not a synchronisation.json of Marey ({error})") from error
    if not all(math.isfinite(offset) and 0.05 < rate < 20 for offset, rate in views.values()):
        raise FormatError(f"{path}: expected finite offsets and rates near 1")
    return views
