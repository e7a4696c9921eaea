"""What HierarchicalProbabilistic3DHuman renders its training people from: poses, textures and backgrounds in archives.

The archives are those that its authors distribute with their training files, under the licences of their sources
(Human3.6M, UP-3D, 3DPW, AMASS; SURREAL and MultiGarmentNet).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import FormatError, Image, InputError
from marey.io.mapped_npz import map_npz
from marey.io.unpickle import read_object_npz

Array = npt.NDArray[Any]

NOT_AMASS = ("h36m", "up3d", "3dpw")
"""What the names of poses begin with that are of other sources than AMASS: those that the published model trains on."""
GREY_SHARE = 0.05
"""Of textures without colour."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderPoses:
    """N poses of SMPL."""

    names: Array
    """(N,) text: the source, then where in it."""
    poses: npt.NDArray[np.float32]
    """(N, 72) axis-angle radians, the root first."""

    def __len__(self) -> int:
        return len(self.names)


def read_render_poses(path: str | os.PathLike[str], *, sources: Sequence[str] | None = NOT_AMASS) -> RenderPoses:
    """Read `fnames` and `poses` of an archive.

    Args:
        path: The archive.
        sources: What the names of the poses kept begin with; None: all poses.

    Raises:
        InputError: the file cannot be read, or has no pose of these sources.
        FormatError: it is no such archive.
    """
    path = Path(path)
    stored = read_object_npz(path)
    if missing := [name for name in ("fnames", "poses") if name not in stored]:
        raise FormatError(f"{path}: the array '{missing[0]}' is missing; expected poses to render")
    entries = stored["fnames"].tolist()
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise FormatError(f"{path}: 'fnames': expected a list of texts, got {stored['fnames'].dtype}")
    names = np.array(entries, dtype=np.str_)
    poses = _numbers(path, stored["poses"], len(names))
    kept = np.ones(len(names), dtype=bool) if sources is None else np.char.startswith(names[:, None], sources).any(-1)
    if not kept.any():
        raise InputError(f"{path}: none of its {len(names)} poses is of {', '.join(sources or ('anything',))}")
    return RenderPoses(names=names[kept], poses=poses[kept])


def _numbers(path: Path, poses: Array, count: int) -> npt.NDArray[np.float32]:
    try:
        found = np.array(poses.tolist() if poses.dtype.hasobject else poses, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{path}: 'poses' holds no numbers: {error}") from error
    if found.shape != (count, 72) or not np.isfinite(found).all():
        raise FormatError(f"{path}: 'poses': expected ({count}, 72) finite numbers, got {found.shape}")
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyTextures:
    """Textures of SMPL in DensePose's atlas of 4 x 6 square parts, mapped from a file and not in memory."""

    grey: Array
    """(G, H, W, 3) of 8 bits, red green blue, without colour; 1200 x 800 as published."""
    coloured: Array
    """(C, H, W, 3) of 8 bits."""

    def draw(self, source: np.random.Generator, *, grey_share: float = GREY_SHARE) -> Image:
        """One texture (H, W, 3): a grey one with a probability, then all of a kind alike.

        Raises:
            InputError: there is none of the kind that was drawn.
        """
        kind = self.grey if source.random() < grey_share else self.coloured
        if not len(kind):
            raise InputError("textures: none of the kind that was drawn; pass grey_share=0 or 1")
        return np.array(kind[int(source.integers(len(kind)))])


def open_body_textures(
    path: str | os.PathLike[str], *, unpack_to: str | os.PathLike[str] | None = None
) -> BodyTextures:
    """Open the arrays `grey` and `nongrey` of an archive, gigabytes that stay on the disk.

    Args:
        path: The archive.
        unpack_to: Folder for arrays that the archive holds compressed; None: such an archive is refused.

    Raises:
        InputError: the file cannot be read, or has to be unpacked.
        FormatError: it is no such archive.
    """
    arrays = map_npz(path, ("grey", "nongrey"), unpack_to=unpack_to)
    for name, array in arrays.items():
        atlas = array.ndim == 4 and array.shape[1] * 4 == array.shape[2] * 6 and array.shape[1] % 6 == 0
        if not atlas or array.shape[3] != 3 or array.dtype != np.uint8:
            raise FormatError(
                f"{path}: '{name}': expected (N, 1200, 800, 3) of 8 bits, got {array.shape} of {array.dtype}"
            )
    if arrays["grey"].shape[1:] != arrays["nongrey"].shape[1:]:
        raise FormatError(f"{path}: textures of two sizes, {arrays['grey'].shape} and {arrays['nongrey'].shape}")
    return BodyTextures(grey=arrays["grey"], coloured=arrays["nongrey"])
