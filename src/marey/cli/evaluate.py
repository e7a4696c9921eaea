"""`marey evaluate`: measure a method on a benchmark, score a file of predictions, compare two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from marey.core import InputError
from marey.engine.evaluation import Metric, comparison_document
from marey.io.atomic import atomic_write_text
from marey.metrics.protocols import Scores
from marey.pipeline.evaluating import CellResult, evaluate_method, protocols_of
from marey.pipeline.scoring import (
    PredictionFormat,
    benchmark_of,
    compare_predictions,
    score_predictions,
    write_scores,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure a method on a benchmark, score predictions by a published protocol, or compare two files of them.

    METHOD --benchmark B --out DIR predicts to files, then scores them; it goes on where it was interrupted.
    --predictions F --protocol P scores a file in seconds and says what the numbers mean. --compare A B gives the
    difference of two with its 95 % interval.
    """

    method: Positional[str | None] = None
    """Such as classical; a wrong name lists them all."""
    benchmark: str | None = None
    """Such as synthetic."""
    cell: tuple[str, ...] = ()
    """Cells of the benchmark; none: all that the method takes."""
    limit: int | None = None
    """Only so many samples of each cell, the first."""
    predictions: Path | None = None
    """Poses in rows (npz), or what a published program wrote: MeTRAbs's predictions_*.npz, Learnable Triangulation's
    results.pkl, the 3DPW challenge's folder of pickles, COCO's results."""
    compare: tuple[Path, Path] | None = None
    """Two files of predictions of the same labels, or folders of cells that this command wrote."""
    protocol: str | None = None
    """Such as h36m-metrabs, 3dhp, mupots, 3dpw-14, coco-keypoints; a wrong name lists them all. None: those of the
    benchmark that the predictions were made for."""
    labels: Path | None = None
    """Poses in rows (npz), or COCO's annotations. MeTRAbs's files of Human3.6M and MPI-INF-3DHP hold their own, and
    predictions on a benchmark have them beside."""
    format: PredictionFormat | None = None
    """Of the predictions, if their name does not tell it."""
    out: Path | None = None
    """The folder of a method's predictions and scores; else a file for the scores, their groups and the card, as
    JSON."""


def run(options: Options) -> None:
    """Do what is asked for, print the numbers and what they mean."""
    asked = [name for name in ("method", "predictions", "compare") if getattr(options, name) is not None]
    if len(asked) != 1:
        raise InputError(f"expected one of METHOD, --predictions and --compare, got {', '.join(asked) or 'none'}")
    {"method": _measure, "predictions": _score, "compare": _compare}[asked[0]](options)


def _measure(options: Options) -> None:
    if options.benchmark is None or options.out is None:
        raise InputError("a method is measured on a benchmark, and leaves files: pass --benchmark and --out")
    assert options.method is not None  # run has seen to it
    found = evaluate_method(
        options.method, options.benchmark, options.out, cells=options.cell, limit=options.limit, progress=True
    )
    print("\n".join(_table(found)))
    print(f"wrote {options.out}")


def _score(options: Options) -> None:
    assert options.predictions is not None  # run has seen to it
    names = _protocols(options, options.predictions)
    found = {
        name: score_predictions(options.predictions, protocol_name=name, labels=options.labels, format=options.format)
        for name in names
    }
    print("\n\n".join("\n".join(_told(scores)) for scores in found.values()))
    if options.out is not None:
        write_scores(options.out, *found.values())
        print(f"wrote {options.out}")


def _compare(options: Options) -> None:
    assert options.compare is not None  # run has seen to it
    found: dict[str, Sequence[Metric]] = {
        name: compare_predictions(*options.compare, protocol_name=name, labels=options.labels, format=options.format)
        for name in _protocols(options, options.compare[0])
    }
    print(f"first: {options.compare[0]}\nsecond: {options.compare[1]}\n")
    print("\n\n".join("\n".join(_told_comparison(name, metrics)) for name, metrics in found.items()))
    if options.out is not None:
        document = {name: comparison_document(metrics) for name, metrics in found.items()}
        atomic_write_text(options.out, json.dumps(document, indent=2) + "\n")
        print(f"wrote {options.out}")


def _protocols(options: Options, path: Path) -> tuple[str, ...]:
    if options.protocol is not None:
        return (options.protocol,)
    if known := protocols_of(benchmark_of(path)):
        return known
    raise InputError("protocol: pass --protocol, such as h36m-metrabs; these predictions do not say their benchmark")


def _told(scores: Scores) -> list[str]:
    """Numbers, card, counts and notes."""
    width, card = max(map(len, scores.values)), vars(scores.card)
    return [
        *(f"{name:<{width}}  {value:10.3f}" for name, value in scores.values.items()),
        "",
        *(f"{name:<{max(map(len, card))}}  {words}" for name, words in card.items()),
        ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in scores.counts.items()),
        *(f"- {note}" for note in scores.notes),
    ]


def _table(found: Mapping[str, CellResult]) -> list[str]:
    """One block a cell: protocol, metric, value; or why there is none."""
    lines = []
    for cell, result in found.items():
        lines.append(f"{cell}: not run: {result}" if isinstance(result, str) else f"{cell}:")
        if not isinstance(result, str):
            for protocol, scores in result.items():
                lines += [f"  {protocol:<12} {name:<22} {value:10.3f}" for name, value in scores.values.items()]
                lines += [f"  - {note}" for note in scores.notes]
    return lines


def _told_comparison(protocol: str, metrics: Sequence[Metric]) -> list[str]:
    head = f"{protocol:<24} {'first':>10} {'second':>10} {'difference':>11}   95 % interval"
    rows = []
    for metric in metrics:
        found = metric.comparison
        rows.append(
            f"{metric.name:<24} {found.first:10.3f} {found.second:10.3f} {found.difference:11.3f}   "
            f"[{found.low:.3f}, {found.high:.3f}]  {metric.verdict}"
        )
    counts = metrics[0].comparison if metrics else None
    tail = [] if counts is None else [f"{counts.samples} rows in {counts.clusters} independent groups"]
    return [head, *rows, *tail]
