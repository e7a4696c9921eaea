"""HumanData archives of mmhuman3d: boxes, keypoints and body parameters of N people in images.

Keypoints stand in one order of 190 joints, of which a file uses a few: a mask beside them says which. They are in the
image (pixels) or in OpenCV's camera frame (metres); the archive does not hold cameras. It holds Python objects, which
are read without running anything in them.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError, ShapeError
from marey.core.evidence import Boxes, Keypoints2D
from marey.core.results import Joints3D
from marey.core.skeletons import Skeleton, skeleton, skeleton_names
from marey.io.atomic import atomic_path
from marey.io.unpickle import read_object_npz

Floats = npt.NDArray[np.float64]


def _joints() -> tuple[str, ...]:
    """The 190 names in the file's order and spelling, put together from their groups."""
    sides = ("left", "right")
    fingers = [f"{finger}_{place}" for finger in ("index", "middle", "pinky", "ring", "thumb") for place in (1, 2, 3)]
    tips = ("thumb", "index", "middle", "ring", "pinky")
    trunk = (
        "pelvis left_hip right_hip spine_1 left_knee right_knee spine_2 left_ankle right_ankle spine_3 left_foot "
        "right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist "
        "right_wrist jaw left_eyeball right_eyeball"
    )
    head = "nose right_eye left_eye right_ear left_ear"
    feet = "left_bigtoe left_smalltoe left_heel right_bigtoe right_smalltoe right_heel"
    brows = [f"right_eyebrow_{place}" for place in range(1, 6)] + [f"left_eyebrow_{place}" for place in range(5, 0, -1)]
    bridge = [f"nosebridge_{place}" for place in range(1, 5)]
    nostrils = "right_nose_2 right_nose_1 nose_middle left_nose_1 left_nose_2"
    eyes = [f"right_eye_{place}" for place in range(1, 7)] + [f"left_eye_{place}" for place in (4, 3, 2, 1, 6, 5)]
    mouth = (
        "right_mouth_1 right_mouth_2 right_mouth_3 mouth_top left_mouth_3 left_mouth_2 left_mouth_1 left_mouth_5 "
        "left_mouth_4 mouth_bottom right_mouth_4 right_mouth_5 right_lip_1 right_lip_2 lip_top left_lip_2 left_lip_1 "
        "left_lip_3 lip_bottom right_lip_3"
    )
    contour = [f"right_contour_{place}" for place in range(1, 9)]
    contour += ["contour_middle", *(f"left_contour_{place}" for place in range(8, 0, -1))]
    regressed = ["right_hip", "left_hip", "neck"]
    other = ["pelvis", "thorax", "spine", "jaw", "head"]
    openpose = (
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist pelvis right_hip "
        "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
    )
    mpi = "spine_4 left_clavicle right_clavicle left_hand right_hand left_toe right_toe"
    return (
        *trunk.split(),
        *(f"{side}_{finger}" for side in sides for finger in fingers),
        *head.split(),
        *feet.split(),
        *(f"{side}_{tip}" for side in sides for tip in tips),
        *(*brows, *bridge, *nostrils.split(), *eyes, *mouth.split(), *contour),
        *(f"{name}_extra" for name in regressed),
        "headtop",
        *(f"{name}_extra" for name in other),
        *(f"{name}_openpose" for name in (*openpose.split(), *feet.split())),
        *(f"{name}_3dhp" for name in mpi.split()),
        *("head_h36m", "headtop_h36m", "head_bottom_pt", "left_hand", "right_hand"),
    )


JOINTS = _joints()
"""Names of the 190 joints in the order of the arrays."""

_SPELLING = {"big_toe": "bigtoe", "small_toe": "smalltoe", "head_top": "headtop", "spine1": "spine_1"}
_SPELLING |= {"spine2": "spine_2", "spine3": "spine_3"}
_SUFFIXES = {"body_25": "_openpose", "body_25b": "_openpose", "coco_18": "_openpose", "h36m_17": "_extra"}
"""Joints that mmhuman3d keeps apart by the data set that defines them."""


@dataclass(frozen=True, kw_only=True)
class HumanData:
    """N people in images."""

    image_paths: tuple[str, ...] = ()
    """(N,) relative to the folder of the data set."""
    boxes: Floats | None = None
    """(N, 5) left, top, width, height in pixels and a score."""
    keypoints2d: Mapping[str, Floats] = field(default_factory=dict)
    """Source (`original`, `smpl`, `smplx`, or empty) -> (N, 190, 3) pixels and confidence; NaN where masked out."""
    keypoints3d: Mapping[str, Floats] = field(default_factory=dict)
    """Source -> (N, 190, 4) metres in the camera frame and confidence; NaN where masked out."""
    bodies: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    """`smpl` or `smplx` -> parameter (`global_orient`, `body_pose`, `betas`, `transl`, ...) -> (N, ...)."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else the archive holds."""


