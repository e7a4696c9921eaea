"""YAML files whose keys are taken one by one, so that none is passed over in silence."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from marey.core import FormatError, InputError, MissingDependencyError
from marey.io.text import read_text_limited

INSTALL = 'pip install "marey[train]"'

Choice = TypeVar("Choice")

_MOST_BYTES = 1 << 20
_NAMED = 6
"""Keys that a message lists before it only counts them."""


def read_yaml(path: str | os.PathLike[str]) -> Table:
    """Read a YAML file that holds a mapping; nothing but plain values is made of it.

    Raises:
        MissingDependencyError: PyYAML is not installed.
        InputError: the file cannot be read.
        FormatError: it is not YAML, or no mapping.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError.of("pyyaml", "a recipe in YAML", INSTALL) from error
    text = read_text_limited(path, most_bytes=_MOST_BYTES, longest_line=_MOST_BYTES >> 4)
    try:
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FormatError(f"{Path(path)}: not a YAML file: {error}") from error
    if not isinstance(values, Mapping):
        raise FormatError(f"{Path(path)}: expected a mapping of settings, got {_shown(values)}")
    return Table(values, where=str(path))


class Table:
    """A mapping of a YAML file.

    Args:
        values: The mapping.
        where: File, begins messages.
        place: Dotted path of the mapping in the file.
    """

    def __init__(self, values: Mapping[Any, Any], *, where: str, place: str = "") -> None:
        self.values, self.where, self.place = dict(values), where, place
        self._left = set(self.values)
        self._known: set[str] = set()
        self._inner: dict[str, Table] = {}

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def name(self, key: str) -> str:
        """A key with its place in the file."""
        return f"{self.place}.{key}" if self.place else key

    def table(self, key: str) -> Table:
        """The mapping below a key; an empty one where it is not there."""
        if key not in self._inner:
            values = self._take(key)
            if not isinstance(values, Mapping | None):
                raise self.refused(key, f"expected a mapping, got {_shown(values)}")
            self._inner[key] = Table(values or {}, where=self.where, place=self.name(key))
        return self._inner[key]

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        value = self._take(key)
        return default if value is None else self._of(key, value, (str,), "a text")

    def truth(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._take(key)
        return default if value is None else self._of(key, value, (bool,), "true or false")

    def count(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """A whole number; without a default it must be there."""
        value = self._take(key)
        value = self._of(key, default if value is None else value, (int,), "a whole number")
        if isinstance(value, bool) or value < least:
            raise self.refused(key, f"expected a whole number of {least} or more, got {_shown(value)}")
        return int(value)

    def count_or_none(self, key: str) -> int | None:
        """A whole number of 1 or more, None where it is not there or null."""
        if key in self:
            return self.count(key)
        self._take(key)
        return None

    def number(self, key: str, default: float | None = None) -> float:
        """A number; YAML takes 1e-4 for a text, which is read too. Without a default it must be there."""
        value = self._take(key)
        value = default if value is None else value
        try:
            found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
        except (ValueError, OverflowError):
            found = None
        if found is None or not abs(found) < float("inf"):
            raise self.refused(key, f"expected a number, got {_shown(value)}")
        return found

    def chosen(self, key: str, choices: Mapping[str, Choice], default: str | None = None) -> Choice:
        """What a word stands for; without a default it must be there."""
        value = self._take(key)
        value = default if value is None else value
        if not isinstance(value, str) or value not in choices:
            raise self.refused(key, f"expected one of {', '.join(choices)}, got {_shown(value)}")
        return choices[value]

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; none where it is not there."""
        value = self._take(key)
        if value is None:
            return ()
        if not isinstance(value, Sequence) or any(type(item) is not int for item in value):
            raise self.refused(key, f"expected a list of whole numbers, got {_shown(value)}")
        return tuple(value)

    def refused(self, key: str, why: str) -> InputError:
        """The error for a key that cannot be what it is."""
        return InputError(f"{self.where}: {self.name(key)}: {why}")

    def check_taken(self) -> None:
        """Make sure that no key, here or below, was left over.

        Raises:
            InputError: there are unknown keys; the message names them.
        """
        unknown = self._unknown()
        if unknown:
            listed = [f"{name}{guess}" for name, guess in unknown[:_NAMED]]
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise InputError(f"{self.where}: unknown {'keys' if len(unknown) > 1 else 'key'} {', '.join(listed)}{more}")

    def _unknown(self) -> list[tuple[str, str]]:
        found = []
        for key in self.values:
            if key in self._left:
                near = get_close_matches(str(key), self._known, n=1)
                found.append((self.name(str(key)), f" (did you mean '{near[0]}'?)" if near else ""))
            elif key in self._inner:
                found += self._inner[key]._unknown()
        return found

    def _take(self, key: str) -> Any:
        self._left.discard(key)
        self._known.add(key)
        return self.values.get(key)

    def _of(self, key: str, value: Any, kinds: tuple[type, ...], what: str) -> Any:
        if not isinstance(value, kinds):
            raise self.refused(key, f"expected {what}, got {_shown(value)}")
        return value


def _shown(value: Any) -> str:
    """A value in a message; of a list or mapping, which may be endless, only what it is."""
    if value is None:
        return "nothing"
    return f"{value!r:.60}" if isinstance(value, (str, int, float, bool)) else f"a {type(value).__name__}"
