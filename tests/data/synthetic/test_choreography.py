"""Who walks about: body and figure agree on what is left, forward and up."""

import numpy as np
import pytest
import torch

from marey.body.open_body import open_body
from marey.data.figure import figure_joints
from marey.data.figure_motion import walking_poses
from marey.data.synthetic import TIERS
from marey.data.synthetic.choreography import choreography

NAMES = ("left_shoulder", "right_shoulder", "left_elbow", "left_wrist", "right_wrist", "left_hip", "left_knee")
NAMES = (*NAMES, "left_ankle", "right_ankle", "right_knee")
FRAMES, FPS = 120, 10


@pytest.fixture(scope="module")
def model():
    return open_body("small").to(torch.float64)


def of_tier(model, tier):
    shape = model.neutral(1).shape
    state = choreography(model, shape, TIERS[tier], frames=FRAMES, fps=FPS, rng=np.random.default_rng(3))
    return state, model(state)


def test_body__moves_as_the_figure_does(model):
    _, posed = of_tier(model, "easy")
    height = model.template[:, 1]
    figure = walking_poses(
        np.arange(FRAMES) / FPS,
        people=1,
        area=1.0,
        rng=np.random.default_rng(3),
        stature=np.array([float(height.max() - height.min())]),
    )
    expected = torch.from_numpy(figure_joints(figure, NAMES))
    found = posed.joints[:, :, [model.joint(name) for name in NAMES]]
    for first, second in ((2, 3), (5, 6), (6, 7), (0, 1)):  # forearm, thigh, shank, shoulders
        directions = [points[..., second, :] - points[..., first, :] for points in (found, expected)]
        cosine = torch.nn.functional.cosine_similarity(*directions, dim=-1)
        assert cosine.min() > 0.93, (NAMES[first], NAMES[second])


def test_body__walks_where_it_looks(model):
    state, posed = of_tier(model, "easy")
    step = state.translation.diff(dim=0)[:, 0, :2]
    walking = step.norm(dim=-1) > 0.05
    assert walking.any()
    ahead = state.orientation[:-1, 0, :2, 2]  # the body looks along its z
    cosine = torch.nn.functional.cosine_similarity(step, ahead, dim=-1)[walking]
    assert cosine.median() > 0.95
    toes, ankles = (posed.joints[:, 0, model.joint(f"left_{name}")] for name in ("foot", "ankle"))
    assert ((toes - ankles)[:-1, :2] * ahead).sum(-1).min() > 0


def test_upper_body__moves_by_the_poses_of_harder_tiers(model):
    easy, _ = of_tier(model, "easy")
    hard, posed = of_tier(model, "hard")
    knee, elbow = model.joint("left_knee") - 1, model.joint("left_elbow") - 1
    torch.testing.assert_close(easy.pose[:, :, knee], hard.pose[:, :, knee])
    assert (easy.pose[:, :, elbow] - hard.pose[:, :, elbow]).abs().max() > 0.3
    wrists = posed.joints[:, 0, model.joint("left_wrist"), 2] - posed.joints[:, 0, model.joint("left_shoulder"), 2]
    assert np.ptp(wrists.numpy()) > 0.3
