"""The choice of a method, in words that help."""

from dataclasses import replace

import pytest

from marey.core import CalibrationError, InputError
from marey.methods.classical import ClassicalEstimator
from marey.pipeline.config import EstimateConfig
from marey.pipeline.methods import METHODS, build_estimator, choose_method
from synthetic import some_cameras


def test_choose_method__auto_says_why():
    name, why = choose_method("auto", views=3, cameras=some_cameras(views=3))
    assert name == "classical"
    assert "all 3 views are calibrated" in why


@pytest.mark.parametrize(
    ("views", "cameras", "error", "match"),
    [
        (1, "full", InputError, "3D guess"),
        (3, None, CalibrationError, "--calibration"),
        (3, "intrinsics", CalibrationError, "rotation and translation"),
    ],
)
def test_choose_method__what_is_missing(views, cameras, error, match):
    known = None if cameras is None else some_cameras(views=views)
    if cameras == "intrinsics":
        known = replace(known, rotation=None, translation=None)
    with pytest.raises(error, match=match):
        choose_method("auto", views=views, cameras=known, keypoints_only=True)


def test_choose_method__unknown():
    with pytest.raises(InputError, match="classical"):
        choose_method("guess", views=2, cameras=None)


def test_build_estimator__takes_what_it_knows_from_the_settings():
    estimator = build_estimator("classical", EstimateConfig(triangulation="dlt"))
    assert estimator == ClassicalEstimator(triangulation="dlt")


@pytest.mark.parametrize("name", METHODS)
def test_methods__state_what_they_require(name):
    requires = build_estimator(name, EstimateConfig()).requires
    assert requires.views[0] >= 1
