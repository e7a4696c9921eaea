"""One training run: steps, and what is due after them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from tqdm import tqdm

from marey.core import InputError, TrainingTask
from marey.engine.averaging import WeightAverage
from marey.engine.cards import training_card, versions
from marey.engine.checkpoints import Note, read_checkpoint, remove_checkpoints, steps_kept, write_checkpoint
from marey.engine.interruption import Interruption
from marey.engine.journal import Journal
from marey.engine.settings import TrainingSettings
from marey.engine.steps import Stepper
from marey.engine.tally import Tally
from marey.engine.validation import validated
from marey.io.weights import write_weights

_VOTE_EVERY = 10
"""Steps after which processes ask each other whether one was asked to stop: they then wait for each other."""


class Run:
    """A run at one process: where it stands, and how it goes on.

    Args:
        task: What is trained.
        settings: How.
        fabric: The processes.
        identity: Plain values that decide what is learned, for checkpoints and the card.
        folder: Of the checkpoints.
    """

    def __init__(
        self, task: TrainingTask, settings: TrainingSettings, fabric: Any, *, identity: Mapping[str, Any], folder: Path
    ) -> None:
        self.task, self.settings, self.fabric = task, settings, fabric
        self.identity, self.folder = identity, folder
        self.step = 0
        """Steps done."""
        self.scores: dict[str, float] = {}
        self.best: dict[str, float] = {}
        self.stepper = Stepper(task, settings, fabric)
        self.average = (
            WeightAverage(task.model, decay=settings.ema_decay, warm_up=settings.ema_warm_up)
            if settings.ema_decay is not None
            else None
        )
        self.tally = Tally(finite_norm=settings.precision != "16-mixed")

    def load(self, state: Mapping[str, Any], note: Note) -> None:
        """Go on from a checkpoint.

        Raises:
            TrainingError: it is of another network.
        """
        self.stepper.load(state)
        if self.average is not None:
            self.average.load(state["average"] or state["model"])
        self.step, self.scores, self.best = note.step, dict(note.scores), dict(note.best)

    def train(self, journal: Journal, interruption: Interruption, *, progress: bool) -> None:
        """Do the steps that are left.

        Raises:
            KeyboardInterrupt: asked to stop; the checkpoint is written.
        """
        stream = self.stepper.stream(self.step)
        hidden = None if progress and self.fabric.is_global_zero else True  # None: shown on a terminal
        with tqdm(total=self.settings.steps, initial=self.step, desc="train", unit="step", disable=hidden) as bar:
            while self.step < self.settings.steps:
                self.task.model.train()
                report = self.stepper.step(stream, self.step)
                if self.average is not None:
                    self.average.update(self.task.model, self.step)
                self.step += 1
                self.tally.add(self.step, report)
                bar.update()
                self._after(journal, interruption, bar)

    def export(self, folder: Path) -> dict[str, Any]:
        """Give the model the weights that count, the averaged and the best, and write them with their card."""
        self._agree_on_buffers()
        step, scores = self.step, self.scores
        if self.settings.best is not None and self.best:
            state, note = read_checkpoint(self.folder, int(self.best["step"]))
            self.task.model.load_state_dict(state["average"] or state["model"])
            step, scores = note.step, dict(note.scores)
        elif self.average is not None:
            self.task.model.load_state_dict(self.average.state)
        self.task.model.eval()
        card = training_card(
            self.task,
            identity=self.identity,
            world=self.fabric.world_size,
            step=step,
            steps=self.step,
            scores=scores,
        )
        if self.fabric.is_global_zero:
            write_weights(folder, self.task.model.state_dict(), card)
        self.fabric.barrier()
        return card

    def _after(self, journal: Journal, interruption: Interruption, bar: Any) -> None:
        """What is due after a step, the same at every process."""
        settings, last = self.settings, self.step == self.settings.steps
        logs = self._every(settings.log_every)
        stops = self._agreed(interruption.asked)
        validates = settings.validate_every > 0 and (last or self._every(settings.validate_every))
        keeps = last or stops or self._every(settings.checkpoint_every)
        if logs or validates or keeps:
            numbers = self.tally.read(self.fabric)
            journal.numbers(self.step, "train", numbers)
            told = {"loss": numbers["loss"], **self.scores}
            bar.set_postfix({name: f"{value:.4g}" for name, value in told.items()}, refresh=False)
        start = time.perf_counter()
        if self._every(settings.preview_every):
            self._preview(journal)
        if validates:
            keeps |= self._validate(journal)
        if keeps:
            self._checkpoint()
        self.tally.pause(time.perf_counter() - start)
        if stops and not last:
            raise KeyboardInterrupt(
                f"training stopped after step {self.step} of {settings.steps}; the checkpoint is in {self.folder}, "
                "and the same command goes on from there"
            )

    def _every(self, steps: int) -> bool:
        return steps > 0 and self.step % steps == 0

    def _agreed(self, asked: bool) -> bool:
        """Whether all stop: several processes ask each other now and then, well within torchrun's 30 seconds."""
        if self.fabric.world_size == 1:
            return asked
        if not self._every(_VOTE_EVERY):
            return False
        votes = torch.tensor(float(asked), device=self.fabric.device)
        return bool(self.fabric.all_reduce(votes, reduce_op="sum") > 0)

    def _agree_on_buffers(self) -> None:
        """Give all processes the buffers of the first: each has statistics of its own shards in batch normalisation."""
        if self.fabric.world_size == 1:
            return
        states = [self.task.model.state_dict(), *([self.average.state] if self.average is not None else [])]
        for name, _ in self.task.model.named_buffers():
            for state in states:
                if name in state:  # some buffers are not kept
                    distributed.broadcast(state[name], 0)

    @contextmanager
    def _weights_that_count(self) -> Iterator[None]:
        """The averaged weights, if there are, and evaluation mode, while the block runs."""
        self.task.model.eval()
        with self.average.applied(self.task.model) if self.average is not None else nullcontext():
            yield

    def _validate(self, journal: Journal) -> bool:
        """Score the weights that count, and say whether they are the best so far."""
        self._agree_on_buffers()
        with self._weights_that_count():
            self.scores = validated(
                self.task, self.fabric, seed=self.settings.seed, step=self.step, dtype=self.stepper.dtype
            )
        journal.numbers(self.step, "validation", self.scores)
        name = self.settings.best
        if name is None:
            return False
        if name not in self.scores:
            raise InputError(f"best: the task validates {', '.join(self.scores)}, not '{name}'")
        score, before = self.scores[name], self.best.get("score")
        better = score == score and (  # a score that is no number is never the best
            before is None or (score < before if self.settings.best_is == "lowest" else score > before)
        )
        if better:
            self.best = {"step": self.step, "score": score}
        return better

    def _preview(self, journal: Journal) -> None:
        show = getattr(self.task, "preview", None)
        if show is not None and self.fabric.is_global_zero:
            with self._weights_that_count(), torch.no_grad():
                journal.pictures(self.step, show(self.stepper.batch))

    def _checkpoint(self) -> None:
        if self.fabric.is_global_zero:
            note = Note(
                step=self.step,
                world=self.fabric.world_size,
                identity=self.identity,
                scores=self.scores,
                best=self.best,
                versions=versions(),
            )
            average = self.average.state if self.average is not None else {}
            write_checkpoint(self.folder, self.stepper.state() | {"average": average}, note)
            keep = {*steps_kept(self.folder)[-self.settings.keep :]} | {int(self.best.get("step", self.step))}
            remove_checkpoints(self.folder, keep=keep)
        self.fabric.barrier()
