"""Batches that several tests look at."""

import pytest

from marey.data.synthetic import SyntheticBatch, SyntheticConfig, SyntheticGenerator

SEED = 11
COUNT = 24
SIZE = (112, 96)


@pytest.fixture(scope="session", params=("easy", "medium", "hard"))
def generator(request) -> SyntheticGenerator:
    return SyntheticGenerator(SyntheticConfig(tier=request.param, image_size=SIZE))


@pytest.fixture(scope="session")
def batch(generator) -> SyntheticBatch:
    return generator.sample(SEED, range(COUNT))


@pytest.fixture(scope="session")
def hard_generator() -> SyntheticGenerator:
    return SyntheticGenerator(SyntheticConfig(tier="hard", image_size=(64, 80), views=2))


@pytest.fixture(scope="session")
def hard_batch(hard_generator) -> SyntheticBatch:
    """Two views, several people."""
    return hard_generator.sample(SEED, range(COUNT))
