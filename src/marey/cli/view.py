"""`marey view`: the report of an existing result, or predictions of a data set drawn over its pictures."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from marey.core.errors import InputError, MissingAssetError
from marey.data.moment_table import MomentOptions, Split

if TYPE_CHECKING:
    from marey.pipeline.drawn_data import DrawnData

_PREDICTIONS = ("results.pkl", "predictions.npz")
"""Of a folder of `marey evaluate`; the second has what was found in 2D too."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the report of an existing result anew and say where it lies; or draw predictions over pictures.

    With --labels or --config, RESULT is what `marey evaluate` or Learnable Triangulation predicted on a data set, and
    every pose becomes a PNG: picture, keypoints, projected estimate and label, volume and confidences in all views.
    """

    result: Positional[Path]
    """Folder that `marey estimate` wrote, or an estimate.npz. Predictions: a results.pkl, rows of poses (npz), or the
    folder of a cell that `marey evaluate` wrote."""
    open: bool = False
    """Show it in the web browser too."""
    labels: str | None = None
    """The prepared data set that the predictions are of: its folder or name, as for marey evaluate --benchmark."""
    config: Path | None = None
    """Or a configuration file (YAML) of Learnable Triangulation, which names data set, options and cuboid."""
    save: Path | None = None
    """Folder for the pictures; if not given, `pictures` beside the predictions."""
    step: int = 1
    """Draw every so many poses."""
    limit: int | None = None
    """Draw at most so many."""
    views: str | None = None
    """Such as 0,1,2: as for marey evaluate; all if not given."""
    split: Split | None = None
    """Of the data set, as for marey evaluate; val if not given."""
    every: int | None = None
    """A results.pkl counts only every so many samples of the split."""
    cuboid_side: float | None = None
    """Metres, of the volume about each person; none is drawn without, unless the configuration names it."""


def run(options: Options) -> None:
    """Write the report beside the result, or the pictures.

    Raises:
        MissingAssetError: there is no result.
        InputError: options do not go together, or predictions are of other samples.
    """
    if options.labels is not None and options.config is not None:
        raise InputError("--labels and --config both say which data set it is; pass one of them")
    if options.labels is not None or options.config is not None:
        _draw(options)
    elif options.result.suffix in (".pkl", ".pickle"):
        raise InputError(f"{options.result} holds poses of a data set: pass --labels FOLDER, or --config FILE.yaml")
    else:
        _report(options)


def _report(options: Options) -> None:
    from marey.io.npz import read_estimate_npz
    from marey.viz.report import write_report

    archive = options.result / "estimate.npz" if options.result.is_dir() else options.result
    if not archive.is_file():
        raise MissingAssetError(f"{archive} does not exist; give a folder that marey estimate --out wrote, with npz")
    overlay = archive.with_name("overlay.mp4")
    report = archive.with_name("report.html")
    write_report(report, read_estimate_npz(archive), overlay=overlay if overlay.is_file() else None)
    print(f"report: {report}")
    if options.open:
        webbrowser.open(report.resolve().as_uri())


def _draw(options: Options) -> None:
    from marey.pipeline.redrawing import redraw

    result = options.result
    if result.is_dir():
        result = next((result / name for name in reversed(_PREDICTIONS) if (result / name).is_file()), result)
    if not result.is_file():
        raise MissingAssetError(f"{result}: no predictions; give a results.pkl, or a folder with {_PREDICTIONS[1]}")
    save = options.save or result.with_name("pictures")
    files = redraw(result, _data(options), save, step=options.step, limit=options.limit, progress=True)
    print(f"wrote {len(files)} pictures in {save}, from {files[0].name} to {files[-1].name}")
    if options.open:
        webbrowser.open(files[0].resolve().as_uri())


def _data(options: Options) -> DrawnData:
    from marey.pipeline.drawn_data import configured_data, prepared_data

    if options.config is not None:
        data = configured_data(options.config)
    else:
        assert options.labels is not None  # run has seen to it
        data = prepared_data(options.labels, MomentOptions())
    views = tuple(word.strip() for word in (options.views or "").split(",") if word.strip())
    given: dict[str, Any] = {"split": options.split, "every": options.every, "views": views or None}
    moments = replace(data.moments, **{name: value for name, value in given.items() if value is not None})
    return replace(data, moments=moments, cuboid_side=options.cuboid_side or data.cuboid_side)
