"""What detectors make of people: keypoints with the noise, scores, gaps and mix-ups that they have.

The noise is that of `marey.detect.noise`, measured on real recordings, with heavier tails than the normal
distribution's; most of it is the detector's idea of a joint, which lasts for a clip. Lengths are in focal lengths of
the camera.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from marey.core import Skeleton
from marey.data.synthetic.random import Draws
from marey.detect.noise import default_noise, joint_classes, person_size
from marey.nn.lifter import JOINTS

_LIFTED = Skeleton("lifted", JOINTS, ())
_NECK, _PELVIS = JOINTS.index("neck"), JOINTS.index("pelvis")


@dataclass(frozen=True, kw_only=True)
class Detecting:
    """How detectors err. Shares are of the clips, or of the joints."""

    noise: Mapping[str, float]
    """Weights of the detectors of `default_noise` whose noise there is."""
    guessing: float = 0.5
    """Share of the clips in which joints that are not seen are guessed, with low scores, instead of left out."""
    person_px: tuple[float, float] = (20.0, 250.0)
    """Size of the person in the image (`person_size`): what a pixel is to it."""
    lasting: float = 0.6
    """Share of the variance that is constant over a clip."""
    outliers: float = 0.05
    """Share of the joints whose error is `outlier_factor` times as large; the total variance is the model's."""
    outlier_factor: float = 3.0
    truncated: float = 0.25
    """Share of the clips in which an edge of the image cuts the person."""
    occluded: float = 0.2
    """Share of the clips in which something stands before a part of the person."""
    dropping: float = 0.3
    """Share of the clips in which joints are missing for no reason, up to a third of them."""
    swapped: float = 0.015
    """Share of the frames in which left and right are exchanged, of the arms, the legs or both."""
    focal_error: float = 0.15
    """Standard deviation of the logarithm of the focal length, where it is not known."""
    focal_unknown: float = 0.25
    """Share of the clips in which it is not."""


class Detected(NamedTuple):
    """Keypoints of M frames; J are `JOINTS`."""

    points: Tensor
    """(M, J, 2) normalised coordinates; NaN where missing."""
    covariance: Tensor
    """(M, J, 2, 2) as the noise model states it; NaN where missing."""
    score: Tensor
    """(M, J) in 0..1; 0 where missing."""


def detect(draws: Draws, joints: Tensor, there: Tensor, settings: Detecting) -> Detected:
    """Detect one person in the frames of clips.

    Args:
        draws: of the C clips.
        joints: (C, T, J, 3) in the camera's frame, metres; NaN where the skeleton has none.
        there: (C, J) boolean, which joints the skeleton has.
        settings: how.
    """
    clips, frames = joints.shape[:2]
    draws = draws.within("detect")
    moments = draws.fork(torch.arange(frames).expand(clips, -1), "frame")
    exact = joints[..., :2] / joints[..., 2:].clamp_min(0.2)
    extent = person_size(torch.where(there[:, None, :, None], exact, torch.nan)[:, :, None])[..., 0]  # (C, T)
    hidden = _behind_trunk(moments, joints) | _covered(draws, exact, extent, settings)
    outside = _cut_off(draws, exact, settings)
    guessing = draws.chance("guessing", settings.guessing)[:, None, None]
    missing = ~there[:, None] | (joints[..., 2] < 0.2) | _dropped(draws, moments, settings).reshape(hidden.shape)
    left_out = (moments.uniform("left out", len(JOINTS)) < 0.5).reshape(hidden.shape)
    missing = missing | (~guessing & (outside | (hidden & left_out)))
    score = _scores(moments, hidden | outside)
    stated = _deviation(draws, score, extent, settings)
    error = _errors(draws, moments, settings).reshape(*hidden.shape, 2)
    real = torch.minimum(stated, 0.4 * extent[..., None])
    points = exact + real[..., None] * error
    focal = settings.focal_error * draws.normal("focal") * draws.chance("focal unknown", settings.focal_unknown)
    points, stated = (
        values * focal.exp().float().reshape(-1, 1, 1, *[1] * (values.ndim - 3)) for values in (points, stated)
    )
    points, stated, score, missing = _exchanged(moments, settings, points, stated, score, missing)
    flat = missing.flatten(0, 1)
    variance = torch.where(flat, torch.nan, stated.flatten(0, 1).square())
    return Detected(
        points=torch.where(flat[..., None], torch.nan, points.flatten(0, 1)),
        covariance=variance[..., None, None] * torch.eye(2),
        score=torch.where(flat, 0.0, score.flatten(0, 1)),
    )


