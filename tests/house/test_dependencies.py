"""What is loaded when: `import marey` stays light, extras stay optional, nothing undeclared is imported."""

import json
import re
import subprocess
import sys

from house.source import imports, module_paths, project

LATE = ("cv2", "av", "roma", "matplotlib", "scipy", "tyro", "tqdm", "mediapipe", "onnx", "onnxruntime", "safetensors")
"""Packages that `import marey` must not load."""

IMPORT_NAMES = {
    "opencv-python-headless": {"cv2"},
    "rerun-sdk": {"rerun"},
    "lightning-fabric": {"lightning_fabric"},
    "absl-py": {"absl"},
    "attrs": {"attr", "attrs"},
    "pyyaml": {"yaml"},
    "protobuf": {"google"},
    "mediapipe": {"mediapipe"},
}
"""Where a distribution and its module are not of one name."""


def _modules_of(requirements: list[str]) -> set[str]:
    names = [re.match(r"[\w-]+", requirement).group() for requirement in requirements]
    return set().union(*(IMPORT_NAMES.get(name, {name.replace("-", "_")}) for name in names))


def _required() -> set[str]:
    return _modules_of(project()["project"]["dependencies"])


def _optional() -> set[str]:
    extras = project()["project"]["optional-dependencies"].values()
    return _modules_of([requirement for extra in extras for requirement in extra]) | {"mediapipe"}


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_marey__loads_torch_and_numpy_only_and_prints_nothing():
    code = "import json, sys, marey; sys.stderr.write(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}  # fails if anything else was written
    assert not loaded & set(LATE)


def test_modules__all_import_without_the_extras():
    code = f"""
import sys
from importlib import import_module
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(_optional() - {"google", "attr", "attrs"})!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Absent())
for name in {[name for name in module_paths() if not name.endswith("__main__")]!r}:
    import_module(name)
"""
    assert _python(code) == ""


def test_imports__are_declared_and_extras_are_lazy():
    required, optional, found = _required(), _optional(), []
    for module, path in module_paths().items():
        for used in imports(path.read_text(encoding="utf-8"), module, is_package=path.name == "__init__.py"):
            package = used.name.partition(".")[0]
            if package in sys.stdlib_module_names or package == "marey" or package in required:
                continue
            if package not in optional:
                found.append(f"{path}:{used.line} imports {package}, which pyproject.toml does not declare")
            elif not used.in_function:
                found.append(f"{path}:{used.line} imports the extra {package} outside a function")
    assert not found, "\n".join(found)
