"""The data inside a report: a JSON manifest and binary arrays in base64.

The manifest lies in `<script type="application/json" id="marey-manifest">`. Its `arrays` give for every array its
`dtype` (`int16`, `float16`, `float32`, `int32` or `uint8`, little-endian, row-major) and `shape`; the bytes lie, in
base64, in `<script type="application/octet-stream" id="marey-NAME">`. A stored number s means `offset + scale * s`,
per component of the last axis where `offset` and `scale` are lists. Missing: NaN; -32768 in `int16`, 255 in `uint8`.

===============  ===============  ====================================================================================
`frames`         (K,)             index in the recording of the K frames of the playback
`joints`         (K, P, J, 3)     metres in the world frame, rounded by at most `JOINT_TOLERANCE`
`spread`         (K, P, J, 6)     lower Cholesky factor of the covariance, millimetres: l00 l10 l11 l20 l21 l22
`filled`         (K, P, J)        1: filled in from other frames
`keypoints`      (V, K, P, J, 2)  pixels, in the order of the joints
`weights`        (V, K, P, J)     0..1
`heat_residual`  (V, C)           median pixels of C columns of consecutive frames, with `heat_edges` in the manifest
`heat_weight`    (V, C)           mean weight
===============  ===============  ====================================================================================
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, Estimate, Keypoints2D, Skeleton
from marey.geometry.distortion import fold_radius, lens_of
from marey.viz.style import (
    PEOPLE_COLORS,
    SIGMAS_90,
    SIGMAS_90_PLANE,
    SIGMAS_90_SPACE,
    joint_label,
    side_of,
    upright_turn,
)
from marey.viz.summary import heat_map

JOINT_TOLERANCE = 0.0003
"""Metres; joints spread over more than 40 m are stored in float32."""
KEYPOINT_TOLERANCE = 0.1
"""Pixels."""
MAX_BYTES = 10_000_000
"""Of the playback's arrays before base64, which adds a third; longer recordings are played every few frames."""
HEAT_COLUMNS = 1200

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Block:
    """One array as it is stored."""

    values: Array
    """In the stored type."""
    scale: float | list[float] = 1.0
    offset: float | list[float] = 0.0

    @property
    def entry(self) -> dict[str, Any]:
        """What the manifest says about it."""
        return {
            "dtype": self.values.dtype.name,
            "shape": list(self.values.shape),
            "scale": self.scale,
            "offset": self.offset,
        }

    def base64(self) -> Iterator[str]:
        """The bytes as text, piece by piece."""
        raw = np.ascontiguousarray(self.values, dtype=self.values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
        for start in range(0, raw.size, 3 << 18):
            yield base64.b64encode(raw[start : start + (3 << 18)].data).decode("ascii")


@dataclass(frozen=True, kw_only=True)
class Payload:
    """Everything that a report's scripts read."""

    manifest: dict[str, Any]
    blocks: dict[str, Block]


def build_payload(estimate: Estimate, names: tuple[str, ...], *, max_bytes: int = MAX_BYTES) -> Payload:
    """Collect the data of a report.

    Args:
        estimate: T frames, P people, J joints, V views.
        names: of the V views.
        max_bytes: where the playback's arrays would be larger, only every few frames are kept (`stride`).

    Raises:
        InputError: the provenance names an up axis that does not exist.
    """
    joints = estimate.joints
    frames = joints.batch_shape[0]
    stride = max(1, -(-frames * _bytes_per_frame(estimate) // max_bytes))
    blocks = {
        "frames": Block(values=np.array(estimate.frames or range(frames), dtype=np.int32)[::stride]),
        "joints": _rounded(_numpy(joints.positions), stride, axis=0, tolerance=JOINT_TOLERANCE),
        "spread": Block(values=_cholesky_mm(_numpy(joints.covariance[::stride]))),
        "filled": Block(values=_numpy(joints.filled[::stride]).astype(np.uint8)),
    }
    if estimate.keypoints is not None:
        aligned = _in_joint_order(estimate.keypoints, joints.skeleton)
        blocks["keypoints"] = _rounded(aligned, stride, axis=1, tolerance=KEYPOINT_TOLERANCE)
    manifest = _manifest(estimate, names, stride)
    if estimate.diagnostics is not None:
        blocks["weights"] = _byte(_numpy(estimate.diagnostics.weights[:, ::stride]))
        heat = heat_map(estimate.diagnostics, columns=HEAT_COLUMNS)
        blocks["heat_residual"] = Block(values=np.minimum(heat.residual, 60_000).astype(np.float16))
        blocks["heat_weight"] = _byte(heat.weight)
        manifest["heat_edges"] = list(heat.edges)
    manifest["arrays"] = {name: block.entry for name, block in blocks.items()}
    return Payload(manifest=manifest, blocks=blocks)


def _bytes_per_frame(estimate: Estimate) -> int:
    """With every number in its usual type."""
    _, people, joints = estimate.joints.score.shape
    views = estimate.keypoints.batch_shape[0] if estimate.keypoints is not None else 0
    weighed = estimate.diagnostics.batch_shape[0] if estimate.diagnostics is not None else 0
    return people * joints * (3 * 2 + 6 * 2 + 1 + views * 2 * 2 + weighed) + 4


def _manifest(estimate: Estimate, names: tuple[str, ...], stride: int) -> dict[str, Any]:
    skeleton = estimate.joints.skeleton
    turn = upright_turn(str(estimate.provenance.get("world_up", "z")))
    heights = _numpy(estimate.joints.positions).reshape(-1, 3) @ turn[2]
    heights = heights[np.isfinite(heights)]
    return {
        "format": 1,
        "stride": stride,
        "frameCount": estimate.joints.batch_shape[0],
        "fps": estimate.fps,
        "people": estimate.joints.batch_shape[1],
        "joints": [joint_label(joint) for joint in skeleton.joints],
        "sides": [side_of(joint) for joint in skeleton.joints],
        "links": [list(link) for link in skeleton.links],
        "upright": turn.tolist(),
        "ground": float(np.quantile(heights, 0.01)) if heights.size else 0.0,
        "colors": list(PEOPLE_COLORS),
        "sigmas": {"line": SIGMAS_90, "plane": SIGMAS_90_PLANE, "space": SIGMAS_90_SPACE},
        "views": list(names),
        "cameras": [] if estimate.cameras is None else _camera_entries(estimate.cameras, names),
    }


def _camera_entries(cameras: Cameras, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the scripts need to draw cameras and to look through them; cameras without a place are left out."""
    if not cameras.has_extrinsics:
        return []
    rotation, translation = cameras.extrinsics
    folds = _fold_radii(cameras)
    entries = []
    for view, name in enumerate(names):
        size = cameras.image_size[view].tolist()
        center = cameras.intrinsics[view, :2, 2].tolist()
        fisheye = cameras.fisheye is not None and bool(cameras.fisheye[view])
        entry: dict[str, Any] = {
            "name": name,
            "size": size if np.isfinite(size).all() else [2 * center[0] + 1, 2 * center[1] + 1],
            "intrinsics": cameras.intrinsics[view].tolist(),
            "distortion": cameras.distortion[view].tolist(),
            "fisheye": fisheye,
            "rotation": rotation[view].tolist(),
            "translation": translation[view].tolist(),
            "fold": folds[view] if np.isfinite(folds[view]) else None,
        }
        numbers = ("intrinsics", "distortion", "rotation", "translation")
        if np.isfinite(np.concatenate([np.ravel(entry[key]) for key in numbers])).all():
            entries.append({"view": view, **entry})
    return entries


def _fold_radii(cameras: Cameras) -> list[float]:
    """Per view the ideal radius beyond which its lens model turns back on itself."""
    if cameras.distortion.shape[-1] == 0:
        return [float("inf")] * cameras.batch_shape[0]
    folds: list[float] = fold_radius(lens_of(cameras, torch.float64)).reshape(-1).tolist()
    return folds


def _in_joint_order(keypoints: Keypoints2D, skeleton: Skeleton) -> Array:
    """Positions (V, T, P, J, 2) of the keypoints named like the joints; NaN where there is none of that name."""
    positions = _numpy(keypoints.positions)
    if keypoints.skeleton.joints == skeleton.joints:
        return positions
    aligned = np.full((*positions.shape[:-2], len(skeleton), 2), np.nan, positions.dtype)
    for place, joint in enumerate(skeleton.joints):
        if joint in keypoints.skeleton:
            aligned[..., place, :] = positions[..., keypoints.skeleton.index(joint), :]
    return aligned


def _rounded(values: Array, stride: int, *, axis: int, tolerance: float) -> Block:
    """int16 where that rounds by at most `tolerance`, else float32; NaN where any component of a vector is missing."""
    taken = values[::stride] if axis == 0 else values[:, ::stride]
    taken = np.where(np.isfinite(taken).all(-1, keepdims=True), taken, np.nan)
    flat = taken.reshape(-1, taken.shape[-1])
    known = flat[np.isfinite(flat).all(-1)]
    if not known.size:
        return Block(values=np.full(taken.shape, np.nan, np.float32))
    low, high = known.min(0).astype(np.float64), known.max(0).astype(np.float64)
    scale = np.maximum((high - low) / 65_534, 1e-9)
    if scale.max() / 2 > tolerance:
        return Block(values=taken.astype(np.float32))
    offset = low + 32_767 * scale
    stored = np.where(np.isfinite(taken), np.rint((taken - offset) / scale), -32_768)
    return Block(values=stored.astype(np.int16), scale=scale.tolist(), offset=offset.tolist())


def _byte(values: Array) -> Block:
    """Numbers in 0..1 in 254 steps."""
    stored = np.where(np.isfinite(values), np.rint(np.clip(values, 0.0, 1.0) * 254), 255)
    return Block(values=stored.astype(np.uint8), scale=1 / 254)


def _cholesky_mm(covariance: Array) -> Array:
    """Lower Cholesky factors (..., 6) of covariances (..., 3, 3), millimetres; zero where a pivot is not positive."""
    c = covariance.astype(np.float64)
    l00 = np.sqrt(np.maximum(c[..., 0, 0], 0.0))
    l10, l20 = _ratio(c[..., 1, 0], l00), _ratio(c[..., 2, 0], l00)
    l11 = np.sqrt(np.maximum(c[..., 1, 1] - l10**2, 0.0))
    l21 = _ratio(c[..., 2, 1] - l20 * l10, l11)
    l22 = np.sqrt(np.maximum(c[..., 2, 2] - l20**2 - l21**2, 0.0))
    factors = 1000 * np.stack((l00, l10, l11, l20, l21, l22), -1)
    stored: Array = np.clip(factors, -60_000, 60_000).astype(np.float16)
    return stored


def _ratio(above: Array, below: Array) -> Array:
    ratio: Array = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    return ratio


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
