"""A method for single images on the captures of the benchmark `synthetic` v1: pose, distance, doubt, people cut off.

    python benchmarks/metrabs_single_view.py --out FILE [--method NAME] [--set FIELD=VALUE ...] [--samples N] [--smoke]

*Cells* `single_easy`, `single_medium`, `single_hard`, with the benchmark's boxes and intrinsics. `mpjpe_mm`: the 17
joints of COCO relative to the middle of the hips, beside the mean pose of the training captures. `root_depth_percent`:
the error of the depth of the middle of the hips in per cent of it, beside two guesses that look at no picture: always
the same depth, and depth by the height of the box, each with the number that is best on 1,000 training captures of the
tier. `coverage_90`: joints within the 90 % ellipsoids that the method states for their place before the camera.

*Augmented*: the same with test-time augmentation.

*Cut off*: people of `single_medium` who are wholly in the picture, once as they are and once with the picture cut, at a
side and a place drawn for each, so that 30 to 60 % of the 24 joints of SMPL are left in it; the box is what is left of
it, and the errors are those of all joints. On the same people cut off, a MeTRo and a 2.5D network that were trained
alike, here, by the recipes `trunk-metro` and `trunk-25d` (some minutes each), or with --metro and --bone-lengths their
weights.

Whether one of two is better is told by a paired bootstrap over the samples.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import Boxes, Cameras, Estimate, Estimator, Image, Keypoints2D, Observation, skeleton
from marey.data.benchmark import Benchmark
from marey.data.benchmark.mean_pose import mean_pose
from marey.data.benchmark.truth import counts
from marey.data.synthetic import TIERS, SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import MARGIN
from marey.engine.training import train
from marey.geometry.projection import project_from_camera, world_to_camera
from marey.geometry.views import crop_cameras
from marey.methods.metrabs.looks import with_margin
from marey.methods.metrabs.networks import LoadedNetwork, load_network
from marey.methods.metrabs.virtual_cameras import CropRule
from marey.methods.metrabs.virtual_crops import crop_views
from marey.metrics.comparison import paired_bootstrap
from marey.metrics.uncertainty import confidence_levels
from marey.pipeline.evaluating import made_estimator
from marey.pipeline.recipes import choose_recipe
from measure import describe, write_json

JOINTS = skeleton("coco_17").joints
HIPS = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]
SAMPLES, SMOKE = 200, 3
TRAINING = 1000
CUT_CELL = "single_medium"
LEFT_OVER = 0.3, 0.6
"""Shares of the joints that stay in the picture."""
WHOLE = 0.01
"""Share of the surface outside of the picture or hidden up to which somebody is whole."""
FIELD, AUGMENTED, PLAIN = "num_aug", 5, 1

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of N samples; NaN where the method says nothing."""

    pose: Floats
    """(N,) millimetres relative to the hips."""
    depth: Floats
    """(N,) of the hips, relative to the distance."""
    inside: Floats
    """(N,) share of the joints within their 90 % ellipsoids."""


