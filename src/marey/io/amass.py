"""Body parameters over time as AMASS keeps them: axis-angle poses of SMPL, SMPL-H or SMPL-X, z up.

The published files are of SMPL-H (`poses` (T, 156), `mocap_framerate`) or SMPL-X (`poses` (T, 165),
`mocap_frame_rate`, `surface_model_type`), and the parts also occur one by one (`root_orient`, `pose_body`, `pose_hand`,
`pose_jaw`, `pose_eye`). `trans` places the model's origin, which is not the pelvis.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core.errors import FormatError, InputError, ShapeError
from marey.core.motion import Motion
from marey.core.results import BodyState
from marey.geometry.rotations import matrix_to_rotvec, rotvec_to_matrix
from marey.io.atomic import atomic_path
from marey.io.npz import read_arrays

BodyModel = Literal["smpl", "smplh", "smplx"]

BODY_JOINTS = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "left_knee",
    "right_knee",
    "spine2",
    "left_ankle",
    "right_ankle",
    "spine3",
    "left_foot",
    "right_foot",
    "neck",
    "left_collar",
    "right_collar",
    "head",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
)
"""The 22 joints that begin the pose of every model of the family."""

_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
_HANDS = tuple(f"{side}_{finger}{place}" for side in ("left", "right") for finger in _FINGERS for place in (1, 2, 3))

POSE_JOINTS: Mapping[BodyModel, tuple[str, ...]] = {
    "smpl": (*BODY_JOINTS, "left_hand", "right_hand"),
    "smplh": (*BODY_JOINTS, *_HANDS),
    "smplx": (*BODY_JOINTS, "jaw", "left_eye", "right_eye", *_HANDS),
}
"""Names of the joints in `poses`, in order, the root first."""

_NAMES = {"spine1": ("spine1", "spine", "lumbar")}
"""What other trees call a joint of SMPL, if not the same."""

_Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
"""A quarter turn about x: y up becomes z up."""

_PARTS = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
"""In the order of SMPL-X; SMPL-H has no jaw and eyes."""


@dataclass(frozen=True, kw_only=True)
class AmassMotion:
    """One person's body parameters over T frames."""

    body: BodyState
    """(T,) rotations of the joints `POSE_JOINTS[model]` after the root, the model's own shape coefficients, and the
    place of the model's origin; in the file's world, which has z up."""
    model: BodyModel
    fps: float
    gender: str
    """female, male or neutral."""
    soft_tissue: npt.NDArray[np.float64] | None = None
    """(T, D) coefficients `dmpls`, None where the file has none."""


def read_amass_npz(path: str | os.PathLike[str]) -> AmassMotion:
    """Read a file of AMASS or of its kind. Nothing is unpickled: a file that holds Python objects is refused.

    Raises:
        InputError: the file cannot be read.
        FormatError: it is not such a file, or its arrays do not fit together.
    """
    path = Path(path)
    arrays = read_arrays(path)
    poses = _poses(path, arrays)
    frames, width = poses.shape
    model = next((name for name, joints in POSE_JOINTS.items() if 3 * len(joints) == width), None)
    if model is None:
        widths = ", ".join(f"{3 * len(joints)} ({name})" for name, joints in POSE_JOINTS.items())
        raise FormatError(f"{path}: poses of {width} numbers a frame, expected {widths}")
    if "trans" not in arrays:
        raise FormatError(f"{path}: the array 'trans' is missing; it places the body, (T, 3) metres")
    translation = _numbers(path, arrays, "trans", (frames, 3))
    betas = _numbers(path, arrays, "betas", None).reshape(-1) if "betas" in arrays else np.zeros(0)
    rotations = rotvec_to_matrix(torch.from_numpy(poses.reshape(frames, -1, 3)))
    tissue = _numbers(path, arrays, "dmpls", None) if "dmpls" in arrays else None
    if tissue is not None and (tissue.ndim != 2 or len(tissue) != frames):
        raise FormatError(f"{path}: dmpls {tissue.shape}, expected one row for each of the {frames} frames")
    return AmassMotion(
        body=BodyState(
            orientation=rotations[:, 0],
            pose=rotations[:, 1:],
            shape=torch.from_numpy(betas).expand(frames, -1),
            translation=torch.from_numpy(translation),
        ),
        model=model,
        fps=_rate(path, arrays),
        gender=_gender(path, arrays),
        soft_tissue=tissue,
    )


def _poses(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """(T, 3 K) axis-angle, root first, whether the file has them whole or in parts."""
    if "poses" in arrays:
        poses = _numbers(path, arrays, "poses", None)
    elif {"root_orient", "pose_body"} <= arrays.keys():
        parts = [_numbers(path, arrays, name, None) for name in _PARTS if name in arrays]
        if len({part.shape[:1] for part in parts}) > 1 or any(part.ndim != 2 for part in parts):
            raise FormatError(f"{path}: the parts of the pose are of different lengths")
        poses = np.concatenate(parts, axis=1)
    else:
        raise FormatError(f"{path}: neither 'poses' nor 'root_orient' and 'pose_body' in it; not a motion of AMASS")
    if poses.ndim != 2:
        raise FormatError(f"{path}: poses {poses.shape}, expected (T, 3 x joints)")
    return poses


def _numbers(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...] | None
) -> npt.NDArray[np.float64]:
    found = arrays[name]
    if found.dtype.kind not in "fiu" or (shape is not None and found.shape != shape):
        raise FormatError(f"{path}: '{name}' is {found.dtype} {found.shape}, expected numbers {shape or ''}".rstrip())
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        raise FormatError(f"{path}: '{name}' holds values that are not finite")
    return values


