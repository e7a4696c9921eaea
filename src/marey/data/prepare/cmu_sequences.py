"""Which sequences, frames and cameras of CMU Panoptic are used."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

TRAIN_SEQUENCES = (
    "171026_pose1", "171026_pose2", "171026_pose3", "171204_pose1", "171204_pose2", "171204_pose3", "171204_pose4",
)  # fmt: skip
VALIDATION_SEQUENCES = ("171204_pose5", "171204_pose6")

Ranges = tuple[tuple[int, int], ...]

FRAMES: Mapping[str, Ranges] = {
    "171026_pose1": ((380, 7300), (7900, 14500), (15400, 22400)),
    "171026_pose2": ((1000, 7500), (8000, 14000)),
    "171026_pose3": ((1000, 3000),),
    "171204_pose1": (
        (300, 4100), (4800, 8900), (10000, 13600), (14000, 18200), (18500, 22900), (23500, 27600),
    ),
    "171204_pose2": (
        (350, 4300), (5000, 8800), (9600, 13600), (14300, 18500), (19600, 23500), (24200, 28200), (28800, 32800),
        (33500, 37700),
    ),
    "171204_pose3": ((500, 4400), (5400, 9000)),
    "171204_pose4": (
        (500, 4300), (4900, 8800), (9400, 13200), (14200, 17800), (18700, 22500), (23050, 27050), (28000, 31600),
    ),
    "171204_pose5": (
        (400, 4300), (5000, 8500), (9500, 13400), (14200, 18000), (19000, 22600), (23500, 27100),
    ),
    "171204_pose6": ((1000, 4500), (5150, 9100), (9830, 13800), (14370, 18300), (19000, 22900)),
}  # fmt: skip
"""Half-open, of the fork's `cmu_frames.yaml`: where the person is in the dome and tracked."""


def frames_in(ranges: Ranges, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which frames (N,) lie in one of the ranges; all if there are none."""
    if not ranges:
        return np.ones(len(frames), dtype=bool)
    low, high = np.array(ranges).T
    inside: npt.NDArray[np.bool_] = np.any((frames[:, None] >= low) & (frames[:, None] < high), axis=-1)
    return inside


def camera_id(name: str) -> int:
    """The number of a high-definition camera: 24 of `00_24`; -1 for a name that is none."""
    panel, _, number = name.partition("_")
    return int(panel + number) if panel.isdigit() and number.isdigit() else -1
