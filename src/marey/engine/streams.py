"""Orders of rows for `TrainingTask.batches`: pure functions of the seed and the place, the same for every world."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count as counted
from itertools import islice
from multiprocessing.sharedctypes import RawValue
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from marey.core import InputError
from marey.engine.seeding import mixed_seed

Item = TypeVar("Item")


def shuffled(count: int, batch: int, *, seed: int, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[Tensor]:
    """Give endless shards of global batches of shuffled rows, for the split `train`.

    Every epoch is another permutation of the rows, cut into whole batches; what is left over sits this epoch out.
    Nothing is drawn in order, so a stream starts anywhere at once.

    Args:
        count: Rows of the data.
        batch: Rows of a global batch.
        seed: Of the permutations.
        rank: Which of the processes this is.
        world: How many there are; the shards of a global batch are disjoint and together the same for every `world`.
        start: The first global batch.

    Yields:
        (batch / world,) int64 row numbers.

    Raises:
        InputError: there are fewer rows than a batch has, or a batch cannot be shared out evenly.
    """
    if not 1 <= batch <= count:
        raise InputError(f"batch: expected 1 to {count} rows, as many as the data have, got {batch}")
    if batch % world or not 0 <= rank < world:
        raise InputError(f"batch: expected a multiple of the {world} processes, got {batch} (rank {rank})")
    return _shuffled(count, batch, seed, slice(rank, None, world), start)


def _shuffled(count: int, batch: int, seed: int, shard: slice, start: int) -> Iterator[Tensor]:
    of_epoch = count // batch
    epoch, order = -1, torch.empty(0, dtype=torch.int64)
    for number in counted(start):
        if epoch != number // of_epoch:
            epoch = number // of_epoch
            order = torch.randperm(count, generator=torch.Generator().manual_seed(mixed_seed(seed, "epoch", epoch)))
        first = number % of_epoch * batch
        yield order[first : first + batch][shard]


def in_order(count: int, batch: int, *, rank: int = 0, world: int = 1) -> Iterator[Tensor]:
    """Give every row once in order, for validation: process `rank` takes every `world`-th run of `batch` rows.

    Yields:
        (batch,) int64 row numbers, fewer at the end of the data.

    Raises:
        InputError: batch, rank or world make no sense.
    """
    if batch < 1 or not 0 <= rank < world:
        raise InputError(f"expected 1 or more rows and a rank below the world, got {batch}, {rank} and {world}")
    return (torch.arange(first, min(first + batch, count)) for first in range(rank * batch, count, world * batch))


def made_ahead(
    prepare: Callable[[], Callable[[int], Item]], start: int = 0, stop: int | None = None, *, workers: int = 0
) -> Iterator[Item]:
    """Give item `start`, `start + 1`, ... each a function of its number, made while others are used.

    Args:
        prepare: Gives the function that makes an item; called once in each process that makes any.
        start: The first number.
        stop: Where to end; None: nowhere.
        workers: Processes that make items; 0: the one that asks, when it asks. What comes, and in which order, does not
            depend on it.
    """
    dataset = _Made(prepare, start)
    return islice(_by_workers(dataset, workers) if workers else dataset, None if stop is None else max(stop - start, 0))


def _by_workers(dataset: _Made[Item], workers: int) -> Iterator[Item]:
    ending = RawValue("b", 0)
    init = partial(_leave_to_the_asker, ending)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=4, worker_init_fn=init)
    items = iter(loader)
    Finalize(items, _announce, (ending,), exitpriority=0)  # a process that ends does so before it ends its workers
    return items


def _announce(ending: Any) -> None:
    ending.value = 1


def _leave_to_the_asker(ending: Any, worker: int) -> None:
    """Ctrl-C, and what clusters send to all processes, is for the one that trains: it ends the workers when ready.

    It sends SIGTERM for that, and waits; so that is obeyed once it has announced that it is ending.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, partial(_end_if_announced, ending))


def _end_if_announced(ending: Any, number: int, frame: FrameType | None) -> None:
    if ending.value:
        os._exit(0)  # at once: what is half made nobody takes


class _Made(IterableDataset[Item]):
    """Endless items; each worker of a loader makes every so many-th, and loaders take from one after the other."""

    def __init__(self, prepare: Callable[[], Callable[[int], Item]], start: int) -> None:
        self.prepare, self.start = prepare, start

    def __iter__(self) -> Iterator[Item]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        make = self.prepare()
        return (make(number) for number in counted(self.start + worker, workers))
