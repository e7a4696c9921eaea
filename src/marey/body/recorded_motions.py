"""A user's own motions as poses of SMPL's tree: BVH, ASF with AMC, and clips of the DeepMimic humanoid."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from marey.body.joint_limits import joint_limits
from marey.body.motion_splits import Split, split_of
from marey.body.pose_prior import mirrored_coordinates, within
from marey.body.pose_sampling import checked_numbers
from marey.body.retarget import retarget
from marey.body.smpl_tree import POSED_JOINTS
from marey.core import InputError, ShapeError
from marey.core.motion import Motion
from marey.io.asf_amc import read_asf_amc
from marey.io.bvh import read_bvh
from marey.io.humanoid_clips import read_humanoid_clip
from marey.io.naming import natural_key

SUFFIXES = (".bvh", ".amc", ".txt", ".json")
"""Of motions: BVH; AMC, with the ASF skeleton beside it; clips of the humanoid."""


def find_motions(folder: str | os.PathLike[str], *, split: Split | None = None) -> tuple[Path, ...]:
    """The files of motions in a folder and those within it, in natural order.

    Args:
        folder: Searched with all that is in it.
        split: Only motions for training, or only those for benchmarks, by `marey.body.motion_splits`.

    Raises:
        InputError: it is no folder, or has no motion.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of motions")
    paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    kept = [path for path in paths if split is None or split_of(_name(path)) == split]
    if not kept:
        raise InputError(f"{folder}: no motion{f' for {split}' if split else ''} in it; expected {', '.join(SUFFIXES)}")
    return tuple(sorted(kept, key=lambda path: natural_key(path.relative_to(folder).as_posix())))


def read_motion(path: str | os.PathLike[str]) -> Motion:
    """Read a motion by what its name ends in.

    The skeleton of an AMC file is the ASF file of the same name, of the part before its last underscore (`01.asf` of
    `01_01.amc`), or the only one beside it.

    Raises:
        InputError: the file cannot be read, its name ends otherwise, or an AMC file has no skeleton.
        FormatError: the file is malformed.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".bvh":
        return read_bvh(path, dtype=torch.float64)
    if suffix == ".amc":
        return read_asf_amc(_skeleton(path), path, dtype=torch.float64)
    if suffix in SUFFIXES:
        return read_humanoid_clip(path, dtype=torch.float64)
    raise InputError(f"{path}: expected a motion whose name ends in {', '.join(SUFFIXES)}")


@dataclass(frozen=True, kw_only=True, eq=False)
class RecordedPoses:
    """Single poses of recorded motions, each as likely as its mirror image; a `PoseSampler`.

    Poses are brought into the limits of the joints.
    """

    recorded: Tensor
    """(F, 23, 3) coordinates of `JointLimits`."""

    numbers = 2
    """How many uniform numbers one pose takes."""

    def __post_init__(self) -> None:
        if self.recorded.ndim != 3 or self.recorded.shape[1:] != (len(POSED_JOINTS), 3) or not len(self.recorded):
            raise ShapeError(f"RecordedPoses.recorded: expected (F, 23, 3), got {tuple(self.recorded.shape)}")

    @classmethod
    def of(cls, motions: Iterable[Motion], *, rate: float = 10.0) -> RecordedPoses:
        """Poses of motions, of each about `rate` a second; unknown frames are left out.

        Raises:
            InputError: no frame is known, or a motion is not a person's.
        """
        limits, parts = joint_limits(), []
        for motion in motions:
            pose = retarget(motion).pose[motion.known][:: max(1, round(motion.fps / rate))].double()
            parts.append(within(limits, limits.coordinates(pose)))
        if not any(len(part) for part in parts):
            raise InputError("motions: no frame in which a person is known")
        return cls(recorded=torch.cat(parts))

    def coordinates(self, numbers: Tensor) -> Tensor:
        """Turn and swing (..., 23, 3), within the limits, of numbers (..., 2) in [0, 1)."""
        recorded = self.recorded.to(checked_numbers(numbers, self.numbers))
        values = recorded[(numbers[..., 0] * len(recorded)).long().clamp_max(len(recorded) - 1)]
        flipped = mirrored_coordinates(values.flatten(-2)).reshape(values.shape)
        return torch.where((numbers[..., 1] < 0.5)[..., None, None], flipped, values)

    def __call__(self, numbers: Tensor) -> Tensor:
        """Rotations (..., 23, 3, 3) of numbers (..., 2) in [0, 1)."""
        return joint_limits().pose(self.coordinates(numbers))


def _name(path: Path) -> str:
    """What readers call the motion."""
    return path.stem.removeprefix("humanoid3d_")


def _skeleton(path: Path) -> Path:
    beside = sorted(each for each in path.parent.iterdir() if each.suffix.lower() == ".asf")
    names = (path.stem, path.stem.rpartition("_")[0])
    found = [each for each in beside if each.stem in names] or beside
    if len(found) != 1:
        raise InputError(f"{path}: expected its skeleton beside it, as {names[0]}.asf or {names[1] or '*'}.asf")
    return found[0]
