"""How benchmarks measure: warm-up, median and quartiles, one thread, and what it was measured on.

Standard library and NumPy at import, so the peers' environment can use it too.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""Set before the libraries load: a process that is to be measured is started with these."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one call."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""
    runs: int

    @classmethod
    def of(
        cls,
        function: Callable[[], Result],
        *,
        warmup: int = 2,
        runs: int = 7,
        clock: Callable[[], float] = time.perf_counter,
    ) -> tuple[Timing, Result]:
        """Time a call after some that do not count; returns the last result too.

        With `time.thread_time` for a clock it is the processor's seconds, which other programs on the machine lengthen
        less.
        """
        for _ in range(warmup):
            function()
        seconds = []
        for _ in range(runs):
            start = clock()
            result = function()
            seconds.append(clock() - start)
        low, median, high = np.percentile(seconds, (25, 50, 75))
        return cls(median=float(median), low=float(low), high=float(high), runs=runs), result

    def per_second(self, count: int) -> float:
        """How many of `count` things that one call does are done in a second."""
        return count / self.median

    def asdict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def pin_to_one_core() -> None:
    """Keep this process, and the threads it will start, on one core (where the system can)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def describe(*packages: str, threads: int = 1) -> dict[str, Any]:
    """What a measurement was made on: commit, CPU, Python, threads and the versions of packages."""
    return {
        "commit": _git("rev-parse", "--short", "HEAD"),
        "modified": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cpu": _cpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "threads": threads,
        **{package: distributions.version(package) for package in packages},
    }


def run_peer(script: str, *arguments: str | Path) -> None:
    """Run a script of `benchmarks/peers` in the peers' environment, on one thread.

    Raises:
        FileNotFoundError: the environment is missing.
        RuntimeError: the script failed; the message ends with what it wrote.
    """
    if not PEERS.exists():
        raise FileNotFoundError(f"{PEERS.relative_to(ROOT)} is missing; run: make peers")
    command = [str(PEERS), str(ROOT / "benchmarks" / "peers" / script), *map(str, arguments)]
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(ROOT / "benchmarks")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"peers/{script} failed:\n{done.stderr[-4000:]}")


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Write strict JSON, numbers of NumPy included.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(results, indent=2, allow_nan=False, default=float)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {len(names)}" if names else platform.processor()
