"""A prepared data set as a benchmark: the pictures, boxes and cameras of each sample, and what it is scored against."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from marey.core import Boxes, Cameras, InputError, MissingAssetError, Observation
from marey.data.labels import read_labels
from marey.data.labels.columns import Array
from marey.data.moment_table import MomentOptions, MomentTable, moment_table, rows_of_moments
from marey.data.precomputed_centers import PredictionFile, centers_of_samples
from marey.data.prepare.pelvis import pelvis_of_rows
from marey.data.prepare.work import LABELS
from marey.io.images import ImageFrames
from marey.io.predictions import PoseRows

DATA_ROOT = "MAREY_DATA"
LONGEST = 16
"""Samples that one observation has at most: a network takes them at once, and their pictures lie in memory."""
ROOTS: Mapping[str, str] = {"h36m": "pelvis", "cmu": "neck"}
"""The joint that relative errors are relative to, by data set: samples whose labels lack it are not scored."""


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which samples of a data set are measured, and what is told of them beside their pictures."""

    moments: MomentOptions = field(default_factory=MomentOptions)
    centers: PredictionFile | None = None
    """Predicted poses, whose pelvis a volume is put around; None: the method finds it."""
    labelled_centers: bool = False
    """Whether it is put around the labelled pelvis instead, the original's `use_gt_pelvis`: no fair measurement."""

    def __post_init__(self) -> None:
        if self.centers is not None and self.labelled_centers:
            raise InputError("centers: expected those of a file or those of the labels, got both")


def prepared_folder(benchmark: str) -> Path:
    """The folder of a prepared data set: a path, or `h36m`, `cmu`, ... below the folder that MAREY_DATA names.

    Raises:
        MissingAssetError: there are no labels.
    """
    path = Path(benchmark)
    if (path / LABELS).is_file():
        return path
    if path.name == LABELS and path.is_file():
        return path.parent
    root = os.environ.get(DATA_ROOT, "")
    if root and (Path(root) / "marey" / benchmark / LABELS).is_file():
        return Path(root) / "marey" / benchmark
    where = f"{path / LABELS} nor {Path(root) / 'marey' / benchmark / LABELS}" if root else f"{path / LABELS}"
    raise MissingAssetError(
        f"benchmark: there is no {where}; prepare the data set with `marey data prepare`, your own recordings with "
        f"`marey data folder`, and set {DATA_ROOT} to the folder of the data sets, or give the folder of the labels"
    )


