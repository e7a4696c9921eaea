"""What the kinds of things that `marey convert` knows share: what users may add, names of files, names of joints."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from marey.core import FormatError, InputError
from marey.io.formats import FileFormat
from marey.io.marker_names import named_skeleton as named_skeleton
from marey.io.naming import file_stem

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Unstated:
    """What a file may leave open, and the user may say."""

    unit: str | float | None = None
    """A name, or the metres in one unit."""
    skeleton: str | None = None
    """What the joints are, a name that `marey info skeletons` lists."""
    fps: float | None = None
    """Frames per second."""

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < float("inf"):
            raise InputError(f"fps: expected frames per second above 0, got {self.fps}")

    def only(self, path: Path, *open_: str) -> None:
        """Refuse what is said of a file that leaves open but these.

        Raises:
            InputError: something else is said.
        """
        for name, words in (("unit", "unit"), ("skeleton", "joints"), ("fps", "frame rate")):
            if name not in open_ and getattr(self, name) is not None:
                raise InputError(f"{path} states its {words}, or needs none; leave out {name}")


NOTHING_SAID = Unstated()


def read_with(entry: FileFormat, path: Path, stated: Unstated) -> Any:
    """Read a file with a row whose reader takes what the user says."""
    return entry.read(path, stated)


def target_format(formats: Mapping[str, FileFormat]) -> Callable[[Path], str]:
    """What the end of a path means among these formats."""

    def meant(path: Path) -> str:
        for name, entry in formats.items():
            if path.suffix.lower() in entry.suffixes:
                return name
        raise FormatError(f"{path}: its name does not say which of {', '.join(formats)} to write")

    return meant


def formats_by_suffix(formats: Mapping[str, FileFormat]) -> Callable[[Path], list[str]]:
    """The formats that an existing file may have by the end of its name, and that can be read."""

    def found(path: Path) -> list[str]:
        end = path.suffix.lower()
        return [name for name, entry in formats.items() if entry.reader and end in entry.suffixes and path.is_file()]

    return found


def archive_members(path: Path) -> frozenset[str]:
    """Names of the arrays of an npz archive; none if it is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return frozenset()


def one_a_person(path: Path, items: Sequence[Item]) -> list[tuple[Path, Item]]:
    """A file for each person: the path itself for one, else numbered ones, which is told.

    Raises:
        InputError: there is nobody.
    """
    return _one_by_one(path, items, [str(number) for number in range(len(items))], "person")


def one_a_view(path: Path, views: Sequence[str]) -> list[Path]:
    """A file for each view: the path itself for one, else with the views' names, which is told."""
    return [file for file, _ in _one_by_one(path, views, view_labels(views), "view")]


def view_labels(views: Sequence[str]) -> list[str]:
    """The views' names as parts of the names of files, no two alike."""
    stems = [file_stem(view) for view in views]
    folded = [stem.casefold() for stem in stems]
    return [f"{stem}_{at}" if folded.count(folded[at]) > 1 else stem for at, stem in enumerate(stems)]


def _one_by_one(path: Path, items: Sequence[Item], labels: Sequence[str], what: str) -> list[tuple[Path, Item]]:
    if not items:
        raise InputError(f"{path}: there is nobody to write")
    if len(items) == 1:
        return [(path, items[0])]
    files = [path.with_name(f"{path.stem}_{label}{path.suffix}") for label in labels]
    warnings.warn(f"one file a {what}: {', '.join(file.name for file in files)}", stacklevel=4)
    return list(zip(files, items, strict=True))
