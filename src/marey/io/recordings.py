"""Open a recording: find its views, read what is small, leave the frames undecoded, give each view its camera."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from marey.core.cameras import Cameras
from marey.core.errors import InputError
from marey.core.evidence import Detections2D
from marey.core.recording import FrameSource, Recording
from marey.core.skeletons import Skeleton
from marey.geometry.views import fit_to_image
from marey.io.alignment import align_keypoints, common_rate, note_drift, note_lengths, rate_of
from marey.io.caliscope_csv import read_caliscope_csv
from marey.io.camera_toml import Unit, read_camera_toml
from marey.io.inputs import ViewInput, find_views
from marey.io.matching import match_views
from marey.io.naming import natural_key, view_key
from marey.io.openpose import read_openpose_folder

OUTSIDE = 0.05
"""How far outside the image, relative to its size, a keypoint has to lie to be counted as impossible."""
OUTSIDE_SHARE = 0.1
"""More keypoints than this share outside their images is worth a warning."""


def open_recording(
    inputs: Sequence[str | os.PathLike[str]],
    *,
    calibration: str | os.PathLike[str] | None = None,
    skeleton: str | Skeleton | None = None,
    unit: Unit | None = None,
    fps: float | None = None,
) -> Recording:
    """Open videos, image folders, OpenPose JSON folders or a Caliscope csv as one recording of V views.

    Views come in the order of the calibration's cameras, without one in natural order of their names. A camera may give
    both frames and keypoints (a video and a JSON folder with the same name). Keypoint files are aligned by their frame
    numbers; frames that one view has and another lacks are gaps there, so nothing is lost. Videos and images are
    aligned at their first frame, and the recording is as long as the shortest. `Recording.notes` says what was done.

    The covariances of the detections are NaN: the noise model of the room `detect` gives them.

    Args:
        inputs: Files and folders, see `find_views`.
        calibration: Camera TOML. None: the cameras are unknown.
        skeleton: Of the keypoint files, if their joint count does not say it.
        unit: Of the calibration's translations, see `read_camera_toml`.
        fps: Frames per second, for inputs that do not say it.

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
        recording = _open_views(find_views(paths), skeleton, fps)
    if calibration is None:
        return recording
    return with_cameras(recording, read_camera_toml(calibration, unit=unit))


def with_cameras(recording: Recording, cameras: Cameras) -> Recording:
    """Give each view its camera, by name, else by natural order; the views then stand in the cameras' order.

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
    if detections is None:
        sizes = [(math.nan, math.nan) if source is None else source.size for source in frames]
        chosen, changes = fit_to_image(chosen, torch.tensor(sizes), names)
        for change in changes:
            warnings.warn(change, stacklevel=3)
        notes += changes
    else:  # keypoints decide which pixels are meant, and their files do not say the size of their images
        notes += _outside(detections, chosen, names)
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
    return Recording(
        names=points.names,
        frames=(None,) * len(points.names),
        detections=detections,
        timestamps=points.timestamps,
        fps=fps or common_rate(points.names, [rate_of(times) for times in points.timestamps]),
        notes=tuple(notes),
    )


def _open_views(views: Sequence[ViewInput], skeleton: str | Skeleton | None, fps: float | None) -> Recording:
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
    detections, notes = None, note_lengths(names, sources)
    if keypoints:
        files = [read_openpose_folder(keypoints[key].path, skeleton=skeleton) for key, _ in named]
        detections, more = align_keypoints(names, files, from_zero=bool(pictures))
        notes += more
    rates = [None if source is None else source.fps for source in sources]
    rate = fps or common_rate(names, rates)
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
