"""MeTRAbs's stored crops of Human3.6M: small upright pictures of the person, each with a camera of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Image
from marey.data.crops import CropRule, Crops, plan_crops, render_crop
from marey.data.labels import Labels
from marey.data.prepare.pictures import film_frames
from marey.data.prepare.stored_crops import write_jpeg
from marey.data.prepare.units import Unit

Array = npt.NDArray[Any]

UP = (0.0, 0.0, 1.0)
"""In Human3.6M's world."""

PARTIAL_ROOM = 1.8
"""How much more is kept around a person of whom training shows parts."""


def planned_crops(labels: Labels, *, parts: bool) -> Crops:
    """The crop of every row of labels of whole images, each of which shows one person.

    Args:
        labels: With boxes and cameras.
        parts: Whether there has to be room for training on parts of people.

    Raises:
        InputError: a box lies outside of its image.
    """
    assert labels.cameras is not None
    cameras = labels.cameras[torch.from_numpy(labels.images.camera[labels.image])]
    rule = CropRule(further_room=PARTIAL_ROOM) if parts else CropRule()
    return plan_crops(replace(cameras, names=()), labels.values["box"], up=UP, rule=rule)


def labels_of_crops(labels: Labels, crops: Crops) -> Labels:
    """The same people in their crops: as many cameras as rows, named as before."""
    names = labels.camera_names()[labels.image]
    sizes = crops.cameras.image_size.numpy().astype(np.int64)
    images = labels.images[labels.image]
    return replace(
        labels,
        images=replace(images, size=sizes, camera=np.arange(len(labels)), view=labels.images.views()[labels.image]),
        split=labels.split[labels.image],
        image=np.arange(len(labels)),
        values={**labels.values, "box": crops.boxes.astype(np.float32)},
        cameras=replace(crops.cameras.to(torch.float32), names=tuple(names.tolist())),
    )


class CropJob(NamedTuple):
    """An image of which a crop is taken, and where that goes."""

    target: Path
    image: Image
    crops: Crops
    row: int


def crop_unit(key: str, film: Path, rows: Array, labels: Labels, crops: Crops, out: Path) -> Unit[CropJob]:
    """The crops of some rows (N,) of labels, all of one film, by frame."""
    return Unit(key=key, items=partial(_jobs, film, rows, labels, crops, out), count=len(rows))


def _jobs(film: Path, rows: Array, labels: Labels, crops: Crops, out: Path) -> Iterator[CropJob]:
    frames, paths = labels.images.frame[labels.image[rows]], labels.images.path[labels.image[rows]]
    for row, path, (_, image) in zip(rows.tolist(), paths.tolist(), film_frames(film, frames), strict=True):
        yield CropJob(out / path, image, crops, row)


def write_crop(job: CropJob) -> None:
    """Render and write the crop.

    Raises:
        InputError: the file cannot be written.
    """
    write_jpeg(job.target, render_crop(job.image, job.crops, job.row))
