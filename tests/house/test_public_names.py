"""An inventory of the public names: nobody's code breaks because one vanished unnoticed.

A name that is removed or moved on purpose goes out of public_names.json in the same commit, with a line in the
changelog. After adding names, write the inventory anew:

    python tests/house/test_public_names.py
"""

import ast
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from house.source import module_paths

INVENTORY = Path(__file__).with_name("public_names.json")


def public_names() -> dict[str, list[str]]:
    """Module -> the public functions and classes that it defines, and what it lists in `__all__`."""
    found = {}
    for module, path in module_paths().items():
        if any(part.startswith("_") for part in module.split(".")):
            continue
        names = {name for node in ast.parse(path.read_text(encoding="utf-8")).body for name in _defined(node)}
        if public := sorted(name for name in names if not name.startswith("_")):
            found[module] = public
    return found


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
        return ast.literal_eval(node.value)
    return []


def test_public_names__none_has_vanished():
    kept = public_names()
    inventory = json.loads(INVENTORY.read_text(encoding="utf-8"))
    gone = [
        f"{module}.{name}" for module, names in inventory.items() for name in names if name not in kept.get(module, ())
    ]
    assert not gone, f"removed or moved: {gone}; see the head of {Path(__file__).name}"


def test_public_names__new_ones_are_in_the_inventory():
    inventory = json.loads(INVENTORY.read_text(encoding="utf-8"))
    new = [
        f"{module}.{name}"
        for module, names in public_names().items()
        for name in names
        if name not in inventory.get(module, ())
    ]
    assert not new, f"new: {new}; see the head of {Path(__file__).name}"


if __name__ == "__main__":
    INVENTORY.write_text(json.dumps(public_names(), indent=1) + "\n", encoding="utf-8")
