"""Checkpoints of a training run: whole or absent, checked by hash, of this run and no other.

A checkpoint is a file of tensors, `step-00000100.pt`, and its note, `step-00000100.json`, with the SHA-256 of the
tensors and what the run was. The note is written last, so a checkpoint without one is not a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from marey.core import FormatError, TrainingError
from marey.io.atomic import atomic_path, check_writable
from marey.io.text import read_text_limited

FOLDER = "checkpoints"
_NOTE = re.compile(r"step-(\d{8,})\.json")
_MOST_NOTE = 8 << 20


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a checkpoint is, readable without its tensors."""

    step: int
    """Steps done."""
    world: int
    """Processes."""
    identity: Mapping[str, Any]
    """Plain values that decide what is learned: recipe and settings."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Of the last validation."""
    best: Mapping[str, float] = field(default_factory=dict)
    """`step` and `score` of the best validation so far."""
    versions: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    """Of the file of tensors."""


def write_checkpoint(folder: Path, state: Mapping[str, Any], note: Note) -> Path:
    """Write tensors and their note, to the disk and not only to its cache.

    Args:
        folder: Of the checkpoints; made if it is not there.
        state: Tensors and plain values, nested; what `torch.load(weights_only=True)` takes.
        note: Without the hash, which is added.

    Raises:
        InputError: it cannot be written; an older checkpoint stays what it was.
    """
    check_writable(folder)
    path = _tensors(folder, note.step)
    with atomic_path(path) as temporary:
        try:
            torch.save(dict(state), temporary)
        except RuntimeError as error:  # which is how torch's writer words a full disk
            raise OSError(f"{error}; is the disk full?") from error
        _to_disk(temporary)
        digest = _sha256(temporary)
    with atomic_path(path.with_suffix(".json")) as temporary:
        text = json.dumps(asdict(note) | {"sha256": digest}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
        _to_disk(temporary)
    _to_disk(folder)
    return path


def read_checkpoint(folder: Path, step: int) -> tuple[dict[str, Any], Note]:
    """Read a checkpoint, tensors on the CPU, without running any code that may be in it.

    Raises:
        FormatError: it is missing, not whole, or damaged.
    """
    path = _tensors(folder, step)
    note = read_note(path.with_suffix(".json"))
    try:
        if _sha256(path) != note.sha256:
            raise FormatError(f"{path}: damaged: its SHA-256 is not that of its note")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FormatError:
        raise
    except Exception as error:  # the unpickler raises whatever bytes make it raise
        raise FormatError(f"{path}: not a readable checkpoint: {error}") from error
    return state, note


def read_note(path: Path) -> Note:
    """Read what a checkpoint is.

    Raises:
        FormatError: it is not a note.
        InputError: it cannot be read.
    """
    try:
        values = json.loads(read_text_limited(path, most_bytes=_MOST_NOTE))
        note = Note(**values)
    except (ValueError, TypeError, RecursionError) as error:
        raise FormatError(f"{path}: not the note of a checkpoint: {error}") from error
    if type(note.step) is not int or not isinstance(note.identity, dict) or not isinstance(note.sha256, str):
        raise FormatError(f"{path}: not the note of a checkpoint")
    return note


def steps_kept(folder: Path) -> list[int]:
    """Steps of the checkpoints that have a note, in order; they may still be damaged."""
    names = [path.name for path in folder.glob("step-*.json")] if folder.is_dir() else []
    return sorted(int(found[1]) for name in names if (found := _NOTE.fullmatch(name)))


def newest_checkpoint(folder: Path) -> tuple[dict[str, Any], Note] | None:
    """Read the newest checkpoint that is whole; None if there is none. Damaged ones are passed over with a warning."""
    for step in reversed(steps_kept(folder)):
        try:
            return read_checkpoint(folder, step)
        except FormatError as error:
            warnings.warn(f"{error}; an older checkpoint is taken", stacklevel=2)
    return None


def remove_checkpoints(folder: Path, *, keep: Collection[int] = ()) -> None:
    """Remove all checkpoints but those of some steps, and what interrupted writing has left."""
    if not folder.is_dir():
        return
    kept = {path for step in keep for path in (_tensors(folder, step), _tensors(folder, step).with_suffix(".json"))}
    # notes first: tensors without one are no checkpoint, a note without tensors would be a damaged one
    for path in (*folder.glob("step-*.json"), *folder.glob("step-*.pt"), *folder.glob(".step-*")):
        if path not in kept:
            path.unlink(missing_ok=True)


def check_same_run(note: Note, identity: Mapping[str, Any], *, world: int, where: Path) -> None:
    """Make sure that a checkpoint is of this run.

    Raises:
        TrainingError: recipe, settings, seed or number of processes differ; the message names what does.
    """
    there = _flat(note.identity) | {"processes": note.world}
    here = _flat(identity) | {"processes": world}
    names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    if not names:
        return
    listed = [f"{name} was {_worded(there, name)}, is {_worded(here, name)}" for name in names[:6]]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    raise TrainingError(
        f"{where} holds a run of other settings: {'; '.join(listed)}{more}. Take another output folder, start afresh "
        "(--fresh, which removes that run), or go on anyway (--anyway)"
    )


def _worded(values: Mapping[str, Any], name: str) -> str:
    return repr(values[name]) if name in values else "not there"


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested plain values by dotted names, as they are after a way through JSON."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{path}{name}.")
        else:
            flat[f"{path}{name}"] = json.loads(json.dumps(value))
    return flat


def _tensors(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.pt"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no such call for folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
