"""`marey convert`: from one file format to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from marey.io.units import Unit
from marey.pipeline.conversion import convert


@dataclass(frozen=True, kw_only=True)
class Options:
    """Convert a file to another format: cameras, joints, motions, keypoints; `marey info formats` lists them."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """File or folder to read."""
    target: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """File or folder to write."""
    from_format: Annotated[str | None, tyro.conf.arg(name="from", metavar="FORMAT")] = None
    """Format of the input, if its name and content do not say it."""
    to_format: Annotated[str | None, tyro.conf.arg(name="to", metavar="FORMAT")] = None
    """Format of the output, if the end of its name does not say it."""
    unit: Unit | float | None = None
    """Of the input, if it does not state it: m, cm, mm, or the metres in one unit (COLMAP)."""
    skeleton: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """What the joints of the input are, if it does not state it; `marey info skeletons` lists them."""
    fps: float | None = None
    """Frames per second of the input, if it does not state them."""


def run(options: Options) -> None:
    """Convert, and say what was converted."""
    done = convert(
        options.source,
        options.target,
        from_format=options.from_format,
        to_format=options.to_format,
        unit=options.unit,
        skeleton=options.skeleton,
        fps=options.fps,
    )
    print(f"{done.source} -> {done.target}: {done.content}")
    for file in done.files:
        print(f"wrote {file}")
