"""Pose networks of the RTMPose family, given as ONNX files by the user and run by onnxruntime.

The outputs of the graph say what it is: two SimCC vectors a joint (RTMPose, top-down: one crop, one person) or boxes
with keypoints (RTMO, the whole image at once). A top-down network needs boxes: from a second network that finds people
(RTMDet or YOLOX), or given with the images; without either it takes the whole image for one person's box.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch

from marey.core import (
    Boxes,
    Detections2D,
    FormatError,
    Image,
    InputError,
    Keypoints2D,
    Skeleton,
)
from marey.core import skeleton as skeleton_named
from marey.detect.onnx_decode import (
    DEVIATION,
    MEAN,
    SPLIT_RATIO,
    Array,
    best_boxes,
    crop_boxes,
    decode_grid,
    decode_simcc,
    letterbox,
)
from marey.detect.onnx_network import OnnxNetwork
from marey.io.keypoint_files import SKELETON_OF_COUNT

Normalisation = Literal["imagenet", "none"]

WHOLE_BODY = 133
"""Joints of COCO-WholeBody: of these, the body and the feet are used, not the face and the fingers."""

_FEET = ("big_toe", "small_toe", "heel")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnnxSettings:
    """Thresholds, and what a graph does not say about itself."""

    skeleton: Skeleton | None = None
    """Of the joints; None: by their number."""
    least_person_score: float = 0.3
    """People found with a lower score are dropped."""
    most_overlap: float = 0.45
    """Intersection over union of two boxes above which the worse one is dropped."""
    person_input: Normalisation | None = None
    """How the network that finds people wants its pixels; None: 0 to 255 for a YOLOX, recognised by its raw grid or its
    file name, otherwise as RTMDet does, normalised with the mean and deviation of ImageNet."""


class OnnxPose:
    """An RTMPose or RTMO network, with an RTMDet or YOLOX network before the former."""

    name = "onnx"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        person: str | os.PathLike[str] | None = None,
        settings: OnnxSettings | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        """Open the networks.

        Args:
            path: of the pose network.
            person: of the network that finds people, for a top-down pose network.
            settings: defaults if None.
            providers: of onnxruntime, in order of preference; None: all that are installed.

        Raises:
            MissingDependencyError: onnxruntime is not installed.
            MissingAssetError: there is no such file.
            FormatError: the file is not ONNX, or no network that is known here.
            InputError: the number of joints is unknown and `settings.skeleton` does not name them; or a network to find
                people was given for a pose network that finds them itself.
        """
        self._settings = settings or OnnxSettings()
        self._pose = OnnxNetwork(path, providers)
        self._kind, joints = _kind_of(self._pose)
        self._person = None if person is None else _PersonFinder(OnnxNetwork(person, providers), self._settings)
        if self._kind == "rtmo" and person is not None:
            raise InputError(f"{path} finds people itself; leave out {person}")
        self.skeleton = self._settings.skeleton or _skeleton_of(path, joints)
        if joints not in (None, WHOLE_BODY, len(self.skeleton)):
            raise InputError(f"{path} has {joints} joints, skeleton {self.skeleton.name} has {len(self.skeleton)}")

    def __call__(self, frames: Iterable[Image], boxes: Boxes | None = None) -> Iterator[Detections2D]:
        """Yield the detections of each frame, best first; see `Detector`.

        Raises:
            InputError: boxes for a network that finds people itself.
            FormatError: the outputs do not fit the input.
        """
        if self._kind == "rtmo":
            if boxes is not None:
                raise InputError(f"{self._pose.path} finds people itself; call it without boxes")
            yield from map(self._all_at_once, frames)
            return
        for index, image in enumerate(frames):
            yield self._top_down(image, self._look_at(image) if boxes is None else _known(boxes[index]))

    def _look_at(self, image: Image) -> Array:
        """Boxes (P, 5) with score."""
        if self._person is not None:
            return self._person(image)
        return np.array([[0, 0, image.shape[1] - 1, image.shape[0] - 1, 1]], np.float32)

    def _top_down(self, image: Image, boxes: Array) -> Detections2D:
        crops = crop_boxes(image, boxes[:, :4], self._pose.size)
        outputs = self._pose.run((crops.pixels - MEAN) / DEVIATION) if len(boxes) else self._nobody()
        outputs = [output[:, : len(self.skeleton)] for output in outputs]
        position, variance, score = decode_simcc(*_in_order(self._pose, outputs))
        scale = (crops.extent / np.array(self._pose.size, np.float32))[:, None]
        position = np.asarray(position * scale + (crops.center - crops.extent / 2)[:, None], np.float32)
        return self._detections(position, score, boxes, variance * np.square(scale))

    def _nobody(self) -> list[Array]:
        return [np.zeros((0, len(self.skeleton), int(side * SPLIT_RATIO)), np.float32) for side in self._pose.size]

    def _all_at_once(self, image: Image) -> Detections2D:
        framed, scale = letterbox(image, self._pose.size)
        outputs = self._pose.run(framed[None, :, :, ::-1].astype(np.float32))
        boxes, joints = sorted(outputs, key=lambda output: output.ndim)
        boxes, joints = boxes[0], joints[0]
        kept = best_boxes(boxes, self._settings.least_person_score, self._settings.most_overlap)
        boxes = boxes[kept] / np.array([scale] * 4 + [1], np.float32)
        joints = joints[kept, : len(self.skeleton)]
        return self._detections(joints[..., :2] / scale, joints[..., 2].clip(0, 1), boxes, None)

    def _detections(self, position: Array, score: Array, boxes: Array, variance: Array | None) -> Detections2D:
        covariance = torch.full((*score.shape, 2, 2), torch.nan)
        if variance is not None:
            covariance = torch.diag_embed(torch.from_numpy(variance.astype(np.float32)))
        seen = torch.from_numpy((score > 0) & np.isfinite(position).all(-1))
        return Detections2D(
            keypoints=Keypoints2D(
                positions=torch.from_numpy(position.astype(np.float32)).where(seen[..., None], torch.tensor(torch.nan)),
                covariance=covariance.where(seen[..., None, None], torch.tensor(torch.nan)),
                score=torch.from_numpy(score.astype(np.float32)).where(seen, torch.tensor(0.0)),
                skeleton=self.skeleton,
            ),
            boxes=Boxes(corners=torch.from_numpy(boxes[:, :4].copy()), score=torch.from_numpy(boxes[:, 4].copy())),
        )


class _PersonFinder:
    """RTMDet or YOLOX: boxes (P, 5) of the people in an image, best first."""

    def __init__(self, network: OnnxNetwork, settings: OnnxSettings) -> None:
        self._network = network
        self._settings = settings
        shapes = [shape for _, shape in network.outputs]
        self._raw_grid = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][-1] not in (4, 5)
        packed = len(shapes) in (1, 2) and len(shapes[0]) == 3 and shapes[0][-1] == 5
        if not self._raw_grid and not packed:
            raise FormatError(
                f"{network.path}: expected boxes (1, N, 5) with or without labels (1, N), or the raw grid of a YOLOX "
                f"(1, N, 5 + classes), got {network.outputs}"
            )
        plain = self._raw_grid or "yolox" in network.path.name.lower()
        self._plain = plain if settings.person_input is None else settings.person_input == "none"

    def __call__(self, image: Image) -> Array:
        framed, scale = letterbox(image, self._network.size)
        pixels = framed.astype(np.float32) if self._plain else (framed - MEAN) / DEVIATION
        outputs = self._network.run(pixels[None, :, :, ::-1])
        boxes = outputs[0][0]
        if self._raw_grid:
            boxes = decode_grid(boxes, self._network.size)
        elif len(outputs) == 2:
            boxes = boxes[outputs[1][0] == 0]  # people are the first class of every published model
        boxes = np.asarray(boxes / np.array([scale] * 4 + [1], np.float32))
        return boxes[best_boxes(boxes, self._settings.least_person_score, self._settings.most_overlap)]


def _kind_of(network: OnnxNetwork) -> tuple[Literal["simcc", "rtmo"], int | None]:
    """What the graph is, by its outputs, and its number of joints if that is fixed."""
    shapes = [shape for _, shape in network.outputs]
    if len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[0][-1] != 5:
        return "simcc", shapes[0][1] if isinstance(shapes[0][1], int) else None
    if sorted(len(shape) for shape in shapes) == [3, 4]:
        joints = max(shapes, key=len)[2]
        return "rtmo", joints if isinstance(joints, int) else None
    raise FormatError(
        f"{network.path}: expected the outputs simcc_x and simcc_y (N, J, bins) of an RTMPose, or dets (1, N, 5) and "
        f"keypoints (1, N, J, 3) of an RTMO, got {network.outputs}"
    )


def _in_order(network: OnnxNetwork, outputs: list[Array]) -> tuple[Array, Array]:
    """The SimCC outputs, x first: by their names, otherwise as they come."""
    names = [name.lower() for name, _ in network.outputs]
    first, second = outputs
    along_x, along_y = (second, first) if names[0].endswith("y") and names[1].endswith("x") else (first, second)
    expected = tuple(int(side * SPLIT_RATIO) for side in network.size)
    if (along_x.shape[-1], along_y.shape[-1]) != expected:
        raise FormatError(
            f"{network.path}: expected {expected} bins along x and y for an input of {network.size}, "
            f"got {along_x.shape[-1], along_y.shape[-1]}"
        )
    return along_x, along_y


def _skeleton_of(path: str | os.PathLike[str], joints: int | None) -> Skeleton:
    if joints == WHOLE_BODY:
        return _body_and_feet()
    if joints not in SKELETON_OF_COUNT:
        raise InputError(
            f"{path}: {'an unknown number of' if joints is None else joints} joints; known are "
            f"{', '.join(map(str, (*SKELETON_OF_COUNT, WHOLE_BODY)))}; pass OnnxSettings(skeleton=...)"
        )
    return skeleton_named(SKELETON_OF_COUNT[joints])


def _body_and_feet() -> Skeleton:
    """The first 23 joints of COCO-WholeBody."""
    body = skeleton_named("coco_17")
    joints = (*body.joints, *(f"{side}_{part}" for side in ("left", "right") for part in _FEET))
    ankles = [
        (body.index(f"{side}_ankle"), joints.index(f"{side}_{part}")) for side in ("left", "right") for part in _FEET
    ]
    return Skeleton("coco_wholebody_23", joints, (*body.links, *ankles), "COCO-WholeBody without face and hands.")


def _known(boxes: Boxes) -> Array:
    """Boxes (P, 5) with score, of those that are there."""
    rows = torch.cat((boxes.corners, boxes.score[:, None]), -1).float().cpu().numpy()
    return np.asarray(rows[np.isfinite(rows).all(-1) & (rows[:, 4] > 0)])
