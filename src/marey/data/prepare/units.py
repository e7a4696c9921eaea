"""Long loops over many images in units, such as the images of one folder: a unit is done or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from marey.data.prepare.work import Work

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit(Generic[Item]):
    """What is done as a whole."""

    key: str
    """In the journal."""
    items: Callable[[], Iterable[Item]]
    """Opened when it is the unit's turn, in the main thread."""
    count: int
    """Of the items."""


def do_units(work: Work, units: Sequence[Unit[Item]], function: Callable[[Item], Any], *, what: str) -> None:
    """Call a function for every item of all units that no earlier run finished, by the threads of `work`.

    Units are finished in their order, each when all its items are done, so that an interrupted run repeats only the
    items of those that it had begun.
    """
    pending = [unit for unit in units if not work.done(unit.key)]

    def items() -> Iterator[tuple[str, Item | None]]:
        for unit in pending:
            for item in unit.items():
                yield unit.key, item
            yield unit.key, None

    def apply(pair: tuple[str, Item | None]) -> str | None:
        key, item = pair
        if item is None:
            return key
        function(item)
        return None

    total = sum(unit.count + 1 for unit in pending)
    for ended in work.map(apply, items(), total, what):
        if ended is not None:
            work.finish(ended)
