"""Find a calibration board in every picture of every view, and leave out what would mislead a calibration."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from marey.calibrate.board_diagnosis import why_no_board
from marey.calibrate.board_findings import absent_finding, blank_finding, counter_finding, mirrored_finding
from marey.calibrate.board_moments import Frames, choose_frames, numbers_of_pictures
from marey.calibrate.board_pictures import PictureOfBoard, describe_picture
from marey.calibrate.board_rejection import DetectionConfig, reasons_to_reject, still_moments
from marey.calibrate.boards import Board
from marey.calibrate.calibration import BoardObservations, Finding, Rejection
from marey.calibrate.charuco import CharucoFinder, FoundBoard, Grey
from marey.calibrate.checkerboard import CheckerboardFinder
from marey.calibrate.picture_names import picture_name
from marey.core import FrameSource, Image, InputError, Recording

AHEAD = 2
"""Decoded pictures that may wait for each thread."""

Finder = Callable[[Grey], FoundBoard]
Progress = Callable[[int, int], None]


_DEFAULTS = DetectionConfig()


def detect_boards(
    recording: Recording | Sequence[FrameSource],
    board: Board,
    *,
    every: int | None = None,
    simultaneous: bool = True,
    names: Sequence[str] = (),
    config: DetectionConfig = _DEFAULTS,
    progress: Progress | None = None,
) -> BoardObservations:
    """Search a board in the pictures of V views.

    Frame i of every video is taken to be moment i. Where Caliscope's time stamps lie beside the videos, frames of one
    sync index are; where pictures carry numbers that the views share, pictures of one number are. The notes say which.

    Each picture is decoded once and forgotten; memory grows with the corners. As many threads search as PyTorch may
    use. The result does not depend on their number.

    Args:
        recording: what `open_recording` returns, or one source a view.
        board: what is in the pictures.
        every: search each n-th moment. None: all, or as many as `config.most_moments`, evenly spread.
        simultaneous: whether pictures of one moment were taken at the same time. False: photographs, for intrinsics.
        names: of the views, where sources are given; empty: those of their files' folders or videos.
        config: limits.
        progress: called with the number of pictures done and to be done.

    Raises:
        InputError: there is no view, a view has no pictures, or no view shows the board; the message says what the
            pictures show instead, if that can be found out.
        FormatError: a picture is damaged.
    """
    sources, names = _sources(recording, names)
    frames, notes = choose_frames(sources, names, every=every, most=config.most_moments, simultaneous=simultaneous)
    total, done = sum(len(chosen.indices) for chosen in frames), 0
    views: list[_View] = []
    for name, source, chosen in zip(names, sources, frames, strict=True):
        report = None if progress is None else lambda count, done=done: progress(done + count, total)
        pictures = search_frames(source, chosen.indices, board, report)
        views.append(_View(name=name, source=source, frames=chosen, pictures=tuple(pictures)))
        done += len(pictures)
    findings = _findings(views, board, simultaneous)
    return replace(_observations(board, views, notes, simultaneous, config), findings=findings)


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """One view, searched."""

    name: str
    source: FrameSource
    frames: Frames
    pictures: tuple[PictureOfBoard, ...]
    """Of the frames."""

    @property
    def seen(self) -> int:
        """How many pictures show the board."""
        return sum(bool(picture.found.seen.any()) for picture in self.pictures)

    @property
    def mirrored(self) -> int:
        """How many of these show its mirror image."""
        return sum(picture.found.mirrored for picture in self.pictures)

    @property
    def shown(self) -> npt.NDArray[np.bool_]:
        """Which pictures show a board, right or wrong."""
        return np.array([bool(picture.found.seen.any() or picture.found.why_not) for picture in self.pictures], bool)


def search_frames(
    source: FrameSource, indices: npt.NDArray[np.int64], board: Board, progress: Callable[[int], None] | None = None
) -> list[PictureOfBoard]:
    """Search the board in some frames of one view, in ascending order, each decoded once."""
    local = threading.local()

    def search(image: Image) -> PictureOfBoard:
        import cv2

        if not hasattr(local, "find"):
            local.find = CharucoFinder(board) if board.kind == "charuco" else CheckerboardFinder(board)
        cv2.setRNGSeed(0)  # the sector-based detector draws random numbers: the same picture, the same corners
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        return describe_picture(grey, local.find(grey), board)

    threads = torch.get_num_threads()
    found: list[PictureOfBoard] = []
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[PictureOfBoard]] = deque()
        for image in decode(source, indices):
            waiting.append(pool.submit(search, image))
            if len(waiting) > AHEAD * threads:
                found.append(waiting.popleft().result())
                if progress is not None:
                    progress(len(found))
        found += [future.result() for future in waiting]
    if progress is not None:
        progress(len(found))
    return found


def decode(source: FrameSource, indices: npt.NDArray[np.int64]) -> Iterator[Image]:
    """Yield some frames of a source, in ascending order; pictures in files of their own are opened only if wanted."""
    if not len(indices):
        return
    if len(source.files) > 1:
        for index in indices.tolist():
            yield from source.frames(index, index + 1)
        return
    wanted = set(indices.tolist())
    first, last = int(indices[0]), int(indices[-1])
    for index, image in enumerate(source.frames(first, last + 1), start=first):
        if index in wanted:
            yield image


def _sources(
    recording: Recording | Sequence[FrameSource], names: Sequence[str]
) -> tuple[tuple[FrameSource, ...], tuple[str, ...]]:
    given = recording.frames if isinstance(recording, Recording) else tuple(recording)
    sources = tuple(source for source in given if source is not None)
    if not sources or len(sources) < len(given):
        raise InputError("boards are looked for in pictures: give videos or images of every view, not keypoints")
    if isinstance(recording, Recording):
        return sources, recording.names
    default = tuple(
        source.files[0].parent.name if len(source.files) > 1 else source.files[0].stem for source in sources
    )
    if names and len(names) != len(sources):
        raise InputError(f"names: expected one for each of the {len(sources)} views, got {len(names)}")
    return sources, tuple(names) or default


def _findings(views: Sequence[_View], board: Board, simultaneous: bool) -> tuple[Finding, ...]:
    """What is odd about the views: never the board, the board in the mirror, numbers that began anew.

    Raises:
        InputError: no view shows the board.
    """
    found = [absent_finding(name, why) for name, why in _without_board(views, board).items()]
    everywhere = all(view.mirrored == view.seen for view in views)
    for view in views:
        counter = counter_finding(view.name, numbers_of_pictures(view.source)) if simultaneous else None
        found += [counter] if counter else []
        found += [mirrored_finding(view.name, view.mirrored, view.seen, everywhere=everywhere)] if view.mirrored else []
        if not simultaneous and view.seen and not view.shown.all():
            blank = [picture_name(view.source, index) for index in view.frames.indices[~view.shown].tolist()]
            found.append(blank_finding(view.name, blank, len(view.pictures)))
    return tuple(found)


def _without_board(views: Sequence[_View], board: Board) -> dict[str, str]:
    """Which views never show the board, and what they show instead.

    Raises:
        InputError: all of them.
    """
    reasons = {
        view.name: why_no_board(view.source, view.frames.indices, board)
        for view in views
        if not view.seen and not view.shown.any()
    }
    if reasons and len(reasons) == len(views):
        told = {why: [name for name, other in reasons.items() if other == why] for why in reasons.values()}
        each = "; ".join(f"{', '.join(names)}: {why}" for why, names in told.items())
        raise InputError(f"no view shows the board {board.spec}. {each}")
    return reasons


def _observations(
    board: Board, views: Sequence[_View], notes: list[str], simultaneous: bool, config: DetectionConfig
) -> BoardObservations:
    """Lay the pictures of all views out over the moments at which something was seen, and reject."""
    moments = np.unique(np.concatenate([view.frames.moments[view.shown] for view in views]))
    rows = [_row(view, place, moments, board, config) for place, view in enumerate(views)]
    pixels = np.stack([row.pixels for row in rows])
    still = still_moments(pixels, config.still) if simultaneous else np.zeros(len(moments), bool)
    if still.any():
        notes = [*notes, f"{still.sum()} moments in which the board had not moved in any view were left out."]
    return BoardObservations(
        board=board,
        pixels=torch.from_numpy(pixels[:, ~still]),
        names=tuple(view.name for view in views),
        sizes=torch.tensor([view.source.size for view in views]),
        moments=tuple(moments[~still].tolist()),
        frame_indices=torch.from_numpy(np.stack([row.indices for row in rows])[:, ~still]),
        sources=tuple(view.source for view in views),
        simultaneous=simultaneous,
        rejected=_renumbered([item for row in rows for item in row.rejected], still),
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """What one view contributes to M moments."""

    pixels: npt.NDArray[np.float64]
    """(M, C, 2)"""
    indices: npt.NDArray[np.int64]
    """(M,) of its frames; -1: none."""
    rejected: list[Rejection]


def _row(view: _View, number: int, moments: npt.NDArray[np.int64], board: Board, config: DetectionConfig) -> _Row:
    """Put the boards of a view at their moments, those that are not rejected."""
    pixels = np.full((len(moments), len(board.points), 2), np.nan)
    indices = np.full(len(moments), -1)
    known = np.isin(view.frames.moments, moments)
    indices[np.searchsorted(moments, view.frames.moments[known])] = view.frames.indices[known]
    shown = view.shown
    places = np.searchsorted(moments, view.frames.moments[shown]).tolist()
    pictures = [picture for picture, there in zip(view.pictures, shown, strict=True) if there]
    names = [picture_name(view.source, index) for index in view.frames.indices[shown].tolist()]
    rejected = []
    for place, picture, why in zip(places, pictures, reasons_to_reject(pictures, names, board, config), strict=True):
        if why:
            rejected.append(Rejection(view=number, moment=place, why=why))
        else:
            pixels[place] = picture.found.corners
    return _Row(pixels=pixels, indices=indices, rejected=rejected)


def _renumbered(rejected: Sequence[Rejection], dropped: npt.NDArray[np.bool_]) -> tuple[Rejection, ...]:
    """Rejections with their places among the moments that are left."""
    places = np.cumsum(~dropped) - 1
    return tuple(replace(item, moment=int(places[item.moment])) for item in rejected if not dropped[item.moment])
