import numpy as np
import pytest
import torch

from marey.core import InputError
from marey.metrics.protocols.occluders import OccluderGrid, hidden, worst_places


@pytest.mark.parametrize(("size", "stride", "places"), [(40, 10, 20), (80, 10, 16), (40, 40, 6), (80, 40, 5)])
def test_grid__has_the_published_places(size, stride, places):
    grid = OccluderGrid(size=size, stride=stride)
    assert (grid.places, grid.count) == (places, places**2)
    assert grid.boxes().shape == (places**2, 4)


def test_grid__the_last_square_is_cut_off():
    boxes = OccluderGrid(size=80, stride=10).boxes()
    assert boxes[0].tolist() == [0, 0, 114, 114]
    assert boxes[1].tolist() == [14, 0, 128, 114]
    assert boxes[-1].tolist() == [210, 210, 320, 320]


def test_hidden__means_strictly_inside():
    points = torch.tensor([[10.0, 15.0], [10.1, 15.0], [19.9, 29.9], [20.0, 15.0]])
    assert hidden(points, torch.tensor([10, 10, 20, 30])).tolist() == [False, True, True, False]


def test_worst_places__of_two_images():
    grid = OccluderGrid(size=80, stride=40)
    errors = np.zeros(50)
    errors[7], errors[25 + 13], errors[3] = 90.0, 80.0, np.nan
    found = worst_places(errors, grid)
    assert found["place"].tolist() == [7, 13]
    assert (found["row"].tolist(), found["column"].tolist()) == ([1, 2], [2, 3])
    assert found["value"].tolist() == [90, 80]
    assert worst_places(-errors, grid, smallest=True)["place"].tolist() == [7, 13]


def test_worst_places__what_does_not_fit_is_refused():
    grid = OccluderGrid(size=80, stride=40)
    with pytest.raises(InputError, match="expected 25 samples for each image, got 30"):
        worst_places(np.zeros(30), grid)
    with pytest.raises(InputError, match=r"no number for the images \[1\]"):
        worst_places(np.concatenate((np.zeros(25), np.full(25, np.nan))), grid)


def test_grid__a_square_larger_than_the_crop_is_refused():
    with pytest.raises(InputError, match="expected a size up to 224"):
        OccluderGrid(size=300)
