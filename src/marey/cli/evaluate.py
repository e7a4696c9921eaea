"""`marey evaluate`: score a file of predictions by a published protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from marey.pipeline.scoring import PredictionFormat, score_predictions, write_scores


@dataclass(frozen=True, kw_only=True)
class Options:
    """Score a file of predictions by a published protocol, in seconds, and say what the numbers mean."""

    predictions: Path
    """Poses in rows (npz), or what a published program wrote: MeTRAbs's predictions_*.npz, Learnable Triangulation's
    results.pkl, the 3DPW challenge's folder of pickles, COCO's results."""
    protocol: str
    """Such as h36m-metrabs, 3dhp, mupots, 3dpw-14, coco-keypoints; a wrong name lists them all."""
    labels: Path | None = None
    """Poses in rows (npz), or COCO's annotations. MeTRAbs's files of Human3.6M and MPI-INF-3DHP hold their own."""
    format: PredictionFormat | None = None
    """Of the predictions, if their name does not tell it."""
    out: Path | None = None
    """Write the scores, their groups and the card here, as JSON."""


def run(options: Options) -> None:
    """Score, print the numbers and the card."""
    scores = score_predictions(
        options.predictions,
        protocol_name=options.protocol,
        labels=options.labels,
        format=options.format,
    )
    width = max(map(len, scores.values))
    for name, value in scores.values.items():
        print(f"{name:<{width}}  {value:10.3f}")
    print()
    card = vars(scores.card)
    for name, words in card.items():
        print(f"{name:<{max(map(len, card))}}  {words}")
    print(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in scores.counts.items()))
    for note in scores.notes:
        print(f"- {note}")
    if options.out is not None:
        write_scores(options.out, scores)
        print(f"wrote {options.out}")
