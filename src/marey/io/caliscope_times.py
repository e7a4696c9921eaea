"""Which moment each frame of Caliscope's videos belongs to: a table of time stamps that lies beside the videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError
from marey.io.caliscope_csv import read_caliscope_timestamps
from marey.io.naming import view_key

TABLES = ("timestamps.csv", "frame_time_history.csv")
"""How Caliscope names them."""


def find_caliscope_times(videos: Sequence[Path]) -> Path | None:
    """The table beside these videos, one a view, None if there is none; a table without these views does not count."""
    folders = {video.parent for video in videos}
    if len(folders) != 1:
        return None
    folder = folders.pop()
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def read_caliscope_moments(path: Path, videos: Sequence[Path]) -> tuple[npt.NDArray[np.int64], ...]:
    """The sync index of each frame of each video, in ascending order: frame i of a camera is its i-th row.

    Raises:
        InputError: the file cannot be read.
        FormatError: a column is missing, a row is malformed, or a video's camera is not in it.
    """
    names, indices, times = read_caliscope_timestamps(path)
    places = {view_key(name): place for place, name in enumerate(names)}
    missing = [video.name for video in videos if view_key(video.stem) not in places]
    if missing:
        raise FormatError(f"{path}: no times of {', '.join(missing)}; it has {', '.join(names)}")
    return tuple(indices[np.isfinite(times[places[view_key(video.stem)]])] for video in videos)
