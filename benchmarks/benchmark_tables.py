"""The tables of the benchmark `synthetic` and of real recordings, from their results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHORT = ("single_easy", "single_medium", "single_hard", "occlusion_40", "calibrated_4", "calibrated_8")
"""Cells of the benchmark that README shows."""


def synthetic_table(results: Path) -> str:
    """Every method on every cell of the benchmark; who beats all others of a cell is bold."""
    document = json.loads((results / "synthetic_v1.json").read_text(encoding="utf-8"))
    names = document["methods"]
    head = f"| cell | {' | '.join(names.values())} |\n|---|{'---:|' * len(names)}"
    rows = (
        f"| {cell['title']} | {' | '.join(_synthetic_entry(cell, name, full=True) for name in names)} |"
        for cell in document["cells"].values()
    )
    return "\n".join((head, *rows))


def synthetic_short_table(results: Path) -> str:
    """MPJPE on some cells."""
    document = json.loads((results / "synthetic_v1.json").read_text(encoding="utf-8"))
    cells = [document["cells"][name] for name in SHORT]
    head = f"| MPJPE, mm | {' | '.join(cell['title'] for cell in cells)} |\n|---|{'---:|' * len(cells)}"
    rows = (
        f"| {title} | {' | '.join(_synthetic_entry(cell, name, full=False) for cell in cells)} |"
        for name, title in document["methods"].items()
        if any(name in cell["methods"] for cell in cells)
    )
    return "\n".join((head, *rows))


def _synthetic_entry(cell: Mapping[str, Any], method: str, *, full: bool) -> str:
    """MPJPE, then PA-MPJPE and the coverage of 90 % if all is wanted; a dash for what a method cannot do."""
    if method not in cell["methods"]:
        return "-"
    numbers = cell["methods"][method]
    shown = f"{numbers['mpjpe_mm']:.1f}"
    # the mean pose stands for nothing to be proud of
    if method != "mean_pose" and _beats_all(cell, method):
        shown = f"**{shown}**"
    if not full:
        return shown
    covered = f" / {numbers['coverage_90_percent']:.0f} %" if "coverage_90_percent" in numbers else ""
    return f"{shown} / {numbers['pa_mpjpe_mm']:.1f}{covered}"


def _beats_all(cell: Mapping[str, Any], method: str) -> bool:
    mine = [pair for pair in cell["pairs"] if method in (pair["first"], pair["second"])]
    return bool(mine) and all(pair["first"] == method and pair["beats"] for pair in mine)


def real_table(results: Path) -> str:
    """Every method on the recordings that it can do."""
    document = json.loads((results / "real.json").read_text(encoding="utf-8"))
    columns = document["recordings"]
    head = f"| | {' | '.join(columns.values())} |\n|---|{'---:|' * len(columns)}"
    rows = (
        f"| {row['title']} | {' | '.join(_real_entry(row['numbers'].get(name)) for name in columns)} |"
        for row in document["methods"]
    )
    return "\n".join((head, *rows))


def _real_entry(number: Mapping[str, Any] | None) -> str:
    return "-" if number is None else f"{number['value']:.{number['decimals']}f} {number['unit']}"
