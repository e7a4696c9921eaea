"""From one view's detections to the evidence of each person: who is who over time, which side is which, how noisy."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.core import Cameras, Detections2D, InputError
from marey.detect.association import associate, take_slots
from marey.detect.noise import default_noise, with_noise
from marey.detect.settings import AssociationConfig
from marey.detect.swaps import correct_swaps_in_view, exchange_sides
from marey.pipeline.evidence import Evidence


def gather_monocular_evidence(
    detections: Detections2D,
    cameras: Cameras,
    *,
    detector: str,
    fps: float,
    people: int | None,
) -> Evidence:
    """Follow people through one view and set their sides right.

    Args:
        detections: (1, T, P) slots without identity, with the detector's own 3D guess.
        cameras: (1,).
        detector: whose noise model to take; one view has nothing to measure it by.
        fps: frames per second.
        people: how many to keep, those seen longest; None: everyone seen for long enough.

    Raises:
        InputError: the detector has no 3D guess, or nobody is there.
    """
    if detections.monocular is None:
        raise InputError(
            f"the detector {detector} gives keypoints in the image only, and one camera needs its 3D guess too: use "
            "--detector mediapipe, or record with a second calibrated camera"
        )
    model = default_noise(detector)
    noisy = with_noise(detections.keypoints, model)
    association = associate(
        replace(detections, keypoints=noisy), cameras, people=people, config=AssociationConfig(fps=fps)
    )
    if not (association.slots >= 0).any():
        raise InputError(
            "nobody is seen for long enough to be a person; check that the images show people, upright and large "
            f"enough for the detector {detector}"
        )
    own = take_slots(noisy, association.slots)
    keypoints, swaps = correct_swaps_in_view(own, cameras.names)
    guess = _taken(detections.monocular, association.slots)
    return Evidence(
        keypoints=keypoints,
        cameras=cameras,
        noise=model,
        notes=(*association.notes, *swaps.notes),
        monocular=exchange_sides(guess, swaps.halves, keypoints.skeleton),
    )


def _taken(guess: Tensor, slots: Tensor) -> Tensor:
    """The slots (V, T, P') of (V, T, P, J, 3); NaN where a slot is -1."""
    index = slots.clamp(min=0)[..., None, None].expand(*slots.shape, *guess.shape[3:])
    return torch.where((slots >= 0)[..., None, None], guess.gather(2, index), torch.nan)
