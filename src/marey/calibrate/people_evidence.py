"""Keypoints of people as evidence about cameras: sorted by person, and none left out because a camera disagrees."""

from __future__ import annotations

from dataclasses import dataclass, replace

from marey.core import Cameras, Detections2D, InputError, Keypoints2D
from marey.detect.association import associate, take_slots
from marey.detect.noise import default_noise, with_noise
from marey.detect.settings import AssociationConfig
from marey.detect.swaps import correct_swaps


@dataclass(frozen=True, kw_only=True)
class PeopleEvidence:
    """What views saw of people, whether their cameras agree or not."""

    keypoints: Keypoints2D
    """(V, T, P) with the covariance of the detector's default noise, slot p the same person throughout."""
    notes: tuple[str, ...]


def gather_people(
    detections: Detections2D, cameras: Cameras, *, detector: str, fps: float, people: int | None = None
) -> PeopleEvidence:
    """Sort detections by person and set their sides right.

    Unlike for an estimate, a view that contradicts the others stays in, and the noise is not measured by their
    disagreement: it is the cameras that are to be judged, or put right.

    Args:
        detections: (V, T, P) slots without identity.
        cameras: (V,) full.
        detector: whose noise model is taken.
        fps: frames per second.
        people: how many to keep; None: all but bystanders.

    Raises:
        InputError: there is nobody.
    """
    model = default_noise(detector)
    noisy = replace(detections, keypoints=with_noise(detections.keypoints, model))
    association = associate(noisy, cameras, people=people, config=AssociationConfig(fps=fps))
    if not (association.slots >= 0).any():
        raise InputError(
            "nobody is seen by two views or more for long enough to be a person: these cameras are far off, or do not "
            "belong to this recording; check the order of the views and the calibration's unit (unit=). "
            f"{' '.join(association.notes)}".rstrip()
        )
    keypoints, swaps = correct_swaps(take_slots(noisy.keypoints, association.slots), cameras)
    return PeopleEvidence(keypoints=keypoints, notes=(*association.notes, *swaps.notes))
