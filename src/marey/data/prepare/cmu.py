"""CMU Panoptic: several people, seen by high-definition cameras that differ from sequence to sequence.

Joints are those of skeleton panoptic_19 in its official order, metres in the dome's frame, whose y axis points down:
what is up is (0, -1, 0). A joint that was not found is NaN.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from marey.core import Cameras
from marey.data.labels import Labels
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.cmu_files import SKELETON, SequenceFiles, image_name
from marey.data.prepare.cmu_frames import FrameLists, with_frame_lists
from marey.data.prepare.cmu_options import CMUOptions
from marey.data.prepare.cmu_people import chosen_rig, completed_rig, people_of_sequence
from marey.data.prepare.cmu_sequences import VALIDATION_SEQUENCES
from marey.data.prepare.moments import Naming, labels_of_moments
from marey.data.prepare.pictures import Picture, film_pictures, write_picture
from marey.data.prepare.units import Unit, do_units
from marey.data.prepare.work import Work
from marey.io.h36m_labels import MultiviewLabels, read_cmu_labels

__all__ = ["CMUOptions", "prepare", "read_published_cmu_labels"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sequence:
    """N rows of people at moments, and what each of C cameras has of them."""

    name: str
    frame: Array
    """(N,)"""
    person: Array
    """(N,)"""
    joints: Array
    """(N, 19, 3)"""
    boxes: Array
    """(N, C, 4)"""
    there: Array
    """(N, C) whether the camera has an image of the moment."""
    sizes: Array
    """(C, 2)"""
    filmed: Array
    """(C,) whether the images have to be taken from a video."""


def prepare(root: Path, out: Path, options: CMUOptions, work: Work) -> Labels:
    """Prepare CMU Panoptic: labels of everybody in every frame, and the images where there are videos only.

    Raises:
        MissingAssetError: a file is absent; the message says which and where it comes from.
        CalibrationError: a calibration cannot be right.
        FormatError: a file is not what its format demands.
        InputError: a file cannot be read or written, or no camera or nobody is left.
    """
    files = {name: SequenceFiles(work.require(root / name, f"sequence {name}")) for name in options.sequences}
    rigs = [chosen_rig(file, options, work) for file in files.values()]
    names = tuple(sorted({camera for rig in rigs for camera in rig.names}))
    cameras = Cameras.stack([completed_rig(rig, names) for rig in rigs])
    found = [
        _Sequence(
            name=name, **work.part(f"people {name}", partial(people_of_sequence, file, cameras[place], options, work))
        )
        for place, (name, file) in enumerate(files.items())
    ]
    units = [unit for part in found for unit in _units(files[part.name], out, part, names)]
    do_units(work, units, write_picture, what="frames")
    naming = Naming(
        name="cmu",
        version=options.version,
        path=partial(_path, files, out, {part.name: dict(zip(names, part.filmed, strict=True)) for part in found}),
        sequence=lambda _, sequence: sequence,
        split={("", name): options.split(name) for name in options.sequences},
    )
    return labels_of_moments(
        _joined(found, cameras),
        naming,
        sizes=np.stack([part.sizes for part in found]),
        skeleton=SKELETON,
        views=np.concatenate([part.there for part in found]),
    )


def _joined(found: Sequence[_Sequence], cameras: Cameras) -> MultiviewLabels:
    counts = [len(part.frame) for part in found]
    return MultiviewLabels(
        skeleton=SKELETON,
        subjects=(),
        actions=tuple(part.name for part in found),
        cameras=cameras,
        subject=np.zeros(sum(counts), dtype=np.int64),
        action=np.repeat(np.arange(len(found)), counts),
        frame=np.concatenate([part.frame for part in found]),
        person=np.concatenate([part.person for part in found]),
        joints=np.concatenate([part.joints for part in found]),
        boxes=np.concatenate([part.boxes for part in found]),
    )


def _units(files: SequenceFiles, out: Path, part: _Sequence, names: Sequence[str]) -> Iterator[Unit[Picture]]:
    for view in np.flatnonzero(part.filmed).tolist():
        name, frames = names[view], np.unique(part.frame[part.there[:, view]])
        target = partial(_target, out / _folder(part.name, name), name)
        yield Unit(
            key=f"frames {part.name}/{name}",
            items=partial(film_pictures, files.video(name), frames, target),
            count=len(frames),
        )


def _target(folder: Path, camera: str, frame: int) -> Path:
    return folder / image_name(camera, frame)


def _folder(sequence: str, camera: str) -> str:
    return f"images/{sequence}/hdImgs/{camera}"


def _path(
    files: Mapping[str, SequenceFiles],
    out: Path,
    filmed: Mapping[str, Mapping[str, bool]],
    _: str,
    sequence: str,
    camera: str,
    frame: int,
) -> str:
    if filmed[sequence][camera]:
        return f"{_folder(sequence, camera)}/{image_name(camera, frame)}"
    return f"{_way(files[sequence].images(camera), out)}/{image_name(camera, frame)}"


_way = lru_cache(maxsize=4096)(relative_path)
"""To a folder of many images, found once."""


def read_published_cmu_labels(
    path: str | os.PathLike[str],
    *,
    images: str = "",
    validation: Sequence[str] = VALIDATION_SEQUENCES,
    frames: FrameLists | None = None,
) -> Labels:
    """The labels of a file `cmu-multiview-labels-*.npy` that the fork prepared.

    Args:
        path: The file.
        images: Folder of the sequences, relative to where the labels will be written.
        validation: These sequences are for validation, the others for training.
        frames: Listed ranges that are kept, with the splits that they say, such as `cmu_frames.FORK`. None: all frames.

    Raises:
        InputError: the file cannot be read, or none of its frames is listed.
        FormatError: it is no such file.
    """
    found = read_cmu_labels(path)
    below = f"{images.rstrip('/')}/" if images else ""
    naming = Naming(
        name="cmu",
        version="published label file",
        path=lambda _, sequence, camera, frame: f"{below}{sequence}/hdImgs/{camera}/{image_name(camera, frame)}",
        sequence=lambda _, sequence: sequence,
        split={("", name): "validation" if name in validation else "train" for name in found.actions},
    )
    sizes = np.zeros((*found.cameras.batch_shape, 2), dtype=np.int64)
    labels = labels_of_moments(found, naming, sizes=sizes, skeleton=SKELETON)
    return labels if frames is None else with_frame_lists(labels, frames)
