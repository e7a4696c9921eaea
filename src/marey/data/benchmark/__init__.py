"""The benchmark `synthetic`: fixed samples of synthetic captures, their labels checked by SHA-256, and what is asked.

`Benchmark()` gives the evidence and the labels of every cell; docs/concepts/benchmark.md says what the cells are.
"""

from marey.data.benchmark.benchmark import Benchmark
from marey.data.benchmark.cells import CELLS, Cell

__all__ = ["CELLS", "Benchmark", "Cell"]
