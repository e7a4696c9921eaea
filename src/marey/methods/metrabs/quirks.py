"""What the published programs do and we do not by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """Behaviour of the published code that changes numbers; the defaults are ours."""

    uncentered_finest_stride: bool = False
    """At stride 4 no stage of the network is centred, though heatmaps are read as if one were: two pixels of the image
    too far right and down."""
    uncentered_shift: bool = False
    """Heatmaps of networks whose cells are not centred are read as if they were. The weights of the small PyTorch
    release were trained so and have learned the difference."""
    uneven_reliability: bool = False
    """Keypoints near the border or beyond count nothing in weak perspective and 1e-8 in full perspective: with one
    reliable keypoint or none the place is 0 or noise. Ours count 1e-4 in both."""
    batch_regulariser: float | None = None
    """Full perspective: weight of the squares of the unknowns, which are scaled by root mean squares over the whole
    batch, so that the others in it move a person by millimetres. None: our own, which looks at one person only."""
    doubled_bone_slope: bool = False
    """Depth from bone lengths: a term of the derivative of the lengths lacks its factor one half; the search, which is
    MINPACK's, then stops beside the least squares."""
    unseen_bones_count: bool = False
    """Depth from bone lengths: bones with an end out of view, whose keypoint is at the border instead, count fully."""

    plain_crops: bool = False
    """Crops are interpolated in stored values at the picture's own scale and cut off to 8 bits; the size of a person is
    that of the box in the picture; axes of virtual cameras are not of unit length (`CropRule`)."""
    rounded_lens: bool = False
    """The lens is taken out of boxes by five rounds of an iteration that has not converged."""
    changed_single_view: Literal["no", "turned", "brightened"] = "no"
    """Augmentation by one view is none. November 2020: turned by 25 degrees and brightened; later: brightened."""
    closest_joints_similar: bool = False
    """Two poses are of one person if their five closest joints are near. Later, and ours: if the most distant quarter
    of the joints is."""

    @classmethod
    def published(cls) -> Quirks:
        """The behaviour of November 2020."""
        return cls(
            uncentered_finest_stride=True,
            uneven_reliability=True,
            batch_regulariser=0.0,
            doubled_bone_slope=True,
            unseen_bones_count=True,
            plain_crops=True,
            changed_single_view="turned",
            closest_joints_similar=True,
        )

    @classmethod
    def published_later(cls) -> Quirks:
        """The behaviour of 2021 to 2023."""
        return cls(
            uncentered_finest_stride=True,
            uneven_reliability=True,
            batch_regulariser=1e-2,
            rounded_lens=True,
            changed_single_view="brightened",
        )
