"""Render the tables of README.md and the documentation from the JSON files that the benchmarks wrote.

    python benchmarks/render_tables.py           write the tables between their markers
    python benchmarks/render_tables.py --check   exit 1 if a page does not hold what it should

A page marks a table's place with `<!-- table: NAME -->` and `<!-- end of table -->`; no number between them is typed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from benchmark_tables import real_table, synthetic_short_table, synthetic_table  # the line above makes it findable
from claims import RESULTS, ROOT, Outcome, table
from lifting_tables import lifting_balancing_table, lifting_table

PAGES = (
    "README.md",
    "docs/benchmarks.md",
    "docs/concepts/protocols.md",
    "docs/methods/monocular.md",
    "docs/methods/lifting.md",
)
MARKED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def claims_table(results: Path) -> str:
    """Every claim with its bar, its measured value and the verdict."""
    document = json.loads((results / "claims.json").read_text(encoding="utf-8"))
    return table(Outcome(**entry) for entry in document["outcomes"])


def headlines_table(results: Path) -> str:
    """The first number under every claim's number, and how many there are in all."""
    document = json.loads((results / "claims.json").read_text(encoding="utf-8"))
    outcomes = [Outcome(**entry) for entry in document["outcomes"]]
    first = {outcome.id: outcome for outcome in reversed(outcomes)}
    shown = [outcome for outcome in outcomes if first[outcome.id] is outcome]
    counts = [
        f"{count} {status}"
        for status in ("PASS", "MISS", "NOT RUN")
        if (count := sum(outcome.status == status for outcome in outcomes))
    ]
    return f"{table(shown)}\n\n{len(outcomes)} numbers in all: {', '.join(counts)}."


def one_camera_table(results: Path) -> str:
    """Each video alone: distance, its interval, and the pose beside the detector's own."""
    views = json.loads((results / "one_camera.json").read_text(encoding="utf-8"))["views"]
    head = (
        "| video | root depth: mean error | bias | stated deviation | in the 90 % interval | in the 50 % interval "
        "| PA-MPJPE | of the landmarks as they come |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    rows = (
        f"| {name} | {view['depth_error_percent']:.1f} % | {view['depth_bias_percent']:+.1f} % "
        f"| {view['stated_deviation_percent']:.1f} % | {100 * view['interval_90']:.0f} % "
        f"| {100 * view['interval_50']:.0f} % | {view['pa_mpjpe_mm']:.0f} mm "
        f"| {view['world_landmarks_pa_mpjpe_mm']:.0f} mm |"
        for name, view in views.items()
    )
    return "\n".join((head, *rows))


def protocol_spread_table(results: Path) -> str:
    """One set of predictions under every protocol, the smallest number first."""
    rows = json.loads((results / "protocol_spread.json").read_text(encoding="utf-8"))["rows"]
    cells = (f"| `{row['protocol']}` | `{row['number']}` | {row['mm']:.1f} |" for row in sorted(rows, key=_millimetres))
    return "\n".join(("| protocol | number | mm |\n|---|---|---:|", *cells))


def _millimetres(row: Mapping[str, float]) -> float:
    return row["mm"]


def protocol_cards_table(results: Path) -> str:
    """What the numbers of every protocol mean."""
    cards = json.loads((results / "protocols.json").read_text(encoding="utf-8"))["cards"]
    parts = ("joints", "alignment", "averaging", "matching", "thresholds", "units")
    return "\n\n".join(
        "\n".join((f"**`{card['name']}`**, after {card['source']}", "", *(f"- {part}: {card[part]}" for part in parts)))
        for card in cards
    )


TABLES = {
    "synthetic_v1": synthetic_table,
    "synthetic_v1_short": synthetic_short_table,
    "real": real_table,
    "claims": claims_table,
    "headlines": headlines_table,
    "one_camera": one_camera_table,
    "lifting": lifting_table,
    "lifting_balancing": lifting_balancing_table,
    "protocol_spread": protocol_spread_table,
    "protocol_cards": protocol_cards_table,
}


def rendered(page: str, results: Path) -> str:
    """The page with every marked table as the results say it is."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}{TABLES[match['name']](results)}\n{match[3]}"

    return MARKED.sub(fill, page)


def main() -> int:
    """Exit 1 with `--check` if a page is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    stale = []
    for path in (ROOT / page for page in PAGES):
        before = path.read_text(encoding="utf-8")
        after = rendered(before, RESULTS)
        if after != before:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(after, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'not up to date; run make tables' if check else 'rendered'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
