"""The claims runner: verdicts, reasons, what is run how often; and the table that README shows."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
claims = importlib.import_module("claims")
render_tables = importlib.import_module("render_tables")

SCRIPT = """
import json, sys
with open("runs.txt", "a") as log:
    log.write("run ")
document = {"mean_mm": 43.81234, "views": [{"inside": 91.0}], "slow": 2.0, "nothing": None}
open(sys.argv[sys.argv.index("--out") + 1], "w").write(json.dumps(document))
"""

TOML = """
[[claim]]
id = "9.1"
text = "near"
command = ["speed.py"]
check = [{ label = "mean", key = "mean_mm", op = "<=", bar = 45, unit = "mm" }]
[[claim]]
id = "9.2"
text = "inside, and fast"
command = ["speed.py"]
check = [
    { label = "inside", key = "views.0.inside", op = "in", bar = [83, 97], unit = "%" },
    { label = "fast", key = "slow", op = ">", bar = 5 },
    { label = "absent", key = "views.1.inside", op = ">", bar = 5 },
    { label = "null", key = "nothing", op = ">", bar = 5 },
]
[[claim]]
id = "9.3"
text = "elsewhere"
command = ["speed.py"]
needs = ["no/such/folder"]
check = [{ label = "mean", key = "mean_mm", op = "<", bar = 45 }]
[[claim]]
id = "9.4"
text = "broken"
command = ["broken.py"]
check = [{ label = "mean", key = "mean_mm", op = "<", bar = 45 }]
"""


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    (tmp_path / "speed.py").write_text(SCRIPT)
    (tmp_path / "broken.py").write_text("raise SystemExit('it broke')")
    (tmp_path / "claims.toml").write_text(TOML)
    (tmp_path / "results").mkdir()
    return tmp_path


def measured(workplace: Path, *ids: str) -> list:
    chosen = [claim for claim in claims.load_claims(workplace / "claims.toml") if not ids or claim.id in ids]
    return claims.measure(chosen, workplace, workplace / "results")


def test_measure__says_pass_miss_or_why_not(workplace, capsys):
    measured(workplace)
    assert capsys.readouterr().out.splitlines() == [
        "9.1 PASS 43.8 mm (<= 45): mean",
        "9.2 PASS 91 % (83 .. 97): inside",
        "9.2 MISS 2 (> 5): fast",
        "9.2 NOT RUN (speed.json has no number views.1.inside): absent",
        "9.2 NOT RUN (speed.json has no number nothing): null",
        "9.3 NOT RUN (no/such/folder is not here): mean",
        "9.4 NOT RUN (broken.py ended with 1: it broke): mean",
    ]


def test_measure__runs_a_command_once(workplace):
    measured(workplace, "9.1", "9.2")
    assert (workplace / "runs.txt").read_text() == "run "


def test_measure__a_file_of_an_earlier_run_is_not_read(workplace):
    (workplace / "results" / "broken.json").write_text('{"mean_mm": 1}')
    assert measured(workplace, "9.4")[0].status == "NOT RUN"


def test_keep__a_partial_run_leaves_the_other_results(workplace):
    everything = claims.load_claims(workplace / "claims.toml")
    claims.keep(measured(workplace, "9.2"), everything, workplace / "results")
    merged = claims.keep(measured(workplace, "9.1"), everything, workplace / "results")
    assert [outcome.id for outcome in merged] == ["9.1", "9.2", "9.2", "9.2", "9.2"]
    assert len(json.loads((workplace / "results" / "claims.json").read_text())["outcomes"]) == 5
    assert "| 9.2 | fast | 2 | > 5 | MISS |" in (workplace / "results" / "claims.md").read_text()


@pytest.mark.parametrize(
    ("op", "bar", "value", "holds"),
    [
        ("<", 1, 1, False),
        ("<=", 1, 1, True),
        (">=", 1, 0.5, False),
        ("==", 1, 1, True),
        ("in", [1, 2], 2, True),
        ("in", [1, 2], 2.1, False),
        ("<", 1, float("nan"), False),
        ("in", [1, 2], float("nan"), False),
    ],
)
def test_check__holds(op, bar, value, holds):
    assert claims.Check(label="", key="", op=op, bar=bar).holds(value) is holds


@pytest.mark.parametrize(("op", "bar"), [("<", [1, 2]), ("in", 1), ("~", 1)])
def test_load_claims__operator_and_bar_must_fit(tmp_path, op, bar):
    path = tmp_path / "claims.toml"
    check = f'{{ label = "", key = "k", op = "{op}", bar = {bar} }}'
    path.write_text(f'[[claim]]\nid = "1"\ntext = ""\ncommand = ["x.py"]\ncheck = [{check}]')
    with pytest.raises(ValueError, match="do not fit"):
        claims.load_claims(path)


@pytest.mark.parametrize(
    ("value", "text"), [(43.81, "43.8 mm"), (0.00012, "0.00012 mm"), (2e6, "2,000,000 mm"), (0, "0 mm"), (None, "-")]
)
def test_quantity__has_three_digits(value, text):
    outcome = claims.Outcome(
        id="", text="", label="", status="", value=value, condition="", unit="mm", why="", measured=""
    )
    assert claims.quantity(outcome) == text


def test_claims_file__reads_and_every_script_exists():
    listed = claims.load_claims(ROOT / "benchmarks" / "claims.toml")
    assert {claim.id for claim in listed} >= {f"1.{line}" for line in range(1, 8)}
    assert not [claim.command for claim in listed if not (ROOT / claim.command[0]).exists()]
    places = [(claim.id, check.label) for claim in listed for check in claim.checks]
    assert len(set(places)) == len(places)


def test_rendered__replaces_what_lies_between_the_markers(workplace):
    everything = claims.load_claims(workplace / "claims.toml")
    claims.keep(measured(workplace, "9.1"), everything, workplace / "results")
    page = "before\n<!-- table: claims -->\nold\n<!-- end of table -->\nafter\n"
    once = render_tables.rendered(page, workplace / "results")
    assert "43.8 mm" in once
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert render_tables.rendered(once, workplace / "results") == once


def test_pages__hold_the_tables_that_were_measured():
    for page in render_tables.PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert re.search(r"<!-- table: \w+ -->", text), f"{page} has no table"
        assert render_tables.rendered(text, claims.RESULTS) == text, f"{page}: run make tables"
