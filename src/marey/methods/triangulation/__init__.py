"""Learnable triangulation: RANSAC, algebraic and volumetric, from the images of calibrated views."""
