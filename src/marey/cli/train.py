"""`marey train`: train a method, or see what it would be trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from marey.pipeline.recipes import choose_recipe

if TYPE_CHECKING:
    from marey.core import TrainingTask
    from marey.engine.training import TrainingResult
    from marey.pipeline.recipes import ChosenRecipe

PREVIEW = "preview.png"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train a method by a recipe. The same command goes on where it was interrupted.

    Several GPUs or machines: start it with torchrun, as in
    torchrun --nproc_per_node 4 -m marey train METHOD --out RUN
    """

    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")]
    """Such as lifting; a wrong name lists them all. Or module:factory of your own."""
    out: Path
    """Folder of the run: checkpoints, weights, metrics.jsonl, pictures for TensorBoard, recipe.toml."""
    recipe: str = "default"
    """One of the method's recipes, a TOML file with what differs from one, or its original program's YAML file."""
    data: Path | None = None
    """Folder of the data, for methods that learn from some."""
    set: Annotated[
        tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE ...")
    ] = ()
    """Change fields of the recipe, such as training.optimiser.learning_rate=3e-4."""
    steps: int | None = None
    """Short for --set training.steps=N."""
    devices: int | None = None
    """GPUs or processes of this machine; under torchrun not needed."""
    fresh: bool = False
    """Remove an earlier run from the folder and start anew, instead of going on with it."""
    anyway: bool = False
    """Go on with a run of another recipe, other settings or another number of processes."""
    preview: bool = False
    """Only draw the first batches into preview.png, and stop."""


def run(options: Options) -> None:
    """Train, and say what came of it."""
    from marey.engine.seeding import generators_kept, seed_all
    from marey.engine.training import train

    chosen = choose_recipe(options.method, options.recipe, changes=_changes(options))
    if options.steps is not None and hasattr(chosen.recipe, "epochs"):  # what counts epochs makes steps of them
        chosen = replace(chosen, recipe=replace(chosen.recipe, epochs=None))
    with generators_kept():
        seed_all(chosen.recipe.training.seed, "first weights")
        task = chosen.recipe.task(options.data)
        if options.preview:
            _preview(task, chosen, options.out)
            return
        result = train(
            task,
            getattr(task, "training", chosen.recipe.training),
            options.out,
            recipe=chosen.values(),
            fresh=options.fresh,
            anyway=options.anyway,
            progress=True,
        )
    if result.rank == 0:
        _say(result)


def _changes(options: Options) -> tuple[str, ...]:
    short = {"steps": options.steps, "devices": options.devices}
    return (*chain(*options.set), *(f"training.{name}={value}" for name, value in short.items() if value is not None))


def _preview(task: TrainingTask, chosen: ChosenRecipe, out: Path) -> None:
    from marey.engine.previews import preview_sheet
    from marey.io.atomic import check_writable
    from marey.io.images import write_image

    path = check_writable(out) / PREVIEW
    write_image(path, preview_sheet(task, seed=chosen.recipe.training.seed))
    print(f"wrote {path}")


def _say(result: TrainingResult) -> None:
    if result.resumed:
        print(f"went on from step {result.resumed}")
    scores = {name: float("nan") if value is None else value for name, value in result.scores.items()}
    print(f"weights of step {result.step}" + "".join(f", {name} {value:.6g}" for name, value in scores.items()))
    for path in sorted(result.out.iterdir()):
        if not path.name.startswith("."):
            print(f"wrote {path}{'/' if path.is_dir() else ''}")
