"""The protocol of the association benchmark, on cases that can be counted by hand."""

import importlib
import sys

import numpy as np
import pytest

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
association = importlib.import_module("association")


def standing(frames, *places):
    """(T, P, 4, 3) people who stand."""
    return np.tile(np.array(places, dtype=float)[None, :, None], (frames, 1, 4, 1))


TRUTH = standing(10, (0, 0, 0), (1, 0, 0))


def test_judge__perfect():
    precision, recall, error, switches = association.judge(TRUTH.copy(), np.ones((10, 2)), TRUTH)
    assert (precision, recall, error, switches) == (1.0, 1.0, 0.0, 0)


def test_judge__slots_exchanged_half_way():
    found = TRUTH.copy()
    found[5:] = found[5:, ::-1]
    assert association.judge(found, np.ones((10, 2)), TRUTH)[3] == 2


def test_judge__a_person_missed_and_a_ghost():
    """One of two people is found with certainty, the other slot is 150 mm off: 10 true, then 10 false predictions."""
    found = TRUTH.copy()
    found[:, 1, :, 0] += 0.15
    score = np.tile([1.0, 0.5], (10, 1))
    precision, recall, error, _ = association.judge(found, score, TRUTH)
    assert (precision, recall, error) == (0.5, 0.5, 0.0)
    precision, _, _, _ = association.judge(found, score[:, ::-1], TRUTH)
    assert precision == pytest.approx(0.25)  # the ghosts come first: precision is 10 / 20 at best


def test_judge__each_person_once():
    """Two predictions of one person: the second is false."""
    twice = np.concatenate((TRUTH[:, :1], TRUTH[:, :1] + 0.01), axis=1)
    precision, recall, _, _ = association.judge(twice, np.tile([1.0, 0.5], (10, 1)), TRUTH[:, :1])
    assert (precision, recall) == (1.0, 1.0)
    precision, recall, _, _ = association.judge(twice, np.tile([1.0, 0.5], (10, 1)), TRUTH)
    assert (precision, recall) == (0.5, 0.5)


def test_judge__missing_joints():
    """Half of the joints make a prediction, fewer do not; the error is that of the joints found."""
    found = TRUTH.copy()
    found[:, 0, :2] = np.nan
    found[:, 0, 2:, 1] += 0.05
    found[:, 1, :3] = np.nan
    precision, recall, error, switches = association.judge(found, np.ones((10, 2)), TRUTH)
    assert (precision, recall, switches) == (0.5, 0.5, 0)
    assert error == pytest.approx(0.05)


def test_judge__nobody_found():
    found = np.full((10, 1, 4, 3), np.nan)
    assert association.judge(found, np.zeros((10, 1)), TRUTH) == (0.0, 0.0, None, 0)
    assert association.judge(found[:, :0], np.zeros((10, 0)), TRUTH) == (0.0, 0.0, None, 0)
