"""How smooth a motion is, and how well its acceleration agrees with the truth.

Derivatives are plain differences of neighbouring frames. A frame that is missing takes with it every difference that
needs it: nothing is filled in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.core import InputError, ShapeError
from marey.metrics.known import check_pairs, mean_of_known


def differences(joints: Tensor, *, order: int, fps: float) -> Tensor:
    """Derivatives of positions by time.

    Args:
        joints: (..., T, J, D) metres; NaN = missing.
        order: 1 velocity, 2 acceleration, 3 jerk.
        fps: frames a second; 1 gives units of frames, as many papers print them.

    Returns:
        (..., T - order, J, D) metres a second to that power, NaN where a frame is missing.

    Raises:
        ShapeError: there is no axis of frames.
        InputError: too few frames, or no positive rate.
    """
    if joints.ndim < 3:
        raise ShapeError(f"joints: expected frames (..., T, J, D), got {tuple(joints.shape)}")
    if joints.shape[-3] <= order:
        raise InputError(f"joints: expected more than {order} frames, got {joints.shape[-3]}")
    if not fps > 0:
        raise InputError(f"fps: expected a positive rate, got {fps}")
    return joints.diff(n=order, dim=-3) * fps**order


def acceleration_errors(estimated: Tensor, truth: Tensor, *, fps: float) -> Tensor:
    """Length of the difference of accelerations (Kanazawa et al. 2019, HMMR), by central differences.

    Args:
        estimated: (..., T, J, 3) metres; NaN = missing.
        truth: (..., T, J, 3) metres.
        fps: frames a second; 1 for metres a squared frame, as that paper's millimetres.

    Returns:
        (..., T - 2, J) metres a squared second, NaN where a frame is missing in either.

    Raises:
        ShapeError: the joints do not match.
        InputError: fewer than three frames, or no positive rate.
    """
    check_pairs(estimated, truth)
    change = differences(estimated, order=2, fps=fps) - differences(truth, order=2, fps=fps)
    errors: Tensor = torch.linalg.vector_norm(change, dim=-1)
    return errors


def acceleration_error(estimated: Tensor, truth: Tensor, *, fps: float) -> Tensor:
    """The mean of `acceleration_errors` in metres a squared second, a scalar.

    Raises:
        ShapeError, InputError: as there, or no three neighbouring frames are known in both.
    """
    return mean_of_known(acceleration_errors(estimated, truth, fps=fps), "acceleration_error")


def jitter(joints: Tensor, *, fps: float) -> Tensor:
    """The mean length of the jerk in metres a cubed second, a scalar: no truth needed (Yi et al. 2021, TransPose).

    Several programs print a tenth or a hundredth of it; this is undivided. Compare with the jitter of the truth: people
    move, and 0 is a statue.

    Args:
        joints: (..., T, J, 3) metres; NaN = missing.
        fps: frames a second.

    Raises:
        ShapeError: there is no axis of frames.
        InputError: fewer than four frames, no four neighbouring ones known, or no positive rate.
    """
    return mean_of_known(torch.linalg.vector_norm(differences(joints, order=3, fps=fps), dim=-1), "jitter")
