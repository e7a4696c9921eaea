"""Pictures of meshes in plain PyTorch: a z-buffer rasteriser and what is painted with it; CPU and GPU alike."""

from marey.render.cameras import project_mesh, rasterize_cameras
from marey.render.edges import MeshEdges, antialias, mesh_edges, silhouette
from marey.render.fragments import Fragments, Hits
from marey.render.maps import interpolate, iuv_map, label_map, normal_map
from marey.render.meshes import join_meshes, subdivide, vertex_normals
from marey.render.rasterize import rasterize, visible_faces
from marey.render.shading import Lights, shade
from marey.render.textures import sample_texture

__all__ = [
    "Fragments",
    "Hits",
    "Lights",
    "MeshEdges",
    "antialias",
    "interpolate",
    "iuv_map",
    "join_meshes",
    "label_map",
    "mesh_edges",
    "normal_map",
    "project_mesh",
    "rasterize",
    "rasterize_cameras",
    "sample_texture",
    "shade",
    "silhouette",
    "subdivide",
    "vertex_normals",
    "visible_faces",
]
