"""What a published network comes with beside its weights: names of joints, skeletons, settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.errors import FormatError
from marey.io.tensorflow_bundle import TensorBundle
from marey.io.text import read_text_limited
from marey.io.unpickle import read_object_npy, read_object_npz, restricted_load

WEIGHTS = "ckpt.pt"
"""In a folder of the PyTorch release; beside it lie the files that `read_release` reads."""
VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What names in TensorFlow's checkpoints of objects end with."""

_MOST_JOINTS = 10_000
_PARTS = ("indices", "joint_names", "joint_edges")


@dataclass(frozen=True, kw_only=True)
class PublishedSkeleton:
    """A convention by its published names."""

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...] = ()
    indices: tuple[int, ...]
    """Places among the joints that the network gives."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Release:
    """What is known of a network without looking at its weights; whatever a release leaves out is empty."""

    names: tuple[str, ...] = ()
    """Of the joints, in the published order of the output."""
    edges: tuple[tuple[int, int], ...] = ()
    skeletons: Mapping[str, PublishedSkeleton] = field(default_factory=dict)
    transform: Tensor | None = None
    """(N, M): the M joints that are given at last are affine combinations of the N that are estimated."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of its configuration file, by their published names."""


def read_release(folder: Path) -> Release:
    """Read what lies beside the weights of a PyTorch release.

    Raises:
        InputError: a file cannot be read.
        FormatError: one is damaged or not what it should be.
    """
    info = _if_there(folder / "joint_info.npz", read_object_npz) or {}
    skeletons = _if_there(folder / "skeleton_infos.pkl", restricted_load) or {}
    transform = _if_there(folder / "joint_transform_matrix.npy", read_object_npy)
    return Release(
        names=_names(info.get("joint_names", ()), folder / "joint_info.npz"),
        edges=_pairs(info.get("joint_edges", ()), folder / "joint_info.npz"),
        skeletons=_skeletons(skeletons, folder / "skeleton_infos.pkl"),
        transform=None if transform is None else _matrix(transform, folder / "joint_transform_matrix.npy"),
        settings=_if_there(folder / "config.yaml", _settings) or {},
    )


def bundle_release(bundle: TensorBundle) -> Release:
    """Read what the variables of a SavedModel say beside the weights.

    Raises:
        FormatError: the file is damaged.
    """
    where = bundle.prefix
    side = _shortest(bundle, "input_resolution")
    names, edges = _shortest(bundle, "joint_names"), _shortest(bundle, "joint_edges")
    return Release(
        names=tuple(_texts(bundle, names)) if names else (),
        edges=_pairs(_numbers(bundle, edges), where) if edges else (),
        skeletons=_skeletons(_told(bundle), where),
        settings={"proc_side": int(bundle.tensor(side).flatten()[0])} if side else {},
    )


def _if_there(path: Path, read: Any) -> Any:
    return read(path) if path.exists() else None


def _shortest(bundle: TensorBundle, name: str) -> str | None:
    """The variable of that name that is nearest to the root of the program's objects."""
    found = [key for key in bundle.entries if re.fullmatch(rf"(.*/)?{name}{re.escape(VARIABLE)}", key)]
    return min(found, key=len, default=None)


def _told(bundle: TensorBundle) -> dict[str, dict[str, Any]]:
    """Skeletons by name, as variables have them."""
    indices, names, edges = (_of_skeletons(bundle, f"per_skeleton_{part}") for part in _PARTS)
    return {
        name: {
            "indices": _numbers(bundle, indices[name]),
            "names": _texts(bundle, names[name]),
            "edges": _numbers(bundle, edges[name]) if name in edges else (),
        }
        for name in indices.keys() & names.keys()
    }


def _of_skeletons(bundle: TensorBundle, table: str) -> dict[str, str]:
    """Names of skeletons -> entries of a table of them."""
    pattern = re.compile(rf"(?:.*/)?{table}/([^/]+){re.escape(VARIABLE)}")
    return {found[1]: key for key in bundle.entries if (found := pattern.fullmatch(key))}


def _texts(bundle: TensorBundle, key: str) -> list[str]:
    return [text.decode("utf-8", "replace") for text in bundle.text(key)]


def _numbers(bundle: TensorBundle, key: str) -> list[Any]:
    found: list[Any] = bundle.tensor(key).tolist()
    return found


def _skeletons(told: Any, where: Path) -> dict[str, PublishedSkeleton]:
    if not isinstance(told, Mapping):
        raise FormatError(f"{where}: expected skeletons by name, got {type(told).__name__}")
    found = {}
    for name, entry in told.items():
        if not isinstance(name, str) or not isinstance(entry, Mapping) or not {"indices", "names"} <= entry.keys():
            raise FormatError(f"{where}: expected 'indices', 'names' and 'edges' of each skeleton, got {entry!r:.80}")
        names, indices = _names(entry["names"], where), _whole_numbers(entry["indices"], where)
        if len(names) != len(indices):
            raise FormatError(f"{where}: skeleton '{name}' has {len(names)} names and {len(indices)} indices")
        edges = tuple(edge for edge in _pairs(entry.get("edges", ()), where) if max(edge) < len(names))
        found[name] = PublishedSkeleton(names=names, edges=edges, indices=indices)
    return found


def _names(values: Any, where: Path) -> tuple[str, ...]:
    found = _array(values, where, "names of joints", dtype=object).ravel()
    names = [name.decode("utf-8", "replace") if isinstance(name, bytes) else name for name in found]
    if len(names) > _MOST_JOINTS or not all(isinstance(name, str) for name in names):
        raise FormatError(f"{where}: expected names of joints, got {names[:3]!r:.80}")
    return tuple(map(str, names))


def _whole_numbers(values: Any, where: Path) -> tuple[int, ...]:
    numbers = _array(values, where, "indices of joints")
    if numbers.size and (numbers.ndim != 1 or numbers.dtype.kind not in "iu" or numbers.min() < 0):
        raise FormatError(f"{where}: expected indices of joints, got {values!r:.80}")
    return tuple(int(number) for number in numbers.ravel())


def _pairs(values: Any, where: Path) -> tuple[tuple[int, int], ...]:
    pairs = _array(values, where, "pairs of joints")
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or pairs.min() < 0):
        raise FormatError(f"{where}: expected pairs of joints, got {values!r:.80}")
    return tuple((int(first), int(second)) for first, second in pairs.reshape(-1, 2))


def _array(values: Any, where: Path, what: str, dtype: Any = None) -> npt.NDArray[Any]:
    try:
        return np.asarray(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError):  # lists of different lengths, and numbers that none can hold
        raise FormatError(f"{where}: expected {what}, got {values!r:.80}") from None


def _matrix(values: Any, where: Path) -> Tensor:
    if values.ndim != 2 or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise FormatError(f"{where}: expected a finite matrix, got {values.dtype} of the shape {values.shape}")
    return torch.from_numpy(values.astype(np.float32))


def _settings(path: Path) -> dict[str, Any]:
    """The numbers, words and truth values of a file of `name: value`; what is nested says nothing of the network."""
    text = read_text_limited(path, most_bytes=1 << 20)
    lines = re.findall(r"^(\w+)[ \t]*:[ \t]*([^#\n]*)", text, re.MULTILINE)
    return {name: _scalar(value.strip().strip("'\"")) for name, value in lines}


def _scalar(text: str) -> Any:
    words = {"true": True, "false": False, "null": None, "~": None, "": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text) if re.search(r"[.eE]", text) else int(text)
    except ValueError:
        return text