class LabelledBenchmark:
    """A split of a prepared data set as a benchmark of one cell, whose samples are people at moments.

    Observations hold the pictures of the views that have a box of the person, that box, and the full cameras with their
    lenses. Samples that follow each other in a sequence and are seen by the same views come as the frames of one
    observation, at most 16.

    Args:
        folder: With `labels.npz`; paths of pictures begin there.
        choice: Of samples and views.
        least_views: Samples that fewer of the chosen views see are left out, with a warning.

    Raises:
        InputError: there are no labels, or none of the split, the views or with 3D joints, or no pictures.
        CalibrationError: it has no cameras with places in the world.
        FormatError: the labels are damaged.
    """

    def __init__(
        self, folder: str | os.PathLike[str], choice: DataChoice | None = None, *, least_views: int = 1
    ) -> None:
        self.folder, self.choice = Path(folder), choice or DataChoice()
        self._whole = read_labels(self.folder / LABELS)
        table = moment_table(self._whole, self.choice.moments)
        rows = rows_of_moments(table)
        kept = _scored(rows, ROOTS.get(rows.benchmark.partition(" ")[0]))
        if not kept.any():
            raise InputError(f"{self.folder / LABELS}: no sample has 3D joints to be scored against")
        seen = (table.rows >= 0).sum(1) >= least_views
        if not seen[kept].any():
            raise InputError(
                f"{self.folder / LABELS}: no sample is seen by {least_views} of the views {', '.join(table.views)}; "
                "choose more of them"
            )
        if not seen[kept].all():
            left = f"{(~seen[kept]).sum()} of {kept.sum()} samples"
            warnings.warn(f"{left} are seen by fewer than {least_views} of these views, and left out", stacklevel=2)
        self.table, self._rows = table[kept & seen], rows[kept & seen]

    @property
    def name(self) -> str:
        """Of the data set."""
        return self.table.labels.name

    @property
    def cells(self) -> Mapping[str, MomentTable]:
        """One: the split, with the views where they were chosen."""
        moments = self.choice.moments
        views = f"_views_{'-'.join(self.table.views)}" if moments.views or moments.ignored_views else ""
        return {f"{moments.split}{views}": self.table}

    @property
    def sequences(self) -> tuple[str, ...]:
        """All of the data set's, in whichever split."""
        return tuple(np.unique(self._whole.images.sequence).tolist())

    def labels(self, cell: str) -> PoseRows:
        """One row a sample; `index` is its number in the data set.

        Raises:
            InputError: there is no such cell.
        """
        self._check(cell)
        return replace(self._rows, origin=None)

    def samples(self, cell: str, start: int = 0, stop: int | None = None) -> Iterator[Observation]:
        """The evidence of samples start..stop.

        Raises:
            InputError: there is no such cell, or a picture is absent.
            FormatError: a file is no picture.
        """
        self._check(cell)
        for places in self._runs(np.arange(len(self.table))[start:stop]):
            yield self._observation(places)

    def _check(self, cell: str) -> None:
        if cell not in self.cells:
            raise InputError(f"cell: no '{cell}' in {self.name}; there is: {', '.join(self.cells)}")

    def _runs(self, places: Array) -> list[Array]:
        """Consecutive samples of one person in one sequence that the same cameras see, cut to at most `LONGEST`."""
        if not len(places):
            return []
        labels, rows, keys = self.table.labels, self.table.rows[places], self._rows
        camera = np.where(rows >= 0, labels.images.camera[labels.image[rows]], -1)
        same = (camera[1:] == camera[:-1]).all(1)
        for key in (keys.sequence[places], keys.person[places]):
            same &= key[1:] == key[:-1]
        runs = np.split(places, np.flatnonzero(~same) + 1)
        return [part for run in runs for part in np.split(run, range(LONGEST, len(run), LONGEST))]

    def _observation(self, places: Array) -> Observation:
        """T samples that V views see."""
        labels = self.table.labels
        rows = self.table.rows[places][:, self.table.rows[places[0]] >= 0].T
        images = labels.image[rows]
        centers = self._centers
        return Observation(
            frames=tuple(
                ImageFrames([self.folder / path for path in labels.images.path[view].tolist()]) for view in images
            ),
            boxes=_boxes(labels.values["box"][rows]),
            cameras=self._cameras(images[:, 0]),
            centers=None if centers is None else torch.from_numpy(centers[places])[:, None],
        )

    def _cameras(self, images: Array) -> Cameras:
        """Those of V images, which all have the size that the pictures have."""
        labels = self.table.labels
        assert labels.cameras is not None  # the constructor has seen to it
        cameras = labels.cameras[torch.from_numpy(labels.images.camera[images].astype(np.int64))]
        size = torch.from_numpy(labels.images.size[images]).to(cameras.dtype)
        names = labels.camera_names()[images].tolist()
        return replace(cameras, image_size=torch.where(size > 0, size, cameras.image_size), names=tuple(names))

    @cached_property
    def _centers(self) -> Array | None:
        """Metres, (N, 3)."""
        file = self.choice.centers
        if self.choice.labelled_centers:
            return pelvis_of_rows(self._rows)
        return None if file is None else centers_of_samples(self._whole, self.table, self.choice.moments, file)


def _scored(rows: PoseRows, root: str | None) -> Array:
    """(N,) whether there is something to score: the root's label or, where there is no root, that of any joint."""
    known: Array = np.asarray(np.isfinite(rows.values["joints"]).all(-1))
    columns = [rows.joint_names.index(root)] if root in rows.joint_names else list(range(known.shape[1]))
    return np.asarray(known[:, columns].any(1))


def _boxes(spans: Array) -> Boxes:
    """Of (V, T, 4) left, top, width, height."""
    corners = torch.from_numpy(np.concatenate((spans[..., :2], spans[..., :2] + spans[..., 2:]), axis=-1))[:, :, None]
    known = corners.isfinite().all(-1)
    return Boxes(corners=corners, score=known.to(corners.dtype))
