"""glTF 2.0, the files of moving people that Blender, three.js, Unity, Unreal and the viewers of Windows and macOS open.

Written after the specification of the Khronos Group, "glTF 2.0", 2021: lengths in metres, y up, right-handed; every
person a skeleton whose skin is a mesh of bones, all moved by one animation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marey.core.errors import InputError
from marey.core.motion import Motion
from marey.io.atomic import atomic_path
from marey.io.bone_mesh import bone_mesh, rest_positions
from marey.io.gltf_container import VERTICES, GltfParts
from marey.io.motion_files import unique_names
from marey.io.motion_keys import MotionKeys, motion_keys

_COLOURS = ((0.10, 0.35, 0.75), (0.85, 0.33, 0.10), (0.15, 0.55, 0.25), (0.60, 0.25, 0.60), (0.75, 0.60, 0.10))


def write_gltf(path: str | os.PathLike[str], motions: Sequence[Motion]) -> None:
    """Write the motions of all people into one animated scene: `.glb` binary, `.gltf` text with the data in it.

    Every person is a node named as the motion, below it the joints with constant offsets, and beside it a mesh of
    bones skinned to them. Names of people that repeat are numbered, with a warning: programs tell armatures apart by
    them. Joints of two people may share theirs, each in its own armature, and one animation moves everybody. Only
    known frames become keys: players move steadily between them, and the person is scaled to nothing in the frames
    where it is unknown, which renderers take for hidden. Quaternions keep to one side of their sphere, so that players
    turn the short way. At rest the scene shows everybody in the first known frame.

    Args:
        path: The file; its suffix decides.
        motions: One a person, metres, y up; times count from 0 in all of them.

    Raises:
        InputError: there is no motion, a person is known in no frame, the suffix is another, or the file cannot be
            written.
    """
    path = Path(path)
    if path.suffix.lower() not in (".glb", ".gltf"):
        raise InputError(f"{path}: expected a name that ends in .glb or .gltf")
    if not motions:
        raise InputError(f"{path}: no motion to write")
    scene = _Scene()
    names = unique_names(path, [motion.name or f"person_{number}" for number, motion in enumerate(motions)])
    for number, (motion, name) in enumerate(zip(motions, names, strict=True)):
        scene.add_person(motion, name, colour=_COLOURS[number % len(_COLOURS)])
    with atomic_path(path) as temporary:
        temporary.write_bytes(scene.packed(binary=path.suffix.lower() == ".glb"))


class _Scene:
    """The nodes and the animation of a glTF file while they are put together."""

    def __init__(self) -> None:
        self.parts = GltfParts()
        self.nodes: list[dict[str, Any]] = []
        self.roots: list[int] = []
        self.channels: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []

    def add_person(self, motion: Motion, name: str, *, colour: tuple[float, float, float]) -> None:
        """Nodes, skin, mesh and keys of one person."""
        keys = motion_keys(motion, name, kind="glTF")
        holder = len(self.nodes)
        first = holder + 1
        self.nodes.append({"name": name, "children": [first]})
        for place, joint in enumerate(motion.tree.joints):
            self.nodes.append(_joint_node(motion, keys, place=place, name=joint, first=first))
        skin = self.parts.add("skins", self._skin(motion, name, first))
        self.roots += [holder, len(self.nodes)]
        self.nodes.append({"name": f"{name}_bones", "mesh": self._mesh(motion, name, colour), "skin": skin})
        self._animate(keys, motion.fps, holder=holder, first=first)

    def _skin(self, motion: Motion, name: str, first: int) -> dict[str, Any]:
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(motion.tree), 1, 1))
        inverse[:, 3, :3] = -rest_positions(motion)  # stored column by column
        matrices = self.parts.accessor(inverse.reshape(-1, 16), "MAT4")
        joints = list(range(first, first + len(motion.tree)))
        return {"name": name, "inverseBindMatrices": matrices, "skeleton": first, "joints": joints}

    def _mesh(self, motion: Motion, name: str, colour: tuple[float, float, float]) -> int:
        mesh = bone_mesh(motion)
        kind = np.uint8 if len(motion.tree) <= 256 else np.uint16
        joints = np.zeros((len(mesh.joints), 4), dtype=kind)
        joints[:, 0] = mesh.joints
        weights = np.zeros((len(mesh.joints), 4), dtype=np.float32)
        weights[:, 0] = 1
        attributes = {
            "POSITION": self.parts.accessor(mesh.points, "VEC3", target=VERTICES, bounds=True),
            "NORMAL": self.parts.accessor(mesh.normals, "VEC3", target=VERTICES),
            "JOINTS_0": self.parts.accessor(joints, "VEC4", target=VERTICES),
            "WEIGHTS_0": self.parts.accessor(weights, "VEC4", target=VERTICES),
        }
        surface = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
        material = self.parts.add("materials", {"name": name, "pbrMetallicRoughness": surface})
        return self.parts.add(
            "meshes", {"name": name, "primitives": [{"attributes": attributes, "material": material}]}
        )

    def _animate(self, keys: MotionKeys, fps: float, *, holder: int, first: int) -> None:
        times = self.parts.accessor((keys.frames / fps).astype(np.float32), "SCALAR", bounds=True)
        self._channel(first, "translation", times, self.parts.accessor(keys.translation, "VEC3"))
        for place, quaternions in enumerate(keys.rotations):
            self._channel(first + place, "rotation", times, self.parts.accessor(quaternions, "VEC4"))
        if not keys.always:
            scale = np.repeat(keys.shown[:, None], 3, axis=1).astype(np.float32)
            changes = self.parts.accessor((keys.changes / fps).astype(np.float32), "SCALAR", bounds=True)
            self._channel(holder, "scale", changes, self.parts.accessor(scale, "VEC3"), interpolation="STEP")

    def _channel(self, node: int, way: str, times: int, values: int, interpolation: str = "LINEAR") -> None:
        self.channels.append({"sampler": len(self.samplers), "target": {"node": node, "path": way}})
        self.samplers.append({"input": times, "output": values, "interpolation": interpolation})

    def packed(self, *, binary: bool) -> bytes:
        animation = {"name": "motion", "channels": self.channels, "samplers": self.samplers}
        head = {"scene": 0, "scenes": [{"nodes": self.roots}], "nodes": self.nodes, "animations": [animation]}
        return self.parts.glb(head) if binary else self.parts.text(head)


def _joint_node(motion: Motion, keys: MotionKeys, *, place: int, name: str, first: int) -> dict[str, Any]:
    offset = keys.translation[0] if place == 0 else motion.offsets[place].detach().cpu().float().numpy()
    node: dict[str, Any] = {
        "name": name,
        "translation": offset.tolist(),
        "rotation": keys.rotations[place, 0].tolist(),
    }
    children = [first + child for child in motion.tree.children[place]]
    return node | ({"children": children} if children else {})
