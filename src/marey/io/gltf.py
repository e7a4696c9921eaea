"""glTF 2.0, the files of moving people that Blender, three.js, Unity, Unreal and the viewers of Windows and macOS open.

Written after the specification of the Khronos Group, "glTF 2.0", 2021: lengths in metres, y up, right-handed; every
person a skeleton whose skin is a mesh of bones, all moved by one animation.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core.errors import InputError
from marey.core.motion import Motion
from marey.geometry.rotations import matrix_to_quaternion
from marey.io.atomic import atomic_path
from marey.io.bone_mesh import bone_mesh, rest_positions

MAGIC, JSON_CHUNK, BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_FLOAT, _BYTE, _SHORT = 5126, 5121, 5123
_VERTICES = 34962
"""The use of a buffer view that a graphics card reads as vertices."""
_COLOURS = ((0.10, 0.35, 0.75), (0.85, 0.33, 0.10), (0.15, 0.55, 0.25), (0.60, 0.25, 0.60), (0.75, 0.60, 0.10))


def write_gltf(path: str | os.PathLike[str], motions: Sequence[Motion]) -> None:
    """Write the motions of all people into one animated scene: `.glb` binary, `.gltf` text with the data in it.

    Every person is a node named as the motion, below it the joints with constant offsets, and beside it a mesh of
    bones skinned to them. Only known frames become keys: players move steadily between them, and the person is scaled
    to nothing in the frames where it is unknown, which renderers take for hidden. Quaternions keep to one side of
    their sphere, so that players turn the short way. At rest the scene shows everybody in the first known frame.

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
    document = _Document()
    for number, motion in enumerate(motions):
        document.add_person(motion, motion.name or f"person_{number}", colour=_COLOURS[number % len(_COLOURS)])
    content = document.glb() if path.suffix.lower() == ".glb" else document.text()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


