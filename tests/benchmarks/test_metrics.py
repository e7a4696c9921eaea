import json
import subprocess
import sys

import pytest

from house.source import ROOT


@pytest.mark.slow
def test_aligned_errors__are_faster_than_the_peers_and_equal_to_them(tmp_path):
    out = tmp_path / "metrics.json"
    script = ROOT / "benchmarks" / "metrics.py"
    subprocess.run([sys.executable, str(script), "--out", str(out), "--smoke"], check=True, capture_output=True)
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["difference_mm"]["float32"] < 1e-3
    assert results["difference_mm"]["float64"] < 1e-9
    for dtype in ("float32", "float64"):
        assert results["cpu"][dtype]["over_roma"] > 1
        assert results["cpu"][dtype]["over_numpy"] > 1
