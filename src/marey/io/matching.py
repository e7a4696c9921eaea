"""Which camera of a calibration took which view of a recording."""

from __future__ import annotations

from collections.abc import Sequence

from marey.core.errors import CalibrationError
from marey.io.naming import natural_key, view_key


def match_views(views: Sequence[str], cameras: Sequence[str]) -> tuple[list[int], list[str]]:
    """Find the camera of each view, by name, else by natural order where the counts agree.

    Names match without punctuation, case, leading zeros and suffixes that only say the kind of the data (`cam01_json` =
    `cam_1`); where that fails, a view whose name contains exactly one camera's name is that camera's
    (`trial3_cam01` = `cam_1`). Natural order is taken only if it does not contradict the names that do match.

    Returns:
        For each view the place of its camera, and how they were matched in plain sentences.

    Raises:
        CalibrationError: the cameras are not those of the views, or more than one view claims a camera.
    """
    by_name = [_named(view, cameras) for view in views]
    claimed = [place for place in by_name if place is not None]
    if len(set(claimed)) != len(claimed):
        twins = [
            view for view, place in zip(views, by_name, strict=True) if place is not None and claimed.count(place) > 1
        ]
        raise CalibrationError(f"the views {', '.join(twins)} have the name of the same camera; rename them")
    if len(claimed) == len(views):
        places = [place for place in by_name if place is not None]
        return places, _told("by name", views, cameras, places)
    if len(views) == len(cameras):
        places = _in_order(views, cameras)
        if all(named in (None, place) for named, place in zip(by_name, places, strict=True)):
            return places, _told("by natural order, because their names differ", views, cameras, places)
    raise CalibrationError(
        f"the calibration is of other cameras: it has {', '.join(cameras)}; the recording has the views "
        f"{', '.join(views)}; rename the views or give the calibration of this recording"
    )


def _named(view: str, cameras: Sequence[str]) -> int | None:
    """The one camera that the view's name means, if any."""
    key = view_key(view)
    keys = [view_key(camera) for camera in cameras]
    for matches in ([key == other for other in keys], [_contains(key, other) for other in keys]):
        if sum(matches) == 1:
            return matches.index(True)
    return None


def _contains(name: str, part: str) -> bool:
    """Whether `part`, a name with a number, stands in `name` so that no number is cut in two."""
    start = name.find(part)
    while start >= 0:
        before, after = name[:start][-1:], name[start + len(part) :][:1]
        if not (before.isdigit() and part[:1].isdigit()) and not (after.isdigit() and part[-1:].isdigit()):
            return any(character.isdigit() for character in part)
        start = name.find(part, start + 1)
    return False


def _in_order(views: Sequence[str], cameras: Sequence[str]) -> list[int]:
    camera_order = sorted(range(len(cameras)), key=lambda place: natural_key(cameras[place]))
    view_order = sorted(range(len(views)), key=lambda place: natural_key(views[place]))
    places = [0] * len(views)
    for view, camera in zip(view_order, camera_order, strict=True):
        places[view] = camera
    return places


def _told(how: str, views: Sequence[str], cameras: Sequence[str], places: Sequence[int]) -> list[str]:
    pairs = ", ".join(f"{view} = {cameras[place]}" for view, place in zip(views, places, strict=True))
    notes = [f"Views and cameras were matched {how}: {pairs}."]
    unused = [camera for place, camera in enumerate(cameras) if place not in places]
    if unused:
        notes.append(f"Cameras of the calibration without a view in the recording: {', '.join(unused)}.")
    return notes
