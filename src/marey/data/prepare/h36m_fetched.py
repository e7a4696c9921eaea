"""Human3.6M as Learnable Triangulation keeps it: images extracted by h36m-fetch, poses and cameras of Martinez.

processed/S9/Greeting-2/imageSequence/54138969/img_000001.jpg      frame 0; any set of frames
processed/S9/MySegmentsMat/ground_truth_bb/Greeting.54138969.mat   masks of people's boxes
una-dinosauria-data/h36m/cameras.h5
una-dinosauria-data/h36m/S9/MyPoses/3D_positions/Greeting.h5
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marey.core import Cameras, MissingAssetError
from marey.data.labels import Labels
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.h36m_boxes import boxes_of_joints, check_frames, read_mask_boxes
from marey.data.prepare.h36m_cameras import read_h5_cameras
from marey.data.prepare.h36m_detections import Detections, read_all_detections, replaced_boxes
from marey.data.prepare.h36m_names import CAMERAS, KNOWN_GAPS, SKELETON, martinez_name, official_name
from marey.data.prepare.h36m_options import H36MOptions
from marey.data.prepare.h36m_poses import read_h5_poses
from marey.data.prepare.h36m_takes import Take, joined_takes, put_right
from marey.data.prepare.moments import Naming, labels_of_moments
from marey.data.prepare.undistortion import Formula, UndistortionMaps, undistort_image, undistortion_maps, without_lens
from marey.data.prepare.units import Unit, do_units
from marey.data.prepare.work import Work
from marey.data.square_boxes import edges_to_spans, spans_to_edges, square_label_boxes
from marey.io.atomic import check_writable
from marey.io.h36m_labels import write_h36m_labels
from marey.io.image_headers import read_image_header
from marey.io.images import read_image, write_image

Array = npt.NDArray[Any]

MARTINEZ = "una-dinosauria-data/h36m"
"""Folder of Martinez's download below the root."""

LABEL_FILES = {
    kind: f"human36m-multiview-labels-{word}bboxes.npy"
    for kind, word in {"files": "GT", "joints": "joints-", "detections": "detected-"}.items()
}
"""By what the boxes are of."""

_IMAGE = re.compile(r"img_(\d{6,})\.jpg")


class FetchedFiles(NamedTuple):
    """Where the files of a download are."""

    root: Path

    @property
    def cameras(self) -> Path:
        """Of all subjects."""
        return self.root / MARTINEZ / "cameras.h5"

    def poses(self, subject: str, action: str) -> Path:
        """Of one action."""
        folder = self.root / MARTINEZ / subject / "MyPoses" / "3D_positions"
        return folder / f"{martinez_name(subject, action)}.h5"

    def masks(self, subject: str, action: str, camera: str) -> Path:
        """Of the boxes in the images of one camera."""
        folder = self.root / "processed" / subject / "MySegmentsMat" / "ground_truth_bb"
        return folder / f"{official_name(subject, action)}.{camera}.mat"

    def images(self, subject: str, action: str, camera: str) -> Path:
        """Folder of one camera's images."""
        return self.root / "processed" / subject / action / "imageSequence" / camera


def prepare_fetched(root: Path, out: Path, options: H36MOptions, work: Work) -> Labels:
    """Write undistorted images, the label file and give the labels.

    Raises:
        MissingAssetError: a file is absent.
        FormatError: a file is not what its format demands, or the files of a take do not fit together.
        InputError: a file cannot be read or written.
    """
    files, subjects = FetchedFiles(root), options.subjects
    cameras = read_h5_cameras(work.record(files.cameras), subjects)
    rigs = {subject: cameras[place] for place, subject in enumerate(subjects)}
    pairs = [(subject, action) for subject in subjects for action in options.chosen_actions]
    detections = read_all_detections(root, work) if options.boxes == "detections" else {}

    def take(pair: tuple[str, str]) -> Take:
        make = partial(_take, files, pair, rigs[pair[0]], detections, options, work)
        return Take.of(*pair, work.part(f"take {pair[0]} {pair[1]}", make))

    takes = [take(pair) for pair in work.progress(pairs, what="poses and boxes")]
    moments, sizes = joined_takes(takes, subjects, cameras)
    write_h36m_labels(out / LABEL_FILES[options.boxes], moments)
    if options.undistort != "none":
        _undistort(files, out, takes, rigs, options.undistort, work)
        moments = moments.with_cameras(without_lens(cameras))
    naming = Naming(
        name="h36m",
        version=options.version("fetched"),
        path=partial(_path, files, out, straight=options.undistort != "none"),
        sequence=lambda subject, action: f"{subject}/{action}",
        split={pair: options.split(pair[0]) for pair in pairs},
    )
    return labels_of_moments(moments, naming, sizes=sizes, skeleton=SKELETON)


