"""Poses: the joint limits beside real motions, the prior's likelihood of motions left out, the samplers.

    python benchmarks/poses.py --out FILE

`limits`: share of the frames of real motions in which no joint is beyond its limits by more than so many degrees.
`prior`: mean logarithm of the density of real motions in nats a frame, over the coordinates that they tell; those for
training, those that were left out, and what a uniform density within the limits gives. `mean_pose_mm`: mean distance of
the joints of the open body from their mean over all samples, the root of each skeleton at one place; `easy` half of
the joint range and a heading of 60 degrees to either side, `hard` all of it and any heading. `per_second`: poses drawn
by one thread, 64 at a time. `asf_amc_mm`: largest distance of a joint between the ASF/AMC and the BVH file of one
recording, down to the thorax, which is where the BVH leaves out a bone.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.body.motion_splits import split_of
from marey.body.open_body import open_body
from marey.body.pose_prior import PriorPoses, pose_prior
from marey.body.pose_sampling import LimitPoses, PoseSampler, sample_poses
from marey.core import skeleton
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.asf_amc import read_asf_amc
from marey.io.bvh import read_bvh
from measure import ROOT, Timing, describe, pin_to_one_core, write_json

sys.path.insert(0, str(ROOT / "tools"))
import fit_pose_prior as fitting

DATA = ROOT.parent / "shared" / "data"
DEGREES = (0, 5, 10, 15, 20)
TIERS = {"easy": (0.5, 60.0), "hard": (1.0, 180.0)}
"""Share of the joint range, and degrees of heading to either side."""
SKELETONS = ("smpl_24", "h36m_17", "coco_17", "lsp_14", "mpi_inf_3dhp_17", "panoptic_19")
SAMPLES = 2000
BATCH = 64
CMU = {"root": "Hips", "upperback": "Spine", "thorax": "Spine1", "lfemur": "LeftUpLeg", "ltibia": "LeftLeg"}
CMU |= {"lfoot": "LeftFoot", "rfemur": "RightUpLeg", "rtibia": "RightLeg", "rfoot": "RightFoot"}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    with torch.inference_mode():
        results: dict[str, Any] = {
            "mean_pose_mm": {tier: mean_pose(*TIERS[tier], options.samples) for tier in TIERS},
            "per_second": {
                "limits": rate(LimitPoses()),
                "half_limits": rate(LimitPoses(fraction=0.5)),
                "prior": rate(PriorPoses()),
            },
        }
        motions = fitting.read_motions(DATA / "motion_clips", DATA / "mocap_cmu")
        data = [fitting.prepared(motion) for motion in motions]
        results |= {"limits": within_limits(data), "prior": likelihoods(data), "asf_amc_mm": both_files()}
    write_json(options.out, results | {"meta": describe("torch", "numpy")})


def mean_pose(fraction: float, heading: float, samples: int) -> dict[str, float]:
    """Millimetres, by skeleton."""
    body = open_body("small").to(torch.float64)
    poses = sample_poses(LimitPoses(fraction=fraction), samples, seed=1)
    generator = torch.Generator().manual_seed(2)
    angle = math.radians(heading) * (2 * torch.rand(samples, generator=generator, dtype=torch.float64) - 1)
    orientation = rotvec_to_matrix(torch.stack((0 * angle, angle, 0 * angle), -1))
    vertices = torch.cat(
        [
            body(replace(body.neutral(len(part)), pose=part, orientation=turned)).vertices
            for part, turned in zip(poses.split(100), orientation.split(100), strict=True)
        ]
    )
    return {name: error_of_mean(body.regress(vertices, name), name) for name in SKELETONS}


def error_of_mean(joints: Tensor, name: str) -> float:
    """Of joints (N, J, 3)."""
    known = skeleton(name)
    root = ("pelvis",) if "pelvis" in known else ("left_hip", "right_hip")
    apart = joints - joints[:, [known.index(joint) for joint in root]].mean(1, keepdim=True)
    return 1000 * float((apart - apart.mean(0)).norm(dim=-1).mean())


def rate(sampler: PoseSampler) -> float:
    """Poses a second."""
    numbers = torch.rand(BATCH, sampler.numbers, generator=torch.Generator().manual_seed(3))
    timing, _ = Timing.of(lambda: sampler(numbers))
    return timing.per_second(BATCH)


def within_limits(data: list[fitting.Data]) -> dict[str, float]:
    """Shares of the frames."""
    excess = torch.cat([each.excess for each in data])
    return {f"to_{degrees}_degrees": float((excess <= degrees + 1e-6).double().mean()) for degrees in DEGREES}


def likelihoods(data: list[fitting.Data]) -> dict[str, Any]:
    """Nats a frame."""
    prior = pose_prior()
    splits = {split: [each for each in data if split_of(each.name) == split] for split in ("training", "benchmark")}
    result: dict[str, Any] = {split: fitting.mean_log_density(prior, part) for split, part in splits.items()}
    result["uniform_within_limits"] = -fitting.log_volume()
    result["benchmark_motions"] = {each.name: fitting.mean_log_density(prior, [each]) for each in splits["benchmark"]}
    return result


def both_files() -> float:
    """Millimetres."""
    folder = DATA / "mocap_cmu"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asf = read_asf_amc(folder / "01.asf", folder / "01_01.amc", dtype=torch.float64)
        bvh = read_bvh(folder / "01_01.bvh", unit=0.0254 / 0.45, dtype=torch.float64)
    ours, theirs = asf.positions(), bvh.positions()[1:]
    pairs = [(asf.tree.joints.index(one), bvh.tree.joints.index(other)) for one, other in CMU.items()]
    return 1000 * max(float((ours[:, one] - theirs[:, other]).norm(dim=-1).max()) for one, other in pairs)


if __name__ == "__main__":
    main()
