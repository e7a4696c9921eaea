"""Make the committed contents of the benchmark `synthetic`: which samples count, and the SHA-256 of their labels.

    python tools/make_benchmark.py [--out FILE]

Deterministic; about six minutes on one core. Run it for a new version only, and never to make a test pass: a changed
hash means that numbers measured before do not compare.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import marey.data.benchmark
from marey.data.benchmark.cells import COUNT, SCENE_SETS, SEED
from marey.data.benchmark.contents import FILE, as_json, contents_of
from marey.data.benchmark.mean_pose import draw_mean_pose
from marey.data.benchmark.truth import choose_samples
from marey.data.synthetic import TIERS
from marey.io.atomic import atomic_write_text


def main() -> None:
    """Make and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(marey.data.benchmark.__file__).parent / FILE)
    options = parser.parse_args()
    contents = {}
    for name, scenes in SCENE_SETS.items():
        truth = choose_samples(scenes, COUNT, seed=SEED)
        contents[name] = contents_of(truth["index"].tolist(), truth)
        print(f"{name}: {COUNT} samples, {len(contents[name].skipped)} skipped", flush=True)
    mean_poses = {tier: draw_mean_pose(tier).tolist() for tier in TIERS}
    atomic_write_text(options.out, as_json(contents, mean_poses, seed=SEED))
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
