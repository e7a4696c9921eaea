"""How uncertain a detected keypoint is: a stated model, and its scale measured on the recording itself.

The standard deviation of a joint of class c, seen by view v with score s on a person of size S (pixels), is

    sigma^2 = view_scale_v * scale_c * (spread_c * S * max(s, s_min)^-gamma)^2 + floor^2,

the same in x and y. A detector that reports a covariance of its own keeps its shape: that covariance takes the place of
the squared bracket. The size
S is the root-mean-square distance of the seen joints from their mean (about a third of the box diagonal of a standing
person; of the measures tried on real footage the one that varies least over a motion).

`calibrate_noise` sets the scales from how far each view's keypoints lie from where the other views put them. Such
residuals hold everything that the model must answer for: the detector's jitter, its idea of where a joint is, and the
errors of the cameras' calibration, which differ from view to view. The latter two do not average out over time.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, InputError, Keypoints2D, Skeleton
from marey.geometry.projection import project, project_with_jacobian
from marey.geometry.small import inverse_2x2
from marey.geometry.triangulation import Method, triangulate
from marey.metrics.uncertainty import CHI2_90

JOINT_CLASSES = ("head", "trunk", "limb", "tip")
"""Joints that are about equally hard to place: the face; shoulders, hips and spine; elbows to wrists and knees to
ankles; hands and feet."""

_CLASS_OF_PART = {
    "head": ("nose", "eye", "eye_inner", "eye_outer", "ear", "mouth", "head", "head_top"),
    "limb": ("elbow", "wrist", "knee", "ankle"),
    "tip": ("hand", "foot", "pinky", "index", "thumb", "big_toe", "small_toe", "heel"),
}

_UNKNOWN_SIZE = 200.0
"""Pixels; of a person of whom never more than one joint is seen."""
_LEAST_JOINTS = 4
_COVERAGE = 0.9
_MOST_UNEQUAL = 2.5
"""A view's variance is at most this factor from that of the average view: with few views, estimates of their variances
that know no bounds end in one view that is believed alone."""
_DAMPING = 0.7
"""Power on the correction of a view's variance: its residuals also hold the errors of the others."""
_MOST_POINTS = 100_000


@dataclass(frozen=True, kw_only=True)
class NoiseModel:
    """Parameters of the model in the module's head."""

    spread: tuple[float, ...] = (0.03, 0.03, 0.03, 0.03)
    """Standard deviation at score 1 as a fraction of the person's size, for each of `JOINT_CLASSES`."""
    scale: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """Factor on the variance of each class; 1 until calibrated."""
    view_scale: tuple[float, ...] = ()
    """Factor on the variance of each view; empty, the same for all, until calibrated."""
    score_power: float = 1.5
    """gamma."""
    least_score: float = 0.1
    """s_min: lower scores are not believed to be worse still."""
    floor: float = 1.0
    """Pixels: the detector's grid and the rounding of its output."""

    def __post_init__(self) -> None:
        if len(self.spread) != len(JOINT_CLASSES) or len(self.scale) != len(JOINT_CLASSES):
            raise InputError(f"noise model: expected a spread and a scale for each of {JOINT_CLASSES}, got {self}")
        values = (*self.spread, *self.scale, *self.view_scale, self.floor)
        if min(values) <= 0 or not all(map(math.isfinite, values)):
            raise InputError(f"noise model: spread, scale and floor must be positive and finite, got {self}")
        if not 0 < self.least_score <= 1 or not 0 <= self.score_power < math.inf:
            raise InputError(f"noise model: expected 0 < least_score <= 1 and score_power >= 0, got {self}")


_DEFAULTS = {
    # what `calibrate_noise` finds on a real recording of four cameras with usual errors of calibration, rounded
    "openpose": NoiseModel(spread=(0.02, 0.028, 0.024, 0.018)),
    "mediapipe": NoiseModel(spread=(0.045, 0.042, 0.036, 0.035)),
    "onnx": NoiseModel(),
}


def default_noise(detector: str) -> NoiseModel:
    """The model to begin with for a detector, `openpose`, `mediapipe` or `onnx`; the general one for any other name."""
    return _DEFAULTS.get(detector, NoiseModel())


def joint_classes(skeleton: Skeleton) -> tuple[int, ...]:
    """The index in `JOINT_CLASSES` of every joint; joints of unknown names are taken for trunk."""
    table = {part: JOINT_CLASSES.index(name) for name, parts in _CLASS_OF_PART.items() for part in parts}
    parts = (joint.removeprefix("left_").removeprefix("right_") for joint in skeleton.joints)
    return tuple(table.get(part, JOINT_CLASSES.index("trunk")) for part in parts)


