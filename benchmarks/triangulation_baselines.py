"""What `learnable_triangulation.py` compares with: the original program from its checkout, or plain forms of its steps.

Both have the same methods, one for each step. The plain forms are written from the paper (Iskakov et al., ICCV 2019)
the way one first writes them: a loop over items and joints with a decomposition each, a loop over views with
`grid_sample`. The original's code is imported from where it lies and is no part of this repository.
"""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import Tensor
from torch.nn import functional

TRIALS = 10
"""Pairs of views that RANSAC draws for each point."""
THRESHOLD = 15.0
"""Half the distance in pixels below which a view agrees."""

Array = np.ndarray[Any, Any]


class Found(NamedTuple):
    """What RANSAC says of N points."""

    positions: Array
    """(N, 3)."""
    inliers: list[list[int]]
    """Of every point the views that it rests on, sorted."""
    pairs: Array
    """(N, TRIALS, 2) views that were tried."""


class Draws:
    """Pairs of different views from a seed, kept; takes the place of the module `random`, too."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)  # noqa: S311
        self.pairs: list[list[int]] = []

    def sample(self, population: Any, count: int) -> list[int]:
        """Draw from a set or a list, sorted first: Python no longer draws from sets."""
        drawn = sorted(self._source.sample(sorted(population), count))
        self.pairs.append(drawn)
        return drawn

    def array(self) -> Array:
        """All of them, (N, TRIALS, 2)."""
        return np.array(self.pairs).reshape(-1, TRIALS, 2)


class Plain:
    """Plain forms."""

    name = "plain forms"

    def dlt(self, points: Tensor, projections: Tensor, confidences: Tensor) -> Tensor:
        """Points (B, V, J, 2), projections (B, V, 3, 4) and confidences (B, V, J) to positions (B, J, 3)."""
        batch, _, joints, _ = points.shape
        found = torch.empty(batch, joints, 3)
        for item in range(batch):
            for joint in range(joints):
                pixels, matrices = points[item, :, joint, :, None], projections[item]
                rows = (pixels * matrices[:, 2:] - matrices[:, :2]) * confidences[item, :, joint, None, None]
                vector = torch.linalg.svd(rows.flatten(0, 1), full_matrices=False).Vh[3]
                found[item, joint] = vector[:3] / vector[3]
        return found

    def ransac(self, points: Array, projections: Array, *, optimise: bool, seed: int) -> Found:
        """Points (N, V, 2) and projections (V, 3, 4)."""
        draws = Draws(seed)
        positions, inliers = [], []
        for pixels in points:
            views: set[int] = set()
            for _ in range(TRIALS):
                pair = draws.sample(range(len(pixels)), 2)
                proposed = _linear(pixels[pair], projections[pair])
                agree = np.flatnonzero(_errors(proposed, pixels, projections) < THRESHOLD)
                if len(trial := set(pair) | set(agree.tolist())) > len(views):
                    views = trial
            chosen = sorted(views)
            position = _linear(pixels[chosen], projections[chosen])
            if optimise:
                position = least_squares(_errors, position, loss="huber", args=(pixels[chosen], projections[chosen])).x
            positions.append(position)
            inliers.append(chosen)
        return Found(np.array(positions), inliers, draws.array())

    def unproject(self, features: Tensor, projections: Tensor, grid: Tensor) -> Tensor:
        """Features (1, V, C, h, w), projections (1, V, 3, 4) and grid (1, X, Y, Z, 3) to a volume (1, C, X, Y, Z)."""
        points = functional.pad(grid.flatten(1, 3)[0], (0, 1), value=1.0)
        height, width = features.shape[-2:]
        views = []
        for maps, matrix in zip(features[0], projections[0], strict=True):
            x, y, depth = (points @ matrix.T).unbind(-1)
            safe = torch.where(depth > 0, depth, 1.0)
            places = torch.stack((2 * x / safe / height - 1, 2 * y / safe / width - 1), dim=-1)
            values = functional.grid_sample(maps[None], places[None, None], align_corners=True)[0, :, 0]
            views.append(values * (depth > 0))
        stacked = torch.stack(views)
        return (stacked * stacked.softmax(0)).sum(0).view(1, -1, *grid.shape[1:4])


class Original:
    """The original program, from a checkout of karfly/learnable-triangulation-pytorch."""

    name = "learnable-triangulation-pytorch"

    def __init__(self, checkout: Path) -> None:
        sys.path.insert(0, str(checkout))
        self._views, self._operations, self._models = (
            importlib.import_module(f"mvn.{part}") for part in ("utils.multiview", "utils.op", "models.triangulation")
        )

    def dlt(self, points: Tensor, projections: Tensor, confidences: Tensor) -> Tensor:
        """See `Plain.dlt`."""
        found: Tensor = self._views.triangulate_batch_of_points(projections, points, confidences_batch=confidences)
        return found

    def ransac(self, points: Array, projections: Array, *, optimise: bool, seed: int) -> Found:
        """See `Plain.ransac`."""
        draws = Draws(seed)
        self._models.random = draws
        triangulate = self._models.RANSACTriangulationNet.triangulate_ransac
        found = [triangulate(None, projections, pixels, direct_optimization=optimise) for pixels in points]
        return Found(np.array([each for each, _ in found]), [list(map(int, each)) for _, each in found], draws.array())

    def unproject(self, features: Tensor, projections: Tensor, grid: Tensor) -> Tensor:
        """See `Plain.unproject`."""
        volume: Tensor = self._operations.unproject_heatmaps(features, projections, grid, "softmax")
        return volume

    def network(self, depth: int, size: int) -> torch.nn.Module:
        """The volumetric network with random weights."""
        backbone = {"num_layers": depth, "style": "simple", "num_joints": 17, "init_weights": False}
        model = {
            "backbone": SimpleNamespace(**backbone),
            "volume_aggregation_method": "softmax",
            "volume_softmax": True,
            "volume_multiplier": 1.0,
            "volume_size": size,
            "cuboid_side": 2500.0,
            "kind": "mpii",
            "use_gt_pelvis": False,
            "heatmap_softmax": True,
            "heatmap_multiplier": 100.0,
        }
        config = SimpleNamespace(model=SimpleNamespace(**model))
        network: torch.nn.Module = self._models.VolumetricTriangulationNet(config, device="cpu").eval()
        return network

    def call(self, network: torch.nn.Module, images: Tensor, rig: Mapping[str, Array]) -> Callable[[], Tensor]:
        """A call on images (1, V, 3, H, W) with intrinsics, rotation and translation of the views in millimetres."""
        names = ("rotation", "translation", "intrinsics")
        cameras = [[self._views.Camera(*parts)] for parts in zip(*(rig[name] for name in names), strict=True)]
        batch = {"cameras": cameras, "pred_keypoints_3d": [np.zeros((17, 3))]}
        return lambda: network(images, None, batch)[0]


def _linear(pixels: Array, projections: Array) -> Array:
    rows = pixels[:, :, None] * projections[:, 2:] - projections[:, :2]
    vector = np.linalg.svd(rows.reshape(-1, 4), full_matrices=False)[2][3]
    return vector[:3] / vector[3]


def _errors(position: Array, pixels: Array, projections: Array) -> Array:
    projected = projections @ np.append(position, 1.0)
    return np.linalg.norm(pixels - projected[:, :2] / projected[:, 2:], axis=-1) / 2
