"""The card of trained weights: what they were trained with, on what, when and how well."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from marey._version import __version__
from marey.core import TrainingTask


def training_card(
    task: TrainingTask, *, identity: Mapping[str, Any], world: int, step: int, steps: int, scores: Mapping[str, float]
) -> dict[str, Any]:
    """Say what weights are, as plain values.

    Args:
        task: Its `card`, if it has one, tells the data.
        identity: Recipe and settings.
        world: Processes that trained.
        step: Steps after which the weights were taken.
        steps: Steps of the run.
        scores: Of these weights; a score that is no number is None.
    """
    describe = getattr(task, "card", None)
    training = identity.get("training", {})
    return {
        **{name: value for name, value in identity.items() if name != "training"},
        "data": dict(describe()) if callable(describe) else {},
        "steps": step,
        "steps_of_run": steps,
        "processes": world,
        "seed": training.get("seed"),
        "scores": {name: value if abs(value) < float("inf") else None for name, value in scores.items()},
        "training": dict(training),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what computes."""
    return {"marey": __version__, "python": platform.python_version(), "torch": metadata.version("torch")}


def git_commit() -> str | None:
    """The commit of this source, with `+changes` if files differ from it; None if it does not lie in a repository."""
    folder = Path(__file__).parent
    commit, state = (
        _git(folder, "rev-parse", "HEAD"),
        _git(folder, "status", "--porcelain", "--untracked-files=no", "."),
    )
    tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
    return None if not commit or not tracked else commit + ("+changes" if state else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
