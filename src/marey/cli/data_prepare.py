"""`marey data prepare`: from an official download to what training and evaluation read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

import tyro

from marey.cli.data import described_labels
from marey.core.errors import InputError
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import DATA_SETS, DataSource
from marey.data.prepare.work import CARD, LABELS, read_card

ROOT_VARIABLE = "MAREY_DATA"


def _own_options() -> Any:
    """The options of every data set, each as a sub-command of its name."""
    return Union[  # noqa: UP007 - of types that are only known when the program runs
        tuple(Annotated[source.options(), tyro.conf.subcommand(name)] for name, source in DATA_SETS.items())
    ]


if TYPE_CHECKING:
    OwnOptions = Any
else:
    OwnOptions = _own_options()


@tyro.conf.configure(tyro.conf.CascadeSubcommandArgs, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
@dataclass(frozen=True, kw_only=True)
class Options:
    """Turn the official download of a data set into labels, images and masks; an interrupted run goes on.

    `marey data list` says what to download.
    """

    data_set: OwnOptions
    """The data set, with options of its own."""
    data_root: Path | None = None
    """Folder of the data sets: the download is in its folder of the data set's name. Default: the environment's
    MAREY_DATA."""
    out: Path | None = None
    """Folder to write. Default: DATA_ROOT/marey/NAME."""
    workers: int = 1
    """Images worked on at once."""
    fresh: bool = False
    """Start over, whatever an earlier run has done."""


def run(options: Options) -> None:
    """Prepare, and say what was written."""
    source = _source_of(options.data_set)
    if options.workers < 1:
        raise InputError(f"--workers: expected 1 or more, got {options.workers}")
    root = options.out if options.out and not source.files else _data_root(options.data_root)
    out = options.out or root / "marey" / source.name
    labels = prepare_data_set(
        source, root / source.name, out, options.data_set, workers=options.workers, fresh=options.fresh
    )
    if labels is not None:
        print(described_labels(labels))
        print(f"wrote {out / LABELS}")
    for note in read_card(out / CARD)["notes"]:
        print(f"- {note}")
    print(f"wrote {out / CARD}")


def _source_of(own: Any) -> DataSource:
    return next(source for source in DATA_SETS.values() if source.options() is type(own))


def _data_root(given: Path | None) -> Path:
    named = os.environ.get(ROOT_VARIABLE, "")
    if given is None and not named:
        raise InputError(f"where are the data sets? Give --data-root, or set {ROOT_VARIABLE} to their folder")
    root = given or Path(named)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; --data-root is where the folders of the data sets are")
    return root
