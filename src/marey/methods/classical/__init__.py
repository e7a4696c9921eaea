"""Least squares: triangulation of keypoints, and one camera's keypoints with the detector's own 3D guess."""

from marey.methods.classical.estimator import ClassicalEstimator
from marey.methods.classical.model import triangulate_keypoints
from marey.methods.classical.monocular import MonocularEstimator, place_people

__all__ = ["ClassicalEstimator", "MonocularEstimator", "place_people", "triangulate_keypoints"]
