"""What the benchmark's tables compute and how they are shown, on numbers that can be checked by hand."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch

from house.source import ROOT
from marey.core import skeleton

sys.path.insert(0, str(ROOT / "benchmarks"))
synthetic_v1 = importlib.import_module("synthetic_v1")
real = importlib.import_module("real")
benchmark_tables = importlib.import_module("benchmark_tables")


@pytest.fixture
def by_sample() -> dict[str, np.ndarray]:
    """Of 2,000 samples: `far` is worse than `near` in all, `same` differs from `near` by noise alone."""
    rng = np.random.default_rng(0)
    near = rng.uniform(50, 60, 2000)
    return {"far": near + 10, "near": near, "same": near + rng.normal(0.001, 5, 2000)}


def test_pairs__the_better_one_first_and_ties_told(by_sample):
    found = {frozenset((pair["first"], pair["second"])): pair for pair in synthetic_v1.pairs(by_sample)}
    assert len(found) == 3
    apart = found[frozenset(("near", "far"))]
    assert (apart["first"], apart["second"], apart["beats"]) == ("near", "far", True)
    assert apart["difference_mm"] == pytest.approx(-10)
    tie = found[frozenset(("near", "same"))]
    assert not tie["beats"]
    assert tie["interval_mm"][0] < 0 < tie["interval_mm"][1]


def test_headlines__count_who_does_not_beat_the_mean_pose():
    def cell(first: str, second: str, beats: bool) -> dict:
        return {"samples": 2000, "pairs": [{"first": first, "second": second, "beats": beats}]}

    cells = {
        "a": cell("dlt", "mean_pose", True),
        "b": cell("dlt", "mean_pose", False),
        "c": cell("mean_pose", "dlt", True),
        "d": cell("dlt", "classical", False),
    }
    found = synthetic_v1.headlines(cells)
    assert found == {"cells_measured": 4, "least_samples": 2000, "not_beating_the_mean_pose": 2}


def test_method__can_do_the_cells_that_tell_it_enough():
    able = {
        method.name: [name for name, cell in synthetic_v1.CELLS.items() if method.can(cell)]
        for method in synthetic_v1.METHODS
    }
    assert len(able["mean_pose"]) == 14
    assert able["dlt"] == able["classical"] == ["calibrated_4", "calibrated_8"]
    assert len(able["monocular"]) == 8
    assert able["first_view"] == ["uncalibrated_2", "uncalibrated_3", "uncalibrated_4", "uncalibrated_6"]


def test_table__shows_who_beats_all_in_bold(tmp_path):
    numbers = {"mpjpe_mm": 31.26, "pa_mpjpe_mm": 20.0}
    cell = {
        "title": "one view",
        "methods": {
            "mean_pose": {**numbers, "mpjpe_mm": 300.0},
            "a": {**numbers, "coverage_90_percent": 88.8},
            "b": numbers,
        },
        "pairs": [
            {"first": "a", "second": "b", "beats": True},
            {"first": "a", "second": "mean_pose", "beats": True},
            {"first": "b", "second": "mean_pose", "beats": True},
        ],
    }
    methods = {"mean_pose": "mean pose", "a": "A", "b": "B", "c": "C"}
    document = {"methods": methods, "cells": dict.fromkeys(benchmark_tables.SHORT, cell)}
    (tmp_path / "synthetic_v1.json").write_text(json.dumps(document))
    row = benchmark_tables.synthetic_table(tmp_path).splitlines()[2]
    assert row == "| one view | 300.0 / 20.0 | **31.3** / 20.0 / 89 % | 31.3 / 20.0 | - |"
    short = benchmark_tables.synthetic_short_table(tmp_path).splitlines()
    assert short[2].startswith("| mean pose | 300.0 | 300.0 |")
    assert short[3].startswith("| A | **31.3** |")
    assert len(short) == 5  # C can do none of these


def test_real_table__has_dashes_for_what_a_method_cannot_do(tmp_path):
    number = {"value": 12.345, "unit": "mm", "decimals": 1}
    document = {"recordings": {"x": "X", "y": "Y"}, "methods": [{"title": "A", "numbers": {"y": number}}]}
    (tmp_path / "real.json").write_text(json.dumps(document))
    assert benchmark_tables.real_table(tmp_path).splitlines() == [
        "| | X | Y |",
        "|---|---:|---:|",
        "| A | - | 12.3 mm |",
    ]


def test_limb_deviation__of_arms_that_grow_and_of_frames_that_miss_one():
    names = skeleton("coco_17")
    positions = torch.zeros(4, 17, 3)
    lengths = torch.tensor([0.30, 0.32, 0.30, 0.32])
    for side in ("left", "right"):
        positions[:, names.index(f"{side}_elbow"), 0] = lengths
        positions[:, names.index(f"{side}_wrist"), 0] = lengths + 0.25
    assert real.limb_deviation(positions, names, real.ARMS) == pytest.approx(5, abs=1e-3)  # 10 mm and 0 mm
    positions[3, names.index("left_elbow")] = torch.nan
    assert real.limb_deviation(positions, names, real.ARMS[:1]) == pytest.approx((10 + 9.428) / 2, abs=1e-2)


def test_gathered__takes_the_numbers_of_other_benchmarks(tmp_path):
    views = {
        view: {"pa_mpjpe_mm": 81.0, "world_landmarks_pa_mpjpe_mm": 95.0}
        for view in ("cam01", "cam02", "cam03", "cam04")
    }
    lifted = {view: {"lifter_mediapipe_keypoints": 99.0, "estimate_openpose_keypoints": 77.0} for view in views}
    four = {"mean_distance_mm": 40.0, "as_given": {"mean_distance_mm": 41.0}, "plain_dlt": {"mean_distance_mm": 84.0}}
    nobody = {"mean_distance_mm": 10000.0, "missing_percent": 100.0}
    some = {"mean_distance_mm": 300.0, "missing_percent": 40.0}
    own = {**some, "plain_dlt": nobody, "as_given": nobody, "ransac": nobody, "algebraic": some, "volumetric": some}
    documents = {
        "mediapipe_balancing": four,
        "trunk_detector": {"balancing": own},
        "one_camera": {"views": views},
        "lifting": {"balancing": {"views": lifted}},
    }
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    found = real.gathered(tmp_path)
    assert found["balancing_mediapipe"] == {"dlt": 84.0, "as_given": 41.0, "classical": 40.0}
    assert found["balancing_marey"] == {"classical": 300.0, "algebraic": 300.0, "volumetric": 300.0}
    assert found["cam03"] == {"mediapipe": 95.0, "monocular": 81.0, "lifter_mediapipe": 99.0, "lifter_openpose": 77.0}
