"""What a newcomer does, on a fresh copy: the README's commands and the bare wheel.

Slow: they make virtual environments of their own. They need pip's package index and nothing else.
"""

import os
import re
import shlex
import venv
from pathlib import Path

import pytest

from house.newcomer import run
from house.source import ROOT
from marey._version import __version__

pytestmark = pytest.mark.slow

CONSTRAINTS = str(ROOT / "constraints.txt")


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
    printed = run(*commands[0], cwd=clone)
    assert (clone / re.search(r"report: +(\S+)", printed).group(1)).is_file()
    some = ("-k", "house or core or cli")  # all of them are what made this one run, and what the wheel runs below
    run(*commands[1], f"PICKED={' '.join(map(shlex.quote, some))}", cwd=clone)
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
