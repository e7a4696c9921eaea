"""Fit the pose prior that is shipped, `src/marey/body/assets/pose_prior.safetensors`, to motions.

    python tools/fit_pose_prior.py --clips ../shared/data/motion_clips --mocap ../shared/data/mocap_cmu

Clips are those of the DeepMimic humanoid, mocap is a folder of ASF and AMC files. Only those that
`marey.body.motion_splits` lists for training are fitted, and how many components and how much shrinkage is decided by
leaving out some of them in turn; the clips for benchmarks are only measured. Every motion counts by its duration,
within within bounds; every frame is seen with its mirror image. `benchmarks/poses.py` measures the result.
"""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from marey.body.joint_limits import RANGES, joint_limits
from marey.body.motion_splits import split_of
from marey.body.pose_prior import ASSET, PosePrior, mirrored_coordinates, within
from marey.body.retarget import retarget
from marey.body.smpl_tree import POSED_JOINTS
from marey.body.trees import part_of
from marey.core import Motion
from marey.io.asf_amc import read_asf_amc
from marey.io.atomic import atomic_path
from marey.io.humanoid_clips import read_humanoid_clip

RATE = 15.0
"""Frames per second at which motions are seen."""
DURATIONS = (1.0, 6.0)
"""Seconds that a motion counts for, at least and at most."""
COMPONENTS = (1, 3, 6, 10, 15)
SHRINKAGES = (0.25, 0.5, 0.75)
ITERATIONS = 30
FOLDS = 5
FLOOR = math.radians(4)
"""Standard deviation that every coordinate has within a component: motions are few."""
INDEPENDENT = ("foot", "collar", "wrist", "hand")
"""Joints that most of the motions do not tell."""
SHARE_OF_RANGE = 1 / 6
"""Standard deviation of those, and of what else is never seen, as a share of the joint's range."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Frames of one motion with their mirror images."""

    name: str
    values: Tensor
    """(2 T, 69)"""
    weight: float
    """Of each frame."""
    excess: Tensor
    """(T,) degrees by which a joint is beyond its limits at most."""


