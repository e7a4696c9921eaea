"""MediaPipe Pose 0.10.14, the last version whose wheel carries its models: 33 joints of one person, offline.

It finds a single person in an image, the one its detector is surest of. Where there may be several, say where to look
with boxes: each box is then an image of its own.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marey.core import Boxes, Detections2D, Image, Keypoints2D, MissingDependencyError, skeleton

INSTALL = 'pip install "marey[mediapipe]" && pip install --no-deps mediapipe==0.10.14'

_PADDING = 1.25
"""A box is enlarged by this factor: MediaPipe's own detector wants to see the person's surroundings."""


class MediaPipePose:
    """The `full` model on each image by itself, or following the person from frame to frame.

    The score of a joint is its `visibility`. `monocular` holds the world landmarks: metres, the origin midway between
    the hips, x right, y down and z away from the camera as in OpenCV's frame. MediaPipe knows no intrinsics: the axes
    are those of a camera that looks straight at the person.
    """

    name = "mediapipe"

    def __init__(self, *, tracking: bool = False, least_confidence: float = 0.5) -> None:
        """Load the library.

        Args:
            tracking: look for the person near its last place instead of in the whole image: about 1.5 times faster, but
                what is found in a frame then depends on the frames before. Needs frames without gaps; not with boxes.
            least_confidence: in 0..1, of the person detector and of the tracker.

        Raises:
            MissingDependencyError: MediaPipe 0.10.14 or what it needs is not installed.
        """
        self.skeleton = skeleton("mediapipe_33")
        self._solution = _import_pose()
        self._tracking = tracking
        self._least_confidence = least_confidence

    def __call__(self, frames: Iterable[Image], boxes: Boxes | None = None) -> Iterator[Detections2D]:
        """Yield the detections of each frame: at most one, or one for each box; see `Detector`."""
        pose = _Pose(self._solution, self._tracking and boxes is None, self._least_confidence)
        with contextlib.closing(pose):
            for index, image in enumerate(frames):
                corners = _whole(image) if boxes is None else _padded(boxes.corners[index], image)
                yield self._assemble([pose.find(image, box) for box in corners])

    def _assemble(self, found: list[tuple[Tensor, Tensor] | None]) -> Detections2D:
        people = [person for person in found if person is not None]
        image = torch.stack([landmarks for landmarks, _ in people]) if people else torch.zeros(0, 33, 3)
        world = torch.stack([joints for _, joints in people]) if people else torch.zeros(0, 33, 3)
        return Detections2D(
            keypoints=Keypoints2D(
                positions=image[..., :2],
                covariance=torch.full((len(people), 33, 2, 2), torch.nan),
                score=image[..., 2],
                skeleton=self.skeleton,
            ),
            monocular=world,
        )


class _Pose:
    """One graph of MediaPipe, quiet while it starts."""

    def __init__(self, solution: Any, tracking: bool, least_confidence: float) -> None:
        self._start = partial(
            solution.Pose,
            static_image_mode=not tracking,
            model_complexity=1,
            smooth_landmarks=False,
            min_detection_confidence=least_confidence,
            min_tracking_confidence=least_confidence,
        )
        self._graph: Any = None

    def find(self, image: Image, box: tuple[int, int, int, int]) -> tuple[Tensor, Tensor] | None:
        """Landmarks (33, 3), x and y in pixels of the image and visibility, and joints (33, 3) in metres, if any."""
        left, top, right, bottom = box
        crop = np.ascontiguousarray(image[top:bottom, left:right])
        if crop.size == 0:
            return None
        with contextlib.nullcontext() if self._graph else _quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"SymbolDatabase\.GetPrototype")
            self._graph = self._graph or self._start()  # its threads write while it starts, until the first result
            result = self._graph.process(crop)
        if result.pose_landmarks is None or result.pose_world_landmarks is None:
            return None
        landmarks = torch.tensor([(p.x, p.y, p.visibility) for p in result.pose_landmarks.landmark])
        # fractions of the width and height, measured from the corner of the image; pixel centres are integers here
        size = torch.tensor([right - left, bottom - top])
        pixels = landmarks[:, :2] * size - 0.5 + torch.tensor([left, top])
        world = torch.tensor([(p.x, p.y, p.z) for p in result.pose_world_landmarks.landmark])
        return torch.cat((pixels, landmarks[:, 2:].clamp(0, 1)), -1), world

    def close(self) -> None:
        """Free the graph."""
        if self._graph is not None:
            self._graph.close()


def _import_pose() -> ModuleType:
    try:
        with _quiet():
            from mediapipe.python.solutions import pose
    except ImportError as error:
        raise MissingDependencyError.of("mediapipe", "detection with MediaPipe", INSTALL) from error
    return pose  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what native code writes to the standard error: MediaPipe offers no way to turn its start-up log off.

    It is written after all if an exception passes.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def _whole(image: Image) -> list[tuple[int, int, int, int]]:
    return [(0, 0, image.shape[1], image.shape[0])]


def _padded(corners: Tensor, image: Image) -> list[tuple[int, int, int, int]]:
    """The boxes (P, 4) that are there, enlarged and cut to the image, as slices of pixels."""
    known = corners[corners.isfinite().all(-1)]
    middle, half = (known[:, :2] + known[:, 2:]) / 2, (known[:, 2:] - known[:, :2]) / 2 * _PADDING
    size = torch.tensor([image.shape[1], image.shape[0]])
    low = (middle - half).floor().clamp(min=0).minimum(size)
    high = (middle + half + 1).ceil().clamp(min=0).minimum(size)
    return [(int(a), int(b), int(c), int(d)) for (a, b), (c, d) in zip(low.tolist(), high.tolist(), strict=True)]
