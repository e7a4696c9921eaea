"""Turn a training run of the lifter into the weights that are shipped, `src/marey/detect/assets/lifter`.

    marey train lifting --recipe default --data DATA --out RUN
    python tools/pack_lifter.py RUN --data DATA

DATA holds the folders `motion_clips` (clips of the DeepMimic humanoid) and `mocap_cmu` (ASF and AMC), of which only
the motions that `marey.body.motion_splits` lists for training are used.

The errors of the network are not normally distributed, so the covariances that are likeliest do not hold 90 % of them.
Here those of each joint are multiplied by a factor that makes their 90 % ellipsoids hold 90 % of the errors in samples
that the training has not seen. The factors and what they were set on are on the card.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.data.synthetic.random import Draws
from marey.io.weights import load_weights, read_card, write_weights
from marey.methods.lifting.losses import squared_deviation
from marey.methods.lifting.motions import MixedPoses
from marey.methods.lifting.recipe import default, read_clips
from marey.methods.lifting.samples import SampleMaker, Samples
from marey.metrics.uncertainty import CHI2_90
from marey.nn.lifter import JOINTS, Lifter, LifterConfig

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "src" / "marey" / "detect" / "assets" / "lifter"
SAMPLES, SEED, BLOCK = 40_000, 1, 2000
SPLIT = "lifting/calibration"


@torch.no_grad()
def deviations(network: Lifter, samples: Samples) -> Tensor:
    """Squared Mahalanobis lengths (M, J) of the errors; NaN where a joint is not counted."""
    view = samples.view
    lifted = network(view.points, view.deviation, view.score, view.size)
    squared = squared_deviation(samples.joints - lifted.positions, lifted.factor)
    return torch.where(samples.there & view.known[:, None], squared, torch.nan)


def factors(squared: Tensor) -> Tensor:
    """(J,) by which covariances must grow for their 90 % ellipsoids to hold 90 % of the errors."""
    return squared.nanquantile(0.9, dim=0) / CHI2_90[3]


def main() -> None:
    """Calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    trained = read_card(arguments.run / "weights")
    network = Lifter(LifterConfig(**trained["network"]))
    load_weights(network, arguments.run / "weights")
    recipe = default()
    make = SampleMaker(
        MixedPoses(mix=recipe.poses, clips=read_clips(arguments.data, recipe.motions, "training")), recipe.scene
    )
    blocks = [
        deviations(network, make(Draws(seed=SEED, split=SPLIT, indices=indices)))
        for indices in torch.arange(SAMPLES).split(BLOCK)
    ]
    squared = torch.cat(blocks)
    scale = factors(squared)
    network.covariance_scale.copy_(scale)
    card: dict[str, Any] = {name: value for name, value in trained.items() if name not in ("shards", "split")}
    card["calibration"] = {
        "what": "factor on the covariance of each joint, so that 90 % ellipsoids hold 90 % of the errors",
        "samples": SAMPLES,
        "seed": SEED,
        "split": SPLIT,
        "covariance_factor": dict(zip(JOINTS, [round(value, 4) for value in scale.tolist()], strict=True)),
    }
    for path in write_weights(arguments.out, network.state_dict(), card):
        print(path)


if __name__ == "__main__":
    main()
