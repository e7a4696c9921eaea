"""What the methods of learned triangulation make of wrong evidence: refused with a word, flagged NaN, or a finding.

    python benchmarks/bad_views.py --out FILE [--smoke]

A sample of the benchmark `synthetic` v1 is spoiled in every way of `CASES` and given to each method. `untyped` counts
errors of another family than `MareyError`, `silent` finite joints, or NaN without a note, where nothing can be said.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from marey.core import Cameras, Estimate, Estimator, MareyError, Observation
from marey.data.benchmark import Benchmark
from marey.methods.triangulation.estimator import AlgebraicEstimator, RansacEstimator, VolumetricEstimator
from measure import describe, write_json

ESTIMATORS: Mapping[str, Callable[[], Estimator]] = {
    "algebraic": AlgebraicEstimator,
    "ransac": RansacEstimator,
    "volumetric": VolumetricEstimator,
}


def main() -> None:
    """Spoil, estimate, count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="one method: does it work?")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sample = next(iter(Benchmark(quick=True).samples("calibrated_4", 0, 1)))
    names = ("ransac",) if options.smoke else tuple(ESTIMATORS)
    found = {
        f"{name}: {case}": outcome(ESTIMATORS[name](), spoil(sample))
        for name in names
        for case, spoil in CASES.items()
        if name in ONLY.get(case, names)
    }
    kinds = Counter(kind for kind, _ in found.values())
    write_json(
        options.out,
        {
            "cases": len(found),
            "refused": kinds["refused"],
            "flagged": kinds["flagged"],
            "untyped": kinds["untyped"],
            "silent": kinds["silent"],
            "outcomes": {case: {"outcome": kind, "words": words} for case, (kind, words) in found.items()},
            "meta": describe("torch"),
        },
    )


def outcome(estimator: Estimator, observation: Observation) -> tuple[str, str]:
    """What came of it, and the words."""
    try:
        estimate = estimator(observation)
    except MareyError as error:
        return "refused", str(error)
    except Exception as error:
        return "untyped", repr(error)
    told = " ".join(estimate.notes[1:])
    return ("flagged" if _unknown(estimate) and told else "silent"), told


def _unknown(estimate: Estimate) -> bool:
    return bool(estimate.joints.positions.isnan().all())


def _one_view(sample: Observation) -> Observation:
    assert sample.boxes is not None
    assert sample.cameras is not None
    return replace(sample, frames=sample.frames[:1], boxes=sample.boxes[:1], cameras=sample.cameras[:1], keypoints=None)


def _intrinsics(sample: Observation, **changed: object) -> Observation:
    cameras = sample.cameras
    assert cameras is not None
    known = {
        "intrinsics": cameras.intrinsics,
        "distortion": cameras.distortion,
        "image_size": cameras.image_size,
        "fisheye": cameras.fisheye,
        "names": cameras.names,
        **changed,
    }
    return replace(sample, cameras=Cameras(**known))  # type: ignore[arg-type]


def _other_size(sample: Observation) -> Observation:
    cameras = sample.cameras
    assert cameras is not None
    assert cameras.image_size is not None
    rotation, translation = cameras.extrinsics
    return _intrinsics(sample, image_size=cameras.image_size * 2, rotation=rotation, translation=translation)


def _nowhere(sample: Observation) -> Observation:
    assert sample.boxes is not None
    corners = torch.full_like(sample.boxes.corners, torch.nan)
    return replace(sample, boxes=replace(sample.boxes, corners=corners), keypoints=None)


def _beside(sample: Observation) -> Observation:
    assert sample.boxes is not None
    return replace(sample, boxes=replace(sample.boxes, corners=sample.boxes.corners + 5000.0), keypoints=None)


def _outside(sample: Observation) -> Observation:
    return replace(sample, centers=torch.full((1, 1, 3), 40.0, dtype=torch.float64))


CASES: Mapping[str, Callable[[Observation], Observation]] = {
    "one view": _one_view,
    "no calibration": lambda sample: replace(sample, cameras=None),
    "intrinsics only": _intrinsics,
    "cameras for another size": _other_size,
    "no images": lambda sample: replace(sample, frames=()),
    "neither boxes nor keypoints": lambda sample: replace(sample, boxes=None, keypoints=None),
    "nobody in any view": _nowhere,
    "boxes beside the pictures": _beside,
    "person outside of the cuboid": _outside,
}
ONLY: Mapping[str, tuple[str, ...]] = {
    "one view": ("algebraic", "ransac"),
    "person outside of the cuboid": ("volumetric",),
}
"""Methods for which a case is wrong; not named: all."""


if __name__ == "__main__":
    main()
