"""Smoothness of motions whose derivatives are known."""

import math

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.metrics.motion import acceleration_error, acceleration_errors, differences, jitter


def motion(power, frames=8, fps=10.0):
    """One joint at t^power on x, another at rest."""
    time = torch.arange(frames, dtype=torch.float64) / fps
    joints = torch.zeros(frames, 2, 3, dtype=torch.float64)
    joints[:, 0, 0] = time**power
    return joints


def test_differences__are_derivatives_of_polynomials():
    torch.testing.assert_close(differences(motion(2), order=2, fps=10.0)[:, 0, 0], torch.full((6,), 2.0).double())
    torch.testing.assert_close(differences(motion(3), order=3, fps=10.0)[:, 0, 0], torch.full((5,), 6.0).double())
    torch.testing.assert_close(differences(motion(1), order=1, fps=1.0)[:, 0, 0], torch.full((7,), 0.1).double())


def test_jitter__is_the_mean_jerk():
    assert jitter(motion(3), fps=10.0) == pytest.approx(3.0)
    assert jitter(motion(2), fps=10.0) == pytest.approx(0.0, abs=1e-9)
    assert jitter(motion(3).expand(2, 3, 8, 2, 3), fps=10.0) == pytest.approx(3.0)


def test_acceleration_error__compares_with_the_truth():
    assert acceleration_error(motion(2), motion(1), fps=10.0) == pytest.approx(1.0)
    assert acceleration_error(motion(2), motion(2) + 5.0, fps=10.0) == pytest.approx(0.0, abs=1e-9)
    assert acceleration_error(motion(2), motion(1), fps=1.0) == pytest.approx(0.01)


def test_acceleration_errors__a_missing_frame_takes_its_neighbours():
    broken = motion(2)
    broken[3, 0] = math.nan
    known = ~acceleration_errors(broken, motion(1), fps=10.0)[:, 0].isnan()
    assert known.tolist() == [True, False, False, False, True, True]


def test_motion__errors():
    with pytest.raises(ShapeError, match=r"expected frames \(\.\.\., T, J, D\)"):
        differences(torch.zeros(5, 3), order=1, fps=1.0)
    with pytest.raises(InputError, match="more than 3 frames, got 3"):
        jitter(motion(1, frames=3), fps=10.0)
    with pytest.raises(InputError, match="fps: expected a positive rate"):
        jitter(motion(1), fps=0.0)
    with pytest.raises(InputError, match="jitter: expected a known value"):
        jitter(motion(1) * math.nan, fps=10.0)
