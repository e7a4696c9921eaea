"""From one view's detections to the evidence of each person: who is who over time, which side is which, how noisy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from marey.core import Cameras, Detections2D, InputError, Keypoints2D
from marey.detect.association import associate, take_slots
from marey.detect.lifting import lift_keypoints
from marey.detect.noise import default_noise, is_seen, with_noise
from marey.detect.settings import AssociationConfig
from marey.detect.swaps import correct_swaps_in_view, exchange_sides
from marey.pipeline.evidence import Evidence, taken_boxes


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
        detections: (1, T, P) slots without identity. Where they come without the detector's own 3D guess, the lifter
            makes one of the keypoints.
        cameras: (1,).
        detector: whose noise model to take; one view has nothing to measure it by.
        fps: frames per second.
        people: how many to keep, those seen longest; None: everyone seen for long enough.

    Raises:
        InputError: nobody is there, or the lifter does not know the joints.
    """
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
    evidence = Evidence(
        keypoints=keypoints,
        cameras=cameras,
        noise=model,
        notes=(*association.notes, *swaps.notes),
        boxes=taken_boxes(detections.boxes, association.slots),
    )
    if detections.monocular is None:
        return _with_lifted(evidence)

    def followed(values: Tensor) -> Tensor:
        taken = _taken(values.flatten(4), association.slots)
        return exchange_sides(taken, swaps.halves, keypoints.skeleton).reshape(*taken.shape[:3], *values.shape[3:])

    spread = detections.monocular_covariance
    return replace(
        evidence,
        monocular=followed(detections.monocular),
        monocular_covariance=None if spread is None else followed(spread),
    )


def _with_lifted(evidence: Evidence) -> Evidence:
    """With a guess that is made of the keypoints, whose sides are right by now."""
    guess, covariance = lift_keypoints(evidence.keypoints, evidence.cameras)
    note = (
        "The keypoints come without a 3D guess of the detector: it is the lifter's, made from the keypoints frame by "
        "frame, with its own covariance; they show no size, so people are taken for adults."
    )
    notes = (*evidence.notes, note, *_guessed_notes(evidence.keypoints, guess))
    return replace(evidence, monocular=guess, monocular_covariance=covariance, lifted=True, notes=notes)


def _guessed_notes(keypoints: Keypoints2D, guess: Tensor) -> Iterator[str]:
    """Which joints of a person are in no frame seen, but guessed."""
    ever = is_seen(keypoints).any(1)[0]
    guessed = guess.isfinite().all(-1).any(1)[0] & ~ever
    for person, row in enumerate(guessed.tolist()):
        names = [name for name, only in zip(keypoints.skeleton.joints, row, strict=True) if only]
        if names:
            yield f"Never seen of person {person}, guessed from the other joints with low scores: {', '.join(names)}."


def _taken(guess: Tensor, slots: Tensor) -> Tensor:
    """The slots (V, T, P') of (V, T, P, J, D); NaN where a slot is -1."""
    index = slots.clamp(min=0)[..., None, None].expand(*slots.shape, *guess.shape[3:])
    return torch.where((slots >= 0)[..., None, None], guess.gather(2, index), torch.nan)
