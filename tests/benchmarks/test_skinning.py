import importlib
import json
import subprocess
import sys

import pytest

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
measure = importlib.import_module("measure")


@pytest.mark.slow
@pytest.mark.skipif(not measure.PEERS.exists(), reason="the peers' environment is missing: make peers")
def test_posing__equals_smplx_for_the_whole_family(tmp_path):
    out = tmp_path / "skinning.json"
    script = ROOT / "benchmarks" / "skinning.py"
    subprocess.run([sys.executable, str(script), "--out", str(out), "--smoke"], check=True, capture_output=True)
    results = json.loads(out.read_text(encoding="utf-8"))
    assert set(results["difference_m"]) == {"smpl", "smplh", "smplx", "worst"}
    assert 0 < results["difference_m"]["worst"] < 1e-6
    for clock in ("wall", "cpu"):
        assert all(rate > 0 for rate in results[clock]["bodies_per_second"].values())
