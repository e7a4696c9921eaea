"""What the benchmark of the lifter computes: the mean poses, and the share within the ellipsoids."""

import importlib
import math
import sys

import pytest
import torch

from house.source import ROOT
from marey.data.synthetic.random import Draws
from marey.methods.lifting.motions import SampledMotions
from marey.nn.lifter import JOINTS

sys.path.insert(0, str(ROOT / "benchmarks"))
lifting = importlib.import_module("lifting")


def test_turned__about_y():
    rotation = lifting.turned(torch.tensor([math.pi / 2]))[0]
    torch.testing.assert_close(rotation @ torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0, 0]), rtol=0, atol=1e-6)


def test_make__is_of_a_split_of_its_own():
    samples = lifting.make(SampledMotions(), "coco_17", "openpose", 2)
    assert len(samples.joints) == 2 * lifting.CLIP_FRAMES
    assert int(samples.there[0].sum()) == 17
    trained = Draws(seed=0, split="lifting/train", indices=torch.arange(2))
    measured = Draws(seed=lifting.SEED, split="lifting/benchmark", indices=torch.arange(2))
    assert not torch.equal(trained.integers("person"), measured.integers("person"))


def test_score__by_hand():
    samples = lifting.make(SampledMotions(), "coco_17", "openpose", 3)
    people, counted = len(samples.joints), samples.there & samples.view.known[:, None]
    mean, upright = torch.zeros(len(JOINTS), 3), torch.zeros(len(JOINTS), 3)
    scores = lifting.score(samples, mean, upright)
    assert scores["people"] == people
    away = 1000 * float(samples.joints.norm(dim=-1)[counted].mean())
    assert scores["mpjpe_mm"]["mean_pose"] == pytest.approx(away, rel=1e-5)
    assert scores["mpjpe_mm"]["mean_pose_facing"] == pytest.approx(away, rel=1e-5)
    assert scores["times_better_than_mean_pose"] == pytest.approx(away / scores["mpjpe_mm"]["lifter"], rel=1e-5)
    assert set(scores["coverage_90_joints"]) == {JOINTS[place] for place in counted.any(0).nonzero()[:, 0]}
    # all joints are equally often there, so their mean is that of everything
    by_joint = list(scores["coverage_90_joints"].values())
    assert sum(by_joint) / len(by_joint) == pytest.approx(scores["coverage_90"], abs=1e-5)
    assert scores["coverage_50"] < scores["coverage_90"]


def test_worst__of_all_cells():
    cells = [
        {"times_better_than_mean_pose": 3.0, "coverage_90": 0.91},
        {"times_better_than_mean_pose": 2.0, "coverage_90": 0.88},
    ]
    assert lifting.worst(cells) == {
        "least_times_better_than_mean_pose": 2.0,
        "least_coverage_90": 0.88,
        "most_coverage_90": 0.91,
    }
