"""Learned triangulation against the classical kind, all on the keypoints of the shared trunk.

    python benchmarks/triangulation_views.py --out FILE [--labels FOLDER] [--samples N] [--smoke]

The scenes of the cell `calibrated_8` of the benchmark `synthetic` v1, seen by nested subsets of their cameras. Boxes
are those of the benchmark, keypoints those of the trunk in the crops of these boxes: linear triangulation, `classical`,
and RANSAC are given them with their covariances; `algebraic` and `volumetric` see the same crops. Errors are those of
the 17 joints of COCO in the world, millimetres; with one view relative to the middle of the hips, beside the mean pose.
The cell `single_easy` is measured in the same way.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marey.core import Cameras, Estimate, Observation, skeleton
from marey.data.benchmark import CELLS, Benchmark
from marey.data.benchmark.cells import SCENE_SETS
from marey.data.benchmark.mean_pose import mean_pose
from marey.geometry.small import inverse_3x3_symmetric
from marey.methods.classical import ClassicalEstimator
from marey.methods.triangulation.estimator import AlgebraicEstimator, RansacEstimator, VolumetricEstimator
from marey.metrics.comparison import paired_bootstrap
from marey.metrics.uncertainty import CHI2_90
from measure import describe, write_json

RING, EASY = "calibrated_8", "single_easy"
ORDER = (0, 3, 6, 1, 4, 7, 2, 5)
"""Of the cameras: each subset is the first so many."""
COUNTS = (2, 3, 4, 6, 8)
SAMPLES = 200
SMOKE = 3
JOINTS = skeleton("coco_17").joints
HIPS = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]

Errors = dict[tuple[str, int], list[Tensor]]


def main() -> None:
    """Estimate, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="folder of the label files; made there if absent")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="scenes, the first ones")
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} scenes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = Benchmark(options.labels, quick=options.smoke)
    count = SMOKE if options.smoke else options.samples
    errors, inside = measure_ring(benchmark, count)
    single = {cell: measure_single(benchmark, cell, count) for cell in (RING, EASY)}
    write_json(
        options.out,
        {
            "benchmark": str(benchmark),
            "samples": count,
            "errors_mm": _by_method(errors),
            "coverage_90": _by_method(inside),
            "one_view": single,
            **headlines(errors, inside, single),
            "meta": describe("torch", "numpy"),
        },
    )


def measure_ring(benchmark: Benchmark, count: int) -> tuple[Errors, Errors]:
    """Errors in millimetres of each method with each number of views, per sample, and joints within ellipsoids."""
    ransac, algebraic, volumetric = RansacEstimator(), AlgebraicEstimator(), VolumetricEstimator()
    others = {"dlt": ClassicalEstimator(triangulation="dlt"), "classical": ClassicalEstimator()}
    labels = torch.from_numpy(benchmark.labels(RING).values["joints"]).double()
    errors: Errors = defaultdict(list)
    inside: Errors = defaultdict(list)
    for place, observation in enumerate(benchmark.samples(RING, 0, count)):
        whole = _looking(observation, ORDER)
        keypoints = ransac(whole).keypoints
        assert keypoints is not None
        for views in COUNTS:
            subset = replace(_looking(whole, range(views)), keypoints=keypoints[:views])
            said = {name: method(subset) for name, method in others.items()}
            said |= {"ransac": ransac(subset), "algebraic": algebraic(subset), "volumetric": volumetric(subset)}
            for name, estimate in said.items():
                _score(errors[name, views], inside[name, views], estimate, labels[place])
        if not place % 20:
            print(
                place, {name: round(float(torch.stack(kept).nanmean()), 1) for name, kept in errors.items()}, flush=True
            )
    return errors, inside


def measure_single(benchmark: Benchmark, cell: str, count: int) -> dict[str, float]:
    """`volumetric` with the first view of a cell: error relative to the hips, beside the mean pose; coverage."""
    ransac, volumetric = RansacEstimator(), VolumetricEstimator()
    labels = torch.from_numpy(benchmark.labels(cell).values["joints"]).double()
    usual = mean_pose(SCENE_SETS[CELLS[cell].scenes].config.tier)
    ours: list[Tensor] = []
    within: list[Tensor] = []
    theirs: list[Tensor] = []
    for place, observation in enumerate(benchmark.samples(cell, 0, count)):
        one = _placed(_looking(observation, (0,)))
        both = Observation(  # the trunk's keypoints, by the method that gives them as they are
            frames=2 * one.frames, boxes=one.boxes[[0, 0]], cameras=one.cameras[[0, 0]]
        )
        keypoints = ransac(both).keypoints
        assert keypoints is not None
        assert one.cameras is not None
        estimate = volumetric(replace(one, keypoints=keypoints[:1]))
        truth = labels[place]
        rotation = one.cameras.extrinsics[0][0].double()
        answer = usual @ rotation
        _score(ours, within, estimate, truth, relative=True)
        theirs.append(1000 * ((answer - _middle(answer)) - (truth - _middle(truth))).norm(dim=-1).mean())
    found, mean = torch.stack(ours), torch.stack(theirs)
    return {
        "mpjpe_mm": float(found.nanmean()),
        "unknown": int(found.isnan().sum()),
        "mean_pose_mm": float(mean.mean()),
        "times_better": float(mean[found.isfinite()].mean() / found.nanmean()),
        "coverage_90": float(torch.stack(within).nanmean()),
    }


