"""One run of a preparation: its inputs, what it has done already, what it says of itself in `card.json`."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from marey._version import __version__
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels.columns import Array
from marey.data.prepare.journal import Journal
from marey.data.prepare.sources import DataSource
from marey.io.atomic import atomic_path, check_writable
from marey.io.npz import read_arrays
from marey.io.text import read_text_limited

JOURNAL = "preparation.jsonl"
CARD = "card.json"
LABELS = "labels.npz"
PARTS = "parts"

_BLOCK = 1 << 20
_EVERYTHING = "everything"
"""The last step."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Work:
    """A run that can be interrupted anywhere and goes on where it stopped.

    What was done is in a journal beside the outputs. Another run with the same options skips it; a run with other
    options, by another version of Marey, or with inputs that have changed since, is refused unless it is told to start
    over. What is complete stays so in later versions.
    """

    def __init__(
        self,
        source: DataSource,
        root: Path,
        out: Path,
        *,
        options: Mapping[str, Any],
        fresh: bool = False,
        again: bool = False,
        workers: int = 1,
        show: bool | None = None,
    ) -> None:
        """Open the journal.

        Args:
            source: The data set.
            root: Folder of the official download.
            out: Folder to write, made if absent.
            options: What the outputs depend on, as JSON can hold it.
            fresh: Forget what was done before.
            again: Everything is looked at in every run: what an earlier one noted does not count.
            workers: Threads of `map`.
            show: Progress bars; None: if standard error is a terminal.

        Raises:
            InputError: the folder cannot be written, another run is writing there, or was made with other options.
        """
        self.source, self.root, self.out = source, root, check_writable(out)
        self.workers, self.show = workers, show
        self.journal = Journal(out / JOURNAL, fresh=fresh)
        try:
            self._begin({"data_set": source.name, "options": dict(options)}, fresh)
            self._noted_from = len(self.journal.facts) if again else 0
        except BaseException:
            self.journal.close()
            raise

    def _begin(self, head: dict[str, Any], fresh: bool) -> None:
        if fresh:
            self._forget()
        if not any("done" in fact for fact in self.journal.facts):
            self.journal.clear()  # a run that found nothing to work with binds nobody
        if not self.journal.facts:
            self.journal.note({**head, "marey": __version__})
        facts = self.journal.facts
        began = {name: value for name, value in facts[0].items() if name != "marey"}
        over = "pass --fresh to start over, or another --out"
        if began != json.loads(json.dumps(head)):
            raise InputError(f"{self.out}: was begun with {_words(began)}, now asked for {_words(head)}; {over}")
        version, complete = facts[0].get("marey"), any(fact.get("done") == _EVERYTHING for fact in facts)
        if version != __version__ and not complete:
            raise InputError(f"{self.out}: was begun by Marey {version}, this is {__version__}; {over}")
        self._done = {str(fact["done"]) for fact in facts if "done" in fact}
        self._inputs = {str(fact["input"]): fact for fact in facts if "input" in fact}
        self._seen: set[str] = set()

    def _forget(self) -> None:
        """Remove what tells of an earlier run; its pictures are overwritten as they come."""
        for name in (LABELS, CARD):
            (self.out / name).unlink(missing_ok=True)
        self._remove_parts()

    def close(self) -> None:
        """Let others write there."""
        self.journal.close()

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # inputs

    def require(self, path: Path, what: str = "") -> Path:
        """Give the path back if there is a file or folder.

        Args:
            path: Of the download.
            what: What it is, in words.

        Raises:
            MissingAssetError: there is none; the message says what it is, where it comes from and under which licence.
        """
        if path.exists():
            return path
        raise MissingAssetError(
            f"{path}: not found{f', the {what}' if what else ''} of {self.source.title}. Download it from "
            f"{self.source.home} ({self.source.licence}) and put it below {self.root}; "
            f"`marey data list` says which files belong there"
        )

    def record(self, path: Path) -> Path:
        """Note a file that the outputs depend on, with its size and SHA-256.

        It is for files of labels; a million pictures would take hours to hash. A file that was noted by an earlier run
        is hashed again only if its size or its time has changed.

        Raises:
            MissingAssetError: there is no such file.
            InputError: its content is not what an earlier run read.
        """
        self.require(path)
        key = _shown(path, self.root)
        if key in self._seen:
            return path
        self._seen.add(key)
        known, stat = self._inputs.get(key), path.stat()
        if known is not None and (known["size"], known["time"]) == (stat.st_size, stat.st_mtime_ns):
            return path
        digest = file_digest(path)
        if known is not None and known["sha256"] != digest:
            raise InputError(
                f"{path}: has changed since {self.out} was begun; pass --fresh to start over, or another --out"
            )
        fact = {"input": key, "size": stat.st_size, "time": stat.st_mtime_ns, "sha256": digest}
        self.journal.note(fact)
        self._inputs[key] = fact
        return path

    # what is done

    def done(self, key: str) -> bool:
        """Whether a step was finished, in this run or an earlier one."""
        return key in self._done

    def finish(self, key: str) -> None:
        """Note that a step and everything that it writes are done.

        Raises:
            InputError: the journal cannot be written.
        """
        if key not in self._done:
            self.journal.note({"done": key})
            self._done.add(key)

    def part(self, key: str, make: Callable[[], Mapping[str, Array]]) -> dict[str, Array]:
        """Arrays that are computed once: kept in a file until the preparation is complete, and read from it after that.

        Text may be among them, Python objects not.

        Raises:
            InputError: the file cannot be written.
        """
        path = self.out / PARTS / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
        if self.done(f"part {key}") and path.exists():
            return read_arrays(path)
        arrays = dict(make())
        check_writable(path.parent)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        self.finish(f"part {key}")
        return arrays

    def _remove_parts(self) -> None:
        for path in (self.out / PARTS).glob("*.npz"):
            path.unlink()
        with suppress(OSError):
            (self.out / PARTS).rmdir()

    def note(self, sentence: str) -> None:
        """Put a plain sentence into the card: what was left out, assumed, or differs from the published preparation."""
        if sentence not in self.notes:
            self.journal.note({"note": sentence})

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentences of this run and of those that it goes on with."""
        return tuple(str(fact["note"]) for fact in self.journal.facts[self._noted_from :] if "note" in fact)

    @property
    def inputs(self) -> tuple[dict[str, Any], ...]:
        """Files that were read, each with path, size and SHA-256, by path."""
        return tuple(
            {"path": key, "bytes": self._inputs[key]["size"], "sha256": self._inputs[key]["sha256"]}
            for key in sorted(self._inputs)
        )

    # long loops

    def progress(self, items: Iterable[Item], total: int | None = None, what: str = "") -> Iterator[Item]:
        """The items, with a bar on standard error."""
        from tqdm import tqdm

        hidden = None if self.show is None else not self.show
        yield from tqdm(items, total=total, desc=what or self.source.name, disable=hidden)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], total: int | None = None, what: str = ""
    ) -> Iterator[Result]:
        """What a function gives for each item, in the order of the items, by several threads, with a bar.

        Threads suit decoding, warping and writing of images, which release the interpreter.
        """
        return self.progress(self._mapped(function, items), total, what)

    def _mapped(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        if self.workers <= 1:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(function, item))
                    if len(waiting) >= 4 * self.workers:  # bounded, or a million images would wait in memory
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def complete(self) -> None:
        """Note that nothing is left to do, and remove the parts.

        Raises:
            InputError: the journal cannot be written.
        """
        self.finish(_EVERYTHING)
        self._remove_parts()

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run did everything."""
        return self.done(_EVERYTHING)


def read_card(path: Path) -> dict[str, Any]:
    """What a finished preparation says of itself.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no card.
    """
    try:
        card = json.loads(read_text_limited(path))
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}: not JSON: {error}") from error
    if not isinstance(card, dict) or "data_set" not in card:
        raise FormatError(f"{path}: not the card of a prepared data set")
    return card


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _shown(path: Path, root: Path) -> str:
    """The path below the root, with forward slashes; whole where it lies elsewhere."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 - links stay as the user named them


def _words(head: Mapping[str, Any]) -> str:
    options = head.get("options") or {}
    return (
        f"{head.get('data_set')} with {json.dumps(options, sort_keys=True)}" if options else str(head.get("data_set"))
    )
