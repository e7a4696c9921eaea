"""Synthetic captures for PyTorch's loaders: any number of workers and processes, the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch.utils.data import IterableDataset, get_worker_info

from marey.core import InputError
from marey.data.synthetic.config import SyntheticConfig
from marey.data.synthetic.generator import SyntheticGenerator
from marey.data.synthetic.labels import SyntheticBatch


class SyntheticStream(IterableDataset[SyntheticBatch]):
    """Batches for `torch.utils.data.DataLoader(stream, batch_size=None, num_workers=...)`.

    What comes out, and in which order, does not depend on the number of workers. The body is read and the generator
    made where the stream is iterated.

    Args:
        config: What is made.
        seed: Any whole number.
        batch_size: Scenes in a batch.
        batches: Of this process.
        start: The first batch of all processes together; to go on where a run was interrupted.
        rank: Which of the processes this is.
        world: How many there are; each makes every `world`-th batch.
        device: Where all is computed.
    """

    def __init__(
        self,
        config: SyntheticConfig,
        *,
        seed: int,
        batch_size: int,
        batches: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if batches < 0:
            raise InputError(f"batches: expected 0 or more, got {batches}")
        self.config, self.seed, self.batch_size, self.batches = config, seed, batch_size, batches
        self.start, self.rank, self.world, self.device = start, rank, world, device

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[SyntheticBatch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        made = SyntheticGenerator(self.config, device=self.device).batches(
            self.seed,
            batch_size=self.batch_size,
            start=self.start,
            rank=self.rank + self.world * worker,
            world=self.world * workers,
        )
        # loaders take from one worker after the other
        return islice(made, len(range(worker, self.batches, workers)))
