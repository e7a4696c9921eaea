"""Measure what Marey promises and say PASS, MISS or NOT RUN.

    python benchmarks/claims.py             every claim of claims.toml
    python benchmarks/claims.py --id 1.3    one, or all that begin with the id given ("1." is the first chapter)

Writes results/claims.json (a partial run keeps the other claims' last results) and results/claims.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import operator
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One number and the bar it has to clear."""

    label: str
    key: str
    """Dotted path into the JSON file that the command writes."""
    op: str
    """One of `OPERATORS`, or `in` for a range."""
    bar: float | list[float]
    unit: str = ""

    @property
    def condition(self) -> str:
        """`<= 45`, or `83 .. 97`."""
        return f"{self.bar[0]:g} .. {self.bar[1]:g}" if isinstance(self.bar, list) else f"{self.op} {self.bar:g}"

    def holds(self, value: float) -> bool:
        """Whether the value clears the bar; NaN never does."""
        if isinstance(self.bar, list):
            return self.bar[0] <= value <= self.bar[1]
        return bool(OPERATORS[self.op](value, self.bar))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One promise: the command that measures it and the checks of what it writes."""

    id: str
    text: str
    command: tuple[str, ...]
    checks: tuple[Check, ...]
    needs: tuple[str, ...] = ()
    smoke: tuple[str, ...] = ()
    """Arguments that make the command short."""

    @property
    def output(self) -> str:
        """Name of the JSON file: that of the script."""
        return Path(self.command[0]).stem + ".json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one check."""

    id: str
    text: str
    label: str
    status: str
    """PASS, MISS or NOT RUN."""
    value: float | None
    condition: str
    unit: str
    why: str
    """Why it was not run; empty otherwise."""
    measured: str
    """When, UTC."""

    def __str__(self) -> str:
        if self.status == "NOT RUN":
            return f"{self.id} NOT RUN ({self.why}): {self.label}"
        return f"{self.id} {self.status} {quantity(self)} ({self.condition}): {self.label}"


def quantity(outcome: Outcome) -> str:
    """The value with its unit, three significant digits, no exponent."""
    if outcome.value is None:
        return "-"
    digits = f"{float(f'{outcome.value:.3g}'):,.10f}".rstrip("0").rstrip(".")
    return f"{digits} {outcome.unit}".strip()


def load_claims(path: Path) -> list[Claim]:
    """Read claims.toml; an unknown key or operator is an error."""
    claims = []
    for entry in tomllib.loads(path.read_text(encoding="utf-8"))["claim"]:
        checks = tuple(Check(**check) for check in entry.pop("check"))
        for check in checks:
            if (check.op == "in") != isinstance(check.bar, list) or check.op not in (*OPERATORS, "in"):
                raise ValueError(f"claim {entry['id']}: operator {check.op!r} and bar {check.bar!r} do not fit")
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
        claims.append(Claim(checks=checks, **fields))
    return claims


def missing(needs: Iterable[str], root: Path) -> str:
    """The first need that this machine does not meet, in words; empty if it meets all."""
    for need in needs:
        if need == "gpu":
            import torch

            if not torch.cuda.is_available():
                return "no GPU here"
        elif need.startswith("package:"):
            if importlib.util.find_spec(need.removeprefix("package:")) is None:
                return f"the package {need.removeprefix('package:')} is not installed"
        elif not (root / need).exists():
            return f"{need} is not here" + ("; run make peers" if need.startswith(".venv-peers") else "")
    return ""


def run(claim: Claim, root: Path, results: Path) -> str:
    """Run a claim's command and keep its JSON file; return why there is none, or nothing."""
    if not (root / claim.command[0]).exists():
        return f"{claim.command[0]} does not exist"
    unfinished = results / "tmp" / claim.output
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    print(f"running {' '.join(claim.command)}", file=sys.stderr, flush=True)
    command = [sys.executable, *claim.command, "--out", str(unfinished)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not unfinished.exists():
        last = (done.stderr.strip() or "nothing on the error output").splitlines()[-1]
        return f"{' '.join(claim.command)} ended with {done.returncode}: {last}"
    unfinished.replace(results / claim.output)
    return ""


def look_up(document: Any, key: str) -> float | None:
    """The number under a dotted key, None if there is none."""
    for part in key.split("."):
        if isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        elif isinstance(document, Mapping) and part in document:
            document = document[part]
        else:
            return None
    return float(document) if isinstance(document, (int, float)) else None


def judge(claim: Claim, why: str, results: Path) -> list[Outcome]:
    """Compare what was measured with the bars."""
    document = {} if why else json.loads((results / claim.output).read_text(encoding="utf-8"))
    outcomes = []
    for check in claim.checks:
        value = look_up(document, check.key)
        reason = why or ("" if value is not None else f"{claim.output} has no number {check.key}")
        outcomes.append(
            Outcome(
                id=claim.id,
                text=claim.text,
                label=check.label,
                status="NOT RUN" if value is None else "PASS" if check.holds(value) else "MISS",
                value=value,
                condition=check.condition,
                unit=check.unit,
                why=reason,
                measured=datetime.now(UTC).isoformat(timespec="seconds"),
            )
        )
    return outcomes


def measure(claims: Iterable[Claim], root: Path, results: Path) -> list[Outcome]:
    """Run every command once, print and return the outcomes."""
    reasons: dict[tuple[str, ...], str] = {}
    outcomes: list[Outcome] = []
    for claim in claims:
        why = missing(claim.needs, root)
        if not why and claim.command not in reasons:
            reasons[claim.command] = run(claim, root, results)
        for outcome in judge(claim, why or reasons[claim.command], results):
            print(outcome, flush=True)
            outcomes.append(outcome)
    return outcomes


def keep(outcomes: list[Outcome], claims: list[Claim], results: Path) -> list[Outcome]:
    """Merge with the last results, in the order of claims.toml, and write both files."""
    path = results / "claims.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))["outcomes"] if path.exists() else []
    known = {(outcome.id, outcome.label): outcome for outcome in (*(Outcome(**entry) for entry in earlier), *outcomes)}
    order = [(claim.id, check.label) for claim in claims for check in claim.checks]
    merged = [known[place] for place in order if place in known]
    document = {"outcomes": [asdict(outcome) for outcome in merged]}
    _write(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    _write(results / "claims.md", table(merged) + "\n")
    return merged


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes as a Markdown table."""
    lines = ["| claim | what | measured | bar | |", "|---|---|---:|---|---|"]
    lines += [
        f"| {outcome.id} | {outcome.label} | {quantity(outcome)} | {outcome.condition} | {outcome.status} |"
        for outcome in outcomes
    ]
    return "\n".join(lines)


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def main() -> int:
    """Exit 1 if a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--id", default="", help="only the claims whose id begins with this")
    chosen = parser.parse_args().id
    claims = load_claims(ROOT / "benchmarks" / "claims.toml")
    selected = [claim for claim in claims if f"{claim.id}.".startswith(f"{chosen.rstrip('.')}." if chosen else "")]
    if not selected:
        parser.error(f"no claim {chosen}; there are {', '.join(dict.fromkeys(claim.id for claim in claims))}")
    RESULTS.mkdir(exist_ok=True)
    outcomes = measure(selected, ROOT, RESULTS)
    keep(outcomes, claims, RESULTS)
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in ("PASS", "MISS", "NOT RUN")}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return 1 if counts["MISS"] else 0


if __name__ == "__main__":
    sys.exit(main())