def _rate(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> float:
    key = next((name for name in ("mocap_framerate", "mocap_frame_rate") if name in arrays), None)
    if key is None:
        raise FormatError(f"{path}: no frame rate; expected 'mocap_framerate' or 'mocap_frame_rate'")
    rate = _numbers(path, arrays, key, None)
    if rate.size != 1 or not rate.item() > 0:
        raise FormatError(f"{path}: '{key}' is {rate}, expected frames per second above 0")
    return float(rate.item())


def _gender(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """As text, whether the file has text or bytes."""
    found = arrays.get("gender", np.array("neutral"))
    if found.size != 1 or found.dtype.kind not in "US":
        raise FormatError(f"{path}: 'gender' is {found.dtype} {found.shape}, expected one word")
    word = found.item()
    return (word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)).strip().lower()


def write_amass_npz(
    path: str | os.PathLike[str],
    body: BodyState,
    *,
    fps: float,
    gender: str = "neutral",
    model: Literal["smplh", "smplx"] = "smplh",
) -> None:
    """Write body parameters (T,) as AMASS does: axis-angle, one array `poses`; joints that are missing do not rotate.

    Args:
        path: The file.
        body: Batch shape (T,); `pose` has the 21 body joints, or all joints of SMPL, SMPL-H or SMPL-X after the root.
            The world has z up.
        fps: Frames per second.
        gender: female, male or neutral.
        model: Whose joints are written.

    Raises:
        ShapeError: the body is not (T,), or has another number of joints.
        InputError: a value is not finite (the format has no gaps), the rate is not above 0, or the file cannot be
            written.
    """
    if len(body.batch_shape) != 1:
        raise ShapeError(f"body: expected the batch shape (T,), one person, got {body.batch_shape}")
    if not 0 < fps < float("inf"):
        raise InputError(f"fps: expected frames per second above 0, got {fps}")
    rotations = torch.cat((body.orientation[:, None], body.pose), dim=1).double()
    if not (rotations.isfinite().all() and body.translation.isfinite().all()):
        raise InputError("body: values that are not finite; the format has no gaps, so fill or cut them first")
    poses = matrix_to_rotvec(_with_joints_of(model, rotations)).flatten(1)
    smplx = model == "smplx"
    arrays = {
        "poses": poses.numpy(),
        "trans": body.translation.double().numpy(),
        "betas": body.shape[0].double().numpy() if len(body.shape) else np.zeros(body.shape.shape[-1]),
        "gender": np.array(gender),
        "mocap_frame_rate" if smplx else "mocap_framerate": np.array(float(fps)),
    }
    arrays |= {"surface_model_type": np.array("smplx")} if smplx else {"dmpls": np.zeros((len(poses), 8))}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def smpl_pose_of(motion: Motion) -> BodyState:
    """A motion in a world with y up as SMPL's 22 body joints in a world with z up, (T,).

    Joints are taken by name, and those that the motion lacks do not rotate. SMPL and a motion have the same rest pose
    but for details: SMPL's own hips and shoulders lie elsewhere by centimetres, so the limbs point as they did while
    the joints need not stand where they stood. The shape is empty, and the translation is that of the pelvis.
    """
    tree = motion.tree
    turn = motion.rotations.new_tensor(_Z_UP)
    rotations = torch.eye(3).to(motion.rotations).repeat(motion.length, len(BODY_JOINTS), 1, 1)
    names = [next((name for name in _NAMES.get(joint, (joint,)) if name in tree.joints), None) for joint in BODY_JOINTS]
    there = [place for place, name in enumerate(names) if name is not None]
    rotations[:, there] = motion.rotations[:, [tree.joints.index(name) for name in names if name is not None]]
    return BodyState(
        orientation=turn @ motion.rotations[:, 0],
        pose=rotations[:, 1:],
        shape=motion.rotations.new_zeros(motion.length, 0),
        translation=motion.translation @ turn.T,
    )


def _with_joints_of(model: BodyModel, rotations: Tensor) -> Tensor:
    """(T, K, 3, 3) of any model of the family as those of another: by name, the identity where there is none."""
    known = {len(joints): joints for joints in (BODY_JOINTS, *POSE_JOINTS.values())}
    source = known.get(rotations.shape[1])
    if source is None:
        counts = ", ".join(str(count - 1) for count in known)
        raise ShapeError(f"body.pose: {rotations.shape[1] - 1} joints after the root, expected one of {counts}")
    target = POSE_JOINTS[model]
    lost = [name for name in source if name not in target]
    turned = [name for name in lost if (rotations[:, source.index(name)] - torch.eye(3)).abs().max() > 1e-6]
    if turned:
        warnings.warn(f"{model} has no {', '.join(turned)}: their rotations are lost", stacklevel=3)
    result = torch.eye(3, dtype=rotations.dtype).repeat(len(rotations), len(target), 1, 1)
    shared = [name for name in source if name in target]
    result[:, [target.index(name) for name in shared]] = rotations[:, [source.index(name) for name in shared]]
    return result
