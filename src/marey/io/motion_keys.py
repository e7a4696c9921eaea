"""The keys of an animated person, for formats of scenes: only known frames, and when the person is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from marey.core.errors import InputError
from marey.core.motion import Motion
from marey.geometry.rotations import matrix_to_quaternion


@dataclass(frozen=True, kw_only=True)
class MotionKeys:
    """What the animation of one person consists of: N known frames of K joints."""

    frames: npt.NDArray[np.int64]
    """(N,) the known frames, from 0."""
    translation: npt.NDArray[np.float32]
    """(N, 3) metres, of the root."""
    rotations: npt.NDArray[np.float32]
    """(K, N, 4) quaternions x y z w, relative to the parent; neighbours in time are never of opposite sign."""
    changes: npt.NDArray[np.int64]
    """(C,) the frames from which on the person is there or not, and the last frame; only 0 if it is always there."""
    shown: npt.NDArray[np.bool_]
    """(C,) whether the person is there from then on."""

    @property
    def always(self) -> bool:
        """Whether no frame is unknown."""
        return len(self.changes) == 1


def motion_keys(motion: Motion, name: str, *, kind: str) -> MotionKeys:
    """The keys of a motion.

    Args:
        motion: With NaN in unknown frames.
        name: Of the person, for messages.
        kind: The format for whose sake it is done.

    Raises:
        InputError: the person is unknown in every frame.
    """
    known = motion.known.cpu().numpy()
    if not known.any():
        raise InputError(f"motion '{name}' is known in none of {len(known)} frames: nothing to write as {kind}")
    changes = np.flatnonzero(np.concatenate(([True], known[1:] != known[:-1])))
    if len(changes) > 1:  # readers learn from it how long the recording is
        changes = np.union1d(changes, len(known) - 1)
    return MotionKeys(
        frames=np.flatnonzero(known),
        translation=motion.translation.detach().cpu()[known].float().numpy(),
        rotations=_continuous(motion.rotations.detach().cpu().double()[known]),
        changes=changes,
        shown=known[changes],
    )


def _continuous(rotations: Tensor) -> npt.NDArray[np.float32]:
    quaternions = matrix_to_quaternion(rotations).numpy()
    dots = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdims=True)
    quaternions[1:] *= np.cumprod(np.where(dots < 0, -1.0, 1.0), axis=0)
    return np.ascontiguousarray(quaternions.transpose(1, 0, 2), dtype=np.float32)
