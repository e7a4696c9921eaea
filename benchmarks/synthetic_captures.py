"""Synthetic captures: pictures a second on one thread, and the labels against other ways of finding them.

    python benchmarks/synthetic_captures.py --out FILE [--pictures 320] [--runs 7] [--checked 200] [--sheets F]

Speed is that of whole samples, pictures of 256 x 256 with all labels, people with the decimated mesh, by the clock on
the wall and (`cpu`) by the processor's seconds that the thread took, which say more when other programs run beside.
The labels of some hundred samples a tier are compared with OpenCV: its projection of the joints, and the silhouette
that it fills from the projected triangles at nine times the resolution; with rays from the camera through every joint,
which first and last meet the body before and behind it; and with themselves, made again in other batches, on other
numbers of threads, by workers, and by processes that use the instructions of other processors. `mean_pose_mm` is the
error of always answering with the mean of other samples.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from marey.body.smpl_tree import SMPL_TREE
from marey.data.synthetic import (
    SPLITS,
    TIERS,
    SyntheticBatch,
    SyntheticConfig,
    SyntheticGenerator,
    SyntheticStream,
    contact_sheet,
    flipped,
    mirror_vertices,
)
from marey.geometry.projection import world_to_camera
from marey.io.images import write_image
from measure import Timing, describe, pin_to_one_core, write_json

SEED = 2024
FINE = 9
"""Samples a pixel of the silhouettes, an odd number: the centre of a pixel is a sample."""
CLOCKS = (time.perf_counter, time.thread_time)
PROCESSORS = {
    "three threads": {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "neither AVX2 nor AVX-512": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
}
"""Environments of processes that compute as other machines would."""
ELSEWHERE = """
import sys, torch
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
generator = SyntheticGenerator(SyntheticConfig(tier="hard", views=2, image_size=(128, 128)))
torch.save(generator.sample(int(sys.argv[1]), range(16)).tensors(), sys.argv[2])
"""
NEAR = 4
"""Pictures' widths from the picture within which projected joints are compared; far outside lenses are meaningless."""


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=320, help="of a timed run, altogether")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--checked", type=int, default=200, help="samples a tier whose labels are checked")
    parser.add_argument("--sheets", type=Path, help="write pictures of every tier there, to look at")
    parser.add_argument("--smoke", action="store_true", help="a few samples, to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.pictures, options.runs, options.checked = 32, 2, 16
    pin_to_one_core()
    torch.set_num_threads(1)
    if options.sheets:
        _write_sheets(options.sheets)
    tiers = {tier: _tier(tier, options.checked) for tier in TIERS}
    results = {
        **_worst(tiers),
        "speed": {tier: _speed(tier, "small", options) for tier in TIERS}
        | {"medium tier, 6,900 vertices": _speed("medium", "medium", options)},
        "tiers": tiers,
        "same_bits": _same_bits(options.checked),
        "other_processors": _other_processors(),
        "work": {"size": 256, "checked": options.checked, "pictures": options.pictures},
        "meta": describe("torch", "numpy", "opencv-python-headless"),
    }
    results["images_per_second"] = results["speed"]["medium"]["images_per_second"]
    results["images_per_cpu_second"] = results["speed"]["medium"]["cpu"]
    results["differing_tensors"] = sum(results["same_bits"].values())
    write_json(options.out, results)


def _write_sheets(folder: Path) -> None:
    for tier in TIERS:
        for split in SPLITS:
            batch = SyntheticGenerator(SyntheticConfig(tier=tier, split=split)).sample(SEED, range(32))
            write_image(folder / f"{tier}_{split}.png", contact_sheet(batch))
            write_image(folder / f"{tier}_{split}_joints.png", contact_sheet(batch, joints=True))


def _speed(tier: str, level: str, options: argparse.Namespace) -> dict[str, Any]:
    generator = SyntheticGenerator(SyntheticConfig(tier=tier, level=level))
    count = max(16, options.pictures // options.runs // 16 * 16)
    number = iter(range(10**6))

    def run() -> None:
        start = next(number) * count
        generator.sample(SEED, range(start, start + count))

    wall, cpu = (Timing.of(run, warmup=1, runs=options.runs, clock=clock)[0] for clock in CLOCKS)
    return {
        "images_per_second": wall.per_second(count),
        "cpu": cpu.per_second(count),
        "pictures_a_run": count,
        "wall_s": wall.asdict(),
        "cpu_s": cpu.asdict(),
    }


def _tier(tier: str, count: int) -> dict[str, float]:
    generator = SyntheticGenerator(SyntheticConfig(tier=tier))
    batch = generator.sample(SEED, range(count))
    mirror = mirror_vertices(generator.model)
    silhouettes = [_overlap(generator, batch, sample) for sample in range(count)]
    inside = torch.cat([_inside(generator, batch, sample) for sample in range(count)])
    return {
        "mean_pose_mm": _mean_pose(batch),
        "silhouette_iou": min(silhouettes),
        "silhouette_iou_median": float(np.median(silhouettes)),
        "joints_inside": float(inside.double().mean()),
        "projection_px": max(_projection_error(batch, sample) for sample in range(count)),
        "sides_exchanged": _exchanged(batch) + _exchanged(flipped(batch, mirror)),
        "occluded_most": float(batch.views.occluded[:, 0, 0].nan_to_num().max()),
        "truncated": float((batch.views.truncated[:, 0, 0] > 0).double().mean()),
        "visible": float(batch.views.visible[:, 0, 0].double().mean()),
    }


def _worst(tiers: dict[str, dict[str, float]]) -> dict[str, float]:
    every = tiers.values()
    return {
        "silhouette_iou": min(tier["silhouette_iou"] for tier in every),
        "joints_inside": min(tier["joints_inside"] for tier in every),
        "projection_px": max(tier["projection_px"] for tier in every),
        "sides_exchanged": sum(tier["sides_exchanged"] for tier in every),
        "mean_pose_easy_mm": tiers["easy"]["mean_pose_mm"],
        "mean_pose_hard_mm": tiers["hard"]["mean_pose_mm"],
    }


def _mean_pose(batch: SyntheticBatch) -> float:
    """Root-relative error in millimetres, in the camera's axes, of the mean of the other half."""
    joints = world_to_camera(batch.people.joints[:, None, :1].double(), batch.cameras.to(torch.float64))[:, 0, 0]
    centred = joints - joints[:, :1]
    half = len(centred) // 2
    return float(1e3 * (centred[half:] - centred[:half].mean(0)).norm(dim=-1).mean())


def _opencv_pixels(points: Tensor, batch: SyntheticBatch, sample: int) -> np.ndarray:
    camera = batch.cameras[sample, 0]
    rotation, translation = (value.double().numpy() for value in camera.extrinsics)
    matrix, coefficients = camera.intrinsics.double().numpy(), camera.distortion.double().numpy()
    rotvec, places = cv2.Rodrigues(rotation)[0], points.double().numpy()
    if bool(camera.fisheye):
        return cv2.fisheye.projectPoints(places[None], rotvec, translation, matrix, coefficients[:4])[0][0]
    return cv2.projectPoints(places, rotvec, translation, matrix, coefficients)[0][:, 0]


def _projection_error(batch: SyntheticBatch, sample: int) -> float:
    """The largest distance in pixels of the labelled joints of people from OpenCV's projection."""
    side = batch.images.shape[-1]
    worst = 0.0
    for person in torch.nonzero(batch.people.present[sample])[:, 0].tolist():
        found = batch.views.joints[sample, 0, person].double().numpy()
        away = np.linalg.norm(found - _opencv_pixels(batch.people.joints[sample, person], batch, sample), axis=-1)
        near = (np.abs(found) < NEAR * side).all(-1)
        worst = max(worst, away[near].max(initial=0.0))
    return worst


def _overlap(generator: SyntheticGenerator, batch: SyntheticBatch, sample: int) -> float:
    """Intersection over union of the rendered people and of their triangles filled by OpenCV."""
    side = batch.images.shape[-1]
    fine = np.zeros((side * FINE, side * FINE), np.uint8)
    for person in torch.nonzero(batch.people.present[sample])[:, 0].tolist():
        surface = batch.people.surface[sample, person]
        seen = world_to_camera(surface[None, None].double(), batch.cameras[sample : sample + 1].to(torch.float64))
        pixels = _opencv_pixels(surface, batch, sample)
        ahead = (seen[0, 0, :, 2] > 0.05).numpy() & (np.abs(pixels) < 20 * side).all(-1)
        corners = generator.model.faces.numpy()
        for triangle in np.round(pixels * FINE + FINE // 2).astype(np.int32)[corners[ahead[corners].all(-1)]]:
            cv2.fillConvexPoly(fine, triangle, 1)
    expected = fine[FINE // 2 :: FINE, FINE // 2 :: FINE] > 0
    found = (batch.pixels.person[sample, 0] >= 0).numpy()
    return float((expected & found).sum() / max(1, (expected | found).sum()))


def _inside(generator: SyntheticGenerator, batch: SyntheticBatch, sample: int) -> Tensor:
    """Whether the joints (J,) of the first person lie between the front and the back of its surface."""
    camera = batch.cameras[sample : sample + 1].to(torch.float64)
    surface, joints = (
        world_to_camera(points[sample, 0][None, None].double(), camera)[0, 0]
        for points in (batch.people.surface, batch.people.joints)
    )
    a, b, c = surface[generator.model.faces].unbind(1)
    volumes = torch.stack([torch.linalg.cross(p, q) @ joints.mT for p, q in ((a, b), (b, c), (c, a))])
    hit = (volumes >= 0).all(0) | (volumes <= 0).all(0)
    normal = torch.linalg.cross(b - a, c - a)
    distance = (normal * a).sum(-1, keepdim=True) / (normal @ joints.mT)
    first, last = torch.where(hit, distance, math.inf).amin(0), torch.where(hit, distance, -math.inf).amax(0)
    return (first < 1) & (last > 1)


def _exchanged(batch: SyntheticBatch) -> int:
    """Visible joints whose pixel is of the other side's limb."""
    sides = torch.tensor([name.startswith("left") - name.startswith("right") for name in SMPL_TREE.joints])
    sample, view, person, joint = batch.views.visible.nonzero(as_tuple=True)
    x, y = batch.views.joints[sample, view, person, joint].round().long().unbind(-1)
    part = batch.pixels.part[sample, view, y, x].long()
    return int((sides[joint] * sides[part] < 0).sum())


def _same_bits(count: int) -> dict[str, int]:
    """How many tensors differ when samples are made again in other ways."""
    config = SyntheticConfig(tier="hard", views=2, image_size=(128, 128))
    generator = SyntheticGenerator(config)
    expected = generator.sample(SEED, range(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    found = {"other order": _differing(generator.sample(SEED, order), expected[order])}
    for size in (1, 7, 31):
        edges = [*range(0, min(count, 8 * size), size), min(count, 8 * size)]
        parts = SyntheticBatch.cat([generator.sample(SEED, range(*pair)) for pair in pairwise(edges)])
        found[f"batches of {size}"] = _differing(parts, expected[: edges[-1]])
    for threads in (2, 4):
        torch.set_num_threads(threads)
        found[f"{threads} threads"] = _differing(generator.sample(SEED, range(count)), expected)
    torch.set_num_threads(1)
    for workers in (1, 2):
        stream = SyntheticStream(config, seed=SEED, batch_size=4, batches=count // 4)
        made = SyntheticBatch.cat(list(DataLoader(stream, batch_size=None, num_workers=workers)))
        found[f"{workers} workers"] = _differing(made, expected[: len(made)])
    return found


def _other_processors() -> dict[str, dict[str, float]]:
    """Samples as processors with other instructions would make them: tensors that differ, and by how much at most."""
    config = SyntheticConfig(tier="hard", views=2, image_size=(128, 128))
    expected = SyntheticGenerator(config).sample(SEED, range(16)).tensors()
    found = {}
    for name, environment in PROCESSORS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "batch.pt"
            command = [sys.executable, "-c", ELSEWHERE, str(SEED), str(path)]
            subprocess.run(command, env={**os.environ, **environment}, check=True)
            made = torch.load(path, weights_only=True)
        away = {key: (made[key].double() - expected[key].double()).nan_to_num(posinf=0, neginf=0) for key in expected}
        found[name] = {
            "differing_tensors": sum(bool(tensor.any()) for tensor in away.values()),
            "labels_most": max(float(tensor.abs().max()) for key, tensor in away.items() if key != "images"),
            "pixels_most": float(away["images"].abs().max()),
            "pixels_share": float((away["images"] != 0).double().mean()),
        }
    return found


def _differing(first: SyntheticBatch, second: SyntheticBatch) -> int:
    left, right = first.tensors(), second.tensors()
    return sum(left[name].numpy().tobytes() != right[name].numpy().tobytes() for name in left)


if __name__ == "__main__":
    main()
