"""People in several calibrated views at a moment: crops, cameras and joints, from any table of labels.

    labels = read_labels("h36m/labels.npz").of_split("train")
    data = MultiViewLabels(labels, Path("h36m"), MultiViewOptions(scale_bbox=1.0))
    samples = data.samples(torch.arange(8))                         # all views; absent ones are black
    samples = data.samples(batch, data.draw_views(batch, generator))  # the published choice of views

A sample is one person at one moment; several people at a moment are several samples.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras, InputError, ShapeError
from marey.core.skeletons import skeleton as known_skeleton
from marey.data.labels import Labels, rows_to_score
from marey.data.labels.columns import Array
from marey.data.labels.joining import with_skeleton
from marey.data.labels.projection import joints_in_world
from marey.data.multiview_images import CropSource, cameras_of_rows, fill_crops
from marey.data.multiview_options import MultiViewOptions
from marey.data.multiview_rows import first_rows, sample_rows, usable_rows
from marey.data.multiview_samples import MultiViewSamples
from marey.data.prepare.pelvis import pelvis_for_labels, pelvis_of_rows
from marey.data.square_boxes import edges_to_spans
from marey.data.view_crops import crop_edges, crop_projections, on_grid, with_h36m_lenses
from marey.io.image_headers import read_image_header
from marey.io.predictions import PoseRows

__all__ = ["MultiViewLabels", "MultiViewOptions", "MultiViewSamples"]


class MultiViewLabels:
    """N samples of a table of labels, each a person at a moment in V views.

    Args:
        labels: Of one or several splits, such as `labels.of_split("train")`; of a data set with calibrated cameras.
        folder: Below which the images lie: that of the file of the labels.
        options: What is shown of each person.
        centers: (N, 3) metres, where cuboids are put; None: the labelled pelvis, or the middle of the hips.
        threads: That decode images at once; None: as many as there are processors.

    Raises:
        CalibrationError: the cameras are unknown, or their places are.
        InputError: there are no boxes, no such cameras or joints, no image files, or nobody is left.
        ShapeError: the centres are not one a sample.
    """

    def __init__(
        self,
        labels: Labels,
        folder: Path,
        options: MultiViewOptions | None = None,
        *,
        centers: Array | None = None,
        threads: int | None = None,
    ) -> None:
        self.options = options or MultiViewOptions()
        self.folder = Path(folder)
        self.labels = _prepared(labels, self.options)
        self.rule = self.options.crop_rule
        self._source = CropSource(folder=self.folder, rule=self.rule, threads=threads or os.cpu_count() or 1)
        self.table = sample_rows(
            self.labels,
            usable=usable_rows(self.labels, boxed=self.options.crop),
            cameras=self.options.cameras,
            ignored_cameras=self.options.ignore_cameras,
            every=self.options.retain_every_n,
            damaged=self.options.with_damaged_actions,
        )
        """(N, V) rows of the labels; -1: the view is absent."""
        self.joints = _joints(self.labels, first_rows(self.table))
        """(N, J, 3) metres in the world; NaN: unknown."""
        self.centers = self._checked(self._labelled_centers() if centers is None else centers)
        """(N, 3) metres in the world; NaN: unknown."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def n_views(self) -> int:
        """The most that a sample has."""
        return int(self.table.shape[1])

    @property
    def view_names(self) -> tuple[str, ...]:
        """(V,) name of each view's camera, of the first sample that it shows."""
        names = self.labels.camera_names()
        first = np.take_along_axis(self.table, (self.table >= 0).argmax(0)[None], axis=0)[0]
        return tuple(names[self.labels.image[first]].tolist())

    def with_centers(self, centers: Array) -> MultiViewLabels:
        """The same samples with other centres (N, 3), metres in the world; NaN: unknown."""
        copied = copy(self)
        copied.centers = self._checked(centers)
        return copied

    def centers_of(self, predictions: PoseRows, *, sequence: Callable[[str], str] = str) -> Array:
        """The predicted pelvis (N, 3) of each sample by sequence, frame and person; NaN where none was predicted.

        Args:
            predictions: Such as `read_triangulation_results` gives.
            sequence: What the predictions call a sequence of the labels (for Human3.6M's official names:
                `h36m_published.trial_of_sequence`).

        Raises:
            InputError: a person is predicted twice at one moment, or there is no pelvis.
        """
        one_row_each = self.labels[first_rows(self.table)]
        return pelvis_for_labels(one_row_each, predictions, sequence=sequence)

    def reference(self) -> PoseRows:
        """The labels as rows to score, one a sample, in the order of the samples; joints in the world."""
        return rows_to_score(self.labels[first_rows(self.table)], by_camera=False)

    def _labelled_centers(self) -> Array:
        try:
            return pelvis_of_rows(self.reference())
        except InputError:
            return np.full((len(self), 3), np.nan)

    def _checked(self, centers: Array) -> Array:
        centers = np.asarray(centers, dtype=np.float64)
        if centers.shape != (len(self), 3):
            raise ShapeError(f"centers: expected ({len(self)}, 3), one a sample, got {centers.shape}")
        return centers

    def draw_views(self, indices: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Which views (B, n) of some samples make a batch, by the published rule.

        A batch has as many views as that of its samples which has least. They are the first that each sample has; or,
        with `randomize_n_views`, a random number of them in random order, the same places for all samples.

        Args:
            indices: (B,) of the samples.
            generator: On the CPU; needed for random views.

        Raises:
            InputError: views are random, and there is no generator.
        """
        there = self.table[_numbers(indices, len(self))] >= 0
        most = int(there.sum(1).min())
        order = np.argsort(~there, axis=1, kind="stable")
        return torch.from_numpy(order)[:, self._places(most, generator)]

    def _places(self, most: int, generator: torch.Generator | None) -> Tensor:
        options = self.options
        if not options.randomize_n_views:
            return torch.arange(most)
        if generator is None:
            raise InputError("draw_views: randomize_n_views needs a torch.Generator")
        high = min(most, options.max_n_views or most)
        low = min(options.min_n_views or 1, high)
        count = int(torch.randint(low, high + 1, (), generator=generator))
        return torch.randperm(most, generator=generator)[:count]

    def samples(self, indices: Tensor | Sequence[int], views: Tensor | Sequence[int] | None = None) -> MultiViewSamples:
        """Make some samples; every image is decoded once, however many people it shows.

        Args:
            indices: (B,) of the samples.
            views: Columns (n,) that all samples show, or (B, n) of each, as `draw_views` gives; None: all V.

        Raises:
            ShapeError: the views are not such columns.
            InputError: there is no such sample or view, or an image cannot be read.
            FormatError: an image is damaged, or has another size than the labels say.
        """
        index = _numbers(indices, len(self))
        rows = self._rows(index, views)
        edges, projections = self._geometry(rows)
        images = np.zeros((*rows.shape, 3, *self.options.image_shape), dtype=np.uint8)
        fill_crops(images, self.labels, rows, edges, source=self._source)
        joints = torch.from_numpy(self.joints[index]).float()
        valid = joints.isfinite().all(-1)
        there = torch.from_numpy(rows >= 0)
        spans = torch.from_numpy(edges_to_spans(edges)).float()
        return MultiViewSamples(
            images=torch.from_numpy(images),
            present=there,
            projections=projections.float(),
            boxes=torch.where(there[..., None], spans, torch.nan),
            shape_before_resize=spans[..., [3, 2]].long(),
            rows=torch.from_numpy(rows),
            joints=torch.where(valid[..., None], joints, 0.0),
            valid=valid,
            centers=torch.from_numpy(self.centers[index]).float(),
            index=torch.from_numpy(index),
        )

    def _rows(self, index: Array, views: Tensor | Sequence[int] | None) -> Array:
        """(B, n) rows of the labels."""
        if views is None:
            return self.table[index]
        columns = np.asarray(views, dtype=np.int64)
        if columns.ndim not in (1, 2) or (columns.ndim == 2 and len(columns) != len(index)):
            raise ShapeError(f"views: expected (n,) or ({len(index)}, n) columns, got {columns.shape}")
        if columns.size and not 0 <= columns.min() <= columns.max() < self.n_views:
            raise InputError(f"views: expected 0 to {self.n_views - 1}, got {columns.min()} to {columns.max()}")
        return self.table[index[:, None], columns]

    def _geometry(self, rows: Array) -> tuple[Array, Tensor]:
        """What each crop shows (B, n, 4), and its projection (B, n, 3, 4); rows (B, n) whose box is none become -1."""
        flat = rows.reshape(-1)
        cameras = cameras_of_rows(self.labels, flat)
        edges = np.where((flat >= 0)[:, None], self._edges(flat, cameras), 0)
        projections = crop_projections(cameras, edges, self.rule)
        rows[~(edges[:, 2:] > edges[:, :2]).all(1).reshape(rows.shape)] = -1
        return edges.reshape(*rows.shape, 4), projections.reshape(*rows.shape, 3, 4)

    def _edges(self, rows: Array, cameras: Cameras) -> Array:
        if self.options.crop:
            return crop_edges(self.labels.values["box"][rows].astype(np.float64), cameras, self.rule)
        sizes = np.array([self._size(int(image)) for image in self.labels.image[rows]]).reshape(-1, 2)
        return on_grid(np.concatenate((np.zeros_like(sizes), sizes), axis=-1), self.rule)

    def _size(self, image: int) -> tuple[int, int]:
        """Width and height; what the labels do not know is read from the file's header."""
        width, height = self.labels.images.size[image].tolist()
        return (width, height) if width else read_image_header(self.folder / str(self.labels.images.path[image])).size


def _prepared(labels: Labels, options: MultiViewOptions) -> Labels:
    """The labels with the wanted joints, and lenses in OpenCV's form."""
    if options.skeleton:
        labels = with_skeleton(labels, known_skeleton(options.skeleton))
    if labels.cameras is None or (options.lens_formula or labels.name) != "h36m":
        return labels
    return replace(labels, cameras=with_h36m_lenses(labels.cameras))


def _joints(labels: Labels, rows: Array) -> Array:
    """(N, J, 3) joints in the world of some rows; NaN if the labels have none."""
    if not {"joints", "joints_camera"} & set(labels.values):
        return np.full((len(rows), len(labels.skeleton), 3), np.nan)
    return joints_in_world(labels[rows])


def _numbers(indices: Tensor | Sequence[int], count: int) -> Array:
    index = np.asarray(indices, dtype=np.int64)
    if index.ndim != 1 or (index.size and not 0 <= index.min() <= index.max() < count):
        raise InputError(f"indices: expected (B,) numbers from 0 to {count - 1}, got {index.tolist()!r:.80}")
    return index
