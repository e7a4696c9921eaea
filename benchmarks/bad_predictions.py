"""What every protocol makes of predictions and labels that are wrong: refused by rows, told, or a finding.

    python benchmarks/bad_predictions.py --out FILE [--smoke]

Each protocol scores six people; then they are spoiled in every way of `tests/protocol_damage.py`: rows missing,
doubled, foreign; joints of other names; NaN, infinity, text and short arrays in what is scored; labels of another
version; tables without rows. `untyped` counts what ended in an error of another family or in one that names no rows,
`silent_nan` what ended in scores with NaN, or in other scores without a word.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from measure import describe, write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
SMOKE = ("h36m", "3dpw-14", "mupots", "uncertainty")


def main() -> None:
    """Spoil, score, count and write the results."""
    from protocol_damage import PROTOCOLS, outcomes

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="four protocols only: does it work?")
    options = parser.parse_args()
    names = SMOKE if options.smoke else tuple(PROTOCOLS)
    found = outcomes(names)
    kinds = Counter(entry.kind for entry in found)
    findings = [entry._asdict() for entry in found if entry.kind in ("untyped", "unnamed", "nan", "silent")]
    write_json(
        options.out,
        {
            "protocols": len(names),
            "cases": len(found),
            "refused": kinds["refused"],
            "told": kinds["told"],
            "unused": kinds["unused"],
            "untyped": kinds["untyped"] + kinds["unnamed"],
            "silent_nan": kinds["nan"] + kinds["silent"],
            "findings": findings,
            "meta": describe("torch", "numpy"),
        },
    )


if __name__ == "__main__":
    main()