def human_data_places(joints: Skeleton) -> list[int]:
    """Where the joints of a skeleton stand among the 190; -1 for a joint that is not among them."""
    suffix = _SUFFIXES.get(joints.name, "")
    return [_place(name, suffix) for name in joints.joints]


def _place(name: str, suffix: str) -> int:
    for ours, theirs in _SPELLING.items():
        name = name.removesuffix(ours) + theirs if name.endswith(ours) else name
    found = [spelled for spelled in (name + suffix, name, f"{name}_extra") if spelled in JOINTS]
    return JOINTS.index(found[0]) if found else -1


def human_data_skeleton(places: Sequence[int]) -> tuple[Skeleton, list[int]]:
    """What joints at some of the 190 places are, and the places in the order of that skeleton.

    A shipped skeleton if these are its joints, or all of its joints that the archive can hold; else one without links,
    with the archive's names where only Marey's spelling differs.
    """
    wanted = set(places)
    for name in skeleton_names():
        theirs = dict(zip(skeleton(name).joints, human_data_places(skeleton(name)), strict=True))
        held = [joint for joint, place in theirs.items() if place >= 0]
        if {theirs[joint] for joint in held} == wanted:
            chosen = skeleton(name)
            return chosen if len(held) == len(chosen) else chosen.select(held), [theirs[joint] for joint in held]
    return Skeleton("human_data", _our_names([JOINTS[place] for place in places]), ()), list(places)