def _behind_trunk(moments: Draws, joints: Tensor) -> Tensor:
    """(C, T, J) joints that the trunk hides, most of the time."""
    neck, pelvis = joints[..., _NECK, None, :], joints[..., _PELVIS, None, :]
    axis, arm = neck[..., :2] - pelvis[..., :2], joints[..., :2] - pelvis[..., :2]
    along = ((arm * axis).sum(-1) / axis.square().sum(-1).clamp_min(1e-6)).clamp(0, 1)
    beside = (arm - along[..., None] * axis).square().sum(-1).sqrt()
    behind = joints[..., 2] > pelvis[..., 2] + along * (neck - pelvis)[..., 2] + 0.08
    often = (moments.uniform("behind", len(JOINTS)) < 0.7).reshape(joints.shape[:-1])
    return (beside < 0.12) & behind & often


def _covered(draws: Draws, exact: Tensor, extent: Tensor, settings: Detecting) -> Tensor:
    """(C, T, J) joints behind a disc about one of them."""
    middle = (draws.uniform("disc") * len(JOINTS)).long()
    radius = draws.uniform("radius", low=0.3, high=1.0).float()[:, None] * extent
    chosen = exact.take_along_dim(middle[:, None, None, None], 2)
    near = (exact - chosen).square().sum(-1).sqrt() < radius[..., None]
    return near & draws.chance("occluded", settings.occluded)[:, None, None]


def _cut_off(draws: Draws, exact: Tensor, settings: Detecting) -> Tensor:
    """(C, T, J) joints beyond an edge of the image, most often the lower one."""
    edge = draws.choice("edge", (0.2, 0.2, 0.1, 0.5))
    axis, sign = edge // 2, 1.0 - 2.0 * (edge % 2 == 0).float()
    along = exact.take_along_dim(axis[:, None, None, None], 3)[..., 0] * sign[:, None, None]
    low, high = along.amin(-1, keepdim=True), along.amax(-1, keepdim=True)
    kept = draws.uniform("kept", low=0.35, high=0.95).float()[:, None, None]
    return (along > low + kept * (high - low)) & draws.chance("truncated", settings.truncated)[:, None, None]


def _dropped(draws: Draws, moments: Draws, settings: Detecting) -> Tensor:
    """(M, J) joints that are missing for no reason."""
    rate = draws.uniform("rate", high=1 / 3) * draws.chance("dropping", settings.dropping)
    frames = len(moments.indices) // len(draws.indices)
    return moments.uniform("dropped", len(JOINTS)) < rate.repeat_interleave(frames)[:, None]


def _scores(moments: Draws, unseen: Tensor) -> Tensor:
    """(C, T, J), high where seen well."""
    number = moments.uniform("score", len(JOINTS)).float().reshape(unseen.shape)
    return torch.where(unseen, 0.1 + 0.5 * number, 1 - 0.45 * number.square())


def _deviation(draws: Draws, score: Tensor, extent: Tensor, settings: Detecting) -> Tensor:
    """(C, T, J) standard deviations by the noise model of each clip's detector."""
    models = [default_noise(name) for name in settings.noise]
    kind = draws.choice("detector", list(settings.noise.values()))
    spread = torch.tensor([[model.spread[place] for place in joint_classes(_LIFTED)] for model in models])[kind]
    base = models[0]
    by_score = score.clamp_min(base.least_score) ** -base.score_power
    low, high = (math.log(size) for size in settings.person_px)
    pixel = base.floor / draws.uniform("pixels", low=low, high=high).exp().float()
    relative = ((spread[:, None] * by_score).square() + pixel[:, None, None].square()).sqrt()
    return relative * extent[..., None]


def _errors(draws: Draws, moments: Draws, settings: Detecting) -> Tensor:
    """(M, J, 2) of unit variance, heavy-tailed, a part of it the same throughout a clip."""
    frames = len(moments.indices) // len(draws.indices)
    lasting = draws.normal("lasting", len(JOINTS), 2).float().repeat_interleave(frames, 0)
    passing = moments.normal("passing", len(JOINTS), 2).float()
    error = math.sqrt(settings.lasting) * lasting + math.sqrt(1 - settings.lasting) * passing
    far = draws.uniform("far", len(JOINTS)).repeat_interleave(frames, 0) < settings.outliers
    unit = math.sqrt(1 + settings.outliers * (settings.outlier_factor**2 - 1))
    return error * torch.where(far, settings.outlier_factor, 1.0)[..., None] / unit


def _exchanged(moments: Draws, settings: Detecting, *values: Tensor) -> list[Tensor]:
    """Values (C, T, J, ...) with left and right exchanged in some frames."""
    lower = torch.tensor([joint.endswith(("hip", "knee", "ankle", "heel", "toe", "foot")) for joint in JOINTS])
    kind = moments.choice("half", (1.0, 1.0, 1.0))[:, None]
    now = moments.chance("swapped", settings.swapped)[:, None] & torch.where(lower, kind != 1, kind != 0)
    mirror = torch.tensor(_LIFTED.mirror)
    swapped = []
    for value in values:
        chosen = now.reshape(*value.shape[:2], -1, *[1] * (value.ndim - 3))
        swapped.append(torch.where(chosen, value[:, :, mirror], value))
    return swapped
