"""`marey evaluate`: measure a method on a benchmark, score a file of predictions, compare two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from marey.core import InputError
from marey.data.labelled_benchmark import DataChoice
from marey.data.moment_table import MomentOptions, Split
from marey.data.precomputed_centers import PredictionFile
from marey.engine.evaluation import Metric, comparison_document
from marey.io.atomic import atomic_write_text
from marey.metrics.protocols import Scores
from marey.pipeline.evaluating import CellResult, evaluate_method, protocols_of
from marey.pipeline.scoring import (
    PredictionFormat,
    benchmark_of,
    compare_predictions,
    of_single_images,
    score_predictions,
    score_seeds,
    write_scores,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure a method on a benchmark, score predictions by a published protocol, or compare two files of them.

    METHOD --benchmark B --out DIR predicts to files, then scores them; it goes on where it was interrupted. On a data
    set it also writes the results.pkl and metric.json of Learnable Triangulation, or, for single images, the
    predictions_*.npz of MeTRAbs.
    --predictions F --protocol P scores a file in seconds and says what the numbers mean. --compare A B gives the
    difference of two with its 95 % interval.
    """

    method: Positional[str | None] = None
    """Such as classical; a wrong name lists them all."""
    benchmark: str | None = None
    """synthetic; or a data set that was prepared: h36m, cmu, 3dhp, mupots, 3dpw, or the folder of any labels.npz. For a
    method that takes one view only, every image of it is a sample; papers report --split test."""
    cell: tuple[str, ...] = ()
    """Cells of the benchmark; none: all that the method takes."""
    split: Split = "val"
    """Of a data set. val: its images for validation, or those for test if it has none for validation."""
    views: str | None = None
    """Cameras of a data set, such as 0,1,2: by name or place, CMU Panoptic's by name or number; all if not given."""
    ignore_views: str | None = None
    """Those that are left out, given likewise."""
    every: int = 1
    """Only every so many moments of a data set, but of its split train: retain_every_n_frames_in_test."""
    damaged: bool = True
    """Whether the three actions of Human3.6M's S9 with displaced labels are measured too, with_damaged_actions."""
    centers: Path | None = None
    """Predicted poses whose pelvis volumes are put around, the original's pred_results_path: rows of poses (npz), or
    results.pkl. Or the word labels: around the labelled pelvis, the original's use_gt_pelvis."""
    centers_labels: Path | None = None
    """Human3.6M: the label file (npy) that a results.pkl of --centers was predicted with, if it is another one."""
    weights: Path | None = None
    """Of a method that has some: short for --set weights=PATH."""
    set: Annotated[
        tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=VALUE ...")
    ] = ()
    """Change settings of the method, such as triangulation=dlt."""
    limit: int | None = None
    """Only so many samples of each cell, the first."""
    predictions: Path | None = None
    """Poses in rows (npz), or what a published program wrote: MeTRAbs's predictions_*.npz, Learnable Triangulation's
    results.pkl, the 3DPW challenge's folder of pickles, COCO's results."""
    seeds: int = 1
    """Score so many files of predictions and give mean and deviation: `seed1` in the path of --predictions, and of
    --labels, becomes seed2, seed3, ..."""
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
        options.method,
        options.benchmark,
        options.out,
        cells=options.cell,
        choice=_choice(options),
        changes=(*chain(*options.set), *([] if options.weights is None else [f"weights={options.weights}"])),
        limit=options.limit,
        progress=True,
    )
    print("\n".join(_table(found)))
    print(f"wrote {options.out}")


def _choice(options: Options) -> DataChoice:
    labelled = options.centers == Path("labels")
    predicted = None if labelled else options.centers
    if predicted is None and options.centers_labels is not None:
        raise InputError("--centers-labels goes with --centers FILE: it says what the numbers in that file mean")
    return DataChoice(
        moments=MomentOptions(
            split=options.split,
            views=comma_separated(options.views),
            ignored_views=comma_separated(options.ignore_views),
            every=options.every,
            damaged=options.damaged,
        ),
        centers=None if predicted is None else PredictionFile(path=predicted, labels=options.centers_labels),
        labelled_centers=labelled,
    )


def comma_separated(words: str | None) -> tuple[str, ...]:
    """`0,1,2` as its parts; none for nothing."""
    return tuple(word.strip() for word in (words or "").split(",") if word.strip())


def _score(options: Options) -> None:
    assert options.predictions is not None  # run has seen to it
    names = _protocols(options, options.predictions)
    if options.seeds != 1:
        _score_seeds(options, names)
        return
    found = {
        name: score_predictions(options.predictions, protocol_name=name, labels=options.labels, format=options.format)
        for name in names
    }
    print("\n\n".join("\n".join(_told(scores)) for scores in found.values()))
    if options.out is not None:
        write_scores(options.out, *found.values())
        print(f"wrote {options.out}")


def _score_seeds(options: Options, names: Sequence[str]) -> None:
    assert options.predictions is not None  # run has seen to it
    found = {
        name: score_seeds(
            options.predictions,
            options.seeds,
            protocol_name=name,
            labels=options.labels,
            format=options.format,
        )
        for name in names
    }
    for name, scores in found.items():
        width = max(map(len, scores.mean))
        print(f"{name}: mean and standard deviation of {len(scores.seeds)} seeds")
        for metric, mean in scores.mean.items():
            print(f"{metric:<{width}}  {mean:10.3f} +- {scores.deviation[metric]:.3f}")
    if options.out is not None:
        document = {name: scores.asdict() for name, scores in found.items()}
        atomic_write_text(options.out, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
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
    if known := protocols_of(benchmark_of(path), single_images=of_single_images(path)):
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
                if isinstance(scores, str):
                    lines.append(f"  {protocol}: not scored: {scores}")
                    continue
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
