"""Reads the moving skeletons of glTF 2.0 files, which Blender, game engines and Mixamo's converters write."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core.errors import InputError
from marey.core.motion import JointTree, Motion
from marey.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from marey.io.gltf_container import GltfFile
from marey.io.motion_files import JointMotion, steady_motion, unique_names

MOST_JOINTS, MOST_ROTATIONS = 10_000, 20_000_000
"""In one file, of all people together: more is refused before memory is taken."""
_FREE_ROTATIONS = 1_000_000
"""That any file may ask for, however short: a key may be shared, and holds until the next one. Beyond, one a byte."""
_MOST_ABOVE = 100
"""Nodes above a skeleton; exporters put three there."""
_MOST_FRAMES, _MOST_FRAMES_A_KEY = 100_000, 100
_FARTHEST = 1e30
_WIDTHS = {"translation": "VEC3", "rotation": "VEC4", "scale": "VEC3"}
_SINGLE_RATE = 30.0
"""Frames per second of an animation that has one key."""
_SAME_SCALE = 1e-3
_NEAR = 0.02
"""Of a frame, within which a key is taken to be at the frame: its time is in single precision."""

Floats = npt.NDArray[np.float64]


def read_gltf(
    path: str | os.PathLike[str], *, animation: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Motion, ...]:
    """Read the motion of every skinned skeleton of a `.glb` or `.gltf` file.

    Every joint of a skin that hangs on no other joint is the root of one motion. Frames are taken evenly from time 0
    on, at the rate of the keys; between keys rotations go the short way round and translations straight, as players do.
    Static nodes above a skeleton, uniform scale included, are applied. Where a node above it is scaled to nothing, the
    person is unknown. Meshes, cameras and morphing are not read.

    Args:
        path: The file; data beside it is read from its own folder only.
        animation: Which of the file's animations, from 0.
        dtype: Precision of the result.

    Raises:
        InputError: the file cannot be read, or has no such animation.
        FormatError: it is not glTF 2.0, is cut off or contradicts itself, has no skinned skeleton, or moves it in a way
            that is not supported: cubic splines, joints that are scaled, moving nodes above a skeleton.
    """
    file = GltfFile(path)
    nodes = _Nodes(file)
    animations = file.parts("animations")
    if not 0 <= animation < len(animations):
        raise InputError(f"{file.path}: there is no animation {animation}; the file has {len(animations)}")
    tracks = _tracks(file, animations[animation], len(nodes.parents))
    skeletons = nodes.skeletons()
    most = min(MOST_ROTATIONS, _FREE_ROTATIONS + file.size) // sum(map(len, skeletons))
    return tuple(_motion(file, nodes, tracks, members, most=most, dtype=dtype) for members in skeletons)


@dataclass(frozen=True, kw_only=True)
class _Track:
    """The keys of one property of one node."""

    times: Floats
    """(N,) seconds, rising."""
    values: Floats
    """(N, 3 or 4)"""
    steps: bool
    """Whether values hold until the next key."""

    def at(self, times: Floats, near: float) -> Floats:
        """Values at `times`; keys that are `near` count as being there, beyond the ends the outermost key's hold."""
        before = np.clip(np.searchsorted(self.times, times + near, side="right") - 1, 0, None)
        if self.steps or len(self.times) == 1:
            return self.values[before]
        before = np.minimum(before, len(self.times) - 2)
        span = self.times[before + 1] - self.times[before]
        passed = times - self.times[before]
        weight = np.where(np.abs(passed) <= near, 0.0, np.where(passed >= span - near, 1.0, passed / span))
        weight = np.clip(weight, 0.0, 1.0)[:, None]
        start, end = self.values[before], self.values[before + 1]
        if start.shape[1] == 4:
            return _slerp(start, end, weight)
        mixed: Floats = start + weight * (end - start)
        return mixed


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """The frames to be read."""

    times: Floats
    """(T,) seconds."""
    near: float
    """Seconds within which a key belongs to a frame."""


Tracks = dict[int, dict[str, _Track]]
"""Node -> property -> keys."""