def _take(
    files: FetchedFiles,
    pair: tuple[str, str],
    cameras: Cameras,
    detections: Detections,
    options: H36MOptions,
    work: Work,
) -> dict[str, Array]:
    subject, action = pair
    folders = {camera: files.images(subject, action, camera) for camera in CAMERAS}
    there = {camera: _frames(folder) for camera, folder in folders.items() if folder.is_dir()}
    for camera in CAMERAS:
        if camera not in there and (subject, action, camera) not in KNOWN_GAPS:
            work.require(folders[camera], f"folder of images of {subject} {action}, camera {camera}")
    if not there:
        raise MissingAssetError(f"{folders[CAMERAS[0]].parent}: no folder of a camera in it; extract it anew")
    frames = next(iter(there.values()))
    path = work.record(files.poses(subject, action))
    poses = read_h5_poses(path)
    check_frames(path, "poses", len(poses), frames)
    joints = poses[frames]
    sizes = np.array([_size(folders[camera], there.get(camera)) for camera in CAMERAS])
    if options.boxes == "joints":
        boxes = boxes_of_joints(joints, cameras, np.where(sizes > 0, sizes, np.inf))
    else:
        views = [
            _boxes_of_view(files, (*pair, camera), frames, detections, work)
            if camera in there
            else np.full((len(frames), 4), np.nan)
            for camera in CAMERAS
        ]
        boxes = np.stack(views, axis=1)
    if options.corrects("fetched"):
        joints, boxes = put_right(subject, action, joints, boxes, cameras)
    missing = np.stack([~np.isin(frames, there.get(camera, [])) for camera in CAMERAS], axis=-1)
    boxes = np.where(missing[..., None], np.nan, _squared(boxes))
    for camera, count in zip(CAMERAS, missing.sum(0).tolist(), strict=True):
        if count:
            work.note(f"{subject} {action}: camera {camera} lacks {count} of {len(frames)} images")
    return Take(subject=subject, action=action, frames=frames, joints=joints, boxes=boxes, sizes=sizes).arrays()


def _frames(folder: Path) -> Array:
    """(F,) 0-based numbers of the images in a folder."""
    names = (_IMAGE.fullmatch(name) for name in os.listdir(folder))  # noqa: PTH208 - names suffice
    frames = np.array(sorted(int(name[1]) - 1 for name in names if name), dtype=np.int64)
    if not len(frames):
        raise MissingAssetError(f"{folder}: no img_000001.jpg and so on in it; extract it anew")
    return frames


def _size(folder: Path, frames: Array | None) -> tuple[int, int]:
    return (0, 0) if frames is None else read_image_header(folder / _name(int(frames[0]))).size


def _name(frame: int) -> str:
    return f"img_{frame + 1:06d}.jpg"


def _boxes_of_view(
    files: FetchedFiles, place: tuple[str, str, str], frames: Array, detections: Detections, work: Work
) -> Array:
    """(F, 4) left, top, width, height; with detections, masks are for what was not detected, if there are any."""
    path = files.masks(*place)
    if detections and not path.exists():
        edges = np.zeros((len(frames), 4))
    else:
        work.require(path, "masks of people's boxes (--boxes joints does without)")
        edges = read_mask_boxes(work.record(path), frames).astype(np.float64)
    spans = edges_to_spans(replaced_boxes(edges, frames, detections.get(place)))
    empty = np.any(spans[:, 2:] <= 0, axis=-1)
    if empty.any():
        subject, action, camera = place
        work.note(f"{subject} {action}: {empty.sum()} boxes of camera {camera} are empty; those views are left out")
    return np.where(empty[:, None], np.nan, spans)


def _squared(boxes: Array) -> Array:
    known = np.isfinite(boxes).all(-1, keepdims=True)
    edges = np.rint(spans_to_edges(np.where(known, boxes, 0.0)))
    return np.where(known, edges_to_spans(square_label_boxes(edges)), np.nan)


def _undistort(
    files: FetchedFiles, out: Path, takes: Iterable[Take], rigs: Mapping[str, Cameras], formula: Formula, work: Work
) -> None:
    """Write the straight image of every view with a box; the maps of a camera are computed once."""

    @cache
    def maps_of(subject: str, view: int, size: tuple[int, int]) -> UndistortionMaps:
        return undistortion_maps(rigs[subject][view], size, formula=formula)

    units = [
        Unit(
            key=f"undistorted {take.subject}/{take.action}/{camera}",
            items=partial(_jobs, files, out, take, view, maps_of),
            count=int(np.isfinite(take.boxes[:, view, 0]).sum()),
        )
        for take in takes
        for view, camera in enumerate(CAMERAS)
    ]
    do_units(work, units, _straighten, what="undistorting")


class _Job(NamedTuple):
    source: Path
    target: Path
    maps: UndistortionMaps


def _jobs(
    files: FetchedFiles, out: Path, take: Take, view: int, maps_of: Callable[[str, int, tuple[int, int]], Any]
) -> Iterator[_Job]:
    frames = take.frames[np.isfinite(take.boxes[:, view, 0])]
    if not len(frames):
        return
    source = files.images(take.subject, take.action, CAMERAS[view])
    target = check_writable(out / _folder(take.subject, take.action, CAMERAS[view]))
    width, height = take.sizes[view].tolist()
    maps = maps_of(take.subject, view, (width, height))
    for frame in frames.tolist():
        yield _Job(source / _name(frame), target / _name(frame), maps)


def _straighten(job: _Job) -> None:
    write_image(job.target, undistort_image(read_image(job.source), job.maps))


def _folder(subject: str, action: str, camera: str) -> str:
    """Below `images` as the program itself would look for it below its folder `processed`."""
    return f"images/{subject}/{action}/imageSequence-undistorted/{camera}"


def _path(files: FetchedFiles, out: Path, subject: str, action: str, camera: str, frame: int, *, straight: bool) -> str:
    if straight:
        return f"{_folder(subject, action, camera)}/{_name(frame)}"
    return f"{_way(files.images(subject, action, camera), out)}/{_name(frame)}"


_way = lru_cache(maxsize=4096)(relative_path)
"""To a folder of many images, found once."""
