"""Orders of rows: disjoint shards, the same union for every world, pure in seed and place."""

import os
import signal
import subprocess
import sys
from itertools import chain, islice

import pytest
import torch

from marey.core import InputError
from marey.engine.streams import in_order, made_ahead, shuffled


def taken(count: int, **options) -> list[list[int]]:
    return [rows.tolist() for rows in islice(shuffled(50, 12, **options), count)]


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_shuffled__shards_are_disjoint_and_together_the_same(world):
    shards = [taken(9, seed=4, rank=rank, world=world) for rank in range(world)]
    for number, whole in enumerate(taken(9, seed=4)):
        joined = [row for shard in shards for row in shard[number]]
        assert sorted(joined) == sorted(whole)
        assert len(set(joined)) == 12
        assert {len(shard[number]) for shard in shards} == {12 // world}


def test_shuffled__an_epoch_holds_no_row_twice_and_the_next_is_another():
    batches = taken(8, seed=0)
    first, second = (list(chain(*epoch)) for epoch in (batches[:4], batches[4:]))
    assert len(set(first)) == len(set(second)) == 48
    assert first != second


@pytest.mark.parametrize("start", [0, 3, 4, 11])
def test_shuffled__starts_anywhere(start):
    assert taken(3, seed=7, start=start) == taken(14, seed=7)[start : start + 3]


def test_shuffled__seeds_differ_and_nothing_else_matters():
    torch.manual_seed(1)
    first = taken(2, seed=1)
    torch.manual_seed(2)
    assert taken(2, seed=1) == first
    assert taken(2, seed=2) != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 5, "batch": 6}, "1 to 5 rows"),
        ({"count": 5, "batch": 0}, "1 to 5 rows"),
        ({"count": 9, "batch": 3, "world": 2}, "multiple of the 2 processes"),
        ({"count": 9, "batch": 4, "world": 2, "rank": 2}, "rank 2"),
    ],
)
def test_shuffled__refuses_at_once(options, message):
    with pytest.raises(InputError, match=message):
        shuffled(**options, seed=0)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_in_order__every_row_once(world):
    rows = [row for rank in range(world) for part in in_order(10, 4, rank=rank, world=world) for row in part.tolist()]
    assert sorted(rows) == list(range(10))


def test_in_order__of_one_process():
    assert [part.tolist() for part in in_order(5, 2)] == [[0, 1], [2, 3], [4]]
    with pytest.raises(InputError, match="rank below the world"):
        in_order(5, 2, rank=1)


def process(_number):
    return os.getpid()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_made_ahead__workers_leave_signals_to_the_asker(number):
    items = made_ahead(lambda: process, workers=1)
    worker = next(items)
    assert worker != os.getpid()
    for _ in range(3):
        os.kill(worker, number)
        assert next(items) == worker


LEFT = """
from marey.engine.streams import made_ahead

items = made_ahead(lambda: lambda number: number, workers=2)
assert [next(items), next(items)] == [0, 1]
print("taken", flush=True)
"""
"""A program that ends though items are left."""


def ended(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def test_made_ahead__a_process_ends_though_items_are_left():
    done = ended(LEFT)
    assert (done.stdout, done.stderr, done.returncode) == ("taken\n", "", 0)


@pytest.mark.slow
def test_made_ahead__a_process_that_fails_ends_though_items_are_left():
    done = ended(LEFT + "1 / 0")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert (done.stdout, done.returncode) == ("taken\n", 1)


@pytest.mark.slow
def test_made_ahead__a_child_process_ends_though_items_are_left():
    body = LEFT.replace("\n", "\n    ")
    done = ended(
        f"import multiprocessing\n\ndef child():\n    global items{body}\n\n"
        "child = multiprocessing.Process(target=child)\nchild.start()\nchild.join()\nprint(child.exitcode)\n"
    )
    assert (done.stdout, done.stderr) == ("taken\n0\n", "")
