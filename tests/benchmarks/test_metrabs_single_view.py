"""Of the benchmark of single views: cut pictures show what they showed, and the guesses are the best of their kind."""

import importlib
import sys

import numpy as np
import pytest
import torch

from house.source import ROOT
from marey.data.benchmark import Benchmark
from marey.geometry.projection import project_from_camera

sys.path.insert(0, str(ROOT / "benchmarks"))
single = importlib.import_module("metrabs_single_view")


@pytest.fixture(scope="module")
def benchmark():
    return Benchmark(quick=True)


def test_least_relative__no_other_constant_is_better():
    values = np.random.default_rng(0).lognormal(size=301)
    best = single.least_relative(values)
    cost = [np.mean(np.abs(guess - values) / values) for guess in (0.99 * best, best, 1.01 * best)]
    assert cost[1] == min(cost)


def test_cut_rectangles__leave_the_wanted_share_of_the_joints(benchmark):
    places = np.arange(12)
    corners = single.cut_rectangles(benchmark, places)
    joints = torch.from_numpy(benchmark.labels(single.CUT_CELL, "smpl_24").values["joints"][places])
    cameras = benchmark.cameras(single.CUT_CELL)[torch.from_numpy(places)][:, 0]
    pixels = project_from_camera(joints, cameras)
    inside = ((pixels > corners[:, None, :2]) & (pixels < corners[:, None, 2:])).all(-1).double().mean(-1)
    truncated = benchmark.labels(single.CUT_CELL).values["truncated"][places]
    whole = inside[torch.from_numpy(truncated <= single.WHOLE)]
    assert len(whole) >= 3
    assert bool(((whole >= 0.25) & (whole <= 0.65)).all())


def test_cropped__pixels_and_rays_stay_together(benchmark):
    sample = next(benchmark.samples(single.CUT_CELL, 1, 2))
    cut = torch.tensor([39.5, -0.5, 255.5, 149.5], dtype=torch.float64)
    found = single.cropped(sample, cut)
    assert found.frames[0].size == (216, 150)
    (before,), (after,) = (list(source.frames()) for source in (sample.frames[0], found.frames[0]))
    np.testing.assert_array_equal(after, before[:150, 40:])
    assert found.cameras.image_size.tolist() == [[216, 150]]
    point = torch.tensor([[0.1, 0.2, 3.0]])
    pixels = [project_from_camera(point, cameras[0]) for cameras in (sample.cameras, found.cameras)]
    torch.testing.assert_close(pixels[0] - pixels[1], torch.tensor([[40.0, 0.0]]), atol=1e-3, rtol=0)
    low, high = found.boxes.corners[0, 0, 0].split(2)
    assert bool((low >= -0.5).all())
    assert bool((high <= torch.tensor([215.5, 149.5])).all())
    seen = found.keypoints.positions[0, 0, 0]
    assert bool(((seen.nan_to_num(0) > -0.5) & (seen.nan_to_num(0) < torch.tensor([215.5, 149.5]))).all())