class _Nodes:
    """The forest of nodes, with its rest pose."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file
        nodes = file.parts("nodes")
        self.names = [str(node.get("name", "")) for node in nodes]
        self.parents = _parents(file, nodes)
        self.rest = [_rest(file, node) for node in nodes]

    @cached_property
    def order(self) -> list[int]:
        """All nodes, every one after its parent."""
        children: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                children[parent].append(node)
        order: list[int] = []
        waiting = [node for node, parent in enumerate(self.parents) if parent < 0][::-1]
        while waiting:
            node = waiting.pop()
            order.append(node)
            waiting.extend(reversed(children[node]))
        if len(order) < len(self.parents):
            self.file.refuse("its nodes are children of themselves, in a circle")
        return order

    def skeletons(self) -> list[list[int]]:
        """For each root joint the nodes of its skeleton, the root first, every one after its parent.

        Nodes between joints belong to it, though they are no joints of the skin.
        """
        joints = self._joints()
        roots: dict[int, int] = {}  # node -> the uppermost joint at or above it
        for node in self.order:
            above = roots.get(self.parents[node])
            if above is not None or node in joints:
                roots[node] = node if above is None else above
        needed = set(joints)
        for node in reversed(self.order):
            parent = self.parents[node]
            if node in needed and parent in roots:
                needed.add(parent)
        members: dict[int, list[int]] = {}
        for node in self.order:
            if node in needed:
                members.setdefault(roots[node], []).append(node)
        return [self._as_listed(nodes) for nodes in members.values()]

    def above(self, node: int) -> list[int]:
        """The nodes above, the next one first."""
        found: list[int] = []
        while (node := self.parents[node]) >= 0:
            if len(found) == _MOST_ABOVE:
                self.file.refuse(f"a skeleton hangs below more than {_MOST_ABOVE} nodes")
            found.append(node)
        return found

    def _joints(self) -> set[int]:
        joints: set[int] = set()
        for skin in self.file.parts("skins"):
            listed = skin.get("joints")
            if not isinstance(listed, list):
                self.file.refuse("a skin has no joints")
            for node in listed:
                self.file.part("nodes", node)
                joints.add(node)
        if not joints:
            self.file.refuse("it has no skinned skeleton, so there is no motion of joints to read")
        if len(joints) > MOST_JOINTS:
            self.file.refuse(f"{len(joints)} joints, more than {MOST_JOINTS}")
        return joints

    def _as_listed(self, members: list[int]) -> list[int]:
        """In the order of the file, if every node then still comes after its parent."""
        listed = sorted(members)
        inside = set(members)
        falls = all(self.parents[node] < node for node in listed if self.parents[node] in inside)
        return listed if falls and listed[0] == members[0] else members


@dataclass(frozen=True, kw_only=True)
class _Rest:
    """A node as it stands without animation."""

    translation: Floats = field(default_factory=lambda: np.zeros(3))
    rotation: Floats = field(default_factory=lambda: np.array([0.0, 0.0, 0.0, 1.0]))
    scale: Floats = field(default_factory=lambda: np.ones(3))


def _parents(file: GltfFile, nodes: Sequence[dict[str, Any]]) -> list[int]:
    parents = [-1] * len(nodes)
    for place, node in enumerate(nodes):
        children = node.get("children", [])
        if not isinstance(children, list):
            file.refuse(f"the children of node {place} are no list")
        for child in children:
            file.part("nodes", child)
            if parents[child] >= 0:
                file.refuse(f"node {child} has two parents")
            parents[child] = place
    return parents


def _rest(file: GltfFile, node: dict[str, Any]) -> _Rest:
    if "matrix" in node:
        return _decomposed(file, _numbers(file, node["matrix"], 16).reshape(4, 4).T)
    parts = {way: _numbers(file, node[way], int(kind[-1])) for way, kind in _WIDTHS.items() if way in node}
    if "rotation" in parts and not np.linalg.norm(parts["rotation"]) > 1e-6:
        file.refuse("a node's rotation is no quaternion")
    return _Rest(**parts)


def _decomposed(file: GltfFile, matrix: Floats) -> _Rest:
    """A matrix of rotation, translation and one scale; the rotation is kept as a quaternion, as nodes have it."""
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (scale > 0).all():
        file.refuse("a node's matrix is singular")
    rotation = matrix[:3, :3] / scale
    if np.abs(rotation.T @ rotation - np.eye(3)).max() > _SAME_SCALE or np.linalg.det(rotation) < 0:
        file.refuse("a node's matrix shears or mirrors, which is not supported")
    quaternion = matrix_to_quaternion(torch.from_numpy(rotation)).numpy()
    return _Rest(translation=matrix[:3, 3].copy(), rotation=quaternion, scale=scale)


def _numbers(file: GltfFile, values: object, count: int) -> Floats:
    listed = values if isinstance(values, list) and all(type(value) in (int, float) for value in values) else []
    if len(listed) != count or not all(abs(value) < _FARTHEST for value in listed):
        file.refuse(f"a node's transform is {str(values)[:60]}, expected {count} numbers")
    return np.array(listed, dtype=np.float64)


def _tracks(file: GltfFile, animation: dict[str, Any], nodes: int) -> Tracks:
    """The keys of all nodes that an animation moves."""
    channels, samplers = animation.get("channels"), animation.get("samplers")
    if not isinstance(channels, list) or not isinstance(samplers, list):
        file.refuse("an animation has no channels or samplers")
    arrays = _Arrays(file)
    tracks: Tracks = {}
    for channel in channels:
        target = channel.get("target") if isinstance(channel, dict) else None
        node, way = (target.get("node"), target.get("path")) if isinstance(target, dict) else (None, None)
        if not isinstance(way, str) or way not in _WIDTHS or not isinstance(node, int):
            continue  # morphing, or what an extension moves
        place = channel.get("sampler")
        if not isinstance(place, int) or not 0 <= place < len(samplers) or not 0 <= node < nodes:
            file.refuse("an animation's channel points to nothing")
        tracks.setdefault(node, {})[way] = _track(arrays, samplers[place], way)
    return tracks


class _Arrays:
    """Times and values of keys, each read and checked once, however many channels share it."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file
        self._read: dict[tuple[object, str], Floats] = {}

    def times(self, place: int) -> Floats:
        key = (place, "times")
        if key not in self._read:
            found = self.file.array(place, "SCALAR")[:, 0]
            if not len(found) or found[0] < 0 or not (np.diff(found) > 0).all():
                self.file.refuse("times of keys do not rise from 0 on")
            self._read[key] = found
        return self._read[key]

    def values(self, place: object, way: str) -> Floats:
        key = (place, way) if isinstance(place, int) else (None, way)
        if key not in self._read:
            found = self.file.array(place, _WIDTHS[way])
            if way == "rotation" and not (np.linalg.norm(found, axis=1) > 1e-6).all():
                self.file.refuse("a rotation's key is no quaternion")
            self._read[key] = found
        return self._read[key]