def main() -> None:
    """Fit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--mocap", type=Path, required=True)
    options = parser.parse_args()
    data = [prepared(motion) for motion in read_motions(options.clips, options.mocap)]
    training = [each for each in data if split_of(each.name) == "training"]
    scores = {
        (components, shrinkage): cross_validated(training, components, shrinkage)
        for components in COMPONENTS
        for shrinkage in SHRINKAGES
    }
    for (components, shrinkage), score in scores.items():
        print(f"{components} components, shrinkage {shrinkage}: {score:.2f} nats for motions left out")
    write(fitted(training, *max(scores, key=scores.__getitem__)), ASSET)
    print(f"wrote {ASSET}")


def read_motions(clips: Path, mocap: Path) -> list[Motion]:
    """All motions of the two folders."""
    motions = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        motions += [read_humanoid_clip(path, dtype=torch.float64) for path in sorted(clips.glob("humanoid3d_*.txt"))]
        for path in sorted(mocap.glob("*.amc")):
            skeleton = path.with_name(f"{path.stem.split('_')[0]}.asf")
            motions.append(read_asf_amc(skeleton, path, dtype=torch.float64))
    return motions


def prepared(motion: Motion) -> Data:
    """Coordinates of a motion, at the common rate, within the limits."""
    pose = retarget(motion).pose
    limits = joint_limits()
    coordinates = limits.coordinates(pose)
    step = max(1, round(motion.fps / RATE))
    values = within(limits, coordinates)[::step].flatten(1)
    seconds = min(max(motion.length / motion.fps, DURATIONS[0]), DURATIONS[1])
    return Data(
        name=motion.name,
        values=torch.cat((values, mirrored_coordinates(values))),
        weight=seconds / (2 * len(values)),
        excess=limits.excess(pose).amax((-1, -2)).rad2deg(),
    )


def cross_validated(data: list[Data], components: int, shrinkage: float) -> float:
    """Mean log density of each motion under the prior of the others, motions counting by their weights."""
    logs, total = 0.0, 0.0
    for fold in range(FOLDS):
        prior = fitted([each for place, each in enumerate(data) if place % FOLDS != fold], components, shrinkage)
        for each in data[fold::FOLDS]:
            weight = each.weight * len(each.values)
            logs, total = logs + weight * mean_log_density(prior, [each]), total + weight
    return logs / total


def fitted(data: list[Data], components: int, shrinkage: float) -> PosePrior:
    """Expectation and maximisation, started from k-means, every covariance shrunk towards that of all motions."""
    told = _told()
    x = torch.cat([each.values for each in data])[:, told]
    weights = torch.cat([torch.full((len(each.values),), each.weight, dtype=torch.float64) for each in data])
    weights = weights / weights.sum()
    whole = _moments(x, weights)[1]
    whole = (whole + torch.diag(whole.diagonal())) / 2
    share = _clusters(x / whole.diagonal().sqrt().clamp_min(FLOOR), weights, components)
    for _ in range(ITERATIONS):
        count = share.sum(0)
        moments = [_moments(x, share[:, place] / count[place]) for place in range(components)]
        means, own = (torch.stack(parts) for parts in zip(*moments, strict=True))
        covariances = (1 - shrinkage) * own + shrinkage * whole + FLOOR**2 * torch.eye(x.shape[1]).double()
        factors = torch.linalg.cholesky(covariances)
        logs = _component_logs(count, means, factors, x)
        share = weights[:, None] * (logs - logs.logsumexp(1, keepdim=True)).exp() + 1e-9 * weights[:, None]
        share = share / share.sum()
    return _completed(count, means, factors)


def _completed(weights: Tensor, means: Tensor, factors: Tensor) -> PosePrior:
    """With the coordinates that the motions do not tell: independent, about standing, by the ranges of the joints."""
    limits, told = joint_limits(), _told()
    usual = limits.standing.flatten().repeat(len(weights), 1)
    usual[:, told] = means
    whole = torch.diag(SHARE_OF_RANGE * (limits.high - limits.low).flatten()).repeat(len(weights), 1, 1)
    whole[:, told[:, None] & told] = factors.flatten(1)
    return PosePrior(weights=weights, means=usual, factors=whole)


def _told() -> Tensor:
    """(69,) boolean: coordinates that the motions tell."""
    joints = torch.tensor([part_of(joint) not in INDEPENDENT for joint in POSED_JOINTS])
    hinges = torch.tensor([RANGES[part_of(joint)].hinge for joint in POSED_JOINTS])
    first = torch.tensor([True, False, False])
    return (joints[:, None] & (first | ~hinges[:, None])).flatten()


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    mean = weights @ x
    apart = x - mean
    return mean, (weights[:, None] * apart).T @ apart


def _clusters(x: Tensor, weights: Tensor, count: int) -> Tensor:
    """(N, count) weights of the rows in the clusters of k-means, started far apart."""
    centres = [weights @ x]
    for _ in range(count):
        distance = torch.cdist(x, torch.stack(centres)).amin(1)
        centres.append(x[int((distance * weights.sqrt()).argmax())])
    middle = torch.stack(centres[1:])
    for _ in range(50):
        nearest = torch.cdist(x, middle).argmin(1)
        share = torch.nn.functional.one_hot(nearest, count) * weights[:, None]
        total = share.sum(0)
        middle = torch.where((total > 0)[:, None], share.T @ x / total.clamp_min(1e-300)[:, None], middle)
    share = share + 1e-3 * weights[:, None]
    return share / share.sum()


def _component_logs(weights: Tensor, means: Tensor, factors: Tensor, x: Tensor) -> Tensor:
    """(N, C) logarithms of weighted densities."""
    inverse = torch.linalg.inv(factors)
    standard = torch.stack([(x - mean) @ each.T for mean, each in zip(means, inverse, strict=True)], 1)
    spread = factors.diagonal(dim1=-2, dim2=-1).log().sum(-1) + x.shape[1] * math.log(2 * math.pi) / 2
    return weights.log() - spread - standard.square().sum(-1) / 2


def mean_log_density(prior: PosePrior, data: list[Data]) -> float:
    """Nats a pose, over the coordinates that the motions tell, motions counting by their weights."""
    told = _told()
    parts = prior.means[:, told], prior.factors[:, told][:, :, told]
    total = weight = 0.0
    for each in data:
        both = [
            _component_logs(prior.weights / 2, *parts, x[:, told])
            for x in (each.values, mirrored_coordinates(each.values))
        ]
        total += each.weight * float(torch.cat(both, 1).logsumexp(1).sum())
        weight += each.weight * len(each.values)
    return total / weight


def log_volume() -> float:
    """Of the limits, over the coordinates that the motions tell, by counting random points of their boxes."""
    limits, told = joint_limits(), _told().reshape(-1, 3)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(100_000, 23, 2, generator=generator, dtype=torch.float64)
    swing = limits.low[:, 1:] + points * (limits.high - limits.low)[:, 1:]
    share = (limits.fullness(swing) <= 1).double().mean(0)
    sides = (limits.high - limits.low).log()
    return float((sides * told).sum() + (share.log() * told[:, 1]).sum())


def write(prior: PosePrior, path: Path) -> None:
    """As float32."""
    from safetensors.torch import save_file

    path.parent.mkdir(exist_ok=True)
    tensors = {name: getattr(prior, name).float().contiguous() for name in ("weights", "means", "factors")}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)


if __name__ == "__main__":
    main()
