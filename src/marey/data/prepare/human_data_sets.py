"""Archives in the HumanData format, such as the annotation files of 3DNBF and `spin_*.npz`, `eft_*.npz`, as labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from marey.core import InputError
from marey.data.human_data import labels_of_human_data
from marey.data.labels import Labels
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.work import Work


@dataclass(frozen=True, kw_only=True)
class HumanDataOptions:
    """Which archive, and where its images are."""

    archive: Path | None = None
    """Below the folder of the data set; None: the only one there."""
    images: Path = Path("images")
    """Folder that the archive's paths are relative to, below that of the data set."""
    split: Literal["train", "validation", "test"] = "train"
    """The archive does not say."""
    source: str | None = None
    """Which of its keypoints, such as original or smpl; None: the first that are there."""
    check: bool = True
    """Whether to look for every image."""


def prepare(root: Path, out: Path, options: HumanDataOptions, work: Work) -> Labels:
    """Read an archive as labels that refer to its images.

    Raises:
        MissingAssetError: the archive or an image is absent.
        InputError: there are several archives, or none has keypoints of that source.
        FormatError: it is no such archive.
    """
    path = work.record(_archive(root, options.archive, work))
    folder = root / options.images
    labels = labels_of_human_data(path, split=options.split, folder=relative_path(folder, out), source=options.source)
    if options.check:
        work.require(folder, "folder of images")
        for name in work.progress(np.unique(labels.images.path).tolist(), len(labels.images), "images"):
            work.require(out / name, "image")
    return labels


def _archive(root: Path, given: Path | None, work: Work) -> Path:
    if given is not None:
        return work.require(root / given, "archive")
    found = sorted(root.glob("*.npz")) if root.is_dir() else []
    if len(found) > 1:
        raise InputError(f"{root}: {len(found)} archives; say which with --archive, such as {found[0].name}")
    return found[0] if found else work.require(root / "NAME.npz", "archive")
