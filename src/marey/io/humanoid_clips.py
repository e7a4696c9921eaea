"""Motion clips for the humanoid of DeepMimic: JSON with a row of numbers a frame.

The files that came with Peng et al., "DeepMimic: example-guided deep reinforcement learning of physics-based character
skills", ACM Trans. Graphics 37, 2018. A row holds the frame's duration, the place and the orientation of the root, then
for each joint a quaternion w x y z or, for knees and elbows, one angle about the axis across the body. The file's axes
are x forward, y up, z to the right, in metres; the bones are those of that humanoid and not in the file.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.errors import FormatError, InputError
from marey.core.motion import JointTree, Motion
from marey.geometry.rotations import quaternion_to_matrix, rotvec_to_matrix
from marey.io.text import read_text_limited

_JOINTS: dict[str, tuple[str, tuple[float, float, float], int]] = {
    "root": ("", (0, 0, 0), 4),
    "chest": ("root", (0, 0.236151, 0), 4),
    "neck": ("chest", (0, 0.223894, 0), 4),
    "right_hip": ("root", (0, 0, 0.084887), 4),
    "right_knee": ("right_hip", (0, -0.421546, 0), 1),
    "right_ankle": ("right_knee", (0, -0.40987, 0), 4),
    "right_shoulder": ("chest", (-0.02405, 0.24350, 0.18311), 4),
    "right_elbow": ("right_shoulder", (0, -0.274788, 0), 1),
    "right_wrist": ("right_elbow", (0, -0.258947, 0), 0),
    "left_hip": ("root", (0, 0, -0.084887), 4),
    "left_knee": ("left_hip", (0, -0.421546, 0), 1),
    "left_ankle": ("left_knee", (0, -0.40987, 0), 4),
    "left_shoulder": ("chest", (-0.02405, 0.24350, -0.18311), 4),
    "left_elbow": ("left_shoulder", (0, -0.274788, 0), 1),
    "left_wrist": ("left_elbow", (0, -0.258947, 0), 0),
}
"""In the order of the rows: what the joint hangs on, its place there in the file's axes, and its numbers in a row (a
quaternion, an angle, or none for joints that do not turn)."""
_WIDTH = 4 + sum(width for *_, width in _JOINTS.values())
_AXES = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""From the file's axes (x forward, z right) to those of a motion (z forward, x left)."""
_STEADY = 0.01
"""Share by which the durations of frames may differ before the clip is sampled anew."""
_UNIT_LENGTH = 0.5
"""By which the length of a quaternion may differ from 1; some files were edited by hand, and have 0.6."""
_PREFIX = "humanoid3d_"

Array = npt.NDArray[np.float64]


def read_humanoid_clip(path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32) -> Motion:
    """Read a clip, named as its file without `humanoid3d_`.

    In the rest pose of the humanoid the arms hang. A clip whose frames last differently long is sampled at the rate of
    most of them, with a warning; the duration of the last frame, which files set to 0, has no effect.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a clip, has no frames, or a row is malformed.
    """
    path = Path(path)
    rows = _rows(path, _document(path))
    seconds = float(np.median(rows[:-1, 0])) if len(rows) > 1 else float(rows[0, 0])
    if not seconds > 0:
        raise FormatError(f"{path}: most frames last {seconds:g} s, expected more than 0")
    rows = _steady(path, rows, seconds)
    places = list(_JOINTS)
    tree = JointTree("humanoid", tuple(places), tuple(_parent(places, joint) for joint in places))
    axes = torch.tensor(_AXES, dtype=torch.float64)
    offsets = torch.tensor([offset for _, offset, _ in _JOINTS.values()], dtype=torch.float64)
    return Motion(
        tree=tree,
        offsets=(offsets @ axes.T).to(dtype),
        rotations=(axes @ _rotations(torch.from_numpy(rows[:, 4:])) @ axes.T).to(dtype),
        translation=(torch.from_numpy(rows[:, 1:4]) @ axes.T).to(dtype),
        fps=_rate(seconds),
        name=path.stem.removeprefix(_PREFIX),
    )


