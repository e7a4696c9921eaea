"""What people call the pictures of a calibration."""

from __future__ import annotations

from marey.calibrate.calibration import BoardObservations
from marey.core import FrameSource


def picture_name(source: FrameSource, index: int) -> str:
    """The file of a picture, or the number of a frame and its video."""
    if len(source.files) > 1 or source.fps is None:
        return source.files[index].name
    return f"frame {index} of {source.files[0].name}"


def observed_name(observations: BoardObservations, view: int, moment: int) -> str:
    """What `view` saw at a place in the moments; corners without pictures have the number of their moment only."""
    index = int(observations.frame_indices[view, moment])
    source = observations.sources[view] if observations.sources else None
    if source is None or index < 0:
        return f"moment {observations.moments[moment]}"
    return picture_name(source, index)
