import math
import warnings

import numpy as np
import pytest
import torch

from marey.core import JointTree
from marey.io.motion_files import JointMotion, plausible_unit, steady_motion, unique_names


@pytest.mark.parametrize(("height", "metres"), [(1.7, 1), (0.6, 1), (170, 0.01), (60, 0.01), (1700, 0.001)])
def test_plausible_unit__by_the_extent(height, metres):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plausible_unit("f", np.array([[0, 0, 0], [0, height, 0.1]]), custom="cm") == metres


@pytest.mark.parametrize("height", [0, 4, 0.01, 1e9, math.nan])
def test_plausible_unit__none_fits(height):
    with pytest.warns(UserWarning, match="f: does not state its unit"):
        assert plausible_unit("f", np.array([[0, 0, 0], [0, height, 0.1]]), custom="cm") == 0.01


def test_unique_names__numbered_without_taking_a_name_that_exists():
    with pytest.warns(UserWarning, match="numbered: a, b"):
        found = unique_names("f", ["a", "a", "a_2", "a", "b", "b"])
    assert found == ("a", "a_3", "a_2", "a_4", "b", "b_2")


def test_unique_names__thousands_alike_are_quick():
    with pytest.warns(UserWarning, match="numbered: Site"):
        found = unique_names("f", ["Site"] * 10_000)
    assert len(set(found)) == 10_000


def moving(places):
    places = np.asarray(places, dtype=np.float64)
    rotations = torch.eye(3, dtype=torch.float64).repeat(*places.shape[:2], 1, 1)
    return JointMotion(places=places, rotations=rotations, known=np.isfinite(places).all(axis=(1, 2)))


def test_steady_motion__half_a_millimetre_is_no_change():
    tree = JointTree("t", ("a", "b"), (-1, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = steady_motion(
            "f", tree, moving([[[0, 0, 0], [0, 1, 0]], [[5, 0, 0], [0, 1.0005, 0]]]), fps=1, dtype=torch.float64
        )
    assert found.offsets.tolist() == [[0, 0, 0], [0, pytest.approx(1.00025), 0]]
    assert found.translation.tolist() == [[0, 0, 0], [5, 0, 0]]


def test_steady_motion__nothing_known():
    tree = JointTree("t", ("a", "b"), (-1, 0))
    found = steady_motion("f", tree, moving(np.full((2, 2, 3), np.nan)), fps=1, dtype=torch.float32)
    assert not found.known.any()
    assert found.offsets.tolist() == [[0, 0, 0], [0, 0, 0]]
