"""The 2D evidence of the benchmark: a simulated detector, the same for every method that takes keypoints.

It reports `coco_17` as `marey.data.detector_faults` says: noise of 3.5 % of the person's size in the picture (about 1 %
of its height, what detectors of photographs reach), one keypoint in a hundred grossly wrong, one in fifty missing, left
and right exchanged in one picture of fifty. What an occluder or another person hides is missing (60 %) or guessed with
four times the noise; what the person's own body hides is as good as what is seen. Nothing outside of the picture is
reported. It states the covariance that its noise really has; of outliers and exchanges it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from marey.core import Cameras, skeleton
from marey.data.benchmark.cells import SKELETON
from marey.data.benchmark.digests import Array
from marey.data.detector_faults import DetectorFaults, apply_faults
from marey.data.synthetic.cameras import image_of

_NOISE = 0.035
"""Standard deviation per axis, of the root mean square distance of the joints from their mean."""
_OUTLIER = 0.1
"""Of the picture's width."""


def detect(truth: Mapping[str, Array], cameras: Cameras, *, seed: int) -> dict[str, Array]:
    """Detect the person of every sample in every picture; each sample has random numbers of its own.

    Args:
        truth: Arrays of the N samples.
        cameras: (N, V)
        seed: Of the benchmark.

    Returns:
        `detected` (N, V, J, 2) pixels, NaN = missing, `detected_sigma` (N, V, J) pixels, `detected_score` (N, V, J).
    """
    joints = torch.from_numpy(truth[SKELETON])[:, None].double()
    image, _ = image_of(joints, cameras.to(torch.float64))
    person_size = (image - image.mean(-2, keepdim=True)).square().sum(-1).mean(-1).sqrt().numpy()
    pixels = image.numpy()
    width, height = (int(side) for side in cameras.image_size[0, 0].tolist())
    faults = DetectorFaults(noise_px=_NOISE, outlier_px=_OUTLIER * width, lost_fraction=0.0)
    views = [
        apply_faults(
            places[:, None, None],
            np.broadcast_to(size[:, None, None, None], (*places.shape[:1], 1, 1, places.shape[1])),
            hidden[:, None, None],
            names=skeleton(SKELETON),
            image_size=(width, height),
            fps=1.0,
            faults=faults,
            rng=np.random.default_rng((seed, index)),
        )
        for places, size, hidden, index in zip(
            pixels, person_size, truth["hidden"].astype(bool), truth["index"].tolist(), strict=True
        )
    ]
    found = {name: np.stack([getattr(view, name)[:, 0, 0] for view in views]) for name in ("pixels", "sigma", "score")}
    names = {"pixels": "detected", "sigma": "detected_sigma", "score": "detected_score"}
    return {names[name]: array.astype(np.float32) for name, array in found.items()}