def _track(arrays: _Arrays, sampler: object, way: str) -> _Track:
    file = arrays.file
    if not isinstance(sampler, dict) or not isinstance(sampler.get("input"), int):
        file.refuse("an animation's sampler is malformed")
    interpolation = sampler.get("interpolation", "LINEAR")
    if interpolation not in ("LINEAR", "STEP"):
        file.refuse(f"keys joined by {str(interpolation)[:40]}, expected LINEAR or STEP; export with sampled animation")
    times, values = arrays.times(sampler["input"]), arrays.values(sampler.get("output"), way)
    if len(values) != len(times):
        file.refuse(f"{len(values)} values for {len(times)} keys")
    return _Track(times=times, values=values, steps=interpolation == "STEP")


def _motion(
    file: GltfFile, nodes: _Nodes, tracks: Tracks, members: list[int], *, most: int, dtype: torch.dtype
) -> Motion:
    """One person; `most` frames may be read."""
    above = nodes.above(members[0])
    moved = [track for node in (*members, *above) for track in tracks.get(node, {}).values()]
    fps, frames = _frames(file, moved, most)
    clock = _Clock(times=np.arange(frames) / fps, near=_NEAR / fps)
    places = np.stack([_sampled(nodes, tracks, node, "translation", clock) for node in members], axis=1)
    quaternions = np.stack([_sampled(nodes, tracks, node, "rotation", clock) for node in members], axis=1)
    rotations = quaternion_to_matrix(torch.from_numpy(quaternions))
    for node in members:
        _refuse_scale(file, nodes, tracks, node)
    moving = JointMotion(places=places, rotations=rotations, known=_shown(file, nodes, tracks, above, clock))
    new = {node: place for place, node in enumerate(members)}
    names = [nodes.names[node].strip() or f"node_{node}" for node in members]
    tree = JointTree(
        nodes.names[above[0]] if above and nodes.names[above[0]] else file.path.stem,
        unique_names(file.path, names),
        tuple(new.get(nodes.parents[node], -1) if place else -1 for place, node in enumerate(members)),
    )
    return steady_motion(file.path, tree, _placed(file, nodes, above, moving), fps=fps, dtype=dtype)


