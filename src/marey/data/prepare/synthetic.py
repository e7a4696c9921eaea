"""Labels of the benchmark `synthetic`: nothing is downloaded, all is drawn, and checked by SHA-256.

    v1_SCENES.npz   labels of every set of scenes; its arrays are those of `marey.data.benchmark.truth`

`marey.data.benchmark.Benchmark` makes the same when it needs them; this makes all at once. Pictures are not written:
they are rendered when a method looks at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marey.core import InputError
from marey.data.benchmark.cells import SCENE_SETS
from marey.data.benchmark.store import load_truth
from marey.data.prepare.work import Work


@dataclass(frozen=True, kw_only=True)
class SyntheticOptions:
    """What is made of the benchmark."""

    scenes: tuple[str, ...] = tuple(SCENE_SETS)
    """Sets of scenes."""

    def __post_init__(self) -> None:
        if not self.scenes or set(self.scenes) - set(SCENE_SETS):
            raise InputError(f"scenes: expected some of {', '.join(SCENE_SETS)}, got {self.scenes}")


def prepare(root: Path, out: Path, options: SyntheticOptions, work: Work) -> None:
    """Make the label files that are not there, and check all.

    Raises:
        FormatError: this installation draws other captures than those of the benchmark's version.
    """
    for scenes in options.scenes:
        load_truth(out, scenes, show=work.show)
