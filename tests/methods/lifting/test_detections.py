"""What simulated detectors make of people."""

import torch

from marey.core import skeleton
from marey.data.synthetic.random import Draws
from marey.methods.lifting.detections import Detecting, detect
from marey.nn.lifter import JOINTS, slots_of

EXACT = {"truncated": 0.0, "occluded": 0.0, "dropping": 0.0, "swapped": 0.0, "focal_unknown": 0.0}
CLIPS, FRAMES = 200, 5


def draws(clips=CLIPS):
    return Draws(seed=5, split="test", indices=torch.arange(clips))


def figures(clips=CLIPS, frames=FRAMES):
    """Joints spread over a tall box 4 m before the camera, all of one skeleton."""
    generator = torch.Generator().manual_seed(1)
    joints = torch.rand(len(JOINTS), 3, generator=generator) * torch.tensor([0.8, 1.7, 0.3])
    there = torch.zeros(clips, len(JOINTS), dtype=torch.bool)
    there[:, list(slots_of(skeleton("mediapipe_33")))] = True
    return (joints + torch.tensor([0.2, -0.9, 4.0])).expand(clips, frames, -1, 3), there


def test_detect__joints_that_the_skeleton_lacks_are_missing():
    joints, there = figures()
    found = detect(draws(), joints, there, Detecting(noise={"mediapipe": 1.0}))
    without = ~there.repeat_interleave(FRAMES, 0)
    assert found.points[without].isnan().all()
    assert found.covariance[without].isnan().all()
    assert (found.score[without] == 0).all()
    assert torch.equal(found.points.isnan().any(-1), found.score == 0)


def test_detect__errors_are_as_large_as_stated():
    joints, there = figures()
    found = detect(draws(), joints, there, Detecting(noise={"mediapipe": 1.0}, guessing=1.0, **EXACT))
    exact = (joints[..., :2] / joints[..., 2:]).flatten(0, 1)
    clear = found.score > 0.7
    standard = ((found.points - exact) / found.covariance[..., 0, 0].sqrt()[..., None])[clear]
    assert abs(float(standard.square().mean()) - 1) < 0.1
    assert float(standard.abs().amax()) > 5  # heavy tails
    assert (found.covariance[clear][:, 0, 1] == 0).all()


def test_detect__most_of_an_error_lasts_for_a_clip():
    joints, there = figures()
    found = detect(draws(), joints, there, Detecting(noise={"openpose": 1.0}, guessing=1.0, **EXACT))
    error = (found.points - (joints[..., :2] / joints[..., 2:]).flatten(0, 1)) / found.covariance[..., :1, 0].sqrt()
    error = error[:, there[0]].reshape(CLIPS, FRAMES, -1)
    shared = (error[:, 0] * error[:, 1]).mean() / error.square().mean()
    assert abs(float(shared) - 0.6) < 0.1


def test_detect__who_does_not_guess_leaves_out():
    joints, there = figures()
    cut = {**EXACT, "truncated": 1.0}
    guessed = detect(draws(), joints, there, Detecting(noise={"onnx": 1.0}, guessing=1.0, **cut))
    left_out = detect(draws(), joints, there, Detecting(noise={"onnx": 1.0}, guessing=0.0, **cut))
    inside = there.repeat_interleave(FRAMES, 0)
    assert (guessed.score[inside] > 0).all()
    assert (guessed.score[inside] < 0.5).double().mean() > 0.15
    assert (left_out.score[inside] == 0).double().mean() > 0.15
    assert left_out.score[inside][left_out.score[inside] > 0].median() > 0.8


def test_detect__exchanged_sides():
    joints, there = figures()
    still = {**EXACT, "swapped": 1.0, "outliers": 0.0}
    found = detect(draws(), joints, there, Detecting(noise={"openpose": 1.0}, guessing=1.0, **still))
    exact = (joints[..., :2] / joints[..., 2:]).flatten(0, 1)
    left, right = JOINTS.index("left_knee"), JOINTS.index("right_knee")
    swapped = (found.points[:, left] - exact[:, right]).norm(dim=-1) < (found.points[:, left] - exact[:, left]).norm(
        dim=-1
    )
    assert abs(float(swapped.double().mean()) - 2 / 3) < 0.1  # both halves, the lower one, or the upper one


def test_detect__a_clip_does_not_depend_on_those_beside_it():
    joints, there = figures()
    settings = Detecting(noise={"mediapipe": 0.5, "openpose": 0.5})
    every = detect(draws(), joints, there, settings)
    some = detect(draws()[:7], joints[:7], there[:7], settings)
    for part, whole in zip(some, every, strict=True):
        torch.testing.assert_close(part, whole[: 7 * FRAMES], rtol=0, atol=1e-6, equal_nan=True)
