"""A file format as a row of a table: what reads it, what writes it, how its files are named."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class FileFormat(NamedTuple):
    """One way to store one kind of thing. The functions are loaded when they are called for."""

    files: str
    """What its files are called, for people."""
    reader: str
    """Module, colon and function; empty if it cannot be read."""
    writer: str
    """Module, colon and function; empty if it cannot be written."""
    suffixes: tuple[str, ...] = ()
    """Ends of file names, lower case, that mean this format to a writer."""

    def read(self, *arguments: Any, **options: Any) -> Any:
        """Call the reader."""
        return _load(self.reader)(*arguments, **options)

    def write(self, *arguments: Any, **options: Any) -> Any:
        """Call the writer."""
        return _load(self.writer)(*arguments, **options)


def _load(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function
