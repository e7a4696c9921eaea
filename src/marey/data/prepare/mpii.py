"""MPII Human Pose: 2D joints of people in stills of videos, as MeTRAbs prepares it beside its 3D sets.

Only pictures annotated for training have joints. By the rule `single` everybody is taken who stands apart from others,
with the box of Sun et al. (2018): a square of 200 pixels times the person's scale around the middle, 7.5 % of it lower.
By `detected` a person is taken who has more than 6 of 10 joints and to whom a person detector's box belongs, which is
then the box. `annotated` needs no detector and takes everybody with the box of the joints, 1.25 times as large.

Source: specification of MeTRAbs (2020-11), section 5; Andriluka et al., "2D human pose estimation: new benchmark and
state of the art analysis", CVPR 2014. Files are called by picture and person, where the original's names of the rule
`mpii_yolo` collide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from marey.core import Skeleton
from marey.data.boxes import boxes_of_points, expand_boxes, match_boxes
from marey.data.labels import Labels
from marey.data.labels.columns import Array
from marey.data.prepare.annotated_pictures import (
    PicturePeople,
    crop_labels,
    picture_labels,
    picture_size,
    with_boxes_inside,
)
from marey.data.prepare.mpii_annotations import JOINTS, MpiiAnnotations, read_mpii
from marey.data.prepare.work import Work
from marey.io.person_boxes import boxes_of_image, read_person_boxes

NAME = "mpii"
VERSION = "1"

TEN = JOINTS.select(
    [
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "left_elbow", "left_wrist",
    ],
    "mpii_10",
)  # fmt: skip
TWELVE = JOINTS.select(
    [
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist",
    ],
    "mpii_12",
)  # fmt: skip

SIDE = 200.0
"""Pixels in one unit of scale."""
LOWER = 0.075
"""Of the side: how far the box of a single person lies below the middle."""
JOINT_BOX = 1.25
LEAST_CONFIDENCE = 0.5
LEAST_IOU = 0.1
LEAST_JOINTS = 6
"""More than these of the ten."""

Rule = Literal["single", "detected", "annotated"]


@dataclass(frozen=True, kw_only=True)
class MpiiOptions:
    """What is taken of MPII Human Pose; the defaults are those of MeTRAbs's set `mpii`."""

    rule: Rule = "single"
    """single: people apart from others. detected: all whom a detector found (`mpii_yolo`). annotated: all."""
    joints: Literal["limbs", "all"] = "limbs"
    """limbs: the joints of arms and legs that mean the same in all sets, 12 of `single`, 10 of the others; all: 16."""
    crops: bool = True
    """Whether a crop of each person is written; otherwise the labels are of the download's pictures."""
    detections: Path | None = None
    """Boxes of a person detector, pickle or JSON; None: `yolov3_detections.pkl` or `.json` of the download."""
    from_one: bool = False
    """Take 1 from every coordinate, as some programs do because MATLAB counts from 1; MeTRAbs does not."""


def prepare(root: Path, out: Path, options: MpiiOptions, work: Work) -> Labels:
    """Prepare MPII Human Pose.

    Raises:
        MissingAssetError: a file of the download is absent.
        MissingDependencyError: SciPy is not installed.
        InputError: a picture cannot be read, or nobody is left.
        FormatError: a file is not what its format demands.
    """
    path = work.record(work.require(root / "mpii_human_pose_v1_u12_1.mat", "annotation file"))
    found = _shifted(read_mpii(path)) if options.from_one else read_mpii(path)
    rows, boxes = _RULES[options.rule](found, root, options, work)
    people = with_boxes_inside(_people(found, rows, boxes, root, options, work), work)
    if options.crops:
        return crop_labels(NAME, VERSION, people, work)
    return picture_labels(NAME, VERSION, people, work)


def _shifted(found: MpiiAnnotations) -> MpiiAnnotations:
    """Coordinates that counted from 1."""
    return replace(found, keypoints=found.keypoints - 1, center=found.center - 1)


def _single(found: MpiiAnnotations, root: Path, options: MpiiOptions, work: Work) -> tuple[Array, Array]:
    """Rows of people apart from others, and their boxes (N, 4)."""
    known = np.isfinite(found.center).all(-1) & np.isfinite(found.scale)
    rows = np.flatnonzero(found.train[found.image] & found.single & known)
    return rows, single_boxes(found.center[rows], found.scale[rows])


