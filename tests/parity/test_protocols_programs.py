"""VoxelPose's and the 3DPW challenge's programs on seeded random people; the literals are what they printed.

VoxelPose: `Panoptic.evaluate`, `Shelf.evaluate`, `Campus.evaluate` of 53bc0dd. 3DPW: the functions of `evaluate.py`.
"""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from marey.io.predictions import pose_rows
from marey.metrics.protocols import protocol
from marey.metrics.protocols.panoptic import BODY
from marey.metrics.protocols.pw3d import JOINTS as SMPL
from marey.metrics.protocols.shelf import JOINTS, joints_from_coco


def rows(people, frames, names, **values):
    return pose_rows(np.array(people), joint_names=names, sequence=["a"] * len(people), frame=frames, **values)


def test_panoptic__equals_voxelpose():
    r = np.random.RandomState(5)
    base = r.randn(15, 3) * 300
    truth, frames, found, at, scores = [], [], [], [], []
    for frame in range(12):
        here = []
        count = r.randint(1, 4)
        for place in range(count):
            here.append(base + r.randn(15, 3) * 20 + np.array([1500 * place, 0, 0]))
            visible = r.rand(15) > 0.15
            visible[2] = True
            truth.append(np.where(visible[:, None], here[-1], np.nan) / 1000)
            frames.append(frame)
        for _ in range(r.randint(1, 5)):
            found.append((here[r.randint(count)] + r.randn(15, 3) * r.choice([5, 20, 50, 90, 300])) / 1000)
            scores.append(round(r.rand(), 1))
            at.append(frame)
    values = protocol("panoptic-ap").score(rows(found, at, BODY, score=scores), rows(truth, frames, BODY)).values
    precisions = [
        0.16491189864003533, 0.3156119833620422, 0.3407422481593043, 0.3407422481593043, 0.3968823086713267,
        0.3968823086713267,
    ]  # fmt: skip
    recalls = [0.42105240997241583, 0.5789470637120717, *[0.6315786149586237] * 4]
    thresholds = range(25, 155, 25)
    assert [values[f"ap{limit}"] / 100 for limit in thresholds] == pytest.approx(precisions, abs=1e-12)
    assert [values[f"recall{limit}"] / 100 for limit in thresholds] == pytest.approx(recalls, abs=1e-12)
    assert values["mpjpe_mm"] == pytest.approx(105.7358602876461, abs=1e-9)
    assert values["recall"] == pytest.approx(73.68421052631579, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "shares", "mean", "recall"),
    [
        (
            "shelf",
            [0.4333333332851852, 0.5333333332740741, 0.6444444443728395, 0.28888888885679015],
            0.5370370369773663,
            0.4999999998611111,
        ),
        (
            "campus",
            [0.47999999995200004, 0.5571428570632654, 0.6999999999000001],
            0.5790476189717552,
            0.5833333330902778,
        ),
    ],
)
def test_parts__equal_voxelpose(name, shares, mean, recall):
    r = np.random.RandomState(7)
    base = r.randn(17, 3) * 300
    truth, frames, actors, found, at = [], [], [], [], []

    def converted(pose):
        return joints_from_coco(torch.from_numpy(pose), name).numpy()

    for frame in range(10):
        here = []
        for actor in range(len(shares)):
            here.append(base + r.randn(17, 3) * 20 + np.array([1200 * actor, 0, 0]))
            if r.rand() < 0.8:
                truth.append((converted(here[-1]) + r.randn(14, 3) * 10) / 1000)
                frames.append(frame)
                actors.append(actor + 1)
        for _ in range(r.randint(1, 6)):
            found.append(converted(here[r.randint(len(shares))] + r.randn(17, 3) * r.choice([20, 60, 150])) / 1000)
            at.append(frame)
    scores = protocol(name).score(rows(found, at, JOINTS), rows(truth, frames, JOINTS, person=actors))
    ours = [scores.groups["pcp/actor"][f"actor {actor + 1}"] / 100 for actor in range(len(shares))]
    # It adds 1e-8 to every count, which these do not.
    assert ours == pytest.approx(shares, abs=1e-9)
    assert scores.values["pcp"] / 100 == pytest.approx(mean, abs=1e-9)
    assert scores.values["recall"] / 100 == pytest.approx(recall, abs=1e-9)


def test_3dpw__equals_the_challenge():
    r = np.random.RandomState(3)
    truth = r.randn(40, 24, 3) * 0.3
    found = truth + r.randn(40, 24, 3) * 0.04 * r.choice([0.2, 1, 3], 40)[:, None, None]
    found[7] = 0.5  # all joints in one place
    r = np.random.RandomState(4)
    turns = Rotation.from_rotvec(r.randn(40 * 24, 3)).as_matrix().reshape(40, 24, 3, 3)
    turned = turns @ Rotation.from_rotvec(0.3 * r.randn(40 * 24, 3)).as_matrix().reshape(40, 24, 3, 3)
    scores = protocol("3dpw-challenge").score(
        rows(found, range(40), SMPL, orientations=turned), rows(truth, range(40), SMPL, orientations=turns)
    )
    assert scores.values["mpjpe_mm"] == pytest.approx(129.28200269852428, abs=1e-9)
    assert scores.values["pa_mpjpe_mm"] == pytest.approx(85.5018959204012, abs=1e-9)
    assert scores.values["pck"] == pytest.approx(45.20833333333333, abs=1e-9)
    # It integrates the curve's 199 straight pieces by adaptive quadrature, which warns that it does not converge.
    assert scores.values["auc"] / 100 == pytest.approx(0.5172391442468949, abs=1e-5)
    assert scores.values["mpjae_deg"] == pytest.approx(27.56224715485086, abs=1e-9)
    assert scores.values["pa_mpjae_deg"] == pytest.approx(27.922235163512532, abs=1e-9)
