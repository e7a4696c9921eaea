"""Stick figures: what is drawn, and what is left out."""

import numpy as np

from marey.viz.figure_sketch import GUESS, blank, draw_figure, fitted


def drawn(points, *, shown=None, links=((0, 1),)):
    picture = blank(64)
    points = np.array(points, dtype=np.float64)
    everything = np.ones(len(points), dtype=bool)
    draw_figure(picture, points, links, color=GUESS, shown=everything if shown is None else np.array(shown))
    return (picture != 24).any(-1)


def test_figure__joints_and_their_link():
    found = drawn([[10.0, 20.0], [50.0, 20.0]])
    assert found[20, 10:51].all()
    assert found[22, 10]
    assert not found[30:].any()


def test_figure__joints_that_are_unknown_far_away_or_not_shown():
    assert not drawn([[np.nan, 3.0], [1e9, 3.0]]).any()
    found = drawn([[10.0, 20.0], [50.0, 20.0]], shown=[True, False])
    assert found[20, 10]
    assert not found[20, 20:].any()


def test_fitted__the_origin_is_the_middle_and_the_extent_the_rim():
    found = fitted(np.array([[0.0, 0.0], [-2.0, 2.0]]), 100, extent=2.0)
    assert found.tolist() == [[49.5, 49.5], [-0.5, 99.5]]
