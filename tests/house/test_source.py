"""Rules of the source that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

import marey
from house.source import PACKAGE, ROOT, module_paths, project

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|tmp)/")
TEXT = {".py", ".md", ".toml", ".txt", ".cff", ".yaml", ".yml", ".json", ".html", ".svg", ".sh", ""}


def _tracked() -> list[Path]:
    try:
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the source is not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_version__is_written_once():
    assert "version" in project()["project"]["dynamic"]
    assigned = [path for path in module_paths().values() if re.search(r"^__version__\s*=", path.read_text(), re.M)]
    assert assigned == [PACKAGE / "_version.py"]
    for path in (*module_paths().values(), ROOT / "CITATION.cff", ROOT / "docs" / "conf.py"):
        if path.name != "_version.py":
            assert f'"{marey.__version__}"' not in path.read_text(encoding="utf-8"), path


def test_print__is_called_by_the_command_line_only():
    found = [
        f"{path}:{node.lineno}"
        for module, path in module_paths().items()
        if not module.startswith("marey.cli")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found, f"raise, warn or return instead: {found}"


def test_source__knows_no_shared_folder():
    texts = [*PACKAGE.rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert not [path for path in texts if "../shared" in path.read_text(encoding="utf-8")]


def test_source__holds_no_path_of_a_machine():
    found = [
        f"{path}: {match.group()}"
        for path in _tracked()
        if path.suffix in TEXT and path != Path(__file__)
        for match in MACHINE_PATH.finditer(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert not found, found


def test_modules__have_at_most_500_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {path: length for path, length in lengths.items() if length > 500}, "does it hold two things?"


def test_files__are_small():
    large = {path for path in _tracked() if path.stat().st_size > 2**20}
    body = PACKAGE / "body" / "assets" / "open_body.safetensors"  # tests/body/test_open_body.py limits it
    weights = {path: path.stat().st_size for path in PACKAGE.rglob("assets/*/weights-*.safetensors")}
    assert not large - {body} - set(weights), "keep large files out of the repository"
    assert max(weights.values()) <= 15 * 2**20
    assert sum(weights.values()) <= 60 * 2**20


def test_readme__is_at_most_150_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
