"""Training: two processes against one, and a run that is killed against one that is not.

    python benchmarks/training.py --out FILE [--steps 40] [--kills 4] [--smoke]

The task is the lifter on its synthetic people, a small network, its losses plain means.

- two_processes: torchrun starts two processes (gloo, CPU), which share the global batches that one process has alone.
  `world_size` is what torch.distributed says in the processes, `shared_rows` counts samples that both had in one step,
  `foreign_rows` those that one had and the single process had not. `largest_difference`: of any parameter, averaged
  parameter or optimiser's moment after the last step, in double and in single precision.
- resume: the process is killed with SIGKILL from outside, at moments that nothing in it knows of, and started again
  until it is through. A checkpoint is written after every step; every other kill waits until one is being written, and
  `half_written` counts those that left a file of which only a part was there.
  `differing_values`: of parameters, averages, moments and exported weights, those whose bits are not those of a run
  that nobody killed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from marey.core import Batch
from marey.engine.checkpoints import read_checkpoint, steps_kept
from marey.engine.settings import Optimiser, TrainingSettings
from marey.engine.training import train
from marey.io.weights import read_weights
from marey.methods.lifting.losses import distance, negative_log_likelihood
from marey.methods.lifting.recipe import LiftingRecipe, LiftingTask, small
from measure import ONE_THREAD, describe, write_json

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
PRECISIONS = {"float64": "64-true", "float32": "32-true"}
BATCH = 64
TOLD = "rank-*.json"


class EvenLifting(LiftingTask):
    """The lifter with losses that are plain means; notes which samples it has seen."""

    def __init__(self, recipe: LiftingRecipe) -> None:
        super().__init__(recipe)
        self.seen: list[list[str]] = []

    def batches(self, split: str, *, seed: int, rank: int, world: int, start: int = 0) -> Iterator[Batch]:
        """Those of the lifter; of the split `train` with fingerprints of the samples."""
        for batch in super().batches(split, seed=seed, rank=rank, world=world, start=start):
            if split == "train":
                rows = batch["samples"].joints.numpy()
                self.seen.append([hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rows])
            yield batch

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Those of the lifter, every joint of every sample counting alike."""
        samples = batch["samples"]
        lifted = self._lifted(samples)
        even = torch.ones_like(lifted.positions[..., 0])
        return {
            "distance": distance(lifted.positions, samples.joints, even),
            "likelihood": 0.01 * negative_log_likelihood(samples.joints - lifted.positions, lifted.factor, even),
        }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--smoke", action="store_true", help="few steps, one kill: does it work?")
    parser.add_argument("--worker", choices=PRECISIONS.values(), help="train into the folder OUT, as the processes do")
    options = parser.parse_args()
    if options.worker:
        work(options.out, options.steps, options.worker)
        return
    steps, kills = (8, 1) if options.smoke else (options.steps, options.kills)
    with tempfile.TemporaryDirectory() as place:
        results = {
            "two_processes": two_processes(Path(place), steps),
            "resume": resume(Path(place), steps, kills),
            "steps": steps,
            "batch": BATCH,
        }
    write_json(options.out, results | {"meta": describe("torch", "lightning-fabric")})


def work(out: Path, steps: int, precision: str) -> None:
    """Train in this process, and write what it saw."""
    torch.set_num_threads(1)
    settings = TrainingSettings(
        steps=steps,
        optimiser=Optimiser(learning_rate=1e-3),
        ema_decay=0.9,
        precision=precision,
        accelerator="cpu",
        log_every=5,
        validate_every=steps,
        checkpoint_every=1,
    )
    torch.manual_seed(0)
    task = EvenLifting(LiftingRecipe(network=small().network, batch=BATCH, validation=64, training=settings))
    joined: list[int] = []
    loss = task.loss

    def noting(batch: Batch) -> dict[str, Tensor]:
        joined.append(distributed.get_world_size() if distributed.is_initialized() else 1)
        return loss(batch)

    task.loss = noting  # type: ignore[method-assign]
    start = time.perf_counter()
    result = train(task, settings, out)
    told = {
        "world": sorted(set(joined)),
        "seen": task.seen,
        "scores": dict(result.scores),
        "seconds": time.perf_counter() - start,
    }
    write_json(out / f"rank-{result.rank}.json", told)


