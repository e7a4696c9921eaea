"""The crops of a batch: every image is decoded once, by threads, and only what crops show of it is copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from marey.core import Cameras, FormatError
from marey.data.labels import Labels
from marey.data.labels.columns import Array
from marey.data.view_crops import ViewCropRule, cut_view, reductions
from marey.io.images import Reduction, read_image_bgr

_REDUCTIONS: dict[int, Reduction] = {1: 1, 2: 2, 4: 4, 8: 8}


@dataclass(frozen=True, kw_only=True)
class CropSource:
    """Where images lie, and how they are cut."""

    folder: Path
    rule: ViewCropRule
    threads: int
    """That decode at once."""


class _Cut(NamedTuple):
    """A crop to be made: its place among the samples and views, its row, and what it shows."""

    sample: int
    view: int
    row: int
    edges: Array


def fill_crops(images: Array, labels: Labels, rows: Array, edges: Array, *, source: CropSource) -> None:
    """Write the crops of rows into an array of pixels.

    Args:
        images: (B, V, 3, H, W) red green blue, 8 bits; what no row belongs to is left as it is.
        labels: With cameras.
        rows: (B, V) of the labels; -1 for none.
        edges: (B, V, 4) of `crop_edges`.
        source: Of the images.

    Raises:
        InputError: an image cannot be read.
        FormatError: an image is damaged, or has another size than the labels say.
    """
    cuts: dict[int, list[_Cut]] = {}
    for sample, view in np.argwhere(rows >= 0).tolist():
        row = int(rows[sample, view])
        cuts.setdefault(int(labels.image[row]), []).append(_Cut(sample, view, row, edges[sample, view]))

    def make(image: int) -> None:
        for cut, pixels in _crops(labels, image, cuts[image], source):
            images[cut.sample, cut.view] = pixels.transpose(2, 0, 1)[::-1]  # from blue green red

    with ThreadPoolExecutor(min(source.threads, max(len(cuts), 1))) as pool:
        for _ in pool.map(make, cuts):
            pass


def _crops(labels: Labels, image: int, cuts: Sequence[_Cut], source: CropSource) -> Iterator[tuple[_Cut, Array]]:
    """The crops (H, W, 3) of one image, blue green red."""
    path = source.folder / str(labels.images.path[image])
    reduction = int(reductions(np.stack([cut.edges for cut in cuts]), source.rule).min())
    pixels = read_image_bgr(path, reduction=_REDUCTIONS[reduction])
    _check_size(path, pixels, labels.images.size[image], reduction)
    camera = cameras_of_rows(labels, np.array([cuts[0].row]))[0]
    for cut in cuts:
        yield cut, cut_view(pixels, cut.edges, camera, source.rule, reduction=reduction)


def _check_size(path: Path, pixels: Array, size: Array, reduction: int) -> None:
    """See that an image is as large as the labels say, if they do: else boxes and cameras are of other pixels."""
    width, height = size.tolist()
    if width and pixels.shape[:2] != (-(-height // reduction), -(-width // reduction)):
        raise FormatError(
            f"{path}: the labels are of an image of {width} x {height} pixels, and this one is another; "
            "prepare the data set again"
        )


def cameras_of_rows(labels: Labels, rows: Array) -> Cameras:
    """(N,) the cameras of some rows (N,) of labels, without names."""
    assert labels.cameras is not None
    return replace(labels.cameras, names=())[torch.from_numpy(labels.images.camera[labels.image[rows]])]
