"""Crops in batches: rows come in order, whatever pieces they come in."""

import pytest
import torch

from marey.methods.metrabs.people_crops import in_batches


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ([3, 1, 2], 2, [[0, 1], [2, 3], [4, 5]]),
        ([1, 1, 1], 8, [[0, 1, 2]]),
        ([7], 3, [[0, 1, 2], [3, 4, 5], [6]]),
        ([0, 2, 0, 1, 0], 3, [[0, 1, 2]]),
        ([2, 2], 2, [[0, 1], [2, 3]]),
        ([0], 2, []),
        ([], 2, []),
    ],
)
def test_in_batches__of_one_size_but_the_last(counts, size, expected):
    rows = torch.split(torch.arange(sum(counts)), counts) if counts else ()
    found = list(in_batches(((part, -part[:, None]) for part in rows), size))
    assert [first.tolist() for first, _ in found] == expected
    assert all(torch.equal(second, -first[:, None]) for first, second in found)


def test_in_batches__asks_for_no_piece_before_it_is_needed():
    asked = []

    def pieces():
        for number in range(3):
            asked.append(number)
            yield (torch.full((2,), number),)

    batches = in_batches(pieces(), 2)
    next(batches)
    assert asked == [0]
