"""What a newcomer does, on a fresh copy: the README's commands, the bare wheel, the documentation, the benchmarks.

Slow: they make virtual environments of their own. They need pip's package index and nothing else.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from house.source import ROOT
from marey._version import __version__

sys.path.insert(0, str(ROOT / "benchmarks"))
claims = importlib.import_module("claims")

pytestmark = pytest.mark.slow

CONSTRAINTS = str(ROOT / "constraints.txt")


def run(*command: str | Path, cwd: Path, timeout: int = 1500) -> str:
    """Run a command as a newcomer would: without our environment's own settings."""
    clean = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTHONPATH", "VIRTUAL_ENV")}
    clean |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last commit, as git hands it out."""
    folder = tmp_path_factory.mktemp("fresh") / "marey"
    run("git", "clone", "--quiet", ROOT, folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def bare(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that holds the built wheel and no extra."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = (binaries / "python", "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS)
    run(*pip, "--upgrade", "pip>=25.1", cwd=folder)
    run(binaries / "python", "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, clone, cwd=folder)
    (wheel,) = folder.glob("marey-*.whl")
    run(*pip, wheel, cwd=folder)
    return binaries


def test_readme__its_commands_work_in_a_fresh_clone(clone):
    readme = (clone / "README.md").read_text(encoding="utf-8")
    setup = re.search(r"^## Set up$.*?^```console\n(.*?)^```", readme, re.DOTALL | re.MULTILINE).group(1)
    commands = [line.removeprefix("$ ").split() for line in setup.splitlines()]
    assert commands == [["make", "demo"], ["make", "test"]]
    for command in commands:
        printed = run(*command, cwd=clone)
        if command == ["make", "demo"]:
            report = clone / re.search(r"report: +(\S+)", printed).group(1)
            assert report.is_file()
    assert run("git", "status", "--porcelain", cwd=clone) == "", "set-up, demo or tests left files behind"


def test_wheel__works_without_the_extras(bare, tmp_path):
    assert run(bare / "marey", "--version", cwd=tmp_path).strip() == f"marey {__version__}"
    assert "classical" in run(bare / "marey", "info", "methods", cwd=tmp_path)
    printed = run(bare / "marey", "demo", "--frames", "60", cwd=tmp_path)
    assert (tmp_path / "demo" / "result" / "estimate.npz").is_file()
    assert float(re.search(r"error: +([\d.]+) mm", printed).group(1)) < 50


def test_wheel__passes_the_tests_without_the_extras(bare, clone):
    pip = (bare / "python", "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS)
    run(*pip, "--group", "test", cwd=clone)
    absent = "import importlib.util as u; assert not u.find_spec('onnxruntime') and not u.find_spec('mediapipe')"
    run(bare / "python", "-c", absent, cwd=clone)
    where = run(bare / "python", "-c", "import marey; print(marey.__file__)", cwd=clone)
    assert str(clone) not in where, "the tests must see the wheel, not the source"
    run(bare / "python", "-m", "pytest", "-q", "-n", "2", "-m", "not slow and not realdata", cwd=clone)


def test_wheel__holds_the_package_and_its_data_only(bare):
    listing = run(bare / "python", "-m", "pip", "show", "--files", "marey", cwd=ROOT)
    files = [line.strip() for line in listing.partition("Files:")[2].splitlines() if line.strip()]
    assert {"marey/py.typed", "marey/core/skeleton_tables/coco_17.json"} <= set(files)
    assert all(name.startswith(("marey/", "marey-", "..")) for name in files)


def test_documentation__builds_without_warnings(tmp_path):
    sphinx = (sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html")
    run(*sphinx, "docs", tmp_path / "html", cwd=ROOT)
    assert (tmp_path / "html" / "index.html").is_file()


CLAIMS = claims.load_claims(ROOT / "benchmarks" / "claims.toml")
COMMANDS = {claim.output: claim.command for claim in CLAIMS}


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
