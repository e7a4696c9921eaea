"""Least squares and robust triangulation of keypoints."""

from marey.methods.classical.estimator import ClassicalEstimator
from marey.methods.classical.model import triangulate_keypoints

__all__ = ["ClassicalEstimator", "triangulate_keypoints"]
