"""Marey: 3D human pose and shape from one or many cameras, with uncertainty.

`import marey` is immediate: what a name below needs, torch and NumPy first of all, is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from marey._version import __version__

if TYPE_CHECKING:
    from marey import core
    from marey.io.camera_files import read_cameras, write_cameras
    from marey.io.npz import read_estimate_npz as load
    from marey.io.recordings import open_recording
    from marey.pipeline import EstimateConfig, estimate
    from marey.pipeline.calibration import CalibrateConfig, calibrate
    from marey.pipeline.conversion import convert
    from marey.pipeline.synchronisation import synchronize

__all__ = [
    "CalibrateConfig",
    "EstimateConfig",
    "__version__",
    "calibrate",
    "convert",
    "core",
    "estimate",
    "load",
    "open_recording",
    "read_cameras",
    "synchronize",
    "write_cameras",
]

_LAZY = {
    "CalibrateConfig": "marey.pipeline.calibration:CalibrateConfig",
    "core": "marey.core",
    "EstimateConfig": "marey.pipeline:EstimateConfig",
    "calibrate": "marey.pipeline.calibration:calibrate",
    "convert": "marey.pipeline.conversion:convert",
    "estimate": "marey.pipeline:estimate",
    "load": "marey.io.npz:read_estimate_npz",
    "open_recording": "marey.io.recordings:open_recording",
    "read_cameras": "marey.io.camera_files:read_cameras",
    "synchronize": "marey.pipeline.synchronisation:synchronize",
    "write_cameras": "marey.io.camera_files:write_cameras",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'marey' has no attribute '{name}'")
    module, _, attribute = _LAZY[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
