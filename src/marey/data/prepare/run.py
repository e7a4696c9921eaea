"""Prepare one data set: open the work, run what its module does, write labels and card."""

from __future__ import annotations

import json
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marey._version import __version__
from marey.core import InputError
from marey.data.labels import Labels, read_labels, write_labels
from marey.data.prepare.sources import DataSource
from marey.data.prepare.work import CARD, LABELS, Work
from marey.io.atomic import atomic_write_text


def prepare_data_set(
    source: DataSource,
    root: Path,
    out: Path,
    options: Any,
    *,
    workers: int = 1,
    fresh: bool = False,
    again: bool = False,
    show: bool | None = None,
) -> Labels | None:
    """Prepare a data set, or go on where an earlier run stopped.

    Args:
        source: The data set.
        root: Folder of the official download.
        out: Folder to write; `labels.npz` and `card.json` come last.
        options: The frozen dataclass of `source.options()`.
        workers: Threads for images.
        fresh: Start over.
        again: Look at everything in every run, as for folders that their owner works on; steps that are done stay done.
        show: Progress bars; None: if standard error is a terminal.

    Returns:
        The labels; None for sets without people.

    Raises:
        MissingAssetError: a file of the download is absent.
        InputError: the options or inputs are not those of the earlier run, or a file cannot be read or written.
        FormatError: a file is not what its format demands.
        KeyboardInterrupt: with a sentence that says where the work goes on.
    """
    began = time.time()
    how: dict[str, Any] = {"fresh": fresh, "again": again, "workers": workers, "show": show}
    with Work(source, root, out, options=_plain(options), **how) as work:
        if work.is_complete and not again and (out / CARD).exists():
            return _known(work)
        try:
            labels: Labels | None = source.prepare()(root, out, options, work)
            if labels is not None:
                write_labels(out / LABELS, labels)
            card = _card(work, labels, options, seconds=time.time() - began)
            atomic_write_text(out / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
            work.complete()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"run the same command again to go on; what is done is in {out}") from None
        except OSError as error:
            if error.errno is None:  # one of ours, whose message says it all
                raise
            raise InputError(
                f"{source.name}: {error.strerror}: {error.filename or out}; "
                "when that is mended, run the same command again to go on"
            ) from error
        return labels


def _known(work: Work) -> Labels | None:
    """What an earlier run gave, if its inputs are still the same or are gone: who has the result may remove them."""
    for path in (work.root / entry["path"] for entry in work.inputs):
        if path.exists():
            work.record(path)
    path = work.out / LABELS
    return read_labels(path) if path.exists() else None


def _plain(options: Any) -> dict[str, Any]:
    """Options as JSON holds them."""
    if not is_dataclass(options) or isinstance(options, type):
        raise InputError(f"options: expected a dataclass, got {options!r}")
    plain: dict[str, Any] = json.loads(json.dumps(asdict(options), default=str))
    return plain


def _card(work: Work, labels: Labels | None, options: Any, *, seconds: float) -> dict[str, Any]:
    return {
        "data_set": work.source.name,
        "title": work.source.title,
        "source": work.source.home,
        "licence": work.source.licence,
        "prepared_with": {"marey": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "prepared_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds_of_last_run": round(seconds, 1),
        "options": _plain(options),
        "labels": None if labels is None else label_counts(labels),
        "notes": list(work.notes),
        "inputs": list(work.inputs),
    }


def label_counts(labels: Labels) -> dict[str, Any]:
    """How many images, people and cameras there are, in all and by split."""
    image_splits = Counter(labels.split.tolist())
    row_splits: Mapping[str, int] = Counter(labels.split[labels.image].tolist())
    return {
        "name": labels.name,
        "version": labels.version,
        "images": len(labels.images),
        "people": len(labels),
        "cameras": 0 if labels.cameras is None else labels.cameras.batch_shape[0],
        "joints": list(labels.skeleton.joints),
        "values": sorted(labels.values),
        "splits": {name: {"images": image_splits[name], "people": row_splits[name]} for name in sorted(image_splits)},
    }
