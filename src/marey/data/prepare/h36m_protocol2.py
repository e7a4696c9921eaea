"""Human3.6M's second protocol as 3DNBF and mmhuman3d read it: one camera, every fifth frame, a HumanData archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from marey.data.boxes import expand_boxes
from marey.data.human_data import write_labels_as_human_data
from marey.data.labels import Labels
from marey.io.atomic import check_writable

PROTOCOL_2_CAMERA = "60457274"
"""The one in front."""

PROTOCOL_2_STEP = 5
"""Frames."""

ARCHIVE = "human_data/h36m_valid_protocol2.npz"

_BOX_SCALE = 0.9
"""Of the boxes of the masks, as mmhuman3d's converter has it."""


def write_protocol_2(out: Path, labels: Labels) -> None:
    """Write the archive of the test images of the protocol: joints in the camera's frame, boxes, paths; no bodies.

    Nothing is written where no row belongs to it.

    Args:
        out: Folder of the labels.
        labels: Of whole frames.

    Raises:
        InputError: the file cannot be written.
    """
    images = labels.images
    chosen = (labels.split == "test") & (labels.camera_names() == PROTOCOL_2_CAMERA)
    chosen &= images.frame % PROTOCOL_2_STEP == 0
    rows = np.flatnonzero(chosen[labels.image])
    if len(rows):
        path = out / ARCHIVE
        check_writable(path.parent)
        picked = labels[rows]
        write_labels_as_human_data(path, picked, boxes=expand_boxes(picked.values["box"], _BOX_SCALE))
