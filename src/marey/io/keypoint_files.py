"""What every reader of 2D keypoint files returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marey.core.skeletons import Skeleton

SKELETON_OF_COUNT = {17: "coco_17", 18: "coco_18", 26: "halpe_26", 33: "mediapipe_33"}
"""The skeleton that a number of joints means, in files and networks; 25 are those of body_25 or body_25b."""


@dataclass(frozen=True, kw_only=True)
class KeypointFile:
    """The keypoints of one view: T consecutive frames, P slots of people, J joints.

    Slot p of one frame is not the same person as slot p of another: tracking decides that.
    """

    positions: npt.NDArray[np.float32]
    """(T, P, J, 2), x right and y down in pixels; NaN where the joint was not seen."""
    score: npt.NDArray[np.float32]
    """(T, P, J) in 0..1; 0 where the joint was not seen."""
    skeleton: Skeleton
    frame_numbers: npt.NDArray[np.int64]
    """(T,), as the files number them; consecutive, frames without a file are gaps."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out, in plain sentences."""


def mask_missing(
    positions: npt.NDArray[np.float32], score: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Write what files mark as missing the way the house does: NaN with score 0; other scores cut to at most 1.

    Missing is a position or score that is not finite, a score of 0 or less, or the position (0, 0), which detectors
    write for joints they did not find.
    """
    with np.errstate(invalid="ignore"):
        seen = np.isfinite(positions).all(-1) & np.isfinite(score) & (score > 0) & (positions != 0).any(-1)
    return np.where(seen[..., None], positions, np.float32(np.nan)), np.where(seen, score.clip(max=1), np.float32(0))
