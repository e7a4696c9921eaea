"""One action of one subject of Human3.6M: frames, joints and boxes, whichever layout they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import Cameras
from marey.data.prepare.h36m_boxes import shifted_boxes
from marey.data.prepare.h36m_names import ACTIONS, CAMERAS, DAMAGED, IMAGE_SIZES, SKELETON
from marey.data.prepare.h36m_poses import S9_SHIFT
from marey.io.h36m_labels import MultiviewLabels

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Take:
    """F frames of one action of one subject, seen by four cameras."""

    subject: str
    action: str
    """As in `ACTIONS`."""
    frames: Array
    """(F,) 0-based."""
    joints: Array
    """(F, 17, 3) metres in the world."""
    boxes: Array
    """(F, 4, 4) left, top, width, height; NaN: none."""
    sizes: Array
    """(4, 2) width and height of the images; 0 where the camera recorded nothing."""

    def arrays(self) -> dict[str, Array]:
        """What to keep of it."""
        return {"frames": self.frames, "joints": self.joints, "boxes": self.boxes, "sizes": self.sizes}

    @classmethod
    def of(cls, subject: str, action: str, arrays: Mapping[str, Array]) -> Take:
        """Of what was kept."""
        return cls(subject=subject, action=action, **{name: arrays[name] for name in _KEPT})


_KEPT = ("frames", "joints", "boxes", "sizes")


def put_right(subject: str, action: str, joints: Array, boxes: Array, cameras: Cameras) -> tuple[Array, Array]:
    """Joints (F, 17, 3) and boxes (F, 4, 4) of a take, brought back to the person if S9's labels are displaced.

    Args:
        subject: Of the take.
        action: Of the take.
        joints: Metres in the world.
        boxes: Left, top, width, height.
        cameras: (4,)
    """
    if action not in DAMAGED.get(subject, ()):
        return joints, boxes
    moved = joints + np.array(S9_SHIFT)
    root = moved[:, SKELETON.index("pelvis")]
    return moved, np.stack([shifted_boxes(boxes[:, view], root, cameras[view]) for view in range(len(CAMERAS))], axis=1)


def joined_takes(takes: Sequence[Take], subjects: Sequence[str], cameras: Cameras) -> tuple[MultiviewLabels, Array]:
    """The moments of all takes, and (S, 4, 2) the size of every camera's images.

    Args:
        takes: Of the subjects.
        subjects: Their order.
        cameras: (S, 4) of the subjects.
    """
    sizes = np.broadcast_to([IMAGE_SIZES[name] for name in CAMERAS], (len(subjects), len(CAMERAS), 2)).copy()
    for take in takes:
        place = subjects.index(take.subject)
        sizes[place] = np.where(take.sizes > 0, take.sizes, sizes[place])
    counts = [len(take.frames) for take in takes]
    moments = MultiviewLabels(
        skeleton=SKELETON,
        subjects=tuple(subjects),
        actions=ACTIONS,
        cameras=cameras,
        subject=np.repeat([subjects.index(take.subject) for take in takes], counts),
        action=np.repeat([ACTIONS.index(take.action) for take in takes], counts),
        frame=np.concatenate([take.frames for take in takes]),
        person=np.zeros(sum(counts), dtype=np.int64),
        joints=np.concatenate([take.joints for take in takes]),
        boxes=np.concatenate([take.boxes for take in takes]),
    )
    return moments, sizes
