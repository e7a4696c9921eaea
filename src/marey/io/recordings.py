"""Open a recording: find its views, read what is small, leave the frames undecoded, give each view its camera."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from marey.core.cameras import Cameras
from marey.core.errors import InputError
from marey.core.evidence import Detections2D
from marey.core.recording import FrameSource, Recording
from marey.core.skeletons import Skeleton
from marey.geometry.views import fit_to_image
from marey.io.alignment import RATE_TOLERANCE, align_keypoints, common_rate, note_drift, note_lengths, rate_of
from marey.io.caliscope_csv import read_caliscope_csv
from marey.io.camera_files import read_cameras
from marey.io.inputs import ViewInput, find_views
from marey.io.matching import match_views
from marey.io.naming import natural_key, view_key
from marey.io.openpose import read_openpose_folder
from marey.io.units import Unit

OUTSIDE = 0.05
"""How far outside the image, relative to its size, a keypoint has to lie to be counted as impossible."""
OUTSIDE_SHARE = 0.1
"""More keypoints than this share outside their images is worth a warning."""


def open_recording(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    calibration: str | os.PathLike[str] | None = None,
    skeleton: str | Skeleton | None = None,
    unit: Unit | float | None = None,
    fps: float | None = None,
    mixed_rates: bool = False,
) -> Recording:
    """Open videos, image folders, OpenPose JSON folders or a Caliscope csv as one recording of V views.

    Views come in the order of the calibration's cameras, without one in natural order of their names. A camera may give
    both frames and keypoints (a video and a JSON folder with the same name). Keypoint files are aligned by their frame
    numbers; frames that one view has and another lacks are gaps there, so nothing is lost. Videos and images are
    aligned at their first frame, and the recording is as long as the shortest. `Recording.notes` says what was done.

    The covariances of the detections are NaN: the noise model of the room `detect` gives them.

    Args:
        inputs: Files and folders, see `find_views`.
        calibration: Camera file or folder of any format, see `read_cameras`. None: the cameras are unknown.
        skeleton: Of the keypoint files, if their joint count does not say it.
        unit: Of the calibration's translations, see `read_cameras`.
        fps: Frames per second, for inputs that do not say it. Where they do and it differs by more than 1 %, this is
            taken, with a warning.
        mixed_rates: Views may have different frame rates, for those who bring them to one time. The recording's rate
            is the highest, and its length that of the shortest view.

    Raises:
        InputError: nothing usable was given, or the views do not go together.
        CalibrationError: the calibration is of other cameras or of other image sizes.
        FormatError: a file is not what it should be.
    """
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps: expected frames per second above 0, got {fps}")
    paths = [Path(path) for path in inputs]
    if len(paths) == 1 and paths[0].suffix.lower() == ".csv":
        recording = _open_caliscope(paths[0], fps)
    else:
        recording = _open_views(find_views(paths), skeleton, fps, mixed_rates=mixed_rates)
    if calibration is None:
        return recording
    return with_cameras(recording, read_cameras(calibration, unit=unit))


def with_cameras(recording: Recording, cameras: Cameras) -> Recording:
    """Give each view its camera, by name, else by natural order; the views then stand in the cameras' order.

    Frames of up to 2 % other size than the calibration's get fitted cameras. Where keypoints exist these are pixels of
    the calibrated image and the cameras stay. Either is warned of and noted.

    Raises:
        CalibrationError: the cameras are not those of the views, or are of other image sizes.
    """
    known = cameras.names or tuple(f"cam_{place}" for place in range(len(cameras.intrinsics)))
    places, notes = match_views(recording.names, known)
    order = sorted(range(len(places)), key=places.__getitem__)
    names = tuple(recording.names[view] for view in order)
    frames = tuple(recording.frames[view] for view in order)
    detections = None if recording.detections is None else recording.detections[torch.tensor(order)]
    chosen = cameras[torch.tensor([places[view] for view in order])]
    sizes = torch.tensor([(math.nan, math.nan) if source is None else source.size for source in frames])
    fitted, changes = fit_to_image(chosen, sizes, names)
    if detections is None:
        chosen = fitted
    else:  # keypoints decide which pixels are meant, and their files do not say the size of their images
        changes = _other_sizes(chosen, sizes, names)
        notes += _outside(detections, chosen, names)
    for change in changes:
        warnings.warn(change, stacklevel=3)
    notes += changes
    return replace(
        recording,
        names=names,
        frames=frames,
        detections=detections,
        cameras=chosen,
        timestamps=None if recording.timestamps is None else recording.timestamps[order],
        notes=(*recording.notes, *notes),
    )


def _open_caliscope(path: Path, fps: float | None) -> Recording:
    points = read_caliscope_csv(path)
    detections, notes = align_keypoints(points.names, points.views)
    rate, notes_of_rate = _agreed_rate(points.names, [rate_of(times) for times in points.timestamps], fps)
    return Recording(
        names=points.names,
        frames=(None,) * len(points.names),
        detections=detections,
        timestamps=points.timestamps,
        fps=rate,
        notes=(*notes, *notes_of_rate, *_offsets(points.names, points.timestamps, rate)),
    )


def _open_views(
    views: Sequence[ViewInput], skeleton: str | Skeleton | None, fps: float | None, *, mixed_rates: bool = False
) -> Recording:
    keypoints = {view_key(view.name): view for view in views if view.kind == "keypoints"}
    pictures = {view_key(view.name): view for view in views if view.kind != "keypoints"}
    if keypoints and pictures and keypoints.keys() != pictures.keys():
        raise InputError(
            f"keypoints for {', '.join(view.name for view in keypoints.values())}, but frames for "
            f"{', '.join(view.name for view in pictures.values())}; "
            "give both for each camera under the same name, or only one of them"
        )
    named = sorted((pictures or keypoints).items(), key=lambda item: natural_key(item[1].name))
    names = tuple(view.name for _, view in named)
    sources = tuple(_open_frames(pictures[key], fps) if key in pictures else None for key, _ in named)
    detections, notes = None, []
    if keypoints:
        files = [read_openpose_folder(keypoints[key].path, skeleton=skeleton) for key, _ in named]
        detections, more = align_keypoints(names, files, from_zero=bool(pictures))
        notes += more
    rates = [None if source is None else source.fps for source in sources]
    known = [rate for rate in rates if rate]
    rate: float | None
    if mixed_rates and known and max(known) > (1 + RATE_TOLERANCE) * min(known):
        rate = max(known)
    else:
        notes += note_lengths(names, sources, None if detections is None else detections.batch_shape[1])
        rate, more = _agreed_rate(names, rates, fps)
        notes += more
        notes += note_drift(names, sources, rate)
    return Recording(
        names=names,
        frames=sources,
        detections=detections,
        fps=rate,
        notes=tuple(notes),
    )


def _open_frames(view: ViewInput, fps: float | None) -> FrameSource:
    """Open one view's frames; the decoders are imported only where there is something to decode."""
    if view.kind == "video":
        from marey.io.video import VideoFrames

        return VideoFrames(view.path)
    from marey.io.images import ImageFrames

    return ImageFrames(view.path, fps=fps)


