"""The tests that compare with the original programs, counted: how many hold, fail, or had nothing to compare with.

    python benchmarks/parity.py --out FILE [--smoke]

Runs `tests/parity`, whose tests state their tolerances: 1e-9 where the original ran in double precision, else its
rounding. `failed` and `skipped` are of all files together; `tests` counts them by file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as Xml

from measure import ONE_THREAD, ROOT, describe, write_json

FOLDER = ROOT / "tests" / "parity"
PARTS = ("triangulation", "metrabs")
"""Of names of files: those together are counted too."""


def main() -> None:
    """Run the tests and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="one file: does it work?")
    options = parser.parse_args()
    files = sorted(FOLDER.glob("test_*.py"))[: 1 if options.smoke else None]
    outcomes = run(files)
    by_file: dict[str, Counter[str]] = {}
    for name, outcome in outcomes:
        by_file.setdefault(name, Counter())[outcome] += 1
    totals = Counter(outcome for _, outcome in outcomes)
    write_json(
        options.out,
        {
            "passed": totals["passed"],
            "failed": totals["failed"],
            "skipped": totals["skipped"],
            "of": {part: _of(part, by_file) for part in PARTS},
            "tests": {name: dict(sorted(counts.items())) for name, counts in sorted(by_file.items())},
            "meta": describe("torch", "numpy", "pytest"),
        },
    )


def _of(part: str, by_file: dict[str, Counter[str]]) -> dict[str, int]:
    counts = sum((counts for name, counts in by_file.items() if part in name), Counter[str]())
    return {"passed": counts["passed"], "not_passed": counts["failed"] + counts["skipped"]}


def run(files: list[Path]) -> list[tuple[str, str]]:
    """File and outcome of every test in these files."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", f"--junitxml={report}"]
        # Failing tests are counted, not raised; a run that breaks down writes no report, and that is raised below.
        subprocess.run(
            [*command, *map(str, files)], cwd=ROOT, env=os.environ | ONE_THREAD, stdout=sys.stderr, check=False
        )
        cases = Xml.parse(report).iter("testcase")  # noqa: S314 - our own report
        return [(case.get("classname", "").rpartition(".")[2], _outcome(case)) for case in cases]


def _outcome(case: Xml.Element) -> str:
    found = {child.tag for child in case}
    return "failed" if found & {"failure", "error"} else "skipped" if "skipped" in found else "passed"


if __name__ == "__main__":
    main()
