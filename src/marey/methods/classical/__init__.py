"""Least squares and robust triangulation of keypoints."""

from marey.methods.classical.estimator import ClassicalEstimator
from marey.methods.classical.model import residuals, triangulate_keypoints

__all__ = ["ClassicalEstimator", "residuals", "triangulate_keypoints"]