class _Document:
    """The parts of a glTF file while they are put together."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.nodes: list[dict[str, Any]] = []
        self.roots: list[int] = []
        self.channels: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []
        self.parts: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("meshes", "materials", "skins", "accessors", "bufferViews")
        }

    def add_person(self, motion: Motion, name: str, *, colour: tuple[float, float, float]) -> None:
        """Nodes, skin, mesh and keys of one person."""
        keys = _Keys.of(motion, name)
        holder = len(self.nodes)
        first = holder + 1
        self.nodes.append({"name": name, "children": [first]})
        for place, joint in enumerate(motion.tree.joints):
            self.nodes.append(_joint_node(motion, keys, place=place, name=joint, first=first))
        skin = self._part("skins", self._skin(motion, name, first))
        self.roots += [holder, len(self.nodes)]
        self.nodes.append({"name": f"{name}_bones", "mesh": self._mesh(motion, name, colour), "skin": skin})
        self._animate(keys, holder=holder, first=first)

    def _skin(self, motion: Motion, name: str, first: int) -> dict[str, Any]:
        inverse = np.tile(np.eye(4, dtype=np.float32), (len(motion.tree), 1, 1))
        inverse[:, 3, :3] = -rest_positions(motion)  # stored column by column
        matrices = self._accessor(inverse.reshape(-1, 16), "MAT4")
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
            "POSITION": self._accessor(mesh.points, "VEC3", target=_VERTICES, bounds=True),
            "NORMAL": self._accessor(mesh.normals, "VEC3", target=_VERTICES),
            "JOINTS_0": self._accessor(joints, "VEC4", target=_VERTICES),
            "WEIGHTS_0": self._accessor(weights, "VEC4", target=_VERTICES),
        }
        surface = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
        material = self._part("materials", {"name": name, "pbrMetallicRoughness": surface})
        return self._part("meshes", {"name": name, "primitives": [{"attributes": attributes, "material": material}]})

    def _animate(self, keys: _Keys, *, holder: int, first: int) -> None:
        times = self._accessor(keys.times, "SCALAR", bounds=True)
        self._channel(first, "translation", times, self._accessor(keys.translation, "VEC3"))
        for place, quaternions in enumerate(keys.rotations):
            self._channel(first + place, "rotation", times, self._accessor(quaternions, "VEC4"))
        if len(keys.changes) > 1 or not keys.shown[0]:
            scale = np.repeat(keys.shown[:, None], 3, axis=1).astype(np.float32)
            changes = self._accessor(keys.changes, "SCALAR", bounds=True)
            self._channel(holder, "scale", changes, self._accessor(scale, "VEC3"), interpolation="STEP")

    def _channel(self, node: int, way: str, times: int, values: int, interpolation: str = "LINEAR") -> None:
        self.channels.append({"sampler": len(self.samplers), "target": {"node": node, "path": way}})
        self.samplers.append({"input": times, "output": values, "interpolation": interpolation})

    def _accessor(self, values: npt.NDArray[Any], kind: str, *, target: int | None = None, bounds: bool = False) -> int:
        """Append the rows of an array as a buffer view of its own, aligned to four bytes."""
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.data += np.ascontiguousarray(values).tobytes()
        self.data += bytes(-len(self.data) % 4)
        component = {"f": _FLOAT, "u": _BYTE if values.dtype.itemsize == 1 else _SHORT}[values.dtype.kind]
        accessor: dict[str, Any] = {
            "bufferView": self._part("bufferViews", view | ({"target": target} if target else {})),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            columns = values.reshape(len(values), -1)
            accessor |= {"min": columns.min(axis=0).tolist(), "max": columns.max(axis=0).tolist()}
        return self._part("accessors", accessor)

    def _part(self, name: str, part: dict[str, Any]) -> int:
        self.parts[name].append(part)
        return len(self.parts[name]) - 1

    def _json(self, buffer: dict[str, Any]) -> bytes:
        document = {
            "asset": {"version": "2.0", "generator": "Marey"},
            "scene": 0,
            "scenes": [{"nodes": self.roots}],
            "nodes": self.nodes,
            **self.parts,
            "animations": [{"name": "motion", "channels": self.channels, "samplers": self.samplers}],
            "buffers": [buffer | {"byteLength": len(self.data)}],
        }
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    def text(self) -> bytes:
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        return self._json({"uri": uri})

    def glb(self) -> bytes:
        text = self._json({})
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), JSON_CHUNK) + text
        chunks += struct.pack("<II", len(self.data), BIN_CHUNK) + self.data
        return struct.pack("<III", MAGIC, 2, 12 + len(chunks)) + chunks


@dataclass(frozen=True, kw_only=True)
class _Keys:
    """What the animation of one person consists of."""

    times: npt.NDArray[np.float32]
    """(N,) seconds of the known frames."""
    translation: npt.NDArray[np.float32]
    """(N, 3) metres, of the root."""
    rotations: npt.NDArray[np.float32]
    """(K, N, 4) quaternions x y z w."""
    changes: npt.NDArray[np.float32]
    """(C,) seconds at which the person appears or disappears; the first is 0."""
    shown: npt.NDArray[np.bool_]
    """(C,) whether the person is there from then on."""

    @classmethod
    def of(cls, motion: Motion, name: str) -> _Keys:
        known = motion.known.cpu().numpy()
        if not known.any():
            raise InputError(f"motion '{name}' is known in none of {len(known)} frames: nothing to write as glTF")
        turning = np.flatnonzero(np.concatenate(([True], known[1:] != known[:-1])))
        return cls(
            times=(np.nonzero(known)[0] / motion.fps).astype(np.float32),
            translation=motion.translation.detach().cpu()[known].float().numpy(),
            rotations=_continuous(motion.rotations.detach().cpu().double()[known]),
            changes=(turning / motion.fps).astype(np.float32),
            shown=known[turning],
        )


def _continuous(rotations: torch.Tensor) -> npt.NDArray[np.float32]:
    """(N, K, 3, 3) to quaternions (K, N, 4) of which neighbours in time are never opposite in sign."""
    quaternions = matrix_to_quaternion(rotations).numpy()
    dots = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdims=True)
    signs = np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    quaternions[1:] *= signs
    return np.ascontiguousarray(quaternions.transpose(1, 0, 2), dtype=np.float32)


def _joint_node(motion: Motion, keys: _Keys, *, place: int, name: str, first: int) -> dict[str, Any]:
    offset = keys.translation[0] if place == 0 else motion.offsets[place].detach().cpu().float().numpy()
    node: dict[str, Any] = {
        "name": name,
        "translation": offset.tolist(),
        "rotation": keys.rotations[place, 0].tolist(),
    }
    children = [first + child for child in motion.tree.children[place]]
    return node | ({"children": children} if children else {})
