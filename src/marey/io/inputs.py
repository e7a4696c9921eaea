"""From the paths that a user gives to one source a view: videos, image folders, JSON folders, a Caliscope table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marey.core.errors import InputError
from marey.io.image_headers import IMAGE_SUFFIXES
from marey.io.naming import natural_key, view_key

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".mts", ".m2ts", ".ts", ".3gp", ".flv"}
)

KEYPOINT_SUFFIX = ".json"

CALISCOPE_PATTERN = "xy_*.csv"
"""How Caliscope names its tables of 2D points."""

_HINT_DEPTH = 2
"""How many levels of sub-folders are searched for something to propose when a folder holds no view."""

Kind = Literal["video", "images", "keypoints"]


@dataclass(frozen=True)
class ViewInput:
    """Where the evidence of one view lies."""

    name: str
    path: Path
    """A video, one image, or a folder of images or JSON files."""
    kind: Kind


def find_views(inputs: Sequence[Path]) -> list[ViewInput]:
    """Find the views in files and folders, in natural order of their names.

    A folder is one view if it holds images or JSON files. Otherwise each video in it is a view, and so is each
    sub-folder that holds images, JSON files or exactly one video. What Marey itself wrote there is no view.
    An image given by itself is a view of one frame.

    Raises:
        InputError: nothing was given, a path does not exist or holds nothing that could be a view, or two views of one
            kind have the same name.
    """
    if not inputs:
        raise InputError(
            "no input: give videos, image or JSON folders, or one folder with a sub-folder or file a camera"
        )
    found = [view for path in inputs for view in _views_of(Path(path))]
    views = sorted(_told_apart(found), key=lambda view: natural_key(view.name))
    keys = [(view.kind == "keypoints", view_key(view.name)) for view in views]
    twins = [str(view.path) for view, key in zip(views, keys, strict=True) if keys.count(key) > 1]
    if twins:
        raise InputError(f"views with the same name: {', '.join(twins)}; give each camera its own name")
    return views


def _views_of(path: Path) -> list[ViewInput]:
    if path.is_dir():
        single = _folder_view(path)
        views = [single] if single else _children(path)
        if not views:
            raise InputError(
                f"{path}: nothing in it that could be a view; expected videos, or folders of images or OpenPose JSON "
                f"files, one a camera; it holds {_summary(path)}{_proposal(path)}"
            )
        return views
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return [ViewInput(path.stem, path, "video")]
    if suffix in IMAGE_SUFFIXES:
        return [ViewInput(path.stem, path, "images")]
    if suffix == KEYPOINT_SUFFIX:
        raise InputError(f"{path}: one JSON file is one frame; give the folder that holds the files of the camera")
    raise InputError(
        f"{path}: unknown kind of file '{suffix}'; expected a video, an image, a folder or, by "
        f"itself, a Caliscope csv ({CALISCOPE_PATTERN})"
    )


def _folder_view(folder: Path) -> ViewInput | None:
    """The folder as a single view, if it holds images or JSON files (of both, what there is more of) and no video."""
    suffixes = _suffixes(folder)
    keypoints = suffixes.get(KEYPOINT_SUFFIX, 0)
    images = sum(suffixes.get(suffix, 0) for suffix in IMAGE_SUFFIXES)
    if suffixes.keys() & VIDEO_SUFFIXES or not keypoints + images:
        return None
    return ViewInput(folder.name, folder, "keypoints" if keypoints > images else "images")


def _children(folder: Path) -> list[ViewInput]:
    views: list[ViewInput] = []
    for child in sorted(folder.iterdir()):
        if child.name.startswith(".") or _is_result(child):
            continue
        if child.is_file() and child.suffix.lower() in VIDEO_SUFFIXES:
            views.append(ViewInput(child.stem, child, "video"))
        elif child.is_dir():
            single = _folder_view(child)
            videos = [file for file in child.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES]
            if single:
                views.append(single)
            elif len(videos) == 1:
                views.append(ViewInput(child.name, videos[0], "video"))
    return views


def _is_result(path: Path) -> bool:
    """Whether Marey wrote this: a folder of results, or the overlay that lies beside them."""
    if not path.is_dir():
        return path.name == "overlay.mp4" and _is_result(path.parent)
    written = any((path / name).is_file() for name in ("estimate.npz", "report.html"))
    return written or any((path / "detections").glob("*.npz"))


def _suffixes(folder: Path) -> dict[str, int]:
    """How many visible files of each suffix lie directly in a folder."""
    counts: dict[str, int] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_file():
                    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - ten times faster than Path
                    counts[suffix] = counts.get(suffix, 0) + 1
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    return counts


def _told_apart(views: list[ViewInput]) -> list[ViewInput]:
    """Put the parent folder's name before names that occur twice in one kind (`cam1/video.mp4`, `cam2/video.mp4`)."""
    names = [(view.kind, view.name) for view in views]
    return [
        ViewInput(f"{view.path.parent.name}_{view.name}", view.path, view.kind)
        if names.count((view.kind, view.name)) > 1
        else view
        for view in views
    ]


def _summary(folder: Path) -> str:
    """What lies in a folder, for a message."""
    folders = sorted(child.name for child in folder.iterdir() if child.is_dir())
    parts = [
        f"{count} {suffix} file(s)" if suffix else f"{count} file(s) without suffix"
        for suffix, count in sorted(_suffixes(folder).items())
    ]
    parts += [f"the folders {', '.join(folders[:8])}"] if folders else []
    return "; ".join(parts) or "nothing"


def _proposal(folder: Path) -> str:
    """What to give instead of a folder without views, for a message: a table of Caliscope, or folders below it."""
    folders, tables = _inside(folder, _HINT_DEPTH)
    parts = [f"give the Caliscope csv itself: {' or '.join(map(str, tables))}"] if tables else []
    parts += [f"views lie in {' and '.join(map(str, folders))}: give those of one recording"] if folders else []
    return "".join(f"; {part}" for part in parts)


def _inside(folder: Path, depth: int) -> tuple[list[Path], list[Path]]:
    """The nearest folders below `folder` that hold views, and the tables of Caliscope on the way there."""
    holders: list[Path] = []
    tables = sorted(folder.glob(CALISCOPE_PATTERN))
    for child in sorted(folder.iterdir()) if depth else ():
        if child.name.startswith(".") or not child.is_dir() or _is_result(child):
            continue
        if _children(child):
            holders.append(child)
        else:
            deeper = _inside(child, depth - 1)
            holders += deeper[0]
            tables += deeper[1]
    return holders, tables