def single_boxes(center: Array, scale: Array) -> Array:
    """Squares (N, 4) around middles (N, 2) for scales (N,), shifted down."""
    side = SIDE * scale
    middle = center + np.stack([np.zeros_like(side), LOWER * side], axis=-1)
    return np.concatenate([middle - side[:, None] / 2, side[:, None], side[:, None]], axis=-1)


def _annotated(found: MpiiAnnotations, root: Path, options: MpiiOptions, work: Work) -> tuple[Array, Array]:
    """Rows of everybody with enough joints, and the boxes (N, 4) of their joints."""
    ten = np.isfinite(found.keypoints[:, JOINTS.indices(TEN.joints)]).all(-1).sum(-1)
    rows = np.flatnonzero(found.train[found.image] & (ten > LEAST_JOINTS))
    return rows, expand_boxes(boxes_of_points(found.keypoints[rows]), JOINT_BOX)


def _detected(found: MpiiAnnotations, root: Path, options: MpiiOptions, work: Work) -> tuple[Array, Array]:
    """Rows of people with enough joints to whom a detection belongs, and the boxes (N, 4) of the detections.

    Everybody with joints takes part in the assignment, also who has too few to be kept.
    """
    boxes = read_person_boxes(work.record(_detections(root, options, work)))
    enough, _ = _annotated(found, root, options, work)
    rows = np.flatnonzero(found.train[found.image])
    own = expand_boxes(boxes_of_points(found.keypoints[rows]), JOINT_BOX)
    taken = np.full((len(rows), 4), np.nan)
    starts = np.flatnonzero(np.diff(found.image[rows], prepend=-1))
    unknown = 0
    for here in np.split(np.arange(len(rows)), starts[1:]) if len(rows) else ():
        name = found.names[found.image[rows[here[0]]]]
        keys = f"images/{name}", f"mpii/images/{name}", name
        unknown += not any(key in boxes for key in keys)
        there = boxes_of_image(boxes, *keys)
        there = there[there[:, 4] > LEAST_CONFIDENCE]
        partner = match_boxes(own[here], there[:, :4], least_iou=LEAST_IOU)
        taken[here[partner >= 0]] = there[partner[partner >= 0], :4]
    if unknown:
        work.note(f"{unknown} pictures are not in the file of detections; nobody was taken from them.")
    kept = np.isfinite(taken).all(-1) & np.isin(rows, enough)
    return rows[kept], taken[kept]


def _detections(root: Path, options: MpiiOptions, work: Work) -> Path:
    if options.detections is not None:
        return work.require(options.detections, "file of detected people")
    places = [root / "yolov3_detections.pkl", root / "yolov3_detections.json"]
    there = [path for path in places if path.exists()]
    return there[0] if there else work.require(places[0], "file of people found by a detector, made by the user,")


def _people(
    found: MpiiAnnotations, rows: Array, boxes: Array, root: Path, options: MpiiOptions, work: Work
) -> PicturePeople:
    """The people of some rows, and their pictures."""
    skeleton = _skeleton(options)
    used, image = np.unique(found.image[rows], return_inverse=True)
    paths = [root / "images" / found.names[place] for place in used]
    sizes = work.part("sizes", lambda: {"sizes": _sizes(paths, work)})["sizes"]
    joints = JOINTS.indices(skeleton.joints)
    return PicturePeople(
        skeleton=skeleton,
        paths=paths,
        sizes=sizes,
        splits=np.full(len(used), "train"),
        frames=used.astype(np.int64),
        image=image.reshape(-1),
        person=found.place[rows],
        keypoints=found.keypoints[rows][:, joints],
        visible=found.visible[rows][:, joints],
        box=boxes,
    )


def _skeleton(options: MpiiOptions) -> Skeleton:
    if options.joints == "all":
        return JOINTS
    return TWELVE if options.rule == "single" else TEN


def _sizes(paths: list[Path], work: Work) -> Array:
    def size(path: Path) -> tuple[int, int]:
        return picture_size(work.require(path, "picture"))

    return np.array(list(work.map(size, paths, len(paths), "sizes")), dtype=np.int64).reshape(-1, 2)


_RULES = {"single": _single, "detected": _detected, "annotated": _annotated}
