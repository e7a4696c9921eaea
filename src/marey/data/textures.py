"""Lists of textures (pictures of surfaces) in train, validation and test, for what is put over and around people."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import FormatError, Image, InputError
from marey.data.texture_patches import SHORT_SIDE, random_corner, resized_texture, texture_patch
from marey.io.atomic import atomic_path
from marey.io.images import read_image
from marey.io.npz import read_arrays

Array = npt.NDArray[Any]

FORMAT = 1
_COLUMNS = ("path", "category", "split")


@dataclass(frozen=True, kw_only=True, eq=False)
class Textures:
    """N pictures of textures, read when they are asked for."""

    folder: Path
    """What the paths are relative to."""
    path: Array
    """(N,) text, with forward slashes."""
    category: Array
    """(N,) text."""
    split: Array
    """(N,) text: train, validation or test."""

    def __len__(self) -> int:
        return len(self.path)

    def of_split(self, *splits: str) -> Textures:
        """The textures of some splits.

        Raises:
            InputError: there are none.
        """
        rows = np.flatnonzero(np.isin(self.split, splits))
        if not len(rows):
            there = ", ".join(sorted(set(self.split.tolist()))) or "none"
            raise InputError(f"{self.folder}: no texture of {' or '.join(splits)}; there are: {there}")
        return Textures(folder=self.folder, path=self.path[rows], category=self.category[rows], split=self.split[rows])

    def read(self, place: int, short_side: int = SHORT_SIDE) -> Image:
        """One texture (H, W, 3), its shorter side `short_side` pixels long.

        Raises:
            InputError: the file cannot be read.
            FormatError: it is no image.
        """
        return resized_texture(read_image(self.folder / str(self.path[place])), short_side)

    def patch(self, size: tuple[int, int], source: np.random.Generator, short_side: int = SHORT_SIDE) -> Image:
        """A patch of a width and height from any place of any texture, all alike.

        Raises:
            InputError: the patch is larger than a texture, there is no texture, or a file cannot be read.
            FormatError: a file is no image.
        """
        if not len(self):
            raise InputError(f"{self.folder}: there is no texture to take a patch from")
        texture = self.read(int(source.integers(len(self))), short_side)
        return texture_patch(texture, random_corner(texture, size, source), size)


def write_textures(path: str | os.PathLike[str], textures: Textures) -> None:
    """Write the list; its paths stay relative to `textures.folder`, which has to be the file's.

    Raises:
        InputError: the folder is another one, or the file cannot be written.
    """
    if Path(path).parent.resolve() != textures.folder.resolve():
        raise InputError(f"{path}: the textures' paths are relative to {textures.folder}; write the list there")
    columns = {name: getattr(textures, name) for name in _COLUMNS}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, format=np.array(FORMAT), **columns)


def read_textures(path: str | os.PathLike[str]) -> Textures:
    """Read a list that `marey data prepare dtd` wrote.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is no such list.
    """
    path = Path(path)
    stored = read_arrays(path)
    if missing := [name for name in (*_COLUMNS, "format") if name not in stored]:
        raise FormatError(f"{path}: no list of textures: the key '{missing[0]}' is missing")
    columns = {name: stored[name] for name in _COLUMNS}
    shapes = {column.shape for column in columns.values()}
    if len(shapes) > 1 or any(column.ndim != 1 or column.dtype.kind != "U" for column in columns.values()):
        raise FormatError(f"{path}: expected as many texts in {', '.join(_COLUMNS)}, got the shapes {shapes}")
    return Textures(folder=path.parent, **columns)
