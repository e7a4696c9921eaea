"""MPI-INF-3DHP: eight subjects before many cameras, and a test set of six sequences, as MeTRAbs prepares it.

Of the training set every fifth frame is taken in which all joints lie in the image, unless no joint has moved by 0.1 m
since the last frame that was taken. What is written are crops (`marey.data.crops`), brighter and without the studio's
green; the test images stay as they are.

Source: specification of MeTRAbs (2020-11), sections 2.5 and 5; Mehta et al., "Monocular 3D human pose estimation in
the wild using improved CNN supervision", 3DV 2017.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from marey.core import Cameras, InputError
from marey.data.crops import CropRule, plan_crops
from marey.data.labels import Images, Labels, join_labels
from marey.data.prepare.annotated_pictures import relative_path
from marey.data.prepare.kept_frames import frames_apart
from marey.data.prepare.mpi_inf_3dhp_evaluation import (
    NAME,
    SEQUENCES,
    VERSION,
    evaluation_labels,
    one_person_labels,
    person_boxes,
    write_evaluation_files,
)
from marey.data.prepare.mpi_inf_3dhp_files import (
    ALL_JOINTS,
    JOINTS,
    UP,
    CameraFrames,
    Poses,
    first_camera,
    read_calibration,
    read_training_poses,
)
from marey.data.prepare.stored_crops import red_channel, write_crops
from marey.data.prepare.work import Work
from marey.geometry.projection import camera_to_world, project_from_camera
from marey.io.person_boxes import PersonBoxes, read_person_boxes

Array = npt.NDArray[Any]

FRAMES = (
    (6416, 12430), (6502, 6081), (12488, 12283), (6171, 6675), (12820, 12312), (6188, 6145), (6239, 6320),
    (6468, 6054),
)  # fmt: skip
"""Of the two sequences of each subject that the published preparation reads."""
SHORTER = {("S6", "Seq2", 2): 3911}
"""Films that end before their annotations."""
TRAINING_RULE = CropRule(brighten=0.67, white_balance=True)


@dataclass(frozen=True, kw_only=True)
class Mpi3dhpOptions:
    """What is taken of MPI-INF-3DHP; the defaults are MeTRAbs's."""

    splits: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")
    """Subjects 1 to 7, subject 8, and the six test sequences."""
    cameras: tuple[int, ...] = (0, 1, 2, 4, 5, 6, 7, 8)
    """Of the training set: all that are not on the ceiling."""
    joints: Literal[17, 28] = 17
    """As the test set has them, or all of the training set; the test set then lacks eleven."""
    step: int = 5
    """Every so many frames."""
    moved: float = 0.1
    """Metres that some joint must have moved since the last frame taken; 0 takes all."""
    crops: bool = True
    """Whether crops are written; otherwise the labels are of the download's images, which must have been extracted."""
    adjust_colours: bool = True
    """Whether crops are made brighter and the studio's green is taken out of them."""
    masks: bool = True
    """Whether masks are written with the crops."""
    first_camera: Literal[0, 1] | None = None
    """The number of camera 0 in the names of extracted images; None: as the names tell."""
    detections: Path | None = None
    """Boxes of a person detector, pickle or JSON; None: `yolov3_person_detections.pkl` or `.json` of the download."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Take:
    """The frames taken of one camera in one sequence, N of them."""

    subject: str
    sequence: str
    number: int
    """Of the camera."""
    camera: Cameras
    """()"""
    frame: Array
    joints: Array
    """(N, J, 3) metres in the world."""
    universal: Array
    boxes: Array
    """(N, 4)"""

    @property
    def key(self) -> str:
        return f"{self.subject}/{self.sequence}"

    def __len__(self) -> int:
        return len(self.frame)


def prepare(root: Path, out: Path, options: Mpi3dhpOptions, work: Work) -> Labels:
    """Prepare MPI-INF-3DHP; of the test set also what the protocol `3dhp` scores, and an archive for mmhuman3d.

    Raises:
        MissingAssetError: a file of the download is absent.
        MissingDependencyError: what `marey[datasets]` installs is absent.
        InputError: the numbers of cameras in the names of images cannot be told, or nothing was asked for.
        FormatError: a file is not what its format demands.
    """
    boxes = _detections(root, options, work)
    parts: list[Labels] = []
    for subject, number in product(range(1, 9), (1, 2)):
        split = "train" if subject < 8 else "validation"
        if split in options.splits:
            takes = _takes(root, (subject, number), boxes, options, work)
            parts += [_training_labels(take, split, root, options, work) for take in takes]
    if "test" in options.splits:
        parts += [evaluation_labels(root, place, boxes, work) for place in SEQUENCES]
    if not parts:
        raise InputError(f"{NAME}: no frame left of {', '.join(options.splits) or 'no split'}; ask for more cameras")
    if "test" in options.splits:
        write_evaluation_files(
            out, replace(join_labels(parts[-len(SEQUENCES) :], skeleton=JOINTS, name=NAME), version=VERSION)
        )
    wanted = JOINTS if options.joints == 17 else ALL_JOINTS
    joined = join_labels(parts, skeleton=wanted, name=NAME)
    return replace(joined, version=VERSION, images=replace(joined.images, moment=_moments(joined.images)))


def _moments(images: Images) -> Array:
    """(I,) the same for images of one frame of one sequence."""
    sequence = np.unique(images.sequence, return_inverse=True)[1].reshape(-1)
    return np.unique(np.stack([sequence, images.frame]), axis=1, return_inverse=True)[1].reshape(-1)


def _detections(root: Path, options: Mpi3dhpOptions, work: Work) -> PersonBoxes:
    """Boxes by path below the data set's folder; none, and a note, if there is no file."""
    if options.detections is not None:
        return read_person_boxes(work.record(options.detections))
    for name in ("yolov3_person_detections.pkl", "yolov3_person_detections.json"):
        if (root / name).exists():
            return read_person_boxes(work.record(root / name))
    work.note("no file of detected people (yolov3_person_detections.pkl), so boxes are those of the joints alone")
    return {}


