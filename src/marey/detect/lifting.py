"""A 3D guess for detectors and keypoint files that give keypoints in the image only.

A tiny network (`marey.nn.lifter`), trained on synthetic people alone, lifts the keypoints of a person in one frame to
root-relative joints in the camera's axes and says how uncertain each is. It knows neither the frames before nor how
tall the person is: it gives the body of a usual adult.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import resources

import torch
from torch import Tensor

from marey.core import Cameras, Detections2D, InputError, Keypoints2D, Skeleton
from marey.detect.noise import default_noise, with_noise
from marey.geometry.absolute import ideal_points
from marey.io.weights import load_weights, read_card
from marey.nn.lifter import JOINTS, Lifter, LifterConfig, slots_of
from marey.nn.person_view import LEAST_JOINTS, person_view

WEIGHTS = resources.files("marey.detect") / "assets" / "lifter"
"""What is shipped; its card says how it was trained and what it is worth."""
_BLOCK = 4096
"""People lifted at once, which bounds the memory."""


@cache
def shipped_lifter() -> Lifter:
    """The network with the weights that are shipped, in single precision on the CPU; the same object for every call.

    Raises:
        MissingAssetError, FormatError: the files in the package are missing or damaged.
    """
    lifter = Lifter(LifterConfig(**read_card(WEIGHTS)["network"]))
    load_weights(lifter, WEIGHTS)
    return lifter.eval().requires_grad_(False)


def lift_keypoints(keypoints: Keypoints2D, cameras: Cameras, *, lifter: Lifter | None = None) -> tuple[Tensor, Tensor]:
    """Guess root-relative joints from the keypoints of people, frame by frame.

    A joint that is not seen is guessed from the others, with a wide covariance. Errors of different joints are not
    independent (a person taken to lean forward leans with all joints), which the covariances do not tell.

    Args:
        keypoints: (V, T, P) with covariance, see `marey.detect.noise.with_noise`; a joint without one is not seen.
            Joints are known by their names: those that no shipped skeleton has are left out.
        cameras: (V,), intrinsics suffice.
        lifter: the network; None: the shipped one.

    Returns:
        Joints (V, T, P, J, 3) from midway between the hips, in axes parallel to each camera's, metres, and their
        covariances (V, T, P, J, 3, 3), square metres. NaN for a person of whom fewer than 4 joints are seen, and for
        joints that the network does not know.

    Raises:
        InputError: the network knows fewer than 4 of the skeleton's joints.
    """
    network = lifter or shipped_lifter()
    places = [place for place, slot in enumerate(slots_of(keypoints.skeleton)) if slot is not None]
    slots = [slot for slot in slots_of(keypoints.skeleton) if slot is not None]
    _check_known(keypoints.skeleton, slots)
    points, carry = ideal_points(keypoints.positions, cameras)
    covariance = carry @ keypoints.covariance @ carry.mT
    batch = keypoints.batch_shape
    flat = [
        _in_slots(values.reshape(-1, *values.shape[len(batch) :]), places, slots, missing)
        for values, missing in ((points, torch.nan), (covariance, torch.nan), (keypoints.score, 0.0))
    ]
    blocks = [
        lift_points(network, *block) for block in zip(*(torch.split(values, _BLOCK) for values in flat), strict=True)
    ]
    found = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    joints, spread = (_of_skeleton(values, places, slots, keypoints.skeleton) for values in found)
    return joints.reshape(*batch, *joints.shape[1:]), spread.reshape(*batch, *spread.shape[1:])


def with_lifted_guess(
    detections: Detections2D, cameras: Cameras, *, detector: str = "onnx", lifter: Lifter | None = None
) -> Detections2D:
    """Detections with the lifter's guess and its covariance in place of any that they have.

    Args:
        detections: (V, T, P).
        cameras: (V,), intrinsics suffice.
        detector: whose noise the keypoints have that state no covariance, as of `marey.detect.noise.default_noise`.
        lifter: as of `lift_keypoints`, which see for what is raised.
    """
    noisy = with_noise(detections.keypoints, default_noise(detector))
    joints, covariance = lift_keypoints(noisy, cameras, lifter=lifter)
    return dataclasses.replace(detections, monocular=joints, monocular_covariance=covariance)


@torch.no_grad()
def lift_points(network: Lifter, points: Tensor, covariance: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Guess the joints of B people from points in slots: tensors alone, exportable.

    Args:
        network: the lifter.
        points: (B, 50, 2) x / z and y / z in the camera's frame, lens taken out, by `marey.nn.lifter.JOINTS`; NaN = not
            seen.
        covariance: (B, 50, 2, 2) of the points; NaN = not seen.
        score: (B, 50) in 0..1; 0 = not seen.

    Returns:
        Joints (B, 50, 3) and covariances (B, 50, 3, 3) in the camera's axes, metres; NaN where too little is seen.
    """
    view = person_view(points, covariance, score)
    own = network.covariance_scale
    seen = (part.to(own) for part in (view.points, view.deviation, view.score, view.size))
    positions, factor = (part.to(points) for part in network(*seen))
    unknown = torch.where(view.known, 0.0, torch.nan)[:, None, None]
    turned = view.rotation.mT[:, None] @ factor
    return positions @ view.rotation + unknown, turned @ turned.mT + unknown[..., None]


def _in_slots(values: Tensor, places: list[int], slots: list[int], missing: float) -> Tensor:
    """Values (B, J, ...) of a skeleton's joints as those (B, 50, ...) of the network's."""
    out = values.new_full((len(values), len(JOINTS), *values.shape[2:]), missing)
    out[:, slots] = values[:, places]
    return out


def _of_skeleton(values: Tensor, places: list[int], slots: list[int], skeleton: Skeleton) -> Tensor:
    out = values.new_full((len(values), len(skeleton), *values.shape[2:]), torch.nan)
    out[:, places] = values[:, slots]
    return out


def _check_known(skeleton: Skeleton, slots: list[int]) -> None:
    if len(slots) < LEAST_JOINTS:
        raise InputError(
            f"skeleton {skeleton.name}: the lifter knows joints by name and knows {len(slots)} of these, expected "
            f"{LEAST_JOINTS} or more; name them as the shipped skeletons do (marey info skeletons)"
        )
