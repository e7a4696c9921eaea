"""The benchmark's first samples, made once for all tests."""

import pytest

from marey.data.benchmark import Benchmark


@pytest.fixture(scope="session")
def benchmark(tmp_path_factory) -> Benchmark:
    return Benchmark(tmp_path_factory.mktemp("none"), quick=True)
