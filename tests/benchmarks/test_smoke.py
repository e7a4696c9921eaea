"""Every command of the claims runs, small, and writes what the claims read. Slow."""

import importlib
import json
import sys

import pytest

from house.newcomer import run
from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
claims = importlib.import_module("claims")

CLAIMS = claims.load_claims(ROOT / "benchmarks" / "claims.toml")
COMMANDS = {claim.output: claim.command for claim in CLAIMS}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_benchmark__smoke_run_writes_what_the_claims_read(command, tmp_path):
    read = [claim for claim in CLAIMS if claim.command == command]
    measured = [claim for claim in read if not claims.missing(claim.needs, ROOT)]
    if not measured:
        pytest.skip(claims.missing(read[0].needs, ROOT))
    claim = measured[0]
    out = tmp_path / claim.output
    run(sys.executable, *claim.command, *claim.smoke, "--out", out, cwd=ROOT)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(out.read_text(encoding="utf-8"), parse_constant=refuse)
    assert document["meta"]
    keys = [check.key for other in measured for check in other.checks]
    assert not [key for key in keys if claims.look_up(document, key) is None]
