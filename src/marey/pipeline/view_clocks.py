"""The clocks of the views of a recording: what their files say of them, and offsets that are given."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from marey.calibrate.sync_geometry import Clocks
from marey.core import InputError, Recording
from marey.io.naming import view_key
from marey.io.synchronisation_file import read_synchronisation
from marey.pipeline.outputs import DEFAULT_FPS


def own_times(recording: Recording, view: int) -> Tensor:
    """Seconds (T,) of a view's frames on its own clock, float64; videos and images begin at 0."""
    source = recording.frames[view]
    if source is not None and source.fps is not None:
        return torch.from_numpy(source.timestamps - source.timestamps[0]).double()
    if recording.timestamps is not None and np.isfinite(recording.timestamps).all():
        return torch.from_numpy(recording.timestamps[view]).double()
    return torch.arange(length_of(recording, view), dtype=torch.float64) / (recording.fps or DEFAULT_FPS)


def reference_view(recording: Recording) -> int:
    """The view whose frames are the common axis: the first of those with the highest frame rate."""
    if not has_mixed_rates(recording):
        return 0
    rates = [0.0 if source is None or source.fps is None else source.fps for source in recording.frames]
    return next(view for view, rate in enumerate(rates) if rate > max(rates) / 1.01)


def has_mixed_rates(recording: Recording) -> bool:
    """Whether the files state different frame rates."""
    rates = [source.fps for source in recording.frames if source is not None and source.fps]
    return bool(rates) and max(rates) > 1.01 * min(rates)


def common_length(recording: Recording) -> int:
    """Frames of the common axis: of the reference view where frame rates differ, else those that all views have."""
    return length_of(recording, reference_view(recording)) if has_mixed_rates(recording) else recording.length


def length_of(recording: Recording, view: int) -> int:
    """How many frames a view has."""
    source = recording.frames[view]
    return len(source.timestamps) if source is not None else recording.length


def equal_clocks(views: int) -> Clocks:
    """Clocks of views that show the same time."""
    return Clocks(offset=torch.zeros(views, dtype=torch.float64), rate=torch.ones(views, dtype=torch.float64))


def parse_sync(text: str, recording: Recording) -> Clocks:
    """Read offsets: `NAME=SECONDS` or `NAME=FRAMESf`, separated by commas, or the path of a synchronisation.json.

    An offset is what has to be added to the time that a view's clock shows, so a view that started late has a positive
    one. Views that are not named have none. Names match as those of cameras do: `cam01` is the view `cam_1_json`.

    Raises:
        InputError: it is something else, or names a view that is not there, or one twice.
        FormatError: the file is not one that `synchronize` wrote.
    """
    clocks = equal_clocks(len(recording.names))
    if text.lower().endswith(".json"):
        given = list(read_synchronisation(text).items())
    else:
        given = [_offset(part, text, recording) for part in text.split(",") if part.strip()]
    places = [_place(name, recording) for name, _ in given]
    unknown = [name for (name, _), place in zip(given, places, strict=True) if place is None]
    if unknown or not given or len(set(places)) < len(places):
        why = f"there is no {unknown[0]}" if unknown else "one view is named twice" if given else "it is empty"
        raise _not_offsets(text, recording, why)
    for place, (_, (offset, rate)) in zip(places, given, strict=True):
        assert place is not None
        clocks.offset[place] = offset
        clocks.rate[place] = rate
    return clocks


def _offset(part: str, text: str, recording: Recording) -> tuple[str, tuple[float, float]]:
    """Read one offset of `text`: the name as it is given, seconds, and the rate 1."""
    name, equals, number = (word.strip() for word in part.partition("="))
    try:
        seconds = float(number.removesuffix("f"))
    except ValueError:
        seconds = math.nan
    if not (equals and math.isfinite(seconds)):
        raise _not_offsets(text, recording, f"'{part.strip()}' is not one")
    place = _place(name, recording)
    if number.endswith("f") and place is not None:
        seconds *= float(own_times(recording, place).diff().median())
    return name, (seconds, 1.0)


def _not_offsets(text: str, recording: Recording, why: str) -> InputError:
    last = recording.names[-1]
    return InputError(
        f"sync '{text}': expected auto, none, a synchronisation.json, or offsets such as {last}=0.12 (seconds) or "
        f"{last}=-3f (frames) of the views {', '.join(recording.names)}; {why}"
    )


def _place(name: str, recording: Recording) -> int | None:
    """The view that a name means: the one of that name, else the only one whose name means the same camera."""
    if name in recording.names:
        return recording.names.index(name)
    alike = [place for place, other in enumerate(recording.names) if view_key(other) == view_key(name)]
    return alike[0] if len(alike) == 1 else None
