"""OpenPose JSON: one file a frame, one list of x, y, score a person; written by many programs with many skeletons."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError
from marey.core.skeletons import Skeleton
from marey.core.skeletons import skeleton as skeleton_named
from marey.io.keypoint_files import SKELETON_OF_COUNT, KeypointFile, mask_missing
from marey.io.naming import last_number, natural_key
from marey.io.text import read_bytes_limited

MOST_BYTES = 16 << 20
"""Of one file; a hundred people with faces and hands have half a megabyte."""
MAX_PEOPLE = 256
"""More people in one file than this is a broken file, not a crowd: it guards the memory."""

Array = npt.NDArray[np.float32]
"""(people, J, 3): x, y, score."""


def read_openpose_folder(folder: str | os.PathLike[str], *, skeleton: str | Skeleton | None = None) -> KeypointFile:
    """Read the OpenPose JSON files of one view, one file a frame.

    The last group of digits in a file name is its frame number. A number missing in between is a gap; so is a file that
    is corrupt or holds another number of joints than most, and a warning names it. Files without a
    number beside numbered ones are no frames and left out. Files whose numbers are far too sparse to be frames (time
    stamps) are taken in natural order instead, and a note says so.

    If nobody was detected in any frame, P is 0 (and the joints are those of `skeleton`, or body_25).

    Args:
        folder: With the JSON files of one camera.
        skeleton: What the joints are, if their count does not say it: a shipped skeleton's name or a skeleton.

    Raises:
        InputError: no such folder, or no JSON file in it.
        FormatError: no file can be read; the joint count is unknown or not that of `skeleton`; frame numbers repeat.
    """
    folder = Path(folder)
    files = _json_files(folder)
    numbers, notes = _frame_numbers(folder, files)
    frames, broken = _read_frames(files)
    if broken:
        warnings.warn(f"{folder}: {_listed(broken)}; left as gaps", stacklevel=2)
        notes = [*notes, f"{folder.name}: {len(broken)} of {len(files)} files are broken and left as gaps."]
    packed = _pack(frames, numbers, joints=_count_of(skeleton))
    positions, score = mask_missing(packed[..., :2], packed[..., 2])
    chosen, reason = _choose_skeleton(folder, positions, skeleton)
    return KeypointFile(
        positions=positions,
        score=score,
        skeleton=chosen,
        frame_numbers=np.arange(numbers[0], numbers[-1] + 1),
        notes=(*notes, *reason),
    )


def _json_files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.lower().endswith(".json")]
    except OSError as error:
        raise InputError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    names = [name for name in names if not name.startswith(".")]
    if not names:
        raise InputError(f"{folder}: no .json file in it; expected one OpenPose file a frame")
    numbered = [name for name in names if last_number(name) is not None]
    return [folder / name for name in sorted(numbered or names, key=natural_key)]


def _frame_numbers(folder: Path, files: list[Path]) -> tuple[list[int], list[str]]:
    """Ascending frame numbers of the files; `files` is sorted in place to match."""
    found = [last_number(file.stem) for file in files]
    numbers = [number for number in found if number is not None]
    sparse = len(numbers) < len(files) or max(numbers) - min(numbers) > 10 * len(files) + 1000
    if sparse:
        note = (
            f"{folder.name}: file names do not number the frames; the {len(files)} files were taken in natural order."
        )
        return list(range(len(files))), [note]
    order = sorted(range(len(files)), key=numbers.__getitem__)
    files[:] = [files[place] for place in order]
    numbers.sort()
    repeated = next((number for number, count in Counter(numbers).items() if count > 1), None)
    if repeated is not None:
        twins = [file.name for file, number in zip(files, numbers, strict=True) if number == repeated]
        raise FormatError(f"{folder}: frame {repeated} is there twice ({', '.join(twins)}); keep one camera a folder")
    return numbers, []


def _read_frames(files: Sequence[Path]) -> tuple[list[Array | None], list[tuple[str, str]]]:
    """The people of each file, None for a broken one, and the names of the broken ones with the reason."""
    frames: list[Array | None] = []
    broken: list[tuple[str, str]] = []
    for file in files:
        try:
            frames.append(_people(read_bytes_limited(file, most_bytes=MOST_BYTES)))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, OSError) as error:
            frames.append(None)
            broken.append((file.name, f"{type(error).__name__}: {error}"))
    counts = Counter(frame.shape[1] for frame in frames if frame is not None and len(frame))
    if counts:
        usual = counts.most_common(1)[0][0]
        for place, frame in enumerate(frames):
            if frame is not None and len(frame) and frame.shape[1] != usual:
                frames[place] = None
                broken.append((files[place].name, f"{frame.shape[1]} joints where the others have {usual}"))
    if len(broken) == len(files):
        raise FormatError(f"{files[0].parent}: {_listed(broken)}; none of the files can be read")
    return frames, broken


def _people(content: bytes) -> Array:
    """Parse one file to (people, J, 3); people without any body keypoints are left out.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError: the file is malformed.
    """
    people = [person["pose_keypoints_2d"] for person in json.loads(content)["people"]]
    people = [person for person in people if person]
    if not people:
        return np.zeros((0, 0, 3), np.float32)
    if len(people) > MAX_PEOPLE:
        raise ValueError(f"{len(people)} people")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and that is missing
        flat = np.array(people, dtype=np.float32)
    if flat.ndim != 2 or flat.shape[1] % 3:
        raise ValueError(f"pose_keypoints_2d has the shape {flat.shape}, expected x, y, score for each joint")
    return flat.reshape(len(people), -1, 3)


def _pack(frames: Sequence[Array | None], numbers: Sequence[int], joints: int) -> Array:
    """(T, P, J, 3) over all frames from the first to the last number; NaN where there is nothing.

    `joints` counts only where nobody was seen in any frame: then P is 0.
    """
    filled = [frame for frame in frames if frame is not None and len(frame)]
    people = max((len(frame) for frame in filled), default=0)
    joints = filled[0].shape[1] if filled else joints
    packed = np.full((numbers[-1] - numbers[0] + 1, people, joints, 3), np.nan, np.float32)
    for number, frame in zip(numbers, frames, strict=True):
        if frame is not None and len(frame):
            packed[number - numbers[0], : len(frame)] = frame
    return packed


def _count_of(wanted: str | Skeleton | None) -> int:
    return len(skeleton_named(wanted) if isinstance(wanted, str) else wanted or skeleton_named("body_25"))


def _choose_skeleton(folder: Path, positions: Array, wanted: str | Skeleton | None) -> tuple[Skeleton, tuple[str, ...]]:
    count = positions.shape[-2]
    if wanted is not None:
        chosen = skeleton_named(wanted) if isinstance(wanted, str) else wanted
        if len(chosen) != count:
            raise FormatError(
                f"{folder}: {count} joints, but skeleton {chosen.name} has {len(chosen)}; pass another skeleton="
            )
        return chosen, ()
    if not positions.shape[-3]:
        return skeleton_named("body_25"), (f"{folder.name}: nobody was detected in any frame.",)
    if count == 25:
        name, note = _tell_body_25(positions)
        return skeleton_named(name), (note,)
    if count not in SKELETON_OF_COUNT:
        known = ", ".join(f"{joints} ({name})" for joints, name in (SKELETON_OF_COUNT | {25: "body_25"}).items())
        raise FormatError(f"{folder}: {count} joints, known are {known}; pass skeleton= to say what they are")
    return skeleton_named(SKELETON_OF_COUNT[count]), ()


def _tell_body_25(positions: Array) -> tuple[str, str]:
    """Tell BODY_25 from BODY_25B, which both have 25 joints, by what must lie midway between two others.

    BODY_25 has a pelvis (8) between the hips (9, 12) and a neck (1) between the shoulders (2, 5). BODY_25B has a neck
    (17) between the shoulders (5, 6) and a nose (0) near the middle of the eyes (1, 2).
    """
    sample = positions.reshape(-1, 25, 2)
    sample = sample[:: max(1, len(sample) // 2000)]
    body_25 = _midway_error(sample, ((8, 9, 12), (1, 2, 5)))
    body_25b = _midway_error(sample, ((17, 5, 6), (0, 1, 2)))
    if not np.isfinite([body_25, body_25b]).any():
        return (
            "body_25",
            "25 joints, taken for body_25 because too few were seen to tell it from body_25b; pass skeleton= if not.",
        )
    name = "body_25" if np.nan_to_num(body_25, nan=np.inf) <= np.nan_to_num(body_25b, nan=np.inf) else "body_25b"
    return name, f"25 joints, told to be {name} by where neck, pelvis and nose lie; pass skeleton= to overrule."


def _midway_error(sample: Array, triples: Sequence[tuple[int, int, int]]) -> float:
    """Median distance of each first joint from the middle of the two others, over the size of the person."""
    middle, left, right = np.array(triples).T
    off = np.linalg.norm(sample[:, middle] - (sample[:, left] + sample[:, right]) / 2, axis=-1)
    low, high = np.nan_to_num(sample, nan=np.inf).min(1), np.nan_to_num(sample, nan=-np.inf).max(1)
    size = np.linalg.norm(high - low, axis=-1)
    ratio = off / np.where(size > 0, size, np.nan)[:, None]
    seen = ratio[np.isfinite(ratio)]
    return float(np.median(seen)) if seen.size else float("nan")


def _listed(broken: Sequence[tuple[str, str]]) -> str:
    shown = "; ".join(f"{name} ({reason[:120]})" for name, reason in broken[:5])
    return f"{len(broken)} broken file(s): {shown}" + (" ..." if len(broken) > 5 else "")
