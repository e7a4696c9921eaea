"""Lists of frames as the fork for CMU Panoptic has them, `cmu_frames.yaml`: which frames train and which validate.

    train:
      - 171204_pose1:
        - [300, 4100]
        - [4800, 8900]
    val:
      - 171204_pose5:
        - [400, 4300]

A range ends before its second number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from marey.core import FormatError, InputError, MissingDependencyError
from marey.data.labels import Labels
from marey.data.prepare.cmu_sequences import FRAMES, TRAIN_SEQUENCES, VALIDATION_SEQUENCES, Ranges, frames_in
from marey.io.text import read_text_limited

FrameLists = Mapping[str, Mapping[str, Ranges]]
"""By split, `train`, `validation` or `test`, and sequence: half-open ranges."""

FORK: FrameLists = {
    "train": {name: FRAMES[name] for name in TRAIN_SEQUENCES},
    "validation": {name: FRAMES[name] for name in VALIDATION_SEQUENCES},
}
"""Those of the fork itself."""

_SPLITS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
_MOST_BYTES = 1 << 20


def read_frame_lists(path: str | os.PathLike[str]) -> FrameLists:
    """Read a list of frames; a sequence is listed once in each split.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        InputError: the file cannot be read.
        FormatError: it is no such list.
    """
    path = Path(path)
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError.of("pyyaml", "a list of frames in YAML", 'pip install "marey[train]"') from error
    text = read_text_limited(path, most_bytes=_MOST_BYTES)
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not a YAML file: {error}") from error
    if not isinstance(values, Mapping) or not values or not set(values) <= set(_SPLITS):
        raise FormatError(f"{path}: expected lists called train, val or test, got {values!r:.80}")
    return {_SPLITS[split]: dict(_sequences(f"{path}, {split}", entries)) for split, entries in values.items()}


def _sequences(where: str, entries: Any) -> Iterator[tuple[str, Ranges]]:
    """The sequences of a split: a list of mappings, as in the fork, or one mapping."""
    parts = entries if isinstance(entries, list) else [entries]
    if not all(isinstance(part, Mapping) for part in parts):
        raise FormatError(f"{where}: expected sequences with ranges, got {entries!r:.80}")
    pairs = [(str(name), ranges) for part in parts for name, ranges in part.items()]
    if len({name for name, _ in pairs}) < len(pairs):
        raise FormatError(f"{where}: a sequence comes twice; give all its ranges in one list")
    for name, ranges in pairs:
        yield name, _ranges(f"{where}, {name}", ranges)


def _ranges(where: str, ranges: Any) -> Ranges:
    def good(pair: Any) -> bool:
        whole = isinstance(pair, list) and len(pair) == 2 and all(type(edge) is int for edge in pair)
        return whole and 0 <= pair[0] < pair[1]

    if not isinstance(ranges, list) or not ranges or not all(map(good, ranges)):
        raise FormatError(f"{where}: expected ranges [first, beyond the last], got {ranges!r:.80}")
    return tuple((first, end) for first, end in ranges)


def with_frame_lists(labels: Labels, lists: FrameLists = FORK) -> Labels:
    """The listed images, with the splits that the lists say; frames between, and sequences not listed, are left out.

    Args:
        labels: Of CMU Panoptic, or of another data set whose frames are listed so.
        lists: By split and sequence.

    Raises:
        InputError: an image is listed in two splits, or none is listed.
    """
    split = np.full(len(labels.images), "", dtype="U10")
    for name, sequences in lists.items():
        for sequence, ranges in sequences.items():
            inside = (labels.images.sequence == sequence) & frames_in(ranges, labels.images.frame)
            if (split[inside] != "").any():
                raise InputError(f"frames: some of {sequence} are listed for {name} and for another split")
            split[inside] = name
    if not (split != "").any():
        there = ", ".join(np.unique(labels.images.sequence).tolist()[:9]) or "none"
        raise InputError(f"frames: no image of {labels.name} is listed; its sequences are {there}")
    return replace(labels, split=np.where(split == "", labels.split, split)).of_images(split != "")