def _frames(file: GltfFile, tracks: Iterable[_Track], most: int) -> tuple[float, int]:
    """Rate of the keys, and the frames from time 0 to the last key."""
    times = {id(track.times): track.times for track in tracks}
    if not times:
        warnings.warn(f"{file.path}: the animation does not move the skeleton; one frame is read", stacklevel=4)
        return _SINGLE_RATE, 1
    densest = max(times.values(), key=len)
    last = max(float(keys[-1]) for keys in times.values())
    fps = _SINGLE_RATE
    if len(densest) > 1:
        steps = np.diff(densest)
        usual = float(np.sort(steps)[(len(steps) - 1) // 2])
        shortest = float(steps.min())  # with gaps on both sides, few steps are one frame long
        if np.abs(steps / shortest - np.round(steps / shortest)).max() < 0.1:
            usual = shortest
        counts = np.round(steps / usual)  # over all of them: single precision blurs late times
        even = np.abs(steps / usual - counts).max() < 0.1
        fps = float(counts.sum() / steps.sum()) if even else 1 / usual
    for base in (1.0, 1.001):
        if abs(round(fps * base) / base - fps) < 1e-3 * min(fps, 1.0) and round(fps * base) > 0:
            fps = round(fps * base) / base
            break
    most = min(_MOST_FRAMES + _MOST_FRAMES_A_KEY * len(densest), most)
    if not last * fps < most - 1:
        file.refuse(f"{last:.4g} s at {fps:.4g} frames per second: too many for its size to be true; refused")
    return fps, round(last * fps) + 1


def _sampled(nodes: _Nodes, tracks: Tracks, node: int, way: str, clock: _Clock) -> Floats:
    track = tracks.get(node, {}).get(way)
    rest: Floats = getattr(nodes.rest[node], way)
    return np.broadcast_to(rest, (len(clock.times), len(rest))) if track is None else track.at(clock.times, clock.near)


def _refuse_scale(file: GltfFile, nodes: _Nodes, tracks: Tracks, node: int) -> None:
    track = tracks.get(node, {}).get("scale")
    scales = nodes.rest[node].scale if track is None else track.values
    if np.abs(scales - 1).max() > _SAME_SCALE:
        file.refuse(f"joint '{nodes.names[node]}' is scaled, which a motion of constant bones cannot hold")


def _shown(file: GltfFile, nodes: _Nodes, tracks: Tracks, above: Sequence[int], clock: _Clock) -> npt.NDArray[np.bool_]:
    """(T,) where no node above is scaled to nothing; they may not move otherwise."""
    shown = np.ones(len(clock.times), dtype=np.bool_)
    for node in above:
        moved = tracks.get(node, {})
        rest = nodes.rest[node]
        for way in ("translation", "rotation"):
            if way in moved and np.abs(moved[way].values - getattr(rest, way)).max() > 1e-5:
                file.refuse(f"node '{nodes.names[node]}' above the skeleton moves, which is not supported")
        if "scale" in moved:
            scale = moved["scale"].at(clock.times, clock.near)
            hidden = (np.abs(scale) < 1e-6).all(axis=1)
            if np.abs(scale[~hidden] - rest.scale).max(initial=0) > _SAME_SCALE * np.abs(rest.scale).max():
                file.refuse(f"node '{nodes.names[node]}' above the skeleton changes its scale, which is not supported")
            shown &= ~hidden
    return shown


def _placed(file: GltfFile, nodes: _Nodes, above: Sequence[int], moving: JointMotion) -> JointMotion:
    """The skeleton in the world: its static upper nodes applied, from the next one outwards."""
    places, rotations = moving.places.copy(), moving.rotations
    for node in above:
        rest = nodes.rest[node]
        scale = float(rest.scale.mean())
        if scale <= 0 or np.abs(rest.scale - scale).max() > _SAME_SCALE * scale:
            file.refuse(f"node '{nodes.names[node]}' is scaled by {rest.scale.tolist()}, expected one scale above 0")
        turn = quaternion_to_matrix(torch.from_numpy(rest.rotation))
        places *= scale
        places[:, 0] = places[:, 0] @ turn.numpy().T + rest.translation
        rotations = torch.cat((turn @ rotations[:, :1], rotations[:, 1:]), dim=1)
    return JointMotion(places=places, rotations=rotations, known=moving.known)


def _slerp(start: Floats, end: Floats, weight: Floats) -> Floats:
    """Unit quaternions (N, 4) on the short way between two; nearly equal ones are mixed straight."""
    start = start / np.linalg.norm(start, axis=1, keepdims=True)
    end = end / np.linalg.norm(end, axis=1, keepdims=True)
    dot = (start * end).sum(axis=1, keepdims=True)
    end, dot = np.where(dot < 0, -end, end), np.abs(dot)
    angle = np.arccos(np.clip(dot, 0.0, 1.0))
    small = angle < 1e-4
    sine = np.where(small, 1.0, np.sin(angle))
    first = np.where(small, 1 - weight, np.sin((1 - weight) * angle) / sine)
    second = np.where(small, weight, np.sin(weight * angle) / sine)
    mixed: Floats = first * start + second * end
    return mixed