def person_size(positions: Tensor) -> Tensor:
    """Root-mean-square distance of the seen joints from their mean.

    Args:
        positions: (..., T, P, J, 2) pixels, NaN = not seen.

    Returns:
        (..., T, P) pixels, never NaN: frames with fewer than 4 joints take the median of the slot over time, then the
        median of everyone, then 200.
    """
    seen = positions.isfinite().all(-1)
    count = seen.sum(-1)
    at = torch.where(seen[..., None], positions, 0.0)
    mean = at.sum(-2) / count.clamp(min=1)[..., None]
    squared = torch.where(seen, (at - mean[..., None, :]).square().sum(-1), 0.0).sum(-1) / count.clamp(min=1)
    size = torch.where((count >= _LEAST_JOINTS) & (squared > 0), squared.sqrt(), torch.nan)
    if size.numel() == 0:
        return size
    size = torch.where(size.isnan(), size.nanmedian(dim=-2, keepdim=True).values, size)
    return torch.where(size.isnan(), size.nanmedian(), size).nan_to_num(nan=_UNKNOWN_SIZE)


def with_noise(keypoints: Keypoints2D, model: NoiseModel) -> Keypoints2D:
    """Give every seen joint the covariance that the model states.

    Apply it once, to what the detector returned: a finite covariance is taken for the detector's own.

    Args:
        keypoints: (V, T, P), for a model without `view_scale` any batch (..., T, P); covariance NaN where the detector
            reports none.
        model: see the module's head.

    Raises:
        InputError: the model is calibrated for another number of views.
    """
    positions, score = keypoints.positions, keypoints.score
    classes = torch.tensor(joint_classes(keypoints.skeleton), device=score.device)
    spread = score.new_tensor(model.spread)[classes]
    scale = score.new_tensor(model.scale)[classes]
    sigma = spread * person_size(positions)[..., None] * score.clamp(min=model.least_score) ** -model.score_power
    identity = torch.eye(2, dtype=score.dtype, device=score.device)
    own = keypoints.covariance
    reported = own.isfinite().all(-1).all(-1)[..., None, None]
    stated = torch.where(reported, own, sigma.square()[..., None, None] * identity)
    if model.view_scale:
        if len(model.view_scale) != score.shape[0]:
            raise InputError(
                f"noise model: calibrated for {len(model.view_scale)} views, got keypoints of {score.shape[0]}; "
                "calibrate it again or leave view_scale empty"
            )
        scale = scale * score.new_tensor(model.view_scale)[:, None, None, None]
    covariance = scale[..., None, None] * stated + model.floor**2 * identity
    covariance = torch.where(is_seen(keypoints)[..., None, None], covariance, torch.nan)
    return dataclasses.replace(keypoints, covariance=covariance)


def predict_from_others(
    keypoints: Keypoints2D, cameras: Cameras, *, method: Method = "robust"
) -> tuple[Tensor, Tensor]:
    """Where the other views say that a view must see each joint.

    The triangulation of all views is downdated by each view in closed form, so the cost is linear in the views:
    with residual e, covariance S, weight w and `G = J C J^T` of the joint estimate, the estimate without the view
    misses its keypoint by `(1 - w G S^-1)^-1 e`, and its projection has the covariance `G + G (S / w - G)^-1 G`
    (Sherman, Morrison and Woodbury).

    Args:
        keypoints: (V, T, P) with covariance.
        cameras: (V,) full.
        method: of the triangulation.

    Returns:
        Predicted positions (V, T, P, J, 2), pixels, and the covariance (V, T, P, J, 2, 2) of the prediction, without
        the keypoint's own noise. NaN where fewer than two other views see the joint. The view itself need not see it.
    """
    found = triangulate(keypoints.positions, cameras, covariance=keypoints.covariance, method=method)
    joint, jacobian = project_with_jacobian(found.positions[None], cameras)
    projected = jacobian @ found.covariance @ jacobian.mT
    seen = is_seen(keypoints)
    identity = torch.eye(2, dtype=joint.dtype, device=joint.device)
    information = torch.where(seen[..., None, None], inverse_2x2(keypoints.covariance), 0.0)
    weighed = projected @ (found.weights[..., None, None] * information)
    gain = inverse_2x2(identity - weighed)
    residual = torch.where(seen[..., None], keypoints.positions - joint, 0.0)
    # with M = (1 - w G S^-1)^-1: y - M (y - x) = x - (M - 1) (y - x), and G + G (S / w - G)^-1 G = M G
    position = joint - ((gain - identity) @ residual[..., None])[..., 0]
    missing = torch.where(seen.sum(0) - seen.long() >= 2, 0.0, torch.nan)
    return position + missing[..., None], gain @ projected + missing[..., None, None]