def _takes(root: Path, place: tuple[int, int], boxes: PersonBoxes, options: Mpi3dhpOptions, work: Work) -> list[_Take]:
    """The frames that are taken of each camera of a sequence; cameras without any are left out."""
    subject, sequence = f"S{place[0]}", f"Seq{place[1]}"
    folder = work.require(root / subject / sequence, "training sequence")
    calibration = read_calibration(work.record(work.require(folder / "camera.calibration", "calibration")))
    poses = read_training_poses(work.record(work.require(folder / "annot.mat", "annotation")))
    known = min(len(poses), len(calibration.names))
    if unknown := [number for number in options.cameras if not 0 <= number < known]:
        raise InputError(f"cameras: {folder} has {known} annotated cameras, from 0; {unknown[0]} is not among them")
    takes = []
    for number in options.cameras:
        own, camera = poses[number], calibration[number]
        count = min(len(own.joints), FRAMES[place[0] - 1][place[1] - 1])
        count = min(count, SHORTER.get((subject, sequence, number), count))
        frame, pixels = taken_frames(own, camera, np.arange(0, count, options.step), options.moved)
        names = [f"{subject}/{sequence}/imageSequence/img_{number}_{name:06d}.jpg" for name in frame]
        take = _Take(
            subject=subject,
            sequence=sequence,
            number=number,
            camera=camera,
            frame=frame,
            joints=camera_to_world(torch.from_numpy(own.joints[frame]), camera).numpy(),
            universal=camera_to_world(torch.from_numpy(own.universal[frame]), camera).numpy(),
            boxes=person_boxes(pixels, names, boxes),
        )
        takes.append(take)
    return [take for take in takes if len(take)]


def taken_frames(poses: Poses, camera: Cameras, frames: Array, moved: float) -> tuple[Array, Array]:
    """Those frames in which all joints lie in the image, and one has moved since the last frame that was taken.

    Args:
        poses: 28 joints in the frame of the camera; the 17 of the test set count.
        camera: ()
        frames: (F,) in order.
        moved: Metres.

    Returns:
        (N,) frames, and (N, 17, 2) where the joints are in the image.
    """
    joints = torch.from_numpy(poses.joints[frames][:, ALL_JOINTS.indices(JOINTS.joints)])
    pixels = project_from_camera(joints, camera).numpy()
    inside = ((pixels >= 0) & (pixels < camera.image_size.numpy())).all((1, 2))  # NaN, behind the camera, is not
    kept = np.flatnonzero(inside)[frames_apart(joints.numpy()[inside], moved)]
    return frames[kept], pixels[kept]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Shown:
    """The images of a take as the labels have them, N of them."""

    paths: list[str]
    masks: list[str]
    cameras: Cameras
    """(C,)"""
    camera: Array
    """(N,) place among them."""
    boxes: Array
    """(N, 4)"""


