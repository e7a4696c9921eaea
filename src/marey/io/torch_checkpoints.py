"""Checkpoints of PyTorch programs, read as tensors and plain values: nothing in the file is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from marey.core.errors import FormatError, MissingAssetError

MOST_BYTES = 4 << 30
"""Larger files are refused before they are read."""
_WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network")
_PREFIX = "module."


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name.

    A state dictionary within another (`state_dict`, `model`, ...) is found, and the prefix `module.` that distributed
    training leaves is taken away.

    Raises:
        MissingAssetError: the file is not there.
        FormatError: it is no checkpoint of tensors, too large, or holds objects of other programs.
    """
    state = _inner(Path(path), _loaded(Path(path)))
    return {name.replace(_PREFIX, ""): value for name, value in state.items() if isinstance(value, Tensor)}


def _loaded(path: Path) -> Any:
    import torch

    try:
        size = path.stat().st_size
    except OSError as error:
        raise MissingAssetError(f"{path}: expected a checkpoint, found no file ({error.strerror})") from error
    if size > MOST_BYTES:
        raise FormatError(f"{path}: expected a checkpoint of at most {MOST_BYTES >> 30} GiB, got {size} bytes")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file torch raises whatever it stumbles over
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise FormatError(
            f"{path}: expected a checkpoint of tensors as torch.save writes it; it cannot be read ({reason[0]}). Files "
            "with objects of other programs are not opened: save the state_dict() alone"
        ) from error


def _inner(path: Path, content: Any) -> Mapping[str, Any]:
    for _ in range(3):
        if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
            break
        content = next((content[name] for name in _WRAPPERS if name in content), None)
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise FormatError(f"{path}: expected a dictionary of tensors by name, or one in {', '.join(_WRAPPERS)}")
    if not any(isinstance(value, Tensor) for value in content.values()):
        raise FormatError(f"{path}: the checkpoint holds no tensors")
    return content
