"""The pictures of single people that HierarchicalProbabilistic3DHuman is evaluated on, cut out of 3DPW."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from marey.data.boxes import box_centers
from marey.data.labels import Labels
from marey.data.labels.columns import Array
from marey.data.prepare.work import Work
from marey.data.square_crops import crop_image, crop_matrices, square_spans
from marey.io.atomic import atomic_path, check_writable
from marey.io.images import read_image, write_image

FOLDER = "test"


def write_crops(out: Path, labels: Labels, work: Work, *, size: int, scale: float) -> None:
    """Write `test/cropped_frames/*.png` and `test/3dpw_test.npz`.

    A crop is the square of `scale` times the longer side of the tight box around the body's vertices; what is outside
    of the picture is black. People of whom a part lies behind the camera have no box and are left out.

    Args:
        out: Folder of the outputs and of the labels.
        labels: Of the test split, boxes of the vertices.
        work: Of this preparation.
        size: Side of a crop in pixels.
        scale: See above.
    """
    known = np.isfinite(labels.values["box"]).all(-1)
    if not known.all():
        work.note(f"{(~known).sum()} people reach behind the camera and are not cropped")
    labels = labels[np.flatnonzero(known)]
    folder = check_writable(out / FOLDER / "cropped_frames")
    names = _names(labels)
    matrices = crop_matrices(square_spans(labels.values["box"], scale), size)

    def cut(rows: Array) -> None:
        image = read_image(out / str(labels.images.path[labels.image[rows[0]]]))
        for row in rows.tolist():
            write_image(folder / names[row], crop_image(image, matrices[row], size))

    sequences = labels.images.sequence[labels.image]
    for sequence in np.unique(sequences).tolist():
        if not work.done(f"crops {sequence}"):
            pictures = _by_picture(labels.image, np.flatnonzero(sequences == sequence))
            deque(work.map(cut, pictures, len(pictures), sequence), maxlen=0)
            work.finish(f"crops {sequence}")
    _write_list(out / FOLDER / "3dpw_test.npz", labels, names)


def _by_picture(image: Array, rows: Array) -> list[Array]:
    """The rows that share a picture, together."""
    rows = rows[np.argsort(image[rows], kind="stable")]
    return np.split(rows, np.flatnonzero(np.diff(image[rows])) + 1)


def _names(labels: Labels) -> list[str]:
    sequences, frames = labels.images.sequence[labels.image], labels.images.frame[labels.image]
    return [
        f"{sequence}_image_{frame:05d}_person_{person:03d}.png"
        for sequence, frame, person in zip(sequences, frames, labels.person, strict=True)
    ]


def _write_list(path: Path, labels: Labels, names: list[str]) -> None:
    """The archive that the original's loader reads: names, middles (x, y), sides, poses, shapes, genders."""
    boxes = labels.values["box"]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            imgname=np.array(names, dtype=np.str_),
            center=box_centers(boxes),
            wh=boxes[:, 2:].max(-1),
            pose=np.concatenate([labels.values["smpl_orientation"], labels.values["smpl_pose"]], axis=-1),
            shape=labels.values["smpl_shape"],
            gender=labels.values["gender"],
        )