def _our_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names in our spelling, without what tells data sets apart where that leaves them different."""
    plain = [re.sub(r"_(openpose|extra|3dhp|h36m)$", "", name) for name in names]
    counts = Counter(plain)
    short = [bare if counts[bare] == 1 else name for bare, name in zip(plain, names, strict=True)]
    for ours, theirs in _SPELLING.items():
        short = [name.removesuffix(theirs) + ours if name.endswith(theirs) else name for name in short]
    return tuple(short)


def read_human_data(path: str | os.PathLike[str]) -> HumanData:
    """Read an archive, its keypoints compressed by their masks or not.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such an archive, or its arrays do not fit together.
    """
    path = Path(path)
    archive = {name: _plain(value) for name, value in read_object_npz(path).items()}
    known = {name for name in archive if name.partition("_")[0] in ("keypoints2d", "keypoints3d")}
    if not known and not archive.keys() & {"smpl", "smplx", "bbox_xywh"}:
        raise FormatError(f"{path}: no keypoints, boxes or body parameters in it; not a HumanData archive")
    names = ("image_path", "bbox_xywh", "smpl", "smplx")
    data = HumanData(
        image_paths=_paths(path, archive.get("image_path", [])),
        boxes=_numbers(path, "bbox_xywh", archive["bbox_xywh"], (None, 5)) if "bbox_xywh" in archive else None,
        keypoints2d=_keypoints(path, archive, "keypoints2d", 3),
        keypoints3d=_keypoints(path, archive, "keypoints3d", 4),
        bodies={name: _body(path, name, archive[name]) for name in ("smpl", "smplx") if name in archive},
        metadata={name: value for name, value in archive.items() if name not in known and name not in names},
    )
    _check_lengths(path, data)
    return data


def write_human_data(
    path: str | os.PathLike[str],
    *,
    keypoints: Keypoints2D | None = None,
    joints: Joints3D | None = None,
    boxes: Boxes | None = None,
    image_paths: Sequence[str] = (),
    source: str = "original",
    smpl: Mapping[str, npt.NDArray[Any]] | None = None,
    genders: Sequence[str] = (),
) -> None:
    """Write N people as an archive that mmhuman3d reads, its keypoints not compressed.

    The format keeps body parameters and genders as pickled dictionaries; readers need `allow_pickle` for those two.

    Args:
        path: The file.
        keypoints: (N,) in the images.
        joints: (N,) in the camera frame, metres.
        boxes: (N,) of the people.
        image_paths: (N,) of their images.
        source: Of the keypoints: original, smpl or smplx; empty as the archives of 3DNBF have them.
        smpl: `global_orient` (N, 3), `body_pose` (N, 23, 3), `betas` (N, 10) and perhaps `transl` (N, 3): axis-angle
            radians and metres, in the camera frame.
        genders: (N,) m or f.

    Raises:
        InputError: there is nothing to write, or the file cannot be written.
        ShapeError: the parts are not of the same N people.
    """
    lengths = {part.batch_shape for part in (keypoints, joints, boxes) if part is not None}
    lengths |= {(len(part),) for part in (image_paths, genders) if part}
    lengths |= {(len(part),) for part in (smpl or {}).values()}
    if not lengths:
        raise InputError("HumanData: give keypoints, joints, boxes, image_paths or smpl; there is nothing to write")
    if len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise ShapeError(f"HumanData: expected parts of the same (N,) people, got {sorted(lengths)}")
    arrays: dict[str, Any] = {"__data_len__": np.array(next(iter(lengths))[0])}
    if image_paths:
        arrays["image_path"] = np.array(list(image_paths), dtype=np.str_)
    if boxes is not None:
        corners = boxes.corners.double().numpy()
        size = corners[:, 2:] - corners[:, :2]
        arrays["bbox_xywh"] = np.concatenate((corners[:, :2], size, boxes.score.double().numpy()[:, None]), axis=1)
    for name, part in (("keypoints2d", keypoints), ("keypoints3d", joints)):
        if part is not None:
            values, mask = _spread(part)
            suffixed = f"{name}_{source}" if source else name
            arrays |= {suffixed: values, f"{suffixed}_mask": mask}
    arrays |= {"smpl": np.array(dict(smpl), dtype=object)} if smpl else {}
    arrays |= {"meta": np.array({"gender": list(genders)}, dtype=object)} if genders else {}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=bool(smpl or genders), **arrays)


def _spread(part: Keypoints2D | Joints3D) -> tuple[Floats, npt.NDArray[np.uint8]]:
    """Values (N, 190, D + 1), zero where nothing is known as the format has it, and the mask (190,)."""
    places = human_data_places(part.skeleton)
    lost = [name for name, place in zip(part.skeleton.joints, places, strict=True) if place < 0]
    if lost:
        warnings.warn(f"HumanData has no joint for {', '.join(lost)}: left out", stacklevel=4)
    chosen = [at for at, place in enumerate(places) if place >= 0]
    positions, score = part.positions.double().numpy(), part.score.double().numpy()
    rows = np.concatenate((positions, score[..., None]), axis=-1)[:, chosen]
    values = np.zeros((len(rows), len(JOINTS), rows.shape[-1]))
    values[:, [places[at] for at in chosen]] = np.where(np.isfinite(rows).all(-1, keepdims=True), rows, 0.0)
    mask = np.zeros(len(JOINTS), np.uint8)
    mask[[places[at] for at in chosen]] = 1
    return values, mask


def _plain(value: Any) -> Any:
    """What an object array without dimensions holds."""
    return value.item() if isinstance(value, np.ndarray) and value.shape == () else value


def _paths(path: Path, value: Any) -> tuple[str, ...]:
    entries = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, str) for entry in entries):
        raise FormatError(f"{path}: 'image_path' is not a list of file names")
    return tuple(entries)


def _keypoints(path: Path, archive: Mapping[str, Any], prefix: str, width: int) -> dict[str, Floats]:
    found = {}
    for name, value in archive.items():
        if name.startswith(prefix) and not name.endswith("_mask"):
            mask = np.asarray(archive.get(f"{name}_mask", np.ones(len(JOINTS))))
            if mask.shape != (len(JOINTS),) or mask.dtype.kind not in "fiub":
                raise FormatError(f"{path}: the mask of '{name}' is {mask.dtype} {mask.shape}, expected 190 numbers")
            values = _numbers(path, name, value, (None, None, width))
            found[name.removeprefix(prefix).removeprefix("_")] = _unfolded(path, name, values, mask > 0)
    return found


def _unfolded(path: Path, name: str, values: Floats, mask: npt.NDArray[np.bool_]) -> Floats:
    """All 190 joints, from an array of all of them or of only those in the mask."""
    whole = np.full((len(values), len(JOINTS), values.shape[-1]), np.nan)
    if values.shape[1] == len(JOINTS):
        whole[:, mask] = values[:, mask]
    elif values.shape[1] == mask.sum():
        whole[:, mask] = values
    else:
        raise FormatError(
            f"{path}: '{name}' has {values.shape[1]} joints, expected 190, or the {mask.sum()} of its mask"
        )
    return whole


def _body(path: Path, name: str, value: Any) -> dict[str, Floats]:
    if not isinstance(value, dict):
        raise FormatError(f"{path}: '{name}' is not a dictionary of parameters")
    return {str(key): _numbers(path, f"{name}[{key!r}]", array, None) for key, array in value.items()}


def _numbers(path: Path, name: str, value: Any, shape: tuple[int | None, ...] | None) -> Floats:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.empty(0, dtype=object)
    fits = shape is None or (
        array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    )
    if array.dtype.kind not in "fiub" or not fits:
        raise FormatError(f"{path}: '{name}' is {array.dtype} {array.shape}, expected numbers {shape or ''}".rstrip())
    return array.astype(np.float64)


def _check_lengths(path: Path, data: HumanData) -> None:
    parts = {"image_path": data.image_paths} if data.image_paths else {}
    lengths = {name: len(part) for name, part in parts.items()}
    lengths |= {"bbox_xywh": len(data.boxes)} if data.boxes is not None else {}
    lengths |= {f"keypoints2d_{name}": len(array) for name, array in data.keypoints2d.items()}
    lengths |= {f"keypoints3d_{name}": len(array) for name, array in data.keypoints3d.items()}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise FormatError(f"{path}: parts of different numbers of people: {each}")