def _parent(places: list[str], joint: str) -> int:
    above = _JOINTS[joint][0]
    return places.index(above) if above else -1


def _document(path: Path) -> Any:
    try:
        return json.loads(read_text_limited(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, (FormatError, InputError)):
            raise
        raise FormatError(f"{path}: not JSON: {error}") from error


def _rows(path: Path, document: Any) -> Array:
    """(T, 44) numbers, checked; quaternions of unit length."""
    frames = document.get("Frames") if isinstance(document, dict) else None
    if not isinstance(frames, list) or not frames:
        raise FormatError(f"{path}: no list of 'Frames'; expected a motion clip of the DeepMimic humanoid")
    wrong = [place for place, row in enumerate(frames) if not isinstance(row, list) or len(row) != _WIDTH]
    if wrong:
        raise FormatError(f"{path}: frame {wrong[0]} is not a row of {_WIDTH} numbers, as the humanoid has")
    try:
        rows = np.array(frames, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise FormatError(f"{path}: some frame holds something else than numbers") from None
    if rows.shape != (len(frames), _WIDTH) or not np.isfinite(rows).all() or (rows[:, 0] < 0).any():
        raise FormatError(f"{path}: some frame has a value that is no finite number, or a negative duration")
    for column in _quaternions():
        lengths = np.linalg.norm(rows[:, column : column + 4], axis=1)
        worst = int(np.abs(lengths - 1).argmax())
        if abs(lengths[worst] - 1) > _UNIT_LENGTH:
            raise FormatError(
                f"{path}: frame {worst}, number {column}: a quaternion of length {lengths[worst]:.3g}, expected 1; are "
                f"the joints in another order?"
            )
        rows[:, column : column + 4] /= lengths[:, None]
    return rows


def _quaternions() -> list[int]:
    """The columns at which quaternions begin."""
    widths = [width for *_, width in _JOINTS.values()]
    ends = 4 + np.cumsum(widths)
    return [int(end) - 4 for end, width in zip(ends, widths, strict=True) if width == 4]


def _steady(path: Path, rows: Array, seconds: float) -> Array:
    """Rows at equal times."""
    durations = rows[:-1, 0]
    if (np.abs(durations - seconds) <= _STEADY * seconds).all():
        return rows
    warnings.warn(f"{path}: its frames last differently long; sampled at {1 / seconds:.4g} frames/s", stacklevel=3)
    times = np.concatenate(([0.0], np.cumsum(durations)))
    wanted = np.arange(round(times[-1] / seconds) + 1) * seconds
    rows = rows.copy()
    for column in _quaternions():  # of a quaternion and its negative, the one that goes on from the frame before
        part = rows[:, column : column + 4]
        flips = np.where((part[1:] * part[:-1]).sum(1) < 0, -1.0, 1.0)
        part[1:] *= np.cumprod(flips)[:, None]
    return np.stack([np.interp(wanted, times, column) for column in rows.T], axis=1)


def _rotations(values: Tensor) -> Tensor:
    """(T, 15, 3, 3) in the file's axes."""
    rotations, column = [], 0
    for _, _, width in _JOINTS.values():
        part = values[:, column : column + width]
        column += width
        if width == 4:
            rotations.append(quaternion_to_matrix(part[:, [1, 2, 3, 0]]))
        else:
            across = part.sum(-1, keepdim=True)  # one angle, or none: 0
            rotations.append(rotvec_to_matrix(torch.nn.functional.pad(across, (2, 0))))
    return torch.stack(rotations, 1)


def _rate(seconds: float) -> float:
    """Frames per second: a whole rate where the duration is that one's, rounded."""
    rate = round(1 / seconds)
    return float(rate) if rate and abs(rate * seconds - 1) < 1e-3 else 1 / seconds
