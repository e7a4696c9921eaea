"""`marey data folder`: your own recordings as a data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from tyro.conf import Positional

from marey.cli.data import described_labels
from marey.core.errors import InputError
from marey.data.folder import SOURCE, FolderOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.work import CARD, LABELS, read_card


@tyro.conf.configure(tyro.conf.OmitArgPrefixes)
@dataclass(frozen=True, kw_only=True)
class Options:
    """Turn your own recordings into labels that every method can be trained and measured on.

    The folder holds views, and a calibration, 3D joints and keypoints as far as there are any; the layout is in
    docs/howto/own_data.md.
    """

    path: Positional[Path]
    """A recording, or a folder of recordings."""
    out: Path | None = None
    """Folder to write. Default: PATH/marey."""
    fresh: bool = False
    """Start over, whatever an earlier run has done."""
    folder: FolderOptions = field(default_factory=FolderOptions)


def run(options: Options) -> None:
    """Make labels, say what was found and what is missing."""
    out = options.out or options.path / "marey"
    if not options.path.is_dir():
        raise InputError(f"{options.path}: no such folder")
    if out.resolve() == options.path.resolve():
        raise InputError(f"--out: {out} is the folder of the recordings itself; choose another")
    labels = prepare_data_set(SOURCE, options.path, out, options.folder, fresh=options.fresh, again=True)
    if labels is not None:
        print(described_labels(labels))
    for note in read_card(out / CARD)["notes"]:
        print(f"- {note}")
    print(f"wrote {out / LABELS} and {out / CARD}")
