"""Fuzz every reader and write what was found as JSON.

python tests/fuzz/fuzz_readers.py --inputs 1000000 --out fuzz_readers.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]

KEPT = Path(tempfile.gettempdir()) / "marey-fuzz"


def main() -> None:
    """Share the inputs among the readers, two processes at a time."""
    from fuzz.runner import run_target
    from fuzz.targets import TARGETS
    from measure import describe, write_json

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, help="damaged files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="part of a reader's name")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder for inputs of findings")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    chosen = [target for target in TARGETS if not options.only or options.only in target.name]
    share = -(-options.inputs // len(chosen))

    def run(target):
        started = time.perf_counter()
        ran, accepted, findings = run_target(target, inputs=share, seed=options.seed, keep=options.keep)
        seconds = time.perf_counter() - started
        print(f"{target.name:<24} {ran:>8} inputs, {accepted:>7} read, {len(findings)} findings, {seconds:.0f} s")
        for finding in findings:
            print(f"    {finding.kind}: {finding.detail}\n        {finding.input_file}")
        return ran, accepted, findings

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, chosen))
    found = [asdict(finding) for _, _, findings in results for finding in findings]
    readers = {
        target.name: {"inputs": ran, "read": accepted, "findings": len(findings)}
        for target, (ran, accepted, findings) in zip(chosen, results, strict=True)
    }
    summary = {
        "inputs": sum(ran for ran, _, _ in results),
        "findings": len(found),
        "readers": readers,
        "details": found,
    }
    if options.out:
        write_json(options.out, {**summary, "meta": describe("numpy", threads=options.jobs)})
    sys.exit(1 if found and not options.out else 0)


if __name__ == "__main__":
    main()
