"""Pictures of meshes in plain PyTorch: a z-buffer rasteriser and what is painted with it; CPU and GPU alike."""

from marey.render.cameras import rasterize_cameras
from marey.render.fragments import Fragments, Hits
from marey.render.meshes import join_meshes, vertex_normals
from marey.render.rasterize import rasterize

__all__ = ["Fragments", "Hits", "join_meshes", "rasterize", "rasterize_cameras", "vertex_normals"]
