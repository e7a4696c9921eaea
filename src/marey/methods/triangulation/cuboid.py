"""Where volumes are put: about the pelvis as found beforehand, upright, near the origin of a world of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, Keypoints2D, Observation, Skeleton
from marey.detect.lifting import lift_keypoints
from marey.geometry.absolute import absolute_joints
from marey.geometry.projection import camera_to_world
from marey.geometry.triangulation import triangulate
from marey.methods.triangulation.networks import Up
from marey.nn.lifter import slots_of
from marey.nn.person_view import LEAST_JOINTS

_HIPS = ("left_hip", "right_hip")
_HIGH = ("head_top", "head", "nose", "neck", "left_shoulder", "right_shoulder")
_LOW = ("left_ankle", "right_ankle")
_UPRIGHT = 0.7
"""Mean cosine between people and the vertical below which the cameras are asked."""
_PIXEL_VARIANCE = 25.0
"""Of keypoints that state none, square pixels."""
_BOX_DEVIATION = 0.1
"""Of the middle of a box as an image of the body's, shares of the longer side."""
_GUESS_DEVIATION = 0.05
"""Metres, of relative joints that state no covariance."""
_BODY = Skeleton("middle_of_box", ("pelvis",), ())


@dataclass(frozen=True, kw_only=True, eq=False)
class Starts:
    """Where people are about, before any network looks."""

    centers: Tensor
    """(T, P, 3) of the pelvis, metres in the world; NaN where nothing tells."""
    by_one_view: Tensor
    """(T, P) boolean: the distance from the camera is a guess, from the size of the person."""
    joints: Tensor
    """(T, P, J, 3) of whatever skeleton, from which can be seen which way is up."""
    skeleton: Skeleton


def find_starts(observation: Observation, cameras: Cameras, corners: Tensor) -> Starts:
    """Find where people are about from what is known besides the images.

    From keypoints, or the middles of boxes, that two views or more see; else from the keypoints of one view and a 3D
    guess of the detector or the lifter, placed so that it is seen where the keypoints are.

    Args:
        observation: With keypoints or boxes.
        cameras: (V,) full, double precision.
        corners: (V, T, P, 4) boxes; NaN where somebody is not seen.

    Raises:
        InputError: there is one view, and the lifter does not know the joints.
    """
    keypoints = _with_covariance(observation.keypoints or _middles(corners))
    points = triangulate(keypoints.positions, cameras, covariance=keypoints.covariance).positions
    centers = _pelvis(points, keypoints.skeleton)
    lacking = ~centers.isfinite().all(-1)
    frames = torch.nonzero(lacking.any(-1))[:, 0]
    guessed = torch.full_like(centers, torch.nan)
    if len(frames) and _can_be_lifted(observation, keypoints):
        placed = _placed(observation, keypoints, cameras, frames)
        guessed[frames] = _pelvis(placed, keypoints.skeleton).nanmean(0)
        points[frames] = torch.where(lacking[frames, :, None, None], placed.nanmean(0), points[frames])
    return Starts(
        centers=torch.where(lacking[..., None], guessed, centers),
        by_one_view=lacking & guessed.isfinite().all(-1),
        joints=points,
        skeleton=keypoints.skeleton,
    )


def _middles(corners: Tensor) -> Keypoints2D:
    """The middles of boxes as if they were keypoints."""
    middle = (corners[..., None, :2] + corners[..., None, 2:]) / 2
    side = (corners[..., 2:] - corners[..., :2]).amax(-1)[..., None]
    eye = torch.eye(2, dtype=corners.dtype)
    return Keypoints2D(
        positions=middle,
        covariance=(_BOX_DEVIATION * side).square()[..., None, None] * eye,
        score=middle.isfinite().all(-1).to(corners.dtype),
        skeleton=_BODY,
    )


def _with_covariance(keypoints: Keypoints2D) -> Keypoints2D:
    """In double precision, every keypoint with a covariance."""
    exact = keypoints.to(torch.float64)
    stated = exact.covariance.isfinite().all(-1).all(-1)[..., None, None]
    known = exact.positions.isfinite().all(-1)[..., None, None]
    usual = torch.where(known, _PIXEL_VARIANCE * torch.eye(2, dtype=torch.float64), torch.nan)
    return Keypoints2D(
        positions=exact.positions,
        covariance=torch.where(stated, exact.covariance, usual),
        score=exact.score,
        skeleton=exact.skeleton,
    )


