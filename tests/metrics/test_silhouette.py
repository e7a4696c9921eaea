"""Counts of pixels."""

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.metrics.silhouette import silhouette_counts, silhouette_iou

OURS = torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
THEIRS = torch.tensor([[0, 1, 1], [1, 0, 0]]).bool()


def test_silhouette_counts__sort_pixels():
    found = silhouette_counts(OURS, THEIRS)
    assert [int(value) for value in vars(found).values()] == [1, 1, 2, 2]
    assert found.iou() == pytest.approx(0.25)
    samples = silhouette_counts(OURS.expand(4, 2, 3), THEIRS)
    assert samples.true_positives.tolist() == [1, 1, 1, 1]


def test_silhouette_iou__adds_pixels_before_it_divides():
    ours, theirs = torch.stack((OURS, THEIRS)), torch.stack((THEIRS, THEIRS))
    assert silhouette_iou(ours, theirs) == pytest.approx(4 / 7)
    assert silhouette_counts(ours, theirs).iou().mean() == pytest.approx(0.625)
    merged = silhouette_counts(OURS, THEIRS) + silhouette_counts(THEIRS, THEIRS)
    assert merged.iou() == pytest.approx(4 / 7)


def test_silhouettes__empty_ones_and_errors():
    empty = torch.zeros(2, 2, 3, dtype=torch.bool)
    assert silhouette_counts(empty, empty).iou().isnan().all()
    with pytest.raises(InputError, match="expected a pixel inside"):
        silhouette_iou(empty, empty)
    with pytest.raises(ShapeError, match=r"of one size, got \(2, 3\) and \(3, 2\)"):
        silhouette_counts(OURS, OURS.T)
    with pytest.raises(ShapeError, match="expected boolean images"):
        silhouette_counts(OURS.float(), THEIRS)
