"""Progress on the terminal, silent unless asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


class Stages:
    """Names the stage that runs, and shows a bar for what is long."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Show `name` with the time that its block takes."""
        with tqdm(desc=name, total=1, disable=not self.enabled, bar_format="{desc}: {elapsed}") as bar:
            yield
            bar.update()

    @contextmanager
    def bar(self, name: str, *, total: int) -> Iterator[Callable[[int], object]]:
        """Give a function to be called with the number of items done since it was last called."""
        with tqdm(desc=name, total=total, disable=not self.enabled) as bar:
            yield bar.update
