"""DTD, the Describable Textures Dataset: 5,640 pictures of 47 categories, as a list in train, validation and test.

3DNBF fills what lies outside of an image with its train textures, and the occluders of 3DPW-AdvOcc are its test
textures. The official partitions (`labels/train1.txt`, ...) have all categories in every split. 3DNBF's own data have
27 categories in train and 20 in test; which ones is not written anywhere, so where its folders `train/images` and
`test/images` are there they are taken as they are, and `split="categories"` takes the first 27 by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from marey.core import FormatError, InputError
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.work import Work
from marey.data.textures import Textures, write_textures
from marey.io.atomic import atomic_write_text
from marey.io.image_headers import read_image_header
from marey.io.text import read_text_limited

LIST = "textures.npz"
_OFFICIAL = {"train": "train", "val": "validation", "test": "test"}
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, kw_only=True)
class DtdOptions:
    """Which textures train and which test."""

    split: Literal["official", "categories"] = "official"
    partition: int = 1
    """Of the ten official ones."""
    train_categories: int = 27
    """With `categories`: how many, by name, are for training; the others are for testing."""

    def __post_init__(self) -> None:
        if not 1 <= self.partition <= 10 or self.train_categories < 1:
            raise InputError(f"partition: expected 1 to 10, got {self.partition}; train_categories: 1 or more")


def prepare(root: Path, out: Path, options: DtdOptions, work: Work) -> None:
    """Write `textures.npz`, which `marey.data.textures.read_textures` reads, and a text list of each split.

    Raises:
        MissingAssetError: the pictures, the lists of the partition, or a listed picture are absent.
        FormatError: a list names what is no picture of a category, or a file is no picture.
        InputError: there are too few categories to split.
    """
    files = _files(root, options, work)
    for _, path in work.progress(files, len(files), "textures"):
        read_image_header(path)
    textures = Textures(
        folder=out,
        path=np.array([relative_path(path, out) for _, path in files], dtype=np.str_),
        category=np.array([_category(path) for _, path in files], dtype=np.str_),
        split=np.array([split for split, _ in files], dtype=np.str_),
    )
    write_textures(out / LIST, textures)
    for split in sorted(set(textures.split.tolist())):
        lines = textures.path[textures.split == split].tolist()
        atomic_write_text(out / f"{split}.txt", "".join(f"{line}\n" for line in lines))
        work.note(f"{split}: {len(lines)} textures, listed in {LIST} and {split}.txt; the pictures stay where they are")


def _files(root: Path, options: DtdOptions, work: Work) -> list[tuple[str, Path]]:
    """Split and file of each texture."""
    theirs = {split: root / split / "images" for split in ("train", "test")}
    if all(folder.is_dir() for folder in theirs.values()):
        work.note("the folders train and test of 3DNBF's data are taken as they are")
        return [(split, path) for split, folder in theirs.items() for path in _pictures(folder, work)]
    images = work.require(root / "images", "folder with a folder of pictures for each category")
    if options.split == "official":
        return _official(root, images, options.partition, work)
    files = _pictures(images, work)
    categories = sorted({_category(path) for path in files})
    if len(categories) <= options.train_categories:
        raise InputError(f"{images}: {len(categories)} categories, of which {options.train_categories} cannot train")
    work.note(f"the first {options.train_categories} categories by name train, the others test")
    train = set(categories[: options.train_categories])
    return [("train" if _category(path) in train else "test", path) for path in files]


def _official(root: Path, images: Path, partition: int, work: Work) -> list[tuple[str, Path]]:
    files: list[tuple[str, Path]] = []
    for name, split in _OFFICIAL.items():
        path = work.record(work.require(root / "labels" / f"{name}{partition}.txt", f"list of the split {split}"))
        lines = [line.strip() for line in read_text_limited(path, longest_line=4096).splitlines()]
        files.extend((split, work.require(images / _listed(path, line), "picture")) for line in lines if line)
    return files


def _listed(path: Path, line: str) -> str:
    """A picture of a list, `category/name.jpg`."""
    parts = line.split("/")
    if len(parts) != 2 or not all(parts) or ".." in parts or not line.lower().endswith(_SUFFIXES):
        raise FormatError(f"{path}: expected lines like banded/banded_0002.jpg, got '{line[:80]}'")
    return line


def _pictures(folder: Path, work: Work) -> list[Path]:
    """All pictures of a folder and its folders, by name."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")
    if not found:
        work.require(folder / "*.jpg", "pictures")
    return found


def _category(path: Path) -> str:
    """Of a picture: of its folder, or where all lie in one folder, what its name begins with."""
    return path.name.rpartition("_")[0] if path.parent.name == "images" else path.parent.name