def headlines(errors: Errors, inside: Errors, single: dict[str, dict[str, float]]) -> dict[str, Any]:
    """What claims are made of."""
    mean = {key: float(torch.stack(kept).nanmean()) for key, kept in errors.items()}
    rises = [
        mean[name, more] / mean[name, fewer] - 1
        for name in ("algebraic", "volumetric")
        for fewer, more in pairwise(COUNTS)
    ]
    covered = [
        float(torch.stack(kept).nanmean()) for (name, _), kept in inside.items() if name in ("algebraic", "volumetric")
    ]
    four = {name: torch.stack(errors[name, 4]).numpy() for name in ("dlt", "ransac", "classical", "algebraic")}
    return {
        "algebraic_over_dlt": mean["algebraic", 4] / mean["dlt", 4],
        "algebraic_over_ransac": mean["algebraic", 4] / mean["ransac", 4],
        "algebraic_over_classical": mean["algebraic", 4] / mean["classical", 4],
        "algebraic_beats": {
            name: paired_bootstrap(four["algebraic"], four[name]).decided for name in ("dlt", "ransac", "classical")
        },
        "volumetric_over_algebraic_2": mean["volumetric", 2] / mean["algebraic", 2],
        "one_view_times_better_easy": single[EASY]["times_better"],
        "one_view_times_better_medium": single[RING]["times_better"],
        "largest_rise": max(rises),
        "least_coverage": min(covered),
        "largest_coverage": max(covered),
        "unknown": sum(int(torch.stack(kept).isnan().sum()) for kept in errors.values()),
    }


def _looking(observation: Observation, views: Iterable[int]) -> Observation:
    """The same moment through some of the cameras."""
    chosen = list(views)
    assert observation.boxes is not None
    assert observation.cameras is not None
    return replace(
        observation,
        frames=tuple(observation.frames[view] for view in chosen),
        boxes=observation.boxes[chosen],
        cameras=observation.cameras[chosen],
        keypoints=None if observation.keypoints is None else observation.keypoints[chosen],
    )


def _placed(observation: Observation) -> Observation:
    """With the camera at the origin if nobody knows where it is."""
    cameras = observation.cameras
    assert cameras is not None
    if cameras.has_extrinsics:
        return observation
    at_origin = Cameras(
        intrinsics=cameras.intrinsics,
        distortion=cameras.distortion,
        image_size=cameras.image_size,
        fisheye=cameras.fisheye,
        names=cameras.names,
        rotation=torch.eye(3).expand(1, 3, 3).to(cameras.intrinsics),
        translation=torch.zeros(1, 3).to(cameras.intrinsics),
    )
    return replace(observation, cameras=at_origin)


def _score(
    errors: list[Tensor], inside: list[Tensor], estimate: Estimate, truth: Tensor, *, relative: bool = False
) -> None:
    own = estimate.joints.skeleton.indices(JOINTS)
    found = estimate.joints.positions[0, 0, own].double()
    apart = (found - _middle(found)) - (truth - _middle(truth)) if relative else found - truth
    errors.append(1000 * apart.norm(dim=-1).mean())
    covariance = estimate.joints.covariance
    assert covariance is not None
    spread = covariance[0, 0, own].double()
    off = (found - truth)[..., None]
    squared = (off.mT @ inverse_3x3_symmetric(spread) @ off)[..., 0, 0]
    inside.append(torch.where(squared.isfinite(), (squared <= CHI2_90[3]).double(), torch.nan).nanmean())


def _middle(joints: Tensor) -> Tensor:
    return joints[HIPS].mean(0)


def _by_method(kept: Errors) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (name, views), values in kept.items():
        found[name][str(views)] = float(np.nanmean(torch.stack(values).numpy()))
    return dict(found)


if __name__ == "__main__":
    main()
