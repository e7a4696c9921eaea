"""The table of methods, and the choice among them."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

from marey.core import CalibrationError, Cameras, Estimator, InputError
from marey.pipeline.config import EstimateConfig

METHODS = {
    "classical": "marey.methods.classical:ClassicalEstimator",
}
"""Name -> where the estimator lives; its package is imported when the method is used."""


def build_estimator(name: str, config: EstimateConfig) -> Estimator:
    """Make a method's estimator; those of its fields that the settings know are taken from them."""
    module, _, attribute = METHODS[name].partition(":")
    factory = getattr(import_module(module), attribute)
    known = {field.name for field in fields(EstimateConfig)}
    estimator: Estimator = factory(
        **{field.name: getattr(config, field.name) for field in fields(factory) if field.name in known}
    )
    return estimator


def choose_method(name: str, *, views: int, cameras: Cameras | None) -> tuple[str, str]:
    """Pick the method for a recording and say why.

    Args:
        name: a method's name, or `auto`.
        views: number of views.
        cameras: what is known of them.

    Returns:
        The name and a sentence.

    Raises:
        InputError: there is no such method, or the recording has too few views for it.
        CalibrationError: the cameras that it needs are not known.
    """
    if name not in ("auto", *METHODS):
        raise InputError(f"method: expected auto or one of {', '.join(METHODS)}, got '{name}'")
    if views < 2:
        raise InputError(
            f"the recording has {views} view; the methods of this release need two or more cameras: "
            "give the videos or keypoint folders of the others too"
        )
    if cameras is None:
        raise CalibrationError("the cameras are unknown: pass their calibration file (--calibration FILE)")
    if not cameras.has_extrinsics:
        raise CalibrationError("the calibration holds no camera positions: pass a file with rotation and translation")
    if name == "auto":
        return "classical", f"Method classical, chosen because all {views} views are calibrated."
    return name, f"Method {name}, as asked."
