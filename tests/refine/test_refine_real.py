"""Refinement on a real recording, where there is no truth: what must shrink shrinks, and nothing is smoothed away."""

import numpy as np
import pytest

import marey
from marey.io.trc import read_trc
from marey.pipeline.config import EstimateConfig

pytestmark = pytest.mark.realdata

LIMBS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
FPS = 60.0


def _limbs(positions, names):
    """Lengths (2, 4, T) of left and right limbs, metres."""
    place = names.index
    return np.array(
        [
            [
                np.linalg.norm(positions[:, place(f"{side}_{a}")] - positions[:, place(f"{side}_{b}")], axis=-1)
                for a, b in LIMBS
            ]
            for side in ("left", "right")
        ]
    )


def _wrist_speed(positions, names):
    wrists = positions[:, [names.index("left_wrist"), names.index("right_wrist")]]
    return FPS * np.sqrt((np.diff(wrists, axis=0) ** 2).sum(-1).mean())


@pytest.fixture(scope="module")
def reference(shared_data):
    file = read_trc(shared_data / "pose2sim_demo" / "balancing" / "pose-3d" / "reference_butterworth.trc")
    sides = {"R": "right_", "L": "left_"}
    names = [sides[name[0]] + name[1:].lower() if name[0] in sides else name.lower() for name in file.names]
    return file.positions, names


@pytest.mark.parametrize(("mode", "deviation", "asymmetry"), [("smooth", 0.75, 1.0), ("bones", 0.1, 0.3)])
def test_refined__limbs_are_steadier_than_the_filtered_references_and_wrists_as_fast(
    shared_data, reference, mode, deviation, asymmetry
):
    folder = shared_data / "pose2sim_demo"
    estimate = marey.estimate(
        folder / "balancing" / "pose",
        calibration=folder / "calibration" / "Calib_qualisys.toml",
        frames=(0, 50),
        config=EstimateConfig(refine=mode, fps=FPS),
    )
    ours = estimate.joints.positions[:, 0].double().numpy(), list(estimate.joints.skeleton.joints)
    lengths, expected = _limbs(*ours), _limbs(*reference)
    assert lengths.std(-1).mean() < deviation * expected.std(-1).mean()
    gaps = [np.abs(np.diff(np.median(found, axis=-1), axis=0)).mean() for found in (lengths, expected)]
    assert gaps[0] < asymmetry * gaps[1]
    assert _wrist_speed(*ours) == pytest.approx(_wrist_speed(*reference), rel=0.1)
