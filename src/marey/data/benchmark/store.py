"""Label files of the benchmark: made when first asked for, kept in a folder, checked whenever they are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from marey.core import FormatError
from marey.data.benchmark.cells import NAME, SCENE_SETS, SEED, VERSION
from marey.data.benchmark.contents import HEAD, committed
from marey.data.benchmark.digests import Array
from marey.data.benchmark.truth import CHUNK, joined, make_truth
from marey.io.atomic import atomic_path, check_writable
from marey.io.npz import read_arrays

DATA_ROOT = "MAREY_DATA"


def default_folder() -> Path:
    """Where `marey data prepare synthetic` writes: below the data root if there is one, else in the user's cache."""
    if root := os.environ.get(DATA_ROOT):
        return Path(root) / "marey" / NAME
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "marey" / NAME


def label_file(folder: Path, scenes: str) -> Path:
    """Of a set of scenes."""
    return folder / f"v{VERSION}_{scenes}.npz"


def load_truth(folder: Path, scenes: str, *, show: bool | None = None) -> dict[str, Array]:
    """Read the labels of a set of scenes, and make them first if there are none: 7 ms a picture.

    Args:
        folder: Of the label files.
        scenes: Name of the set.
        show: A progress bar; None: if standard error is a terminal.

    Raises:
        FormatError: the labels are not those of this version.
        InputError: the file cannot be read or written.
    """
    path = label_file(folder, scenes)
    if not path.exists():
        return _make(path, scenes, show)
    truth = read_arrays(path)
    try:
        committed()[scenes].check(scenes, truth)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    return truth


def make_head(scenes: str) -> dict[str, Array]:
    """Make the labels of the first 16 samples of a set of scenes; nothing is kept.

    Raises:
        FormatError: the labels are not those of this version.
    """
    contents = committed()[scenes]
    truth = joined(list(make_truth(SCENE_SETS[scenes], contents.indices[:HEAD], seed=SEED)))
    contents.check(scenes, truth, head=True)
    return truth


def _make(path: Path, scenes: str, show: bool | None) -> dict[str, Array]:
    from tqdm import tqdm

    check_writable(path.parent)
    indices, hidden = committed()[scenes].indices, None if show is None else not show
    bar = tqdm(
        make_truth(SCENE_SETS[scenes], indices, seed=SEED),
        total=-(-len(indices) // CHUNK),
        desc=f"labels of {scenes}",
        disable=hidden,
    )
    truth = joined(list(bar))
    committed()[scenes].check(scenes, truth)
    _write(path, truth)
    return truth


def _write(path: Path, truth: Mapping[str, Array]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(truth))
