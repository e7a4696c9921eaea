"""VideoPose3D archives: 2D keypoints and 3D joints of Human3.6M or of one's own recordings, by subject and action.

Both kinds hold one pickled dictionary of arrays. It is read without running anything in it, and written as the
original programs expect it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, ShapeError
from marey.io.atomic import atomic_path
from marey.io.naming import listed
from marey.io.unpickle import read_object_npz

Floats = npt.NDArray[np.float32]
Actions = Mapping[str, Mapping[str, Floats]]
"""Subject -> action -> array."""

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
"""Serial numbers of the cameras of Human3.6M in the order in which its 2D archives list them."""


@dataclass(frozen=True, kw_only=True)
class VideoPose2D:
    """Keypoints of the views of every action."""

    positions: Mapping[str, Mapping[str, tuple[Floats, ...]]]
    """Subject -> action -> for each view (T, K, 2) pixels; views of one action may differ in length."""
    layout: str
    """Name of the order of the joints: h36m, coco, ..."""
    mirror: tuple[tuple[int, ...], tuple[int, ...]]
    """Places of the left joints, and of the right ones in the same order."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Of the videos of one's own recordings: name -> width, height; empty for Human3.6M."""


def read_videopose_3d(path: str | os.PathLike[str]) -> Actions:
    """Read `data_3d_*.npz`: for each subject and action (T, J, 3) metres in the world, float32.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such an archive, holds other Python objects than arrays, or an array has another shape.
    """
    path = Path(path)
    tree = _tree(path, _member(path, read_object_npz(path), "positions_3d"), "positions_3d")
    return {
        subject: {
            action: _array(path, value, 3, f"positions_3d[{subject!r}][{action!r}]")
            for action, value in actions.items()
        }
        for subject, actions in tree.items()
    }


def read_videopose_2d(path: str | os.PathLike[str]) -> VideoPose2D:
    """Read `data_2d_*.npz`, of Human3.6M or of one's own videos. A third column (confidence) is left out.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such an archive, holds other Python objects than arrays, or its parts do not fit.
    """
    path = Path(path)
    archive = read_object_npz(path)
    tree = _tree(path, _member(path, archive, "positions_2d"), "positions_2d")
    positions = {
        subject: {
            action: tuple(
                _array(path, view, (2, 3), f"positions_2d[{subject!r}][{action!r}][{place}]")[..., :2]
                for place, view in enumerate(_views(path, value))
            )
            for action, value in actions.items()
        }
        for subject, actions in tree.items()
    }
    metadata = _member(path, archive, "metadata")
    if not isinstance(metadata, dict):
        raise FormatError(f"{path}: 'metadata' is not a dictionary")
    return VideoPose2D(
        positions=positions,
        layout=str(metadata.get("layout_name", "")),
        mirror=_mirror(path, metadata.get("keypoints_symmetry")),
        sizes=_sizes(path, metadata.get("video_metadata", {})),
    )


def write_videopose_3d(path: str | os.PathLike[str], positions: Mapping[str, Mapping[str, npt.ArrayLike]]) -> None:
    """Write joints by subject and action, (T, J, 3) metres in the world.

    Raises:
        ShapeError: an array has another shape.
        InputError: the file cannot be written.
    """
    tree = {
        subject: {action: _checked(value, 3, f"{subject}, {action}") for action, value in actions.items()}
        for subject, actions in positions.items()
    }
    _save(path, positions_3d=tree)


def write_videopose_2d(path: str | os.PathLike[str], keypoints: VideoPose2D) -> None:
    """Write keypoints by subject, action and view, as the original programs read them.

    Raises:
        ShapeError: a view is not (T, K, 2).
        InputError: the file cannot be written.
    """
    tree = {
        subject: {
            action: [_checked(view, 2, f"{subject}, {action}, view {place}") for place, view in enumerate(views)]
            for action, views in actions.items()
        }
        for subject, actions in keypoints.positions.items()
    }
    counts = {view.shape[1] for actions in tree.values() for views in actions.values() for view in views}
    if len(counts) != 1:
        raise ShapeError(f"keypoints: expected one number of joints in all views, got {sorted(counts)}")
    metadata: dict[str, Any] = {
        "layout_name": keypoints.layout,
        "num_joints": counts.pop(),
        "keypoints_symmetry": [list(side) for side in keypoints.mirror],
    }
    if keypoints.sizes:
        metadata["video_metadata"] = {name: {"w": w, "h": h} for name, (w, h) in keypoints.sizes.items()}
    _save(path, positions_2d=tree, metadata=metadata)


def _save(path: str | os.PathLike[str], **members: object) -> None:
    arrays: dict[str, Any] = {name: np.array(value, dtype=object) for name, value in members.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _member(path: Path, archive: Mapping[str, Any], name: str) -> Any:
    """A dictionary kept as an array without dimensions."""
    if name not in archive:
        raise FormatError(f"{path}: no '{name}' in it, but {listed(list(archive))}; is it another archive?")
    value = archive[name]
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def _tree(path: Path, value: Any, name: str) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(actions, dict) for actions in value.values()):
        raise FormatError(f"{path}: '{name}' is not a dictionary of subjects, each a dictionary of actions")
    return {
        str(subject): {str(action): entry for action, entry in actions.items()} for subject, actions in value.items()
    }


def _views(path: Path, value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return list(value)
    raise FormatError(f"{path}: an action of 'positions_2d' is not a list of views")


def _array(path: Path, value: Any, width: int | tuple[int, ...], where: str) -> Floats:
    widths = (width,) if isinstance(width, int) else width
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.ndim != 3 or array.shape[-1] not in widths:
        expected = " or ".join(map(str, widths))
        raise FormatError(f"{path}: {where} is {array.dtype} {array.shape}, expected numbers (T, joints, {expected})")
    return array.astype(np.float32)


def _checked(value: npt.ArrayLike, width: int, where: str) -> Floats:
    array = np.asarray(value, dtype=np.float32)
    if array.ndim != 3 or array.shape[-1] != width:
        raise ShapeError(f"{where}: expected (T, joints, {width}), got {array.shape}")
    return array


def _mirror(path: Path, value: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    try:
        left, right = (tuple(int(place) for place in side) for side in value)
    except (TypeError, ValueError, OverflowError):
        left, right = (0,), ()
    if len(left) != len(right):
        raise FormatError(f"{path}: 'keypoints_symmetry' is not two lists of joints, left and right, of one length")
    return left, right


def _sizes(path: Path, value: Any) -> dict[str, tuple[int, int]]:
    try:
        return {str(name): (int(entry["w"]), int(entry["h"])) for name, entry in value.items()}
    except (AttributeError, TypeError, ValueError, KeyError, OverflowError):
        raise FormatError(f"{path}: 'video_metadata' is not a dictionary of videos with 'w' and 'h'") from None
