"""USD as text (.usda), for Omniverse, Houdini, Maya, Blender and Apple's viewers: people as animated skeletons.

After the schemas of OpenUSD, UsdSkel: a SkelRoot a person with its Skeleton, SkelAnimation and a mesh of bones.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import InputError
from marey.core.motion import JointTree, Motion
from marey.io.atomic import atomic_write_text
from marey.io.bone_mesh import bone_mesh, rest_positions
from marey.io.motion_files import unique_names
from marey.io.motion_keys import MotionKeys, motion_keys

_SKEL = '(\n    prepend apiSchemas = ["SkelBindingAPI"]\n)'


def write_usd(path: str | os.PathLike[str], motions: Sequence[Motion]) -> None:
    """Write the motions of all people into one scene: metres, y up, frame 0 at time code 0.

    Time codes count the frames of the first motion. Only known frames become samples; a person is invisible in the
    frames where it is unknown. Names become identifiers of USD: other signs than letters of English, digits and
    underscores become underscores.

    Args:
        path: The file, which must end in `.usda`.
        motions: One a person, metres, y up; times count from 0 in all of them.

    Raises:
        InputError: there is no motion, a person is known in no frame, the suffix is another, or the file cannot be
            written.
    """
    path = Path(path)
    if path.suffix.lower() != ".usda":
        raise InputError(f"{path}: expected a name that ends in .usda; only USD's text form is written")
    if not motions:
        raise InputError(f"{path}: no motion to write")
    names = unique_names(path, [_identifier(motion.name or f"person_{at}") for at, motion in enumerate(motions)])
    rate = motions[0].fps
    last = max((motion.length - 1) * rate / motion.fps for motion in motions)
    head = (
        f'#usda 1.0\n(\n    defaultPrim = "People"\n    endTimeCode = {last:.9g}\n    framesPerSecond = {rate:.9g}\n'
        f'    metersPerUnit = 1\n    startTimeCode = 0\n    timeCodesPerSecond = {rate:.9g}\n    upAxis = "Y"\n)\n'
    )
    people = [_person(motion, name, rate) for motion, name in zip(motions, names, strict=True)]
    atomic_write_text(path, head + '\ndef Xform "People"\n{\n' + "\n".join(people) + "}\n")


def _person(motion: Motion, name: str, rate: float) -> str:
    keys = motion_keys(motion, name, kind="USD")
    joints = json.dumps(_joint_paths(motion.tree))
    step = rate / motion.fps
    here = f"/People/{name}"
    visibility = ""
    if not keys.always:
        shown = ('"inherited"' if there else '"invisible"' for there in keys.shown)
        visibility = f"token visibility.timeSamples = {_samples((keys.changes * step).astype(np.float64), shown)}\n"
    return (
        f'def SkelRoot "{name}" {_SKEL}\n{{\n{visibility}'
        f'def Skeleton "Skeleton" {_SKEL}\n{{\nuniform token[] joints = {joints}\n'
        f"uniform matrix4d[] bindTransforms = {_matrices(rest_positions(motion))}\n"
        f"uniform matrix4d[] restTransforms = {_matrices(motion.offsets.detach().cpu().double().numpy())}\n"
        f"rel skel:animationSource = <{here}/Animation>\n}}\n"
        f'def SkelAnimation "Animation"\n{{\nuniform token[] joints = {joints}\n'
        f"{_animation(motion, keys, step)}}}\n{_mesh(motion, here)}}}\n"
    )


def _animation(motion: Motion, keys: MotionKeys, step: float) -> str:
    times = (keys.frames * step).astype(np.float64)
    places = np.repeat(motion.offsets.detach().cpu().float().numpy()[None], len(times), axis=0)
    places[:, 0] = keys.translation
    turns = keys.rotations.transpose(1, 0, 2)[..., [3, 0, 1, 2]]  # USD writes the real part first
    return (
        f"float3[] translations.timeSamples = {_samples(times, _tuple_lists(places))}\n"
        f"quatf[] rotations.timeSamples = {_samples(times, _tuple_lists(turns))}\n"
        f"half3[] scales = [{', '.join(['(1, 1, 1)'] * len(motion.tree))}]\n"
    )


def _mesh(motion: Motion, here: str) -> str:
    mesh = bone_mesh(motion)
    count = len(mesh.points)
    (points,) = _tuple_lists(mesh.points[None])
    (normals,) = _tuple_lists(mesh.normals[None])
    (extent,) = _tuple_lists(np.stack([mesh.points.min(axis=0), mesh.points.max(axis=0)])[None])
    weight = '(\n    elementSize = 1\n    interpolation = "vertex"\n)'
    return (
        f'def Mesh "Bones" {_SKEL}\n{{\nfloat3[] extent = {extent}\n'
        f"int[] faceVertexCounts = {[3] * (count // 3)}\nint[] faceVertexIndices = {list(range(count))}\n"
        f"point3f[] points = {points}\n"
        f'normal3f[] normals = {normals} (\n    interpolation = "vertex"\n)\n'
        f"int[] primvars:skel:jointIndices = {mesh.joints.tolist()} {weight}\n"
        f"float[] primvars:skel:jointWeights = {[1] * count} {weight}\n"
        "matrix4d primvars:skel:geomBindTransform = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))\n"
        f'rel skel:skeleton = <{here}/Skeleton>\nuniform token subdivisionScheme = "none"\n}}\n'
    )


def _joint_paths(tree: JointTree) -> list[str]:
    """Joints as USD names them: with all joints above, like `hips/knee`."""
    names = unique_names(tree.name, [_identifier(joint) for joint in tree.joints])
    paths: list[str] = []
    for name, parent in zip(names, tree.parents, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def _identifier(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return plain if re.match(r"[A-Za-z_]", plain) else f"_{plain}"


def _samples(times: npt.NDArray[np.float64], values: Iterable[str]) -> str:
    return "{\n" + "".join(f"{time:.9g}: {value},\n" for time, value in zip(times, values, strict=True)) + "}"


def _tuple_lists(values: npt.NDArray[np.float32]) -> list[str]:
    """(N, M, W) to N texts, each a list of M tuples."""
    form = "(" + ", ".join(["%.7g"] * values.shape[2]) + ")"
    whole = "[" + ", ".join([form] * values.shape[1]) + "]"
    return [whole % tuple(row) for row in values.reshape(len(values), -1).tolist()]


def _matrices(places: npt.NDArray[np.float64]) -> str:
    """Translations (K, 3) as matrices that act on rows from the right, as USD's do."""
    rows = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))
    texts = [", ".join(map(str, (*rows, (*(float(f"{value:.9g}") for value in place), 1)))) for place in places]
    return "[" + ", ".join(f"({text})" for text in texts) + "]"
