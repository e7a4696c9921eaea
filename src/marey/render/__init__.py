"""Pictures of meshes in plain PyTorch: a z-buffer rasteriser and what is painted with it; CPU and GPU alike."""

from marey.render.fragments import Fragments
from marey.render.rasterize import rasterize

__all__ = ["Fragments", "rasterize"]
