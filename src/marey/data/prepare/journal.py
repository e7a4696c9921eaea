"""What an interrupted preparation has done: one line of JSON a fact, on the disk before the next step begins."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from marey.core import FormatError, InputError

_MOST_BYTES = 1 << 30


class Journal:
    """An append-only file of facts. A line that a crash cut off is dropped when the journal is opened again."""

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        """Open the journal, and lock it where the system can.

        Args:
            path: The file, made if absent.
            fresh: Forget what it holds, unread.

        Raises:
            InputError: it cannot be written, or another preparation has it open.
            FormatError: it is no journal.
        """
        self.path = path
        self.facts: list[dict[str, Any]] = []
        """In the order in which they were noted."""
        try:
            self._file: BinaryIO = path.open("a+b")
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            _lock(self._file, path)
            if fresh:
                self._file.truncate(0)
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        if os.fstat(self._file.fileno()).st_size > _MOST_BYTES:
            raise FormatError(f"{self.path}: larger than 1 GiB, which no journal is; pass --fresh to start over")
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            self.facts = [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise FormatError(f"{self.path}: damaged ({error}); pass --fresh to start over") from error
        if not all(isinstance(fact, dict) for fact in self.facts):
            raise FormatError(f"{self.path}: not the journal of a preparation; pass --fresh to start over")
        if len(whole) < len(data):
            self._file.truncate(len(whole))

    def note(self, fact: Mapping[str, Any]) -> None:
        """Append a fact; it is on the disk when this returns.

        Raises:
            InputError: it cannot be written, such as for want of space.
        """
        try:
            self._file.write(json.dumps(fact, ensure_ascii=False, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.facts.append(dict(fact))

    def clear(self) -> None:
        """Forget everything.

        Raises:
            InputError: the file cannot be written.
        """
        try:
            self._file.truncate(0)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self.facts.clear()

    def close(self) -> None:
        """Close the file, which lets others open it."""
        self._file.close()


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system: two preparations at once are the user's to avoid
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"{path.parent}: another preparation is writing there; wait for it, or pass --out") from error


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot write {path}: {error.strerror or error}; free space or choose another --out")
