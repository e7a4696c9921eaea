"""A camera for a recording that comes without a calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from marey.core import Cameras, InputError, Recording
from marey.geometry.field_of_view import cameras_from_field_of_view, field_of_view_of_film
from marey.io.image_headers import IMAGE_SUFFIXES, read_image_header
from marey.methods.classical.monocular import at_the_origin

FIELD_OF_VIEW = 55.0
"""Degrees along the larger side: between the wide lenses of telephones (65 to 70) and what films and portraits are made
with (30 to 50)."""
ASSUMED_DEVIATION = 0.25
"""Relative standard deviation of the focal length of an unknown camera."""
STATED_DEVIATION = 0.05
"""Of a focal length that a user or EXIF states: whole millimetres, stabilised and cropped images."""


@dataclass(frozen=True, kw_only=True)
class KnownCamera:
    """What a single camera is taken to be."""

    cameras: Cameras
    """(1,) with extrinsics; where they are not known the camera's own frame is the world."""
    focal_deviation: float
    """Relative standard deviation of the focal length."""
    placed: bool
    """Whether the camera's place in the world is known."""
    notes: tuple[str, ...]


def single_camera(recording: Recording, field_of_view: float | None) -> KnownCamera:
    """Find the camera of a recording of one view: as calibrated, else from a field of view.

    Args:
        recording: of one view.
        field_of_view: degrees along the larger side, if the user states it.

    Raises:
        InputError: both a calibration and a field of view are given, or the size of the images is unknown.
    """
    if recording.cameras is not None:
        if field_of_view is not None:
            raise InputError("a calibration and a field of view (--fov) are given: leave one of them out")
        placed = recording.cameras.has_extrinsics
        cameras = recording.cameras if placed else at_the_origin(recording.cameras)
        return KnownCamera(cameras=cameras, focal_deviation=0.0, placed=placed, notes=() if placed else (_WORLD,))
    source = recording.frames[0]
    if source is None:
        raise InputError(
            "the camera is unknown, and keypoint files do not say the size of its images; pass --calibration FILE"
        )
    degrees, deviation, note = _field_of_view(source.size, source.files[0], field_of_view)
    cameras = cameras_from_field_of_view(torch.tensor([source.size], dtype=torch.float32), degrees)
    named = replace(at_the_origin(cameras), names=recording.names)
    return KnownCamera(cameras=named, focal_deviation=deviation, placed=False, notes=(note, _WORLD))


_WORLD = "The world is the camera's own frame: x to the right, y down, z forward, origin in the lens."


def _field_of_view(size: tuple[int, int], file: Path, stated: float | None) -> tuple[float, float, str]:
    """Degrees, the relative deviation of the focal length, and a sentence."""
    if stated is not None:
        note = f"The camera is not calibrated: {stated:g} degrees along the larger side, as given."
        return stated, STATED_DEVIATION, note
    film = read_image_header(file).film_focal if file.suffix.lower() in IMAGE_SUFFIXES else None
    if film is not None:
        degrees = field_of_view_of_film(size, film)
        note = (
            f"The camera is not calibrated: {degrees:.0f} degrees along the larger side, from the focal length in "
            f"{file.name} ({film:g} mm in 35 mm film)."
        )
        return degrees, STATED_DEVIATION, note
    note = (
        f"The camera is not calibrated: {FIELD_OF_VIEW:g} degrees along the larger side are assumed, so distances are "
        f"uncertain by {100 * ASSUMED_DEVIATION:.0f} %; pass --calibration FILE or --fov DEGREES."
    )
    return FIELD_OF_VIEW, ASSUMED_DEVIATION, note
