"""The choice of a method, in words that help."""

from dataclasses import replace

import pytest

from marey.core import CalibrationError, InputError
from marey.methods.classical import ClassicalEstimator, MonocularEstimator
from marey.methods.triangulation.estimator import AlgebraicEstimator
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
        (3, None, CalibrationError, "--calibration"),
        (3, "intrinsics", CalibrationError, "rotation and translation"),
    ],
)
def test_choose_method__what_is_missing(views, cameras, error, match):
    known = None if cameras is None else some_cameras(views=views)
    if cameras == "intrinsics":
        known = replace(known, rotation=None, translation=None)
    with pytest.raises(error, match=match):
        choose_method("auto", views=views, cameras=known)


def test_choose_method__one_view_needs_no_calibration():
    name, why = choose_method("auto", views=1, cameras=None)
    assert name == "monocular"
    assert "one view" in why


def test_choose_method__one_view_and_no_detector_but_our_own():
    name, why = choose_method("auto", views=1, cameras=None, detector="marey")
    assert name == "metrabs"
    assert "Marey's own detector alone" in why
    assert choose_method("auto", views=1, cameras=None, detector="mediapipe")[0] == "monocular"
    assert choose_method("auto", views=1, cameras=None, images=False, detector="marey")[0] == "monocular"
    assert choose_method("auto", views=3, cameras=some_cameras(views=3), detector="marey")[0] == "classical"


@pytest.mark.parametrize(
    ("name", "views", "match"),
    [("classical", 1, "2 or more views"), ("monocular", 3, "takes 1 view")],
)
def test_choose_method__asked_for_what_cannot_be(name, views, match):
    with pytest.raises(InputError, match=match):
        choose_method(name, views=views, cameras=some_cameras(views=views))


def test_choose_method__as_asked():
    cameras = some_cameras(views=2)
    assert choose_method("classical", views=2, cameras=cameras) == ("classical", "Method classical, as asked.")


@pytest.mark.parametrize("views", [1, 2, 4])
def test_choose_method__auto_prefers_what_needs_no_images(views):
    name, _ = choose_method("auto", views=views, cameras=some_cameras(views=views))
    assert name == ("monocular" if views == 1 else "classical")


@pytest.mark.parametrize("name", ["algebraic", "ransac"])
def test_choose_method__one_view_for_what_triangulates_images(name):
    with pytest.raises(
        InputError, match=rf"{name} needs 2 or more views.*one view.* monocular, volumetric and metrabs"
    ):
        choose_method(name, views=1, cameras=some_cameras(views=1))


def test_choose_method__volumes_of_one_view_need_no_calibration_and_those_of_several_do():
    assert choose_method("volumetric", views=1, cameras=None) == ("volumetric", "Method volumetric, as asked.")
    with pytest.raises(CalibrationError, match="--calibration FILE"):
        choose_method("volumetric", views=2, cameras=None)


@pytest.mark.parametrize("name", ["algebraic", "volumetric", "ransac"])
def test_choose_method__images_are_needed(name):
    with pytest.raises(InputError, match=rf"the method {name} looks at images.*use the method classical"):
        choose_method(name, views=3, cameras=some_cameras(views=3), images=False)


def test_choose_method__pictures_of_one_camera_are_enough_for_metrabs():
    assert choose_method("metrabs", views=1, cameras=None) == ("metrabs", "Method metrabs, as asked.")
    with pytest.raises(InputError, match="the method metrabs takes 1 view, and the recording has 2"):
        choose_method("metrabs", views=2, cameras=some_cameras(views=2))
    with pytest.raises(InputError, match=r"the method metrabs looks at images.*use the method monocular"):
        choose_method("metrabs", views=1, cameras=None, images=False)


def test_choose_method__unknown():
    with pytest.raises(InputError, match="classical"):
        choose_method("guess", views=2, cameras=None)


def test_build_estimator__takes_what_it_knows_from_the_settings():
    estimator = build_estimator("classical", EstimateConfig(triangulation="dlt"))
    assert estimator == ClassicalEstimator(triangulation="dlt")


def test_build_estimator__takes_what_is_known_of_the_recording():
    estimator = build_estimator("monocular", EstimateConfig(stature=1.8), focal_deviation=0.05)
    assert estimator == MonocularEstimator(stature=1.8, focal_deviation=0.05)


def test_build_estimator__takes_the_weights(tmp_path):
    estimator = build_estimator("algebraic", EstimateConfig(weights=tmp_path))
    assert estimator == AlgebraicEstimator(weights=tmp_path)


@pytest.mark.parametrize("name", METHODS)
def test_methods__state_what_they_require(name):
    requires = build_estimator(name, EstimateConfig()).requires
    assert requires.views[0] >= 1
