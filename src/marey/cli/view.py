"""`marey view`: the report of an existing result."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from marey.core.errors import MissingAssetError
from marey.io.npz import read_estimate_npz
from marey.viz.report import write_report


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the report of an existing result anew and say where it lies."""

    result: Positional[Path]
    """Folder that `marey estimate` wrote, or an estimate.npz."""
    open: bool = False
    """Show it in the web browser too."""


def run(options: Options) -> None:
    """Write the report beside the result.

    Raises:
        MissingAssetError: there is no result.
    """
    archive = options.result / "estimate.npz" if options.result.is_dir() else options.result
    if not archive.is_file():
        raise MissingAssetError(f"{archive} does not exist; give a folder that marey estimate --out wrote, with npz")
    overlay = archive.with_name("overlay.mp4")
    report = archive.with_name("report.html")
    write_report(report, read_estimate_npz(archive), overlay=overlay if overlay.is_file() else None)
    print(f"report: {report}")
    if options.open:
        webbrowser.open(report.resolve().as_uri())
