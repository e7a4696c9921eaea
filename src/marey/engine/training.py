"""Train any task: one process or many, interrupted and resumed, the same weights bit by bit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marey.core import TrainingTask
from marey.engine.checkpoints import (
    FOLDER,
    Note,
    check_same_run,
    newest_checkpoint,
    read_checkpoint,
    remove_checkpoints,
    steps_kept,
)
from marey.engine.interruption import Interruption
from marey.engine.journal import METRICS, TENSORBOARD, Journal
from marey.engine.processes import deterministic_kernels, processes
from marey.engine.run import Run
from marey.engine.seeding import generators_kept
from marey.engine.settings import RUN_ONLY, TrainingSettings
from marey.io.atomic import atomic_write_text, check_writable
from marey.io.settings_toml import plain_settings, toml_text

WEIGHTS = "weights"
RECIPE = "recipe.toml"


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training run leaves. The task's model holds the exported weights, in evaluation mode."""

    step: int
    """Steps after which the exported weights were taken."""
    resumed: int
    """Steps that had been done before, from the checkpoint."""
    scores: Mapping[str, float | None]
    """Validated, of the exported weights; None is no finite number; empty without validation."""
    weights: Path
    """Folder of the exported weights and their card, see `marey.io.weights`."""
    out: Path
    """Folder of the run: checkpoints/, weights/, tensorboard/, metrics.jsonl, recipe.toml."""
    rank: int
    """Which of the processes this is; the first writes."""
    world: int
    """How many there are."""


def train(
    task: TrainingTask,
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    *,
    recipe: Mapping[str, Any] | None = None,
    fresh: bool = False,
    anyway: bool = False,
    progress: bool = False,
) -> TrainingResult:
    """Train a task's model, going on from the newest checkpoint in `out` if there is one.

    Run under torchrun every process calls it with the same arguments; with several machines `out` lies on a file system
    that they share. Global random generators are seeded in every step, and given back as they were.

    Args:
        task: The model, its losses and its data.
        settings: How it is trained.
        out: Folder of the run, made if it is not there.
        recipe: Plain values that say what the task is, kept with checkpoints and weights; a checkpoint of another
            recipe is refused.
        fresh: Remove an earlier run from `out` and start at step 0.
        anyway: Go on from a checkpoint of another recipe, other settings or another number of processes.
        progress: Show a bar, on a terminal.

    Raises:
        MissingDependencyError: the extra `train` is not installed.
        InputError: settings that do not suit the machine, the model or the task; `out` cannot be written.
        TrainingError: the checkpoint in `out` is of another run; or losses that are not finite: the last checkpoint is
            from before them.
        KeyboardInterrupt: interrupted, or terminated; a checkpoint is written and its message says where.
    """
    out = check_writable(out)
    identity = {**(recipe or {}), "training": _lasting(settings)}
    with ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        fabric = stack.enter_context(processes(settings))
        stack.enter_context(generators_kept())
        stack.enter_context(deterministic_kernels(settings.deterministic))
        found = _start(out, identity, fabric, fresh=fresh, anyway=anyway)
        if fabric.is_global_zero:
            atomic_write_text(out / RECIPE, toml_text({**(recipe or {}), "training": plain_settings(settings)}))
        run = Run(task, settings, fabric, identity=identity, folder=out / FOLDER)
        if found is not None:
            run.load(*found)
        resumed = run.step
        with Journal(out, step=run.step, enabled=fabric.is_global_zero) as journal:
            run.train(journal, interruption, progress=progress)
        card = run.export(out / WEIGHTS)
    return TrainingResult(
        step=card["steps"],
        resumed=resumed,
        scores=card["scores"],
        weights=out / WEIGHTS,
        out=out,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


def _lasting(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that decide what is learned, as plain values."""
    return {name: value for name, value in plain_settings(settings).items() if name not in RUN_ONLY}


def _start(
    out: Path, identity: Mapping[str, Any], fabric: Any, *, fresh: bool, anyway: bool
) -> tuple[dict[str, Any], Note] | None:
    """The checkpoint to go on from, the same one at every process."""
    folder = out / FOLDER
    found = None
    if fabric.is_global_zero:
        if fresh:
            remove_checkpoints(folder)
            shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
            (out / METRICS).unlink(missing_ok=True)
        found = newest_checkpoint(folder)
    step = fabric.broadcast(found[1].step if found else None)
    if step is not None:
        found = found or read_checkpoint(folder, step)
        if not anyway:
            check_same_run(found[1], identity, world=fabric.world_size, where=out)
    if fabric.is_global_zero:  # later ones are damaged, or they would have been taken
        remove_checkpoints(folder, keep=[kept for kept in steps_kept(folder) if step is not None and kept <= step])
    return found
