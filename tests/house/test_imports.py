"""Imports run one way: core <- geometry <- io <- ... <- cli."""

import ast
import re

import pytest

from house.source import imports, module_paths

FLOORS = (
    {"core"},
    {"geometry"},
    {"io"},
    {"body", "nn", "render"},
    {"metrics"},
    {"data", "detect", "refine", "viz"},
    {"engine", "calibrate"},
    {"methods"},
    {"pipeline"},
    {"cli"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TARGET = re.compile(r"marey(\.\w+)+:\w+")


def breach(importer: str, imported: str) -> str | None:
    """Say why module `importer` may not import `imported`, or None."""
    here, there = importer.split("."), imported.split(".")
    if there[0] != "marey" or len(here) == 1 or here[1] == "__main__" or imported.startswith("marey._version"):
        return None
    if len(there) == 1 or there[1] not in FLOOR:
        return f"{importer} imports {imported}: a room imports rooms below it, not the whole package"
    if here[1] == there[1]:
        if here[1] == "methods" and len(here) > 2 and here[2] != (there[2] if len(there) > 2 else None):
            return f"{importer} imports {imported}: methods never import each other"
        return None
    if FLOOR[there[1]] >= FLOOR[here[1]]:
        return f"{importer} imports {imported}: {there[1]} does not lie below {here[1]}"
    return None


def breaches(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Every breach in one module: its imports, and the import targets that it names in strings."""
    names = [found.name for found in imports(source, module, is_package=is_package)]
    strings = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    names += [text.replace(":", ".") for text in strings if isinstance(text, str) and TARGET.fullmatch(text)]
    return [found for name in names if (found := breach(module, name))]


def test_imports__run_one_way():
    found = [
        problem
        for module, path in module_paths().items()
        for problem in breaches(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


def test_rooms__all_have_a_floor():
    rooms = {module.split(".")[1] for module, path in module_paths().items() if module.count(".") > 1}
    assert rooms <= set(FLOOR)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("marey.core.cameras", "from marey.geometry import projection"),
        ("marey.core.cameras", "from ..geometry.projection import project"),
        ("marey.core.cameras", "from .. import geometry"),
        ("marey.core.cameras", "import marey.io.video"),
        ("marey.geometry.projection", "def lazily():\n    from marey.io import video"),
        ("marey.detect.tracking", "from marey.refine import smooth"),
        ("marey.methods.nbf.model", "from marey.methods.metrabs.model import Head"),
        ("marey.methods.nbf.model", "from ..metrabs import model"),
        ("marey.methods.nbf.model", "from marey.pipeline import estimate"),
        ("marey.methods.nbf.model", 'OTHER = "marey.pipeline.run:estimate"'),
        ("marey.refine.smooth", "from marey import estimate"),
    ],
)
def test_breaches__are_found(module, source):
    assert breaches(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("marey.geometry.projection", "import torch\nfrom marey.core import Cameras"),
        ("marey.geometry.projection", "from .distortion import distort"),
        ("marey.methods.nbf.model", "from ..nbf.losses import loss\nfrom . import losses"),
        ("marey.cli.info", "from marey._version import __version__\nfrom marey.pipeline.methods import METHODS"),
    ],
)
def test_breaches__allow_what_lies_below(module, source):
    assert not breaches(source, module)


def test_imports__relative_ones_of_a_package_resolve():
    assert [found.name for found in imports("from .cameras import Cameras", "marey.core", is_package=True)] == [
        "marey.core.cameras.Cameras"
    ]
