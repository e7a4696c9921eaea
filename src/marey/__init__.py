"""Marey: 3D human pose and shape from one or many cameras, with uncertainty."""

from marey._version import __version__

__all__ = ["__version__"]
