"""Views on one time axis: keypoint files by their frame numbers, frame rates and lengths compared."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from marey.core.errors import InputError
from marey.core.evidence import Detections2D, Keypoints2D
from marey.core.recording import FrameSource
from marey.core.skeletons import Skeleton
from marey.io.keypoint_files import KeypointFile

RATE_TOLERANCE = 0.01
"""Relative difference of frame rates that is still the same rate."""


def align_keypoints(
    names: Sequence[str], files: Sequence[KeypointFile], *, from_zero: bool = False
) -> tuple[Detections2D, list[str]]:
    """Put the keypoints of V views on one time axis, (V, T, P), by their frame numbers.

    T runs from the first to the last number that any view has; a view without that number, or with fewer people, is
    NaN there. Views whose numbers have no frame in common are aligned at their first frame instead. The covariances
    are NaN, without memory of their own.

    Args:
        names: Of the views, for messages.
        files: What was read of each view.
        from_zero: Frame number 0 is the first of the T frames, as it is where the numbers count frames of a video.

    Returns:
        The detections and, in plain sentences, what was assumed.

    Raises:
        InputError: the views have different skeletons, or there is nobody in any of them.
    """
    files, notes = _with_one_skeleton(names, files)
    firsts, notes_of_time = _first_frames(names, files, from_zero)
    start = 0 if from_zero else min(firsts)
    length = max(first + len(file.positions) for first, file in zip(firsts, files, strict=True)) - start
    people = max(file.positions.shape[1] for file in files)
    if not people:
        raise InputError(f"nobody was detected in any frame of the views {', '.join(names)}")
    joints = len(files[0].skeleton)
    positions = np.full((len(files), length, people, joints, 2), np.nan, np.float32)
    score = np.zeros(positions.shape[:-1], np.float32)
    for view, (first, file) in enumerate(zip(firsts, files, strict=True)):
        place = slice(first - start, first - start + len(file.positions))
        positions[view, place, : file.positions.shape[1]] = file.positions
        score[view, place, : file.positions.shape[1]] = file.score
    keypoints = Keypoints2D(
        positions=torch.from_numpy(positions),
        covariance=torch.full((), torch.nan).expand(*score.shape, 2, 2),
        score=torch.from_numpy(score),
        skeleton=files[0].skeleton,
    )
    said = dict.fromkeys(note for file in files for note in file.notes)
    return Detections2D(keypoints=keypoints), [*said, *notes, *notes_of_time]


def _with_one_skeleton(names: Sequence[str], files: Sequence[KeypointFile]) -> tuple[list[KeypointFile], list[str]]:
    """Agree on the skeleton: of equal joint counts the one that most views show; views without people follow."""
    shown = [file for file in files if file.positions.shape[1]]
    counts = Counter(file.skeleton for file in shown or files)
    chosen = counts.most_common(1)[0][0]
    lengths = {len(skeleton) for skeleton in counts}
    if len(lengths) > 1 or (len(counts) > 1 and not {s.name for s in counts} <= {"body_25", "body_25b"}):
        each = ", ".join(f"{name}: {file.skeleton.name}" for name, file in zip(names, files, strict=True))
        raise InputError(f"the views have different skeletons ({each}); give views of one skeleton, or skeleton=")
    agreed = [_as_skeleton(file, chosen) for file in files]
    if len(counts) == 1:
        return agreed, []
    return agreed, [f"The views disagree on the order of their 25 joints; {chosen.name} was taken, which most show."]


def _as_skeleton(file: KeypointFile, skeleton: Skeleton) -> KeypointFile:
    if file.skeleton == skeleton:
        return file
    frames, people = file.positions.shape[:2]
    if people:
        return replace(file, skeleton=skeleton)
    empty = np.zeros((frames, 0, len(skeleton), 2), np.float32)
    return replace(file, skeleton=skeleton, positions=empty, score=empty[..., 0])


def _first_frames(names: Sequence[str], files: Sequence[KeypointFile], from_zero: bool) -> tuple[list[int], list[str]]:
    """Where each view starts on the common axis."""
    firsts = [int(file.frame_numbers[0]) for file in files]
    lasts = [int(file.frame_numbers[-1]) for file in files]
    if max(firsts) > min(lasts):
        note = "The frame numbers of the views have no frame in common; the views were aligned at their first frames."
        return [0] * len(files), [note]
    notes = []
    if len(set(firsts)) > 1 or len(set(lasts)) > 1:
        each = ", ".join(f"{name} {a}..{b}" for name, a, b in zip(names, firsts, lasts, strict=True))
        notes.append(f"The views have different frames ({each}); where a view has none, it is a gap.")
        lengths = [last - first + 1 for first, last in zip(firsts, lasts, strict=True)]
        far = [name for name, length in zip(names, lengths, strict=True) if length > 2 * min(lengths)]
        if far:
            notes.append(
                f"{', '.join(far)}: the frame numbers reach much farther than in other views; if a counter began anew "
                "on the way, rename the files so that their numbers ascend as they were recorded."
            )
    if not from_zero and min(firsts):
        notes.append(f"Frame 0 of the recording is frame number {min(firsts)} of the files.")
    return firsts, notes


def common_rate(names: Sequence[str], rates: Sequence[float | None]) -> float | None:
    """The frame rate that all views share; None if none states one.

    Raises:
        InputError: they differ by more than 1 %.
    """
    known = [rate for rate in rates if rate]
    if not known:
        return None
    if max(known) > (1 + RATE_TOLERANCE) * min(known):
        each = ", ".join(f"{name} {rate:.6g}" for name, rate in zip(names, rates, strict=True) if rate)
        raise InputError(
            f"the views have different frame rates ({each} frames per second), so their frames do not belong together; "
            "convert them to one rate first"
        )
    return float(np.median(known))


def note_lengths(
    names: Sequence[str], sources: Sequence[FrameSource | None], keypoints: int | None = None
) -> list[str]:
    """Say so if the views have different numbers of frames: the recording is as long as the shortest.

    Args:
        names: Of the views.
        sources: Of the views; None where there are no frames.
        keypoints: Frames that the aligned keypoint files reach over, None without such files.
    """
    lengths = {name: len(source.timestamps) for name, source in zip(names, sources, strict=True) if source is not None}
    notes = []
    shortest = min(lengths.values(), default=0)
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} {length}" for name, length in lengths.items())
        notes.append(f"The views have different lengths ({each} frames); frames after number {shortest} are left out.")
    if lengths and keypoints is not None and keypoints != shortest:
        notes.append(
            f"The keypoint files reach over {keypoints} frames and the frames of the views over {shortest}; only the "
            f"first {min(keypoints, shortest)} are used."
        )
    return notes


def note_drift(names: Sequence[str], sources: Sequence[FrameSource | None], rate: float | None) -> list[str]:
    """Say so, and warn, if frames of the same number were not taken at the same time after the start.

    That is what dropped frames and variable frame rates do. Half a frame of difference is nothing to tell.
    """
    times = {name: source.timestamps for name, source in zip(names, sources, strict=True) if source is not None}
    length = min((len(taken) for taken in times.values()), default=0)
    if not rate or not length or len(times) < 2:
        return []
    since = np.stack([taken[:length] - taken[0] for taken in times.values()])
    spread = np.ptp(since, axis=0)
    apart = np.flatnonzero(spread > 0.5 / rate)
    if not apart.size:
        return []
    early, late = (list(times)[view] for view in (since[:, apart[0]].argmin(), since[:, apart[0]].argmax()))
    note = (
        f"The views drift apart by up to {1000 * spread.max():.0f} ms, counted from their first frames: from frame "
        f"{apart[0]} on {late} is late against {early}. Frames were dropped or the rate varies; synchronise them first."
    )
    warnings.warn(note, stacklevel=5)
    return [note]


def rate_of(timestamps: npt.NDArray[np.float64]) -> float | None:
    """Frames per second from times (T,), NaN where unknown: the steps from the first to the last known over their time.

    Unlike the median step this is right where the steps vary, as those of webcams do.
    """
    known = np.flatnonzero(np.isfinite(timestamps))
    if known.size < 2:
        return None
    first, last = known[0], known[-1]
    duration = timestamps[last] - timestamps[first]
    return float((last - first) / duration) if duration > 0 else None
