"""Least squares and robust triangulation of keypoints."""
