"""The benchmark as methods and rulers see it: evidence of every sample of a cell, and its labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marey.core import Boxes, Cameras, Image, InputError, Keypoints2D, Observation, skeleton
from marey.data.benchmark.cells import CELLS, NAME, SCENE_SETS, SEED, SKELETON, SKELETONS, VERSION, Cell
from marey.data.benchmark.contents import HEAD
from marey.data.benchmark.digests import Array
from marey.data.benchmark.pictures import RenderedFrame
from marey.data.benchmark.store import default_folder, load_truth, make_head
from marey.data.benchmark.truth import CHUNK, OWN, cameras_of
from marey.data.synthetic import SyntheticGenerator
from marey.geometry.projection import world_to_camera
from marey.io.predictions import PoseRows


class Benchmark:
    """The benchmark `synthetic`, version 1.

    A cell is a list of samples, each one person seen by some cameras, and what a method is told about these. Labels
    are made when a cell is first asked for (7 ms a picture), kept in a folder, and checked by SHA-256 against what is
    committed. Pictures (25 ms each) are rendered when they are looked at and never kept::

        benchmark = Benchmark()
        for observation in benchmark.samples("calibrated_4"):
            estimate = estimator(observation)
        labels = benchmark.labels("calibrated_4")

    Args:
        folder: Of the label files; None: `marey/synthetic` in the folder that MAREY_DATA names, else the user's cache.
        quick: Only the first 16 samples of every cell, whose labels take a second: to see that a method runs.
        device: Where pictures are rendered.
    """

    name = NAME
    version = VERSION
    cells: Mapping[str, Cell] = CELLS

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        quick: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.quick = quick
        self.folder = default_folder() if folder is None else Path(folder)
        self.device = torch.device(device)
        self._truth: dict[str, dict[str, Array]] = {}
        self._generators: dict[str, SyntheticGenerator] = {}
        self._rendered: tuple[tuple[str, int], Tensor] | None = None

    def __str__(self) -> str:
        return f"{self.name} v{self.version}" + (f", first {HEAD}" if self.quick else "")

    def cell(self, name: str) -> Cell:
        """The cell of a name.

        Raises:
            InputError: there is none.
        """
        if name not in self.cells:
            raise InputError(f"cell: no '{name}' in {self}; there are: {', '.join(self.cells)}")
        return self.cells[name]

    def count(self, cell: str) -> int:
        """How many samples a cell has."""
        return len(self.truth(cell)["index"])

    def truth(self, cell: str) -> dict[str, Array]:
        """All that is known of the samples of a cell: arrays by name, `marey.data.benchmark.truth` lists them.

        They are of all cameras of the scenes, not only those that the cell looks through.

        Raises:
            InputError: there is no such cell.
            FormatError: the labels are not those of this version.
        """
        scenes = self.cell(cell).scenes
        if scenes not in self._truth:
            self._truth[scenes] = make_head(scenes) if self.quick else load_truth(self.folder, scenes)
        return self._truth[scenes]

    def labels(self, cell: str, skeleton_name: str = SKELETON) -> PoseRows:
        """What predictions are scored against: one row a sample.

        `sequence` is the cell, `frame` the place of the sample in it, `person` 0. Joints are in the world if the
        method is given the cameras, else in the frame of the first of them; metres. `occluded` and `truncated` are
        means over the views, `sample` is the index of the sample.

        Args:
            cell: Its name.
            skeleton_name: `coco_17`, whose joints are scored, `h36m_17`, or `smpl_24`, the body's own.

        Raises:
            InputError: there is no such cell, or no labels of such a skeleton.
        """
        if skeleton_name not in (*SKELETONS, OWN):
            raise InputError(f"skeleton: expected one of {', '.join((*SKELETONS, OWN))}, got '{skeleton_name}'")
        chosen, truth = self.cell(cell), self.truth(cell)
        joints, views = torch.from_numpy(truth[skeleton_name]), list(chosen.views)
        if chosen.cameras != "full":
            first = self._cameras(cell)[:, :1].to(torch.float64)
            joints = world_to_camera(joints[:, None].double(), first)[:, 0].to(torch.float32)
        count = len(joints)
        return PoseRows(
            joint_names=skeleton(skeleton_name).joints,
            sequence=np.full(count, cell),
            frame=np.arange(count),
            person=np.zeros(count, dtype=np.int64),
            values={
                "joints": joints.numpy(),
                "sample": truth["index"],
                "occluded": truth["occluded"][:, views].mean(1),
                "truncated": truth["truncated"][:, views].mean(1),
            },
            benchmark=str(self),
        )

    def cameras(self, cell: str) -> Cameras | None:
        """What methods are told about the cameras (N, V) of a cell; None: nothing.

        Raises:
            InputError: there is no such cell.
        """
        told = self.cell(cell).cameras
        if told == "none":
            return None
        cameras = self._cameras(cell)
        if told == "full":
            return cameras
        return Cameras(
            intrinsics=cameras.intrinsics,
            distortion=cameras.distortion,
            image_size=cameras.image_size,
            fisheye=cameras.fisheye,
            names=cameras.names,
        )

    def keypoints(self, cell: str) -> Keypoints2D:
        """What the simulated detector says, (N, V): `coco_17` with the covariance of its noise.

        Raises:
            InputError: there is no such cell.
        """
        truth, views = self.truth(cell), list(self.cell(cell).views)
        found = {name: torch.from_numpy(truth[f"detected{name}"][:, views]) for name in ("", "_sigma", "_score")}
        eye = torch.eye(2)
        return Keypoints2D(
            positions=found[""],
            covariance=found["_sigma"].square()[..., None, None] * eye,
            score=found["_score"],
            skeleton=skeleton(SKELETON),
        )

    def boxes(self, cell: str) -> Boxes:
        """Around the person that is asked for, (N, V): all of it, what is hidden or outside of the picture too.

        Raises:
            InputError: there is no such cell.
        """
        corners = torch.from_numpy(self.truth(cell)["box"][:, list(self.cell(cell).views)])
        return Boxes(corners=corners, score=torch.ones(corners.shape[:-1]))

    def images(self, cell: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Render the pictures of some samples, (B, V, 3, H, W) uint8, red green blue; 25 ms each on a processor.

        Raises:
            InputError: there is no such cell, or no sample in start..stop.
        """
        chosen, indices = self.cell(cell), self.truth(cell)["index"][start:stop]
        batch = self._generator(chosen).sample(SEED, indices.tolist(), cameras=chosen.views)
        return batch.images

    def samples(self, cell: str, start: int = 0, stop: int | None = None) -> Iterator[Observation]:
        """The evidence of samples start..stop, one observation each, with one frame and one person.

        It has pictures (lazy: rendered, a few samples at a time, when a method reads them), the box, the simulated
        keypoints, and of the cameras what the cell tells.

        Raises:
            InputError: there is no such cell.
        """
        keypoints, boxes, cameras = self.keypoints(cell), self.boxes(cell), self.cameras(cell)
        views = len(self.cell(cell).views)
        for place in range(*slice(start, stop).indices(self.count(cell))):
            yield Observation(
                keypoints=keypoints[place, :, None, None],
                boxes=boxes[place, :, None, None],
                cameras=None if cameras is None else cameras[place],
                frames=tuple(self._frame(cell, place, view) for view in range(views)),
                start=place,
            )

    def _frame(self, cell: str, place: int, view: int) -> RenderedFrame:
        size = SCENE_SETS[self.cell(cell).scenes].config.image_size
        return RenderedFrame(size=size, render=partial(self._picture, cell, place, view))

    def _picture(self, cell: str, place: int, view: int) -> Image:
        """One picture; those around it are rendered with it and kept until others are asked for."""
        start = place - place % CHUNK
        if self._rendered is None or self._rendered[0] != (cell, start):
            self._rendered = (cell, start), self.images(cell, start, start + CHUNK)
        picture: Image = self._rendered[1][place - start, view].permute(1, 2, 0).contiguous().cpu().numpy()
        return picture

    def _cameras(self, cell: str) -> Cameras:
        chosen = self.cell(cell)
        size = SCENE_SETS[chosen.scenes].config.image_size
        return cameras_of(self.truth(cell), size)[:, list(chosen.views)]

    def _generator(self, cell: Cell) -> SyntheticGenerator:
        if cell.scenes not in self._generators:
            self._generators[cell.scenes] = SyntheticGenerator(SCENE_SETS[cell.scenes].config, device=self.device)
        return self._generators[cell.scenes]
