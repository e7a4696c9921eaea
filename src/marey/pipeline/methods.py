"""The table of methods, and the choice among them."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any

from marey.core import CalibrationError, Cameras, Estimator, InputError, Requirements
from marey.pipeline.config import EstimateConfig

METHODS = {
    "classical": "marey.methods.classical:ClassicalEstimator",
    "monocular": "marey.methods.classical:MonocularEstimator",
    "algebraic": "marey.methods.triangulation.estimator:AlgebraicEstimator",
    "volumetric": "marey.methods.triangulation.estimator:VolumetricEstimator",
    "ransac": "marey.methods.triangulation.estimator:RansacEstimator",
    "metrabs": "marey.methods.metrabs.estimator:MetrabsEstimator",
}
"""Name -> where the estimator lives; its package is imported when the method is used. `auto` takes the first that the
evidence suffices for, see `choose_method` for one exception."""

_ALONE = "; for one view there are the methods monocular, volumetric and metrabs"


def build_estimator(name: str, config: EstimateConfig, **known: Any) -> Estimator:
    """Make a method's estimator; those of its fields that the settings or `known` name are taken from there."""
    factory = _factory(name)
    settings = {field.name: getattr(config, field.name) for field in fields(EstimateConfig)} | known
    own = {field.name for field in fields(factory)}
    estimator: Estimator = factory(**{name: value for name, value in settings.items() if name in own})
    return estimator


def requirements(name: str) -> Requirements:
    """What evidence a method needs."""
    needs: Requirements = _factory(name).requires
    return needs


def choose_method(
    name: str, *, views: int, cameras: Cameras | None, images: bool = True, detector: str = ""
) -> tuple[str, str]:
    """Pick the method for a recording and say why.

    Args:
        name: a method's name, or `auto`.
        views: number of views.
        cameras: what is known of them. A method that needs no more than the intrinsics can do with assumed ones, and
            so does any method for one view, whose frame is the world then.
        images: whether all views have images, not only keypoints.
        detector: what would look for keypoints. `auto` leaves one view to `metrabs` where that is `marey`, with which
            it is better than a solver (claim 6.3).

    Returns:
        The name and a sentence.

    Raises:
        InputError: there is no such method, or the recording has too few or too many views.
        CalibrationError: the cameras that it needs are not known.
    """
    if name not in ("auto", *METHODS):
        raise InputError(f"method: expected auto or one of {', '.join(METHODS)}, got '{name}'")
    alone = views == 1 and images and detector == "marey"
    asked = (name,) if name != "auto" else (*(("metrabs",) if alone else ()), *METHODS)
    lacks = {
        method: _lack(method, requirements(method), views=views, cameras=cameras, images=images) for method in asked
    }
    for method, lack in lacks.items():
        if lack is None:
            return method, f"Method {method}, {'as asked' if name != 'auto' else _reason(method, views)}."
    apt = [lack for method, lack in lacks.items() if _fits(requirements(method), views)]
    raise next(lack for lack in (*apt, *lacks.values()) if lack is not None)


def _reason(method: str, views: int) -> str:
    if method == "metrabs":
        return "chosen because there is one view and people are looked for by Marey's own detector alone"
    return f"chosen because all {views} views are calibrated" if views > 1 else "chosen because there is one view"


def _fits(needs: Requirements, views: int) -> bool:
    least, most = needs.views
    return least <= views and (most is None or views <= most)


def _lack(
    name: str, needs: Requirements, *, views: int, cameras: Cameras | None, images: bool
) -> InputError | CalibrationError | None:
    """What a method lacks, in words that help; None: nothing."""
    least, most = needs.views
    if views < least:
        return InputError(
            f"the method {name} needs {least} or more views, and the recording has {views}: give the videos or the "
            f"keypoint folders of the other cameras too{_ALONE if views == 1 else ''}"
        )
    if most is not None and views > most:
        return InputError(f"the method {name} takes {most} view, and the recording has {views}: give one of them")
    if needs.evidence == "images" and not images:
        return InputError(
            f"the method {name} looks at images, and the recording has keypoints only in some views: give videos or "
            f"images, or use the method {'classical' if views > 1 else 'monocular'}"
        )
    if needs.calibration != "full" or views == 1:
        return None
    if cameras is None:
        return CalibrationError("the cameras are unknown: pass their calibration file (--calibration FILE)")
    if not cameras.has_extrinsics:
        return CalibrationError("the calibration holds no camera positions: pass a file with rotation and translation")
    return None


def _factory(name: str) -> Any:
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)