def two_processes(place: Path, steps: int) -> dict[str, Any]:
    """Compare two processes with one."""
    found: dict[str, Any] = {}
    for name, precision in PRECISIONS.items():
        alone, both = place / f"one-{name}", place / f"two-{name}"
        run(alone, steps, precision)
        run(both, steps, precision, *TORCHRUN)
        one, *two = (json.loads(path.read_text()) for path in (*alone.glob(TOLD), *sorted(both.glob(TOLD))))
        found["world_size"] = min(min(each["world"]) for each in two) if len(two) == 2 else len(two)
        shards = list(zip(one["seen"][:steps], two[0]["seen"][:steps], two[1]["seen"][:steps], strict=True))
        found["shared_rows"] = sum(len({*first} & {*second}) for _, first, second in shards)
        found["foreign_rows"] = sum(len({*whole} ^ {*first, *second}) for whole, first, second in shards)
        found["rows"] = sum(len(whole) for whole, _, _ in shards)
        states = [tensors(folder, steps) for folder in (alone, both)]
        found[name] = {
            "largest_difference": max(
                float((value.double() - states[1][key].double()).abs().max()) for key, value in states[0].items()
            ),
            "values": sum(value.numel() for value in states[0].values()),
            "score_difference_mm": abs(one["scores"]["mpjpe_mm"] - two[0]["scores"]["mpjpe_mm"]),
        }
    return found


def resume(place: Path, steps: int, kills: int) -> dict[str, Any]:
    """Kill a run again and again, and compare it with one that nobody kills."""
    out = place / "killed"
    targets = [(number + 1) * steps // (kills + 1) for number in range(kills)]
    halves = [kill_after(out, steps, target, writing=number % 2 == 0) for number, target in enumerate(targets)]
    run(out, steps, "32-true")
    whole = tensors(place / "one-float32", steps)
    again = tensors(out, steps)
    assert whole.keys() == again.keys()
    weights = [read_weights(folder / "weights", dtype=None) for folder in (place / "one-float32", out)]
    differing = sum(int((bits(value) != bits(again[name])).any(1).sum()) for name, value in whole.items())
    differing += sum(int((bits(value) != bits(weights[1][name])).any(1).sum()) for name, value in weights[0].items())
    values = sum(value.numel() for value in (*whole.values(), *weights[0].values()))
    return {"kills": kills, "half_written": sum(halves), "differing_values": differing, "values": values}


def kill_after(out: Path, steps: int, target: int, *, writing: bool) -> bool:
    """Start a run, kill it some time after its checkpoint of a step, and say whether it was writing the next.

    Args:
        out: Folder of the run.
        steps: Of the run.
        target: The step.
        writing: Wait until a checkpoint is being written; else for up to a twentieth of a second.
    """
    folder = out / "checkpoints"
    process = subprocess.Popen(command(out, steps, "32-true"), env={**os.environ, **ONE_THREAD})
    moment = random.uniform(0, 0.05)  # noqa: S311 - not a secret, and another one every time
    while max(steps_kept(folder), default=0) < target or (writing and not half_written(folder)):
        if process.poll() is not None:
            raise RuntimeError(f"the run ended with {process.returncode} before it was killed; take more steps")
        time.sleep(0.001)
    time.sleep(0 if writing else moment)
    process.send_signal(signal.SIGKILL)
    if process.wait() != -signal.SIGKILL:
        raise RuntimeError("the run was through before it was killed; take more steps")
    return half_written(folder)


def half_written(folder: Path) -> bool:
    """Whether a checkpoint is there under the name that it has while it is written."""
    return any(folder.glob(".step-*"))


def run(out: Path, steps: int, precision: str, *launcher: str) -> None:
    """Train in processes of their own.

    Raises:
        RuntimeError: it failed; the message ends with what it wrote.
    """
    words = command(out, steps, precision, *launcher)
    done = subprocess.run(words, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training failed:\n{done.stderr[-4000:]}")


def command(out: Path, steps: int, precision: str, *launcher: str) -> list[str]:
    """The words that start a worker."""
    own = [__file__, "--worker", precision, "--out", str(out), "--steps", str(steps)]
    return [sys.executable, *launcher, *own]


def tensors(out: Path, steps: int) -> dict[str, Tensor]:
    """Parameters, averages and the optimiser's moments after the last step, by name."""
    state, _ = read_checkpoint(out / "checkpoints", steps)
    moments = {
        f"optimiser/{number}/{name}": torch.as_tensor(value)
        for number, entry in state["optimiser"]["state"].items()
        for name, value in entry.items()
    }
    return {f"{part}/{name}": value for part in ("model", "average") for name, value in state[part].items()} | moments


def bits(value: Tensor) -> Tensor:
    """The bytes of a tensor's values: -0 is not 0, and NaN is NaN."""
    return value.contiguous().flatten().view(torch.uint8).reshape(value.numel(), -1)


if __name__ == "__main__":
    main()
