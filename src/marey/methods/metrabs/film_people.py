"""MeTRAbs's model of people in pictures as what the films of 3DPW are followed with (`marey.methods.metrabs.video`)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.core import Cameras, Image
from marey.geometry.views import spread_cameras
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_boxes import detected_boxes
from marey.methods.metrabs.people_inputs import as_picture
from marey.methods.metrabs.video import SMPL


@dataclass(frozen=True, kw_only=True)
class FilmPeople:
    """Finds boxes and SMPL's joints in the frames of a film.

    The thresholds are those of the original's program for films, whose detector was YOLOv4.
    """

    model: PeopleModel
    """Its network has the joints of `smpl_24`."""
    least_score: float | None = 0.5
    """Of a detection; None: the detector's own."""
    most_overlap: float = 0.4
    """Intersection over union of two boxes above which the worse one goes."""

    def find_people(self, image: Image) -> Tensor:
        """(N, 5) left, top, width, height in pixels, confidence; see `PersonFinder`."""
        return detected_boxes(
            self.model.detector,
            as_picture(image),
            least_score=self.least_score,
            most_overlap=self.most_overlap,
            mirrored=self.model.options.detector_flip_aug,
        )

    def find_poses(self, image: Image, boxes: Tensor, cameras: Cameras) -> Tensor:
        """(N, 24, 3) metres in the camera's frame, NaN in boxes that lie outside of the image; see `PoseFinder`.

        Raises:
            InputError: the network has no joints `smpl_24`.
        """
        options = replace(
            self.model.options,
            skeleton=SMPL.name,
            unit="m",
            frame="camera",
            average_aug=True,
            suppress_implausible_poses=False,
        )
        cameras = spread_cameras(cameras.to(torch.float64), (1,))
        (people,) = self.model.find([as_picture(image)], cameras, [boxes.double()], options=options).pictures
        poses = torch.full((len(boxes), len(SMPL), 3), torch.nan, dtype=torch.float64)
        poses[people.indices] = people.poses3d.double()
        return poses