def main() -> None:
    """Estimate, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", default="metrabs", help="of those that marey evaluate takes")
    parser.add_argument("--set", nargs="*", default=[], metavar="FIELD=VALUE", help="settings of the method")
    parser.add_argument("--metro", type=Path, help="weights of a MeTRo network")
    parser.add_argument("--bone-lengths", type=Path, help="weights of a 2.5D network")
    parser.add_argument("--labels", type=Path, help="folder of the label files; made there if absent")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of each cell, the first ones")
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} samples")
    options = parser.parse_args()
    torch.set_num_threads(1)
    benchmark = Benchmark(options.labels, quick=options.smoke)
    count = SMOKE if options.smoke else options.samples
    cells = {tier: measure_cell(benchmark, tier, count, options) for tier in TIERS}
    cut = measure_cut(benchmark, count, options)
    write_json(
        options.out,
        {
            "benchmark": str(benchmark),
            "method": options.method,
            "settings": options.set,
            "samples": count,
            "cells": cells,
            "cut_off": cut,
            **headlines(cells, cut),
            "meta": describe("torch", "numpy"),
        },
    )


def measure_cell(benchmark: Benchmark, tier: str, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """One tier: the method, the mean pose and the two guesses of the depth, and augmentation if the method has it."""
    cell = f"single_{tier}"
    truth = labels_of(benchmark, cell)[:count]
    samples = benchmark.samples(cell, 0, count)
    estimator = made_estimator(options.method, options.set)
    found = measured(estimator, samples, truth)
    usual = mean_pose(tier).expand_as(truth)
    mean = 1000 * (usual - (truth - _middle(truth))).norm(dim=-1).mean(-1).numpy()
    guesses = guessed_depths(benchmark, tier, count)
    apart = {name: np.abs(guess / _depth(truth) - 1) for name, guess in guesses.items()}
    known = np.isfinite(found.pose)
    print(tier, f"{np.nanmean(found.pose):.1f} mm, mean pose {mean.mean():.1f} mm", flush=True)
    return {
        "mpjpe_mm": float(np.nanmean(found.pose)),
        "unknown": int((~known).sum()),
        "mean_pose_mm": float(mean[known].mean()),
        "times_better": float(mean[known].mean() / np.nanmean(found.pose)),
        "beats_mean_pose": better(found.pose, mean),
        "root_depth_percent": 100 * float(np.nanmean(found.depth)),
        **{f"root_depth_{name}_percent": 100 * float(error[known].mean()) for name, error in apart.items()},
        **{
            f"root_depth_over_{name}": float(np.nanmean(found.depth) / error[known].mean())
            for name, error in apart.items()
        },
        "coverage_90": float(np.nanmean(found.inside)),
        **augmented(benchmark, cell, truth, options, (estimator, found)),
    }


def augmented(
    benchmark: Benchmark, cell: str, truth: Tensor, options: argparse.Namespace, known: tuple[Estimator, Errors]
) -> dict[str, Any]:
    """With and without test-time augmentation; nothing for a method without. `known`: what has been measured."""
    if not hasattr(known[0], FIELD):
        return {}
    by_views = {getattr(known[0], FIELD): known[1]}
    for views in (PLAIN, AUGMENTED):
        if views not in by_views:
            estimator = made_estimator(options.method, [*options.set, f"{FIELD}={views}"])
            by_views[views] = measured(estimator, benchmark.samples(cell, 0, len(truth)), truth)
    once, often = by_views[PLAIN], by_views[AUGMENTED]
    return {
        "plain_mm": float(np.nanmean(once.pose)),
        "augmented_mm": float(np.nanmean(often.pose)),
        "augmented_over_plain": float(np.nanmean(often.pose) / np.nanmean(once.pose)),
        "augmented_depth_over_plain": float(np.nanmean(often.depth) / np.nanmean(once.depth)),
        "augmentation_helps": better(often.pose, once.pose),
        "plain_coverage_90": float(np.nanmean(once.inside)),
        "augmented_coverage_90": float(np.nanmean(often.inside)),
    }


def measure_cut(benchmark: Benchmark, count: int, options: argparse.Namespace) -> dict[str, Any]:
    """People wholly in the picture and the same cut off; by two other networks, too, if their weights are given."""
    rows = benchmark.labels(CUT_CELL)
    whole = np.flatnonzero((rows.values["truncated"] <= WHOLE) & (rows.values["occluded"] <= WHOLE))[:count]
    truth = labels_of(benchmark, CUT_CELL)[whole]
    given = [next(benchmark.samples(CUT_CELL, place, place + 1)) for place in whole.tolist()]
    cuts = cut_rectangles(benchmark, whole)
    left = [cropped(sample, cut) for sample, cut in zip(given, cuts, strict=True)]
    ours = made_estimator(options.method, options.set)
    before, after = measured(ours, given, truth), measured(ours, left, truth)  # a cut does not move the camera
    found: dict[str, Any] = {
        "people": len(whole),
        "whole_mm": float(np.nanmean(before.pose)),
        "cut_mm": float(np.nanmean(after.pose)),
        "cut_over_whole": float(np.nanmean(after.pose) / np.nanmean(before.pose)),
        "unknown": int(np.isnan(after.pose).sum()),
        "cut_root_depth_percent": 100 * float(np.nanmean(after.depth)),
        "cut_coverage_90": float(np.nanmean(after.inside)),
    }
    with tempfile.TemporaryDirectory() as folder:
        rivals = {
            name: pose_errors(load_network(weights), left, truth)
            for name, weights in (
                ("metro", options.metro or trained("trunk-metro", Path(folder), smoke=options.smoke)),
                ("bone_lengths", options.bone_lengths or trained("trunk-25d", Path(folder), smoke=options.smoke)),
            )
        }
    found |= {f"{name}_mm": float(np.nanmean(pose)) for name, pose in rivals.items()}
    found["metro_over_bone_lengths"] = found["metro_mm"] / found["bone_lengths_mm"]
    found["metro_better"] = better(rivals["metro"], rivals["bone_lengths"])
    return found


def pose_errors(network: LoadedNetwork, samples: Sequence[Observation], truth: Tensor) -> Floats:
    """(N,) millimetres relative to the hips, of a network that need not know where people are; one crop each."""
    own = list(network.skeleton.indices(JOINTS))
    found = []
    for sample in samples:
        source, boxes, cameras = sample.frames[0], sample.boxes, sample.cameras
        assert source is not None
        assert boxes is not None
        assert cameras is not None
        picture = torch.from_numpy(next(iter(source.frames()))).permute(2, 0, 1)[None]
        corners = boxes.corners[0, 0].double()
        sides = torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), -1)
        rule = CropRule(side=network.side)
        crops = crop_views(picture, with_margin(sides, MARGIN), cameras.to(torch.float64), rule=rule)
        with torch.inference_mode():
            poses = network.module(crops.images.float(), crops.intrinsics.float()).joints
        found.append((poses.double() @ crops.rotation.double())[0, own])
    joints = torch.stack(found)
    apart = (joints - _middle(joints)) - (truth - _middle(truth))
    errors: Floats = 1000 * apart.norm(dim=-1).nanmean(-1).numpy()
    return errors


def trained(recipe: str, folder: Path, *, smoke: bool) -> Path:
    """Weights of a network that a recipe trains from the shipped trunk."""
    changes = ["training.steps=2", "training.validate_every=0", "workers=0"] if smoke else []
    chosen = choose_recipe("metrabs", recipe, changes=changes).recipe
    return train(chosen.task(None), chosen.training, folder / recipe).weights


def measured(estimator: Estimator, samples: Iterator[Observation] | Sequence[Observation], truth: Tensor) -> Errors:
    """Errors of an estimator on samples of one view, labels (N, 17, 3) in the frame of the camera."""
    found, covariance = zip(*(_said(estimator(sample)) for sample in samples), strict=True)
    joints, spread = torch.stack(found), torch.stack(covariance)
    apart = (joints - _middle(joints)) - (truth - _middle(truth))
    levels = confidence_levels(joints, spread, truth)
    inside = torch.where(levels.isnan(), torch.nan, (levels <= 0.9).double()).nanmean(-1)
    return Errors(
        pose=1000 * apart.norm(dim=-1).nanmean(-1).numpy(),
        depth=np.abs(_depth(joints) / _depth(truth) - 1),
        inside=inside.numpy(),
    )


def _said(estimate: Estimate) -> tuple[Tensor, Tensor]:
    own = estimate.joints.skeleton.indices(JOINTS)
    joints = estimate.joints
    return joints.positions[0, 0, own].double(), joints.covariance[0, 0, own].double()


def guessed_depths(benchmark: Benchmark, tier: str, count: int) -> dict[str, Floats]:
    """Depths (N,) of the hips, metres: always the same; and by the focal length over the height of the box."""
    cell = f"single_{tier}"
    cameras = benchmark.cameras(cell)
    assert cameras is not None
    focal = cameras.intrinsics[:count, 0, 1, 1].double().numpy()
    corners = benchmark.boxes(cell).corners[:count, 0].double().numpy()
    depth, heights = training_captures(tier, TRAINING if count > SMOKE else 32)
    return {
        "constant": np.full(len(focal), least_relative(depth)),
        "box_height": least_relative(depth * heights) * focal / (corners[:, 3] - corners[:, 1]),
    }


def training_captures(tier: str, count: int) -> tuple[Floats, Floats]:
    """Of the first people of training captures: depth of the hips in metres, box height in focal lengths."""
    size = (256, 256)
    config = SyntheticConfig(tier=tier, split="training", image_size=size, skeletons=("coco_17",))
    batch = SyntheticGenerator(config).sample(0, range(count), images=False)
    batch = batch[counts(batch)]
    joints = world_to_camera(batch.skeletons["coco_17"][:, None, 0].double(), batch.cameras.to(torch.float64))[:, 0]
    box = batch.views.box[:, 0, 0].double()
    heights = (box[:, 3] - box[:, 1]) / batch.cameras.intrinsics[:, 0, 1, 1].double()
    return _depth(joints), heights.numpy()


def least_relative(values: Floats) -> float:
    """The constant c with the least mean |c - v| / v: the median weighted by 1 / v."""
    order = np.sort(values)
    weights = np.cumsum(1 / order)
    return float(order[np.searchsorted(weights, weights[-1] / 2)])


def cut_rectangles(benchmark: Benchmark, places: npt.NDArray[np.int64]) -> Tensor:
    """(N, 4) left, top, right, bottom of what is left of pictures, between pixels, so that few joints are in it."""
    cameras = benchmark.cameras(CUT_CELL)
    assert cameras is not None
    chosen = cameras[torch.from_numpy(places)]
    joints = torch.from_numpy(benchmark.labels(CUT_CELL, "smpl_24").values["joints"][places])[:, None]
    pixels = project_from_camera(joints.double(), chosen.to(torch.float64))[:, 0].numpy()
    size = chosen.image_size[:, 0].numpy()
    rng = np.random.default_rng(0)
    axis, low = rng.integers(2, size=len(places)), rng.integers(2, size=len(places))
    left = np.round(rng.uniform(*LEFT_OVER, size=len(places)) * pixels.shape[1]).astype(np.int64)
    along = np.sort(np.take_along_axis(pixels, axis[:, None, None], axis=2)[..., 0], axis=1)
    first = np.where(low == 1, left, pixels.shape[1] - left)  # what stays is below the cut, or above
    rows = np.arange(len(places))
    cut = np.floor((along[rows, first - 1] + along[rows, first]) / 2) + 0.5
    corners = np.concatenate((np.full((len(places), 2), -0.5), size - 0.5), axis=1)
    corners[rows, np.where(low == 1, 2 + axis, axis)] = cut
    return torch.from_numpy(corners)


@dataclass(frozen=True, kw_only=True)
class CutFrame:
    """A part of the one frame of a sample (`marey.core.FrameSource`)."""

    render: Callable[[], Image]
    corners: tuple[int, int, int, int]
    """First column and row, and those after the last."""

    timestamps = np.zeros(1)
    fps = None
    files = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        left, top, right, bottom = self.corners
        return right - left, bottom - top

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Image]:
        """Yield the frame, if it is among those wanted."""
        if start <= 0 and (stop is None or stop > 0):
            left, top, right, bottom = self.corners
            yield np.ascontiguousarray(self.render()[top:bottom, left:right])


def cropped(sample: Observation, cut: Tensor) -> Observation:
    """A sample of one view whose picture ends at (4,) left, top, right, bottom."""
    source, boxes, cameras, keypoints = sample.frames[0], sample.boxes, sample.cameras, sample.keypoints
    assert source is not None
    assert boxes is not None
    assert cameras is not None
    left, top, right, bottom = (round(float(side) + 0.5) for side in cut)
    offset = torch.tensor([left, top]).float()
    size = torch.tensor([right - left, bottom - top]).float()
    corners = boxes.corners - offset.repeat(2)
    low, high = corners[..., :2].clamp_min(-0.5), corners[..., 2:].minimum(size - 0.5)
    return replace(
        sample,
        frames=(CutFrame(render=lambda: next(iter(source.frames())), corners=(left, top, right, bottom)),),
        boxes=Boxes(corners=torch.cat((low, high), -1), score=boxes.score),
        cameras=_cut_cameras(cameras, cut),
        keypoints=None if keypoints is None else _cut_keypoints(keypoints, offset, size),
    )


def _cut_cameras(cameras: Cameras, cut: Tensor) -> Cameras:
    return crop_cameras(cameras, cut[None].to(cameras.dtype))


def _cut_keypoints(keypoints: Keypoints2D, offset: Tensor, size: Tensor) -> Keypoints2D:
    """Those outside of the picture are not seen."""
    positions = keypoints.positions - offset
    seen = ((positions > -0.5) & (positions < size - 0.5)).all(-1)
    return replace(
        keypoints,
        positions=torch.where(seen[..., None], positions, torch.nan),
        covariance=torch.where(seen[..., None, None], keypoints.covariance, torch.nan),
        score=torch.where(seen, keypoints.score, 0.0),
    )


def headlines(cells: dict[str, dict[str, Any]], cut: dict[str, Any]) -> dict[str, Any]:
    """What claims are made of."""
    found = {
        "times_better_easy": cells["easy"]["times_better"],
        "beats_mean_pose_everywhere": all(cell["beats_mean_pose"]["decided"] for cell in cells.values()),
        "root_depth_percent_easy": cells["easy"]["root_depth_percent"],
        "root_depth_over_constant": cells["easy"]["root_depth_over_constant"],
        "root_depth_over_box_height": cells["easy"]["root_depth_over_box_height"],
        "cut_over_whole": cut["cut_over_whole"],
        "least_coverage": min(cell["coverage_90"] for cell in cells.values()),
        "largest_coverage": max(cell["coverage_90"] for cell in cells.values()),
        "unknown": sum(cell["unknown"] for cell in cells.values()),
    }
    if all("augmented_over_plain" in cell for cell in cells.values()):
        found["worst_augmented_over_plain"] = max(cell["augmented_over_plain"] for cell in cells.values())
        found["augmentation_helps_everywhere"] = all(cell["augmentation_helps"]["decided"] for cell in cells.values())
    return found


def better(first: Floats, second: Floats) -> dict[str, Any]:
    """Whether the first of two errors (N,) is surely smaller, and by how much in the errors' unit."""
    both = np.isfinite(first) & np.isfinite(second)
    if both.sum() < 2:
        return {"decided": False, "difference": 0.0, "low": 0.0, "high": 0.0}
    result = paired_bootstrap(first, second)
    return {
        "decided": result.high < 0,
        "difference": result.difference,
        "low": result.low,
        "high": result.high,
    }


def labels_of(benchmark: Benchmark, cell: str) -> Tensor:
    """(N, 17, 3) metres in the frame of the camera."""
    return torch.from_numpy(benchmark.labels(cell).values["joints"]).double()


def _middle(joints: Tensor) -> Tensor:
    """Of the hips, (..., 1, 3)."""
    return joints[..., HIPS, :].mean(-2, keepdim=True)


def _depth(joints: Tensor) -> Floats:
    """Of the middle of the hips, (N,)."""
    found: Floats = _middle(joints)[..., 0, 2].double().numpy()
    return found


if __name__ == "__main__":
    main()
