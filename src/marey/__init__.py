"""Marey: 3D human pose and shape from one or many cameras, with uncertainty.

`import marey` is immediate: what a name below needs, torch and NumPy first of all, is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from marey._version import __version__

if TYPE_CHECKING:
    from marey import core
    from marey.io.npz import read_estimate_npz as load
    from marey.io.recordings import open_recording
    from marey.pipeline import EstimateConfig, estimate

__all__ = ["EstimateConfig", "__version__", "core", "estimate", "load", "open_recording"]

_LAZY = {
    "core": "marey.core",
    "EstimateConfig": "marey.pipeline:EstimateConfig",
    "estimate": "marey.pipeline:estimate",
    "load": "marey.io.npz:read_estimate_npz",
    "open_recording": "marey.io.recordings:open_recording",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'marey' has no attribute '{name}'")
    module, _, attribute = _LAZY[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
