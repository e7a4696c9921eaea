"""Find a calibration board in every picture of every view, and leave out what would mislead a calibration."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from marey.calibrate.board_diagnosis import why_no_board
from marey.calibrate.board_moments import Frames, choose_frames
from marey.calibrate.board_pictures import PictureOfBoard, describe_picture
from marey.calibrate.board_rejection import DetectionConfig, reasons_to_reject, still_moments
from marey.calibrate.boards import Board
from marey.calibrate.calibration import BoardObservations, Rejection
from marey.calibrate.charuco import CharucoFinder, FoundBoard, Grey
from marey.calibrate.checkerboard import CheckerboardFinder
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
    total = sum(len(chosen.indices) for chosen in frames)
    pictures: list[list[PictureOfBoard]] = []
    for source, chosen in zip(sources, frames, strict=True):
        done = sum(map(len, pictures))
        report = None if progress is None else lambda count, done=done: progress(done + count, total)
        pictures.append(search_frames(source, chosen.indices, board, report))
    empty = [view for view, shown in enumerate(pictures) if not any(picture.found.seen.any() for picture in shown)]
    reasons = {view: why_no_board(sources[view], frames[view].indices, board) for view in empty}
    if len(empty) == len(sources):
        told = {why: [names[view] for view, other in reasons.items() if other == why] for why in reasons.values()}
        each = "; ".join(f"{', '.join(views)}: {why}" for why, views in told.items())
        raise InputError(f"no view shows the board {board.spec}. {each}")
    notes += [f"View {names[view]} never shows the board: {why}." for view, why in reasons.items()]
    notes += _mirrored(names, pictures)
    return _assemble(board, sources, names, frames, pictures, notes, simultaneous, config)


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


def _mirrored(names: Sequence[str], pictures: Sequence[Sequence[PictureOfBoard]]) -> list[str]:
    """Say which views see the board in the mirror."""
    notes = []
    for name, shown in zip(names, pictures, strict=True):
        count = sum(picture.found.mirrored for picture in shown)
        if count:
            seen = sum(bool(picture.found.seen.any()) for picture in shown)
            notes.append(
                f"View {name} sees the board mirrored in {count} of the {seen} pictures that show it. That is right if "
                "the camera looks at the back of a board that carries the mirror image there; if the camera's software "
                "mirrors its pictures, turn that off or flip the pictures, else its place will be wrong."
            )
    return notes


def _assemble(
    board: Board,
    sources: Sequence[FrameSource],
    names: Sequence[str],
    frames: Sequence[Frames],
    pictures: Sequence[Sequence[PictureOfBoard]],
    notes: list[str],
    simultaneous: bool,
    config: DetectionConfig,
) -> BoardObservations:
    """Lay the pictures of all views out over the moments, and reject."""
    shown = [np.array([picture.found.seen.any() or bool(picture.found.why_not) for picture in row]) for row in pictures]
    moments = np.unique(np.concatenate([chosen.moments[there] for chosen, there in zip(frames, shown, strict=True)]))
    pixels = np.full((len(sources), len(moments), len(board.points), 2), np.nan)
    indices = np.full((len(sources), len(moments)), -1)
    rejected: list[Rejection] = []
    for view, (chosen, row, there) in enumerate(zip(frames, pictures, shown, strict=True)):
        places = np.searchsorted(moments, chosen.moments)
        known = np.isin(chosen.moments, moments)
        indices[view, places[known]] = chosen.indices[known]
        kept = [picture for picture, keep in zip(row, there, strict=True) if keep]
        files = _file_names(sources[view], chosen.indices[there])
        for place, picture, why in zip(
            places[there].tolist(), kept, reasons_to_reject(kept, files, board, config), strict=True
        ):
            if why:
                rejected.append(Rejection(view=view, moment=place, why=why))
            else:
                pixels[view, place] = picture.found.corners
    still = still_moments(pixels, config.still) if simultaneous else np.zeros(len(moments), bool)
    if still.any():
        notes = [*notes, f"{still.sum()} moments in which the board had not moved in any view were left out."]
    return BoardObservations(
        board=board,
        pixels=torch.from_numpy(pixels[:, ~still]),
        names=tuple(names),
        sizes=torch.tensor([source.size for source in sources]),
        moments=tuple(moments[~still].tolist()),
        frame_indices=torch.from_numpy(indices[:, ~still]),
        sources=tuple(sources),
        simultaneous=simultaneous,
        rejected=_renumbered(rejected, still),
        notes=tuple(notes),
    )


def _renumbered(rejected: Sequence[Rejection], dropped: npt.NDArray[np.bool_]) -> tuple[Rejection, ...]:
    """Rejections with their places among the moments that are left."""
    places = np.cumsum(~dropped) - 1
    return tuple(
        Rejection(view=item.view, moment=int(places[item.moment]), why=item.why)
        for item in rejected
        if not dropped[item.moment]
    )


def _file_names(source: FrameSource, indices: npt.NDArray[np.int64]) -> list[str]:
    """What people call each frame: its file, or its number in the video."""
    if len(source.files) > 1:
        return [source.files[index].name for index in indices.tolist()]
    return [f"frame {index} of {source.files[0].name}" for index in indices.tolist()]
