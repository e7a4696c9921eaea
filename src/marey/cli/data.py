"""`marey data`: which data sets can be prepared, and what labels hold."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from marey.data.labels import Labels, read_labels
from marey.data.prepare.run import label_counts
from marey.data.prepare.sources import DATA_SETS, DataSource, data_source
from marey.io.atomic import check_writable
from marey.io.images import write_image
from marey.pipeline.label_sheet import label_sheet


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """List the data sets that can be prepared: whose they are, where they come from, what to download."""

    name: Positional[str | None] = None
    """Only this one."""


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Say what a file of labels holds, and draw some of its images with boxes and joints."""

    labels: Positional[Path]
    """`labels.npz`, or the folder of one."""
    out: Path | None = None
    """Write the sheet of images here, a .png or .jpg; without it there is none."""
    count: int = 24
    """Images on the sheet, from the first to the last."""
    columns: int = 6
    """Images in a row."""
    width: int = 256
    """Of each image, pixels."""
    split: str | None = None
    """Only the images of train, validation or test."""


def list_data(options: ListOptions) -> None:
    """Print the data sets."""
    chosen = list(DATA_SETS.values()) if options.name is None else [data_source(options.name)]
    print("\n\n".join(map(_described, chosen)))
    if options.name is None:
        print("\nNone of them comes with Marey: download it, mind its licence, then: marey data prepare NAME")


def _described(source: DataSource) -> str:
    lines = [
        f"{source.name}: {source.title}",
        _folded("home", source.home),
        _folded("licence", source.licence),
        *(_folded("download", file) for file in source.files),
        _folded("gives", source.writes),
    ]
    return "\n".join(lines)


def _folded(head: str, words: str) -> str:
    start = f"  {head:<9} "
    return textwrap.fill(
        words, width=100, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False
    )


def show(options: ShowOptions) -> None:
    """Print the counts and write the sheet."""
    path = options.labels / "labels.npz" if options.labels.is_dir() else options.labels
    labels = read_labels(path)
    if options.split is not None:
        labels = labels.of_split(options.split)
    print(described_labels(labels))
    if options.out is not None:
        check_writable(options.out.parent)
        sheet = label_sheet(labels, path.parent, count=options.count, columns=options.columns, width=options.width)
        write_image(options.out, sheet)
        print(f"wrote {options.out}")


def described_labels(labels: Labels) -> str:
    """Words for what labels hold."""
    counts = label_counts(labels)
    splits = [f"{name}: {part['images']} images, {part['people']} people" for name, part in counts["splits"].items()]
    lines = [
        f"{labels.name} {labels.version}".strip(),
        f"{counts['images']} images, {counts['people']} people in them, {counts['cameras']} cameras",
        *splits,
        _folded("joints", f"{len(labels.skeleton)} of {labels.skeleton.name}: {', '.join(labels.skeleton.joints)}"),
        _folded("known", ", ".join(counts["values"]) or "nothing of the people"),
    ]
    return "\n".join(lines)
