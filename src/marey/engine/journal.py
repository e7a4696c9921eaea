"""What a training run tells on its way: metrics.jsonl and TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from marey.core import Image, MissingDependencyError
from marey.engine.processes import INSTALL
from marey.io.atomic import atomic_write_text

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class Journal:
    """Writes numbers and pictures of a run; a run that goes on loses what was written after its checkpoint.

    Args:
        folder: Of the run.
        step: Steps done; what the folder says of later ones is dropped.
        enabled: False: nothing is written, for all processes but the first.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, *, step: int = 0, enabled: bool = True) -> None:
        self.path = folder / METRICS
        self.writer: Any = None
        if not enabled:
            return
        _keep_lines(self.path, step)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError.of("tensorboard", "the journal of a training run", INSTALL) from error
        self.writer = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def numbers(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Write a line of numbers of a step; a number that is not finite becomes null."""
        if self.writer is None:
            return
        finite = {name: value if abs(value) < float("inf") else None for name, value in values.items()}
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps({"step": step, "kind": kind, **finite}, allow_nan=False) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)

    def pictures(self, step: int, pictures: Mapping[str, Image]) -> None:
        """Show pictures (H, W, 3) in TensorBoard."""
        for name, picture in pictures.items():
            self.writer.add_image(name, picture, step, dataformats="HWC")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a run's metrics.jsonl; a last line that is not whole is left out."""
    path = folder / METRICS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _keep_lines(path: Path, step: int) -> None:
    """Drop lines of steps that will be done again."""
    if path.exists():
        kept = [line for line in read_metrics(path.parent) if line["step"] <= step]
        atomic_write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
