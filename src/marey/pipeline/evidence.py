"""From detections to the evidence of each person: who is who, which side is which, which view errs, and how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.calibrate.adjust import adjust_cameras
from marey.core import Boxes, Cameras, Detections2D, InputError, Keypoints2D
from marey.detect.association import associate, take_slots
from marey.detect.noise import NoiseModel, default_noise, with_noise
from marey.detect.prepare import prepare_keypoints
from marey.detect.settings import AssociationConfig


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Keypoints ready for a method, and the cameras to use."""

    keypoints: Keypoints2D
    """(V, T, P), slot p the same person throughout, with calibrated covariance."""
    cameras: Cameras
    """(V,)"""
    noise: NoiseModel
    notes: tuple[str, ...]
    monocular: Tensor | None = None
    """(V, T, P, J, 3) a 3D guess, the detector's own or the lifter's, metres, where the method needs it."""
    monocular_covariance: Tensor | None = None
    """(V, T, P, J, 3, 3) of the guess, square metres, where it states one."""
    lifted: bool = False
    """The guess is the lifter's: made from the keypoints, it knows nothing of the person's size."""
    boxes: Boxes | None = None
    """(V, T, P) of the people, if the detector says them."""


def gather_evidence(
    detections: Detections2D,
    cameras: Cameras,
    *,
    detector: str,
    fps: float,
    people: int | None,
    adjust: bool,
    first_frame: int = 0,
) -> Evidence:
    """Sort detections by person, deal with exchanged sides and bad views, and measure noise and cameras.

    Args:
        detections: (V, T, P) slots without identity.
        cameras: (V,) full.
        detector: whose noise model to begin with.
        fps: frames per second.
        people: how many to keep; None: all.
        adjust: let the cameras be adjusted where they disagree with the people.
        first_frame: index in the recording of the first frame, for the notes.

    Raises:
        InputError: there is nobody.
    """
    model = default_noise(detector)
    noisy = replace(detections, keypoints=with_noise(detections.keypoints, model))
    config = AssociationConfig(fps=fps)
    association = associate(noisy, cameras, people=people, config=config, first_frame=first_frame)
    if not (association.slots >= 0).any():
        raise InputError(
            "nobody is seen by two views or more for long enough to be a person; check that the views belong together, "
            f"the calibration and its unit (unit=), and the keypoints' scores. {' '.join(association.notes)}".rstrip()
        )
    detected = take_slots(detections.keypoints, association.slots)
    prepared = prepare_keypoints(detected, cameras, model, first_frame=first_frame)
    notes = association.notes
    if adjust:
        adjusted = adjust_cameras(prepared.keypoints, cameras, fps=fps)
        if adjusted.cameras is not cameras:
            cameras, notes = adjusted.cameras, (*notes, *adjusted.notes)
            prepared = prepare_keypoints(detected, cameras, model, first_frame=first_frame)
    return Evidence(
        keypoints=prepared.keypoints,
        cameras=cameras,
        noise=prepared.noise,
        notes=(*notes, *prepared.notes),
        boxes=taken_boxes(detections.boxes, association.slots),
    )


def taken_boxes(boxes: Boxes | None, slots: Tensor) -> Boxes | None:
    """The boxes of people: of the slots (V, T, P') of (V, T, P); NaN with score 0 where a slot is -1."""
    if boxes is None or not boxes.batch_shape[2]:
        return None
    there, index = slots >= 0, slots.clamp(min=0)
    corners = boxes.corners.gather(2, index[..., None].expand(*index.shape, 4))
    return Boxes(
        corners=torch.where(there[..., None], corners, torch.nan),
        score=torch.where(there, boxes.score.gather(2, index), 0.0),
    )
