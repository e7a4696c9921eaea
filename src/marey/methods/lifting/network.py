"""The lifter with its virtual camera as a module of tensors alone, for export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from marey.core import skeleton
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.detect.lifting import lift_points, shipped_lifter
from marey.engine.networks import Network, Port
from marey.geometry.absolute import ideal_points
from marey.nn.lifter import JOINTS, Lifter, slots_of

_EXAMPLE = "coco_17"


class LiftedPeople(nn.Module):
    """Points of people in one camera to joints in its axes, with covariance; see `lift_points`."""

    def __init__(self, lifter: Lifter) -> None:
        super().__init__()
        self.lifter = lifter

    def forward(self, points: Tensor, covariance: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (people, J, 3) and their covariance (people, J, 3, 3)."""
        return lift_points(self.lifter, points, covariance, score)


def shipped() -> Network:
    """The shipped weights; its example is a figure of which some joints are not seen."""
    joints = len(JOINTS)
    return Network(
        module=LiftedPeople(shipped_lifter()),
        example=_example(),
        inputs=(
            Port(
                name="points",
                shape=("people", joints, 2),
                unit="focal lengths: x / z and y / z",
                frame="camera, x right, y down, z forward; lens taken out",
                meaning=f"Keypoints, NaN where not seen, in the order {', '.join(JOINTS)}.",
            ),
            Port(
                name="point_covariance",
                shape=("people", joints, 2, 2),
                unit="square focal lengths",
                meaning="Of the points, NaN where not seen.",
            ),
            Port(name="score", shape=("people", joints), meaning="The detector's confidence, 0 to 1; 0: not seen."),
        ),
        outputs=(
            Port(
                name="joints",
                shape=("people", joints, 3),
                unit="metres",
                frame="axes of the camera, origin midway between the hips",
                meaning="NaN for a person of whom fewer than four joints are seen.",
            ),
            Port(
                name="joint_covariance",
                shape=("people", joints, 3, 3),
                unit="square metres",
                frame="axes of the camera",
                meaning="Of the joints; errors of different joints are not independent.",
            ),
        ),
    )


def _example() -> tuple[Tensor, Tensor, Tensor]:
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=3, views=1, skeleton=_EXAMPLE, shuffle=False))
    seen = capture.detections.keypoints[:, :, 0]
    points, carry = ideal_points(seen.positions, capture.cameras)
    slots = [slot for slot in slots_of(skeleton(_EXAMPLE)) if slot is not None]
    values = (points[0], (carry @ seen.covariance @ carry.mT)[0], seen.score[0])
    shapes = ((2,), (2, 2), ())
    filled = [torch.full((len(points[0]), len(JOINTS), *shape), torch.nan) for shape in shapes]
    filled[2].zero_()
    for whole, value in zip(filled, values, strict=True):
        whole[:, slots] = value
    return filled[0], filled[1], filled[2]