def is_seen(keypoints: Keypoints2D) -> Tensor:
    """Which joints were seen, boolean, the shape of the scores."""
    return keypoints.positions.isfinite().all(-1) & (keypoints.score > 0)


def mahalanobis_squared(residual: Tensor, covariance: Tensor) -> Tensor:
    """`r^T C^-1 r` for residuals (..., 2) and covariances (..., 2, 2); NaN where either is."""
    return (residual[..., None, :] @ inverse_2x2(covariance) @ residual[..., None])[..., 0, 0]


def calibrate_noise(
    model: NoiseModel, keypoints: Keypoints2D, cameras: Cameras, *, iterations: int = 3, least: int = 200
) -> NoiseModel:
    """Set the scales so that 90 % ellipses hold 90 % of a left-out view's keypoints.

    A quantile, not a variance: keypoints have heavy tails, and a few gross errors must not widen every ellipse. Joints
    seen by three or more views give one residual per view against the others, with two degrees of freedom; joints seen
    by two give one in all, with a single one (their distance across the epipolar lines), and tell nothing of errors
    along it.

    Args:
        model: to begin with.
        keypoints: (V, T, P) as detected, before `with_noise`, left and right and bad views dealt with.
        cameras: (V,) full.
        iterations: the weights of the robust triangulation depend on the scales; three rounds settle them.
        least: fewest residuals to set a class or a view on its own; those with fewer follow the rest.

    Returns:
        The model with new scales; unchanged, with a warning, if there are fewer than `least` residuals in all.
    """
    stride = max(1, math.ceil(keypoints.score.numel() / _MOST_POINTS))
    sample = keypoints[:, ::stride]
    classes = torch.tensor(joint_classes(keypoints.skeleton), device=keypoints.score.device)
    views = keypoints.score.shape[0]
    for _ in range(iterations):
        ratio = _excess(with_noise(sample, model), cameras)
        if (count := int(ratio.isfinite().sum())) < least:
            warnings.warn(
                f"noise: {count} residuals between views are too few (< {least}) to measure the keypoints' noise; "
                "the covariances rest on the detector's default",
                stacklevel=2,
            )
            return model
        per_class = [ratio[..., classes == index] for index in range(len(JOINT_CLASSES))]
        model = dataclasses.replace(model, scale=_rescaled(model.scale, per_class, ratio, least))
        ratio = _excess(with_noise(sample, model), cameras)
        even = model.view_scale or (1.0,) * views
        model = dataclasses.replace(model, view_scale=_equalised(even, list(ratio[:views]), ratio, least))
    return model


def _rescaled(scale: Sequence[float], groups: Sequence[Tensor], pool: Tensor, least: int) -> tuple[float, ...]:
    """Multiply each scale with the excess of its group, or of the pool where the group is too small."""
    factors = [_quantile(group if int(group.isfinite().sum()) >= least else pool) for group in groups]
    return tuple(min(max(old * factor, 1e-4), 1e4) for old, factor in zip(scale, factors, strict=True))


def _equalised(scale: Sequence[float], groups: Sequence[Tensor], pool: Tensor, least: int) -> tuple[float, ...]:
    """Scales of the views relative to their geometric mean, damped and bounded."""
    raw = _rescaled(scale, groups, pool, least)
    moved = [old * (new / old) ** _DAMPING for old, new in zip(scale, raw, strict=True)]
    mean = math.exp(sum(map(math.log, moved)) / len(moved))
    return tuple(min(max(value / mean, 1 / _MOST_UNEQUAL), _MOST_UNEQUAL) for value in moved)


def _excess(keypoints: Keypoints2D, cameras: Cameras) -> Tensor:
    """Squared studentised residuals over their expected 90 % quantile, NaN where there is none.

    (V, T, P, J), and (V + 1, T, P, J) where some joints are seen by two views only.
    """
    predicted, spread = predict_from_others(keypoints, cameras)
    per_view = mahalanobis_squared(keypoints.positions - predicted, spread + keypoints.covariance) / CHI2_90[2]
    pairs = is_seen(keypoints).sum(0) == 2
    if not pairs.any():
        return per_view
    points, covariance = keypoints.positions[:, pairs], keypoints.covariance[:, pairs]
    found = triangulate(points, cameras, covariance=covariance, method="weighted").positions
    distance = mahalanobis_squared(points - project(found[None], cameras), covariance).nansum(0) / CHI2_90[1]
    per_pair = torch.full_like(per_view[:1], torch.nan)
    per_pair[0, pairs] = torch.where(found.isfinite().all(-1), distance, torch.nan)
    return torch.cat((per_view, per_pair))


def _quantile(values: Tensor) -> float:
    known = values[values.isfinite()]
    return float(known.kthvalue(max(1, math.ceil(_COVERAGE * known.numel()))).values)
