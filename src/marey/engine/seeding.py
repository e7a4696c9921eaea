"""Random numbers as a pure function of what they are for, and the caller's left as they were."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def mixed_seed(*parts: int | str) -> int:
    """63 bits that depend on all parts and on nothing else."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(*parts: int | str) -> None:
    """Seed the global generators of torch (every device), NumPy and Python."""
    seed = mixed_seed(*parts)
    # torch.manual_seed words a stack trace for devices that were never used, which takes longer than a small step
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - whoever draws from NumPy's global generator shall repeat, too
    random.seed(seed)


@contextmanager
def generators_kept() -> Iterator[None]:
    """Give the global generators back as they were when the block ends."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)
