"""Whether covariances hold what they say: 200,000 synthetic points seen by 2, 4 and 8 views with 2 px noise.

    python benchmarks/coverage.py --out FILE [--points 200000]

One call of `triangulate` with its defaults for each number of views, in float32. A point counts for a level if the
truth lies in the ellipsoid of that level. Writes the coverage in percent for each level and the largest deviation from
the nominal levels in points; the same with outliers in 10 % of the points of 4 and 8 views, for information.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import workloads
from marey.geometry.triangulation import triangulate
from marey.metrics.uncertainty import confidence_levels
from measure import describe, write_json
from triangulation_speed import NOISE, as_torch

LEVELS = (50, 80, 90, 95, 99)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--points", type=int, default=200_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    clean = {f"views{views}": _coverage(views, options.points, 0.0) for views in (2, 4, 8)}
    dirty = {f"views{views}_outliers": _coverage(views, options.points, 0.1) for views in (4, 8)}
    worst = max(abs(result[f"c{level}"] - level) for result in clean.values() for level in LEVELS)
    write_json(options.out, {"max_deviation_points": worst, **clean, **dirty, "meta": describe("torch")})


def _coverage(views: int, points: int, outliers: float) -> dict[str, Any]:
    work = workloads.triangulation(views=views, points=points, noise=NOISE, outlier_share=outliers)
    cameras, pixels = as_torch(work)
    found = triangulate(pixels, cameras, covariance=NOISE**2 * torch.eye(2))
    level = confidence_levels(found.positions, found.covariance, torch.from_numpy(work.points).float())
    return {f"c{nominal}": 100 * float((level <= nominal / 100).double().mean()) for nominal in LEVELS}


if __name__ == "__main__":
    main()
