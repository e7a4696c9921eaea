"""Folders of a preparation's outputs."""

from __future__ import annotations

from pathlib import Path

from marey.io.atomic import check_writable


def emptied(folder: Path) -> Path:
    """A folder of outputs without the archives that a run with other options left there; made if absent.

    Raises:
        InputError: it cannot be written.
    """
    for path in check_writable(folder).glob("*.npz"):
        path.unlink()
    return folder