def _training_labels(take: _Take, split: str, root: Path, options: Mpi3dhpOptions, work: Work) -> Labels:
    folder = root / take.subject / take.sequence
    shown = _crops(take, folder, options, work) if options.crops else _whole_images(take, folder, options, work)
    return one_person_labels(
        skeleton=ALL_JOINTS,
        images=Images(
            path=np.array(shown.paths, dtype=np.str_),
            size=shown.cameras.image_size.numpy().astype(np.int64)[shown.camera],
            camera=shown.camera,
            sequence=np.full(len(take), take.key),
            frame=take.frame,
            moment=np.arange(len(take)),
            view=np.full(len(take), options.cameras.index(take.number)),
        ),
        split=split,
        cameras=replace(shown.cameras, names=(str(take.number),) * shown.cameras.batch_shape[0]),
        joints=take.joints,
        joints_universal=take.universal,
        box=shown.boxes,
        subject=np.full(len(take), take.subject),
        mask=np.array(shown.masks, dtype=np.str_),
    )


def _crops(take: _Take, folder: Path, options: Mpi3dhpOptions, work: Work) -> _Shown:
    """Write the crops, unless an earlier run did."""
    names = [f"{take.key}/img_{take.number}_{frame:06d}" for frame in take.frame.tolist()]
    rule = TRAINING_RULE if options.adjust_colours else CropRule()
    crops = plan_crops(_repeated(take.camera, len(take)), take.boxes, up=UP, rule=rule)

    def write() -> dict[str, Array]:
        frames = take.frame.tolist()
        images = _frames(folder / "imageSequence", take.number, options, work)
        masks = _frames(folder / "FGmasks", take.number, options, work) if options.masks else None
        people = None if masks is None else red_channel(masks.each(frames))
        return {"masked": write_crops(crops, names, images.each(frames), work=work, masks=people)}

    masked = work.part(f"{take.key}/{take.number}", write)["masked"]
    return _Shown(
        paths=[f"images/{name}.jpg" for name in names],
        masks=[f"masks/{name}.png" if there else "" for name, there in zip(names, masked, strict=True)],
        cameras=crops.cameras,
        camera=np.arange(len(take)),
        boxes=crops.boxes,
    )


def _whole_images(take: _Take, folder: Path, options: Mpi3dhpOptions, work: Work) -> _Shown:
    """The images of the download."""
    frames = _frames(folder / "imageSequence", take.number, options, work)
    files = [work.require(frames.image(frame), "image") for frame in take.frame.tolist()]
    return _Shown(
        paths=[relative_path(file, work.out) for file in files],
        masks=[""] * len(take),
        cameras=take.camera[None],
        camera=np.zeros(len(take), dtype=np.int64),
        boxes=take.boxes,
    )


def _frames(folder: Path, number: int, options: Mpi3dhpOptions, work: Work) -> CameraFrames:
    """The frames of a camera, with a note if the names of the images count from 1."""
    work.require(folder, "folder of frames")
    if CameraFrames(folder=folder, camera=number).film.exists() and options.crops:
        return CameraFrames(folder=folder, camera=number)
    first = first_camera(folder) if options.first_camera is None else options.first_camera
    if first:
        work.note(
            f"the images in {folder} are numbered from camera {first}, as MeTRAbs's script of extraction leaves them; "
            "camera 0 was read from those of camera 1, and so on"
        )
    frames = CameraFrames(folder=folder, camera=number, first_camera=first)
    work.require(frames.image(0), f"first image of camera {number}, or the film video_{number}.avi,")
    return frames


def _repeated(camera: Cameras, count: int) -> Cameras:
    """One camera () as many (count,)."""
    return camera[None].map(lambda tensor: tensor.expand(count, *tensor.shape[1:]))