def _pelvis(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """(..., 3): the middle of the hips; the pelvis; or the median of what is known."""
    found = joints.nanmedian(-2).values
    for names in (("pelvis",), _HIPS):
        if all(name in skeleton for name in names):
            middle = joints[..., skeleton.indices(names), :].mean(-2)
            found = torch.where(middle.isfinite().all(-1, keepdim=True), middle, found)
    return found


def _can_be_lifted(observation: Observation, keypoints: Keypoints2D) -> bool:
    """Whether there is a 3D guess, or the lifter makes one; of one view it is asked in any case, to say why not."""
    if observation.keypoints is None:
        return False
    known = sum(slot is not None for slot in slots_of(keypoints.skeleton)) >= LEAST_JOINTS
    return observation.monocular is not None or known or keypoints.batch_shape[0] == 1


def _placed(observation: Observation, keypoints: Keypoints2D, cameras: Cameras, frames: Tensor) -> Tensor:
    """Joints (V, F, P, J, 3) in the world as each view alone tells, in some frames."""
    seen = keypoints[:, frames]
    if observation.monocular is None:
        guess, spread = lift_keypoints(seen, cameras)
    else:
        guess = observation.monocular[:, frames].double()
        stated = observation.monocular_covariance
        spread = torch.full((*guess.shape, 3), torch.nan) if stated is None else stated[:, frames]
    usual = _GUESS_DEVIATION**2 * torch.eye(3, dtype=torch.float64)
    spread = torch.where(spread.isfinite().all(-1).all(-1)[..., None, None], spread.double(), usual)
    placed = absolute_joints(
        guess.double(), seen.positions, cameras, relative_covariance=spread, pixel_covariance=seen.covariance
    )
    return camera_to_world(placed.positions, cameras)


def find_vertical(starts: Starts, cameras: Cameras) -> Tensor:
    """The axis of the world (3,), signed, along which people stand, or else along which the cameras are upright."""
    heads, feet = (_middle(starts, names) for names in (_HIGH, _LOW))
    bodies = torch.nn.functional.normalize(heads - feet, dim=-1).reshape(-1, 3)
    bodies = bodies[bodies.isfinite().all(-1)]
    mean = bodies.mean(0) if len(bodies) else bodies.new_zeros(3)
    if mean.abs().max() < _UPRIGHT:
        mean = -cameras.extrinsics[0][:, 1].to(mean.dtype).mean(0)
    place = int(mean.abs().argmax())
    axis = torch.zeros_like(mean)
    axis[place] = mean[place].sign()
    return axis


def _middle(starts: Starts, names: tuple[str, ...]) -> Tensor:
    places = [starts.skeleton.index(name) for name in names if name in starts.skeleton]
    if not places:
        return starts.joints.new_full((*starts.joints.shape[:-2], 3), torch.nan)
    return starts.joints[..., places, :].nanmean(-2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """A world of a network's own: `x = turn @ (x_world - origin)`, double precision.

    The origin is amid the cameras, so that single precision suffices wherever the world's is; the vertical is that of
    the network's training.
    """

    turn: Tensor
    """(3, 3)."""
    origin: Tensor
    """(3,)."""

    @classmethod
    def of(cls, cameras: Cameras, vertical: Tensor | None = None, up: Up = "z") -> Frame:
        """Amid cameras (V,); with a vertical (3,) of the world, turned so that `up` is it."""
        origin = cameras.centers.double().mean(0)
        if vertical is None:
            return cls(turn=torch.eye(3, dtype=torch.float64), origin=origin)
        return cls(turn=turn_between(vertical.double(), axis_of(up)), origin=origin)

    def projections(self, projections: Tensor) -> Tensor:
        """Projections (..., 3, 4) from the world as those from here, single precision."""
        linear, shift = projections[..., :3], projections[..., 3:]
        return torch.cat((linear @ self.turn.T, shift + linear @ self.origin[:, None]), dim=-1).float()

    def inward(self, points: Tensor) -> Tensor:
        """Points (..., 3) of the world."""
        return (points.double() - self.origin) @ self.turn.T

    def outward(self, points: Tensor) -> Tensor:
        """Points (..., 3) of here in the world."""
        return points.double() @ self.turn + self.origin

    def spread(self, covariance: Tensor) -> Tensor:
        """Covariance (..., 3, 3) of here in the world."""
        return self.turn.T @ covariance.double() @ self.turn


def axis_of(up: Up) -> Tensor:
    """A signed axis by its name, (3,)."""
    axis = torch.zeros(3, dtype=torch.float64)
    axis["xyz".index(up[-1])] = -1.0 if up.startswith("-") else 1.0
    return axis


def turn_between(start: Tensor, stop: Tensor) -> Tensor:
    """The rotation (3, 3) that brings one signed axis (3,) to another by the shortest way."""
    cosine = start @ stop
    if cosine < 0:  # half a turn about another axis
        about = start.abs().roll(1)
        return 2 * torch.outer(about, about) - torch.eye(3, dtype=start.dtype)
    x, y, z = torch.linalg.cross(start, stop).tolist()
    cross = start.new_tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.eye(3, dtype=start.dtype) + cross + cross @ cross / (1 + cosine)
