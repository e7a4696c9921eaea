import numpy as np
import pytest

from marey.core import skeleton
from marey.viz.style import SIGMAS_90, SIGMAS_90_PLANE, SIGMAS_90_SPACE, link_name, upright_turn

AXES = {"x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1), "-x": (-1, 0, 0), "-y": (0, -1, 0), "-z": (0, 0, -1)}


@pytest.mark.parametrize("up", AXES)
def test_upright_turn__is_a_rotation_that_lifts_the_axis(up):
    turn = upright_turn(up)
    np.testing.assert_array_equal(turn @ AXES[up], (0, 0, 1))
    np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)


def test_sigmas__are_those_of_the_normal_distribution():
    from scipy.stats import chi2

    for dims, sigmas in ((1, SIGMAS_90), (2, SIGMAS_90_PLANE), (3, SIGMAS_90_SPACE)):
        assert sigmas**2 == pytest.approx(chi2.ppf(0.9, dims), rel=1e-6)


def test_link_names__pair_the_sides_of_every_skeleton():
    names = skeleton("body_25b")
    found = {names.joints[a] + "+" + names.joints[b]: link_name(names, (a, b)) for a, b in names.links}
    assert found["left_hip+left_knee"] == found["right_hip+right_knee"] == "thigh"
    assert found["left_shoulder+right_shoulder"] == "shoulders apart"
    assert found["neck+left_shoulder"] == found["neck+right_shoulder"]
    assert found["neck+nose"] == "neck \u2013 nose"