def _agreed_rate(
    names: Sequence[str], rates: Sequence[float | None], given: float | None
) -> tuple[float | None, list[str]]:
    """The frame rate of all views: the given one, else the one that the files state; and a note if they contradict."""
    stated = common_rate(names, rates)
    if given is None or stated is None or abs(given / stated - 1) <= RATE_TOLERANCE:
        return given or stated, []
    note = (
        f"fps: {given:.6g} was given, but the files say {stated:.6g} frames per second; the given {given:.6g} is used."
    )
    warnings.warn(note, stacklevel=5)
    return given, [note]


def _offsets(names: Sequence[str], timestamps: npt.NDArray[np.float64], rate: float | None) -> list[str]:
    """How far apart in time views on one clock took the frames of one number; more than half a frame is warned of."""
    both = np.flatnonzero(np.isfinite(timestamps).sum(0) > 1)
    if not both.size:
        return []
    times = timestamps[:, both]
    spread = np.nanmax(times, 0) - np.nanmin(times, 0)
    worst = int(spread.argmax())
    if not spread[worst] > 0:
        return []
    late, early = (names[int(view)] for view in (np.nanargmax(times[:, worst]), np.nanargmin(times[:, worst])))
    note = (
        f"The views took the frames of one number up to {1000 * spread[worst]:.1f} ms apart, "
        f"{1000 * np.median(spread):.1f} ms in the median ({late} after {early} at frame {both[worst]}); "
        "they are treated as simultaneous."
    )
    if rate and spread[worst] > 0.5 / rate:
        warnings.warn(f"{note} That is more than half a frame: synchronise the cameras.", stacklevel=4)
    return [note]


def _other_sizes(cameras: Cameras, sizes: torch.Tensor, names: Sequence[str]) -> tuple[str, ...]:
    """A note for each view whose frames, (V, 2) pixels, are of another size than its calibration though near it."""
    calibrated = cameras.image_size.to(sizes.dtype)
    differ = ((sizes != calibrated) & sizes.isfinite() & calibrated.isfinite()).any(-1)
    return tuple(
        f"View {name}: its frames are {width:.0f}x{height:.0f} and its calibration is for {old_width:.0f}x"
        f"{old_height:.0f}; its keypoints are taken as pixels of the calibrated image."
        for name, (width, height), (old_width, old_height), other in zip(
            names, sizes.tolist(), calibrated.tolist(), differ.tolist(), strict=True
        )
        if other
    )


def _outside(detections: Detections2D, cameras: Cameras, names: Sequence[str]) -> list[str]:
    """Warn of views with many keypoints far outside their calibrated image: it is another resolution's calibration."""
    points = detections.keypoints.positions
    size = cameras.image_size.to(points.dtype)[:, None, None, None]
    far = ((points < -OUTSIDE * size) | (points > (1 + OUTSIDE) * size)).any(-1)
    seen = torch.isfinite(points).all(-1)
    share = far.sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp_min(1)
    notes = [
        f"View {name}: {100 * part:.0f} % of the keypoints lie outside the {width:.0f} x {height:.0f} pixels of its "
        "calibration; is it a calibration of another resolution or camera?"
        for name, part, (width, height) in zip(names, share.tolist(), cameras.image_size.tolist(), strict=True)
        if part > OUTSIDE_SHARE
    ]
    for note in notes:
        warnings.warn(note, stacklevel=4)
    return notes
