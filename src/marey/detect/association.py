"""Who is who: detections of several views and frames become people."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from marey.core import CalibrationError, Cameras, Detections2D, InputError, Keypoints2D, ShapeError
from marey.detect.identities import Person, join, select
from marey.detect.people import PeopleTracker, Track
from marey.detect.scene import make_scene, sightings
from marey.detect.settings import AssociationConfig
from marey.detect.tracking import chain_in_image, rejoin_in_image, track

_DEFAULTS = AssociationConfig()


@dataclass(frozen=True, kw_only=True, eq=False)
class Association:
    """Detections sorted by person."""

    keypoints: Keypoints2D
    """(V, T, P) with slot p the same person in every view and frame; NaN with score 0 where not seen. Left and right
    are as detected."""
    slots: Tensor
    """(V, T, P) long: the detection slot that each came from, -1 for none."""
    notes: tuple[str, ...]
    """Who was found, who was set aside and why, in plain sentences."""


def associate(
    detections: Detections2D,
    cameras: Cameras,
    *,
    people: int | None = None,
    config: AssociationConfig = _DEFAULTS,
    first_frame: int = 0,
) -> Association:
    """Find the people whom several calibrated cameras see, and which detection of each view and frame is whom.

    People are followed in space and looked for in every view where they are expected; detections that no one known
    explains start new people where two views agree; tracks of somebody lost and found are joined. Detections with left
    and right exchanged find their person, and stay as they are. Not differentiable. The cost is linear in the frames,
    and nearly so in views and people; memory is that of the detections, a few hundred frames at a time in double
    precision. It runs on the CPU, wherever the detections are.

    With a single view people are followed in the image alone, and the cameras need no positions.

    Args:
        detections: (V, T, P) with covariances; left empty slots NaN.
        cameras: (V,) full.
        people: how many there are: the best supported ones are kept (a slot stays empty if fewer are found). None:
            everyone whom two views or more see for long enough, except bystanders, whom few views see.
        config: assumptions; `fps` above all.
        first_frame: the number that the notes give to the first frame.

    Raises:
        CalibrationError: the cameras have no extrinsics, or are not one for each view.
        ShapeError: the detections are not (V, T, P).
        InputError: no keypoint has a covariance, or `people` is less than 1.
    """
    _check(detections, cameras, people)
    config = config.fitted(detections.batch_shape[1])
    if detections.batch_shape[0] == 1:
        return _follow_in_image(detections, people, config, first_frame)
    identities, tracks = _follow_in_space(detections, cameras, config)
    kept, aside = select(join(tracks, config), people, config)
    names = [[part.identity for part in person.tracks] for person in kept]
    slots = _slots(_handed_over(identities, kept), names, len(kept) if people is None else people).to(detections.device)
    return Association(
        keypoints=take_slots(detections.keypoints, slots),
        slots=slots,
        notes=(
            *_people_found(kept, people, slots.shape[1], first_frame),
            *_set_aside(kept, aside, config.frames(config.persistence), first_frame),
            *_unclaimed(detections, cameras.names, slots),
        ),
    )


def _check(detections: Detections2D, cameras: Cameras, people: int | None) -> None:
    if len(detections.batch_shape) != 3:
        raise ShapeError(f"detections: expected the batch shape (V, T, P), got {detections.batch_shape}")
    views = detections.batch_shape[0]
    if people is not None and people < 1:
        raise InputError(f"people: expected 1 or more, got {people}; leave it out to have them counted")
    if cameras.batch_shape != (views,):
        raise CalibrationError(
            f"cameras: expected one for each of the {views} views, got the batch shape {cameras.batch_shape}"
        )
    if views > 1 and not cameras.has_extrinsics:
        raise CalibrationError(
            "association across views needs the cameras' positions, and these have intrinsics only; calibrate them, or "
            "associate every view alone with marey.detect.tracking.track"
        )
    seen = detections.keypoints.positions.isfinite().all(-1)
    if bool(seen.any()) and not bool(detections.keypoints.covariance[seen].isfinite().any()):
        raise InputError("detections: no keypoint has a covariance; give them one with marey.detect.noise.with_noise")


@torch.inference_mode()
def _follow_in_space(
    detections: Detections2D, cameras: Cameras, config: AssociationConfig
) -> tuple[Tensor, list[Track]]:
    """The way of several views: the identity (V, T, P) of each slot, -1 for none, and who they are."""
    scene = make_scene(
        detections,
        cameras,
        slack=config.slack,
        outlier=config.outlier,
        swap_penalty=-math.log(config.swap_odds),
    )
    tracker = PeopleTracker(scene, config)
    identities = torch.full(detections.batch_shape, -1)
    for frame, sighting in enumerate(sightings(detections, cameras, scene.mirror, least_joints=config.least_joints)):
        identities[:, frame] = tracker.step(frame, sighting)
    return identities, tracker.finish()


def _follow_in_image(
    detections: Detections2D, people: int | None, config: AssociationConfig, first_frame: int
) -> Association:
    """The way of a single view: lasting tracks are people, or there are so many people and all tracks are theirs."""
    tracked = track(detections, config=config)
    assert tracked.track is not None
    identities = tracked.track.cpu()
    frames = torch.bincount(identities[identities >= 0])
    lasting = [
        name for name in frames.argsort(descending=True).tolist() if frames[name] >= config.frames(config.persistence)
    ]
    if people is None:
        kept = rejoin_in_image(identities[0], detections.keypoints.positions[0], lasting, config)
    else:
        kept = chain_in_image(identities[0], detections.keypoints.positions[0], lasting, people, config)
    slots = _slots(identities, kept, len(kept) if people is None else people).to(detections.device)
    notes = _followed(slots[0], kept, first_frame)
    return Association(keypoints=take_slots(detections.keypoints, slots), slots=slots, notes=notes)


def _followed(slots: Tensor, kept: list[list[int]], first_frame: int) -> tuple[str, ...]:
    """Who was followed through a single view; slots (T, P)."""
    notes = ["one view: people are followed in the image alone"]
    for person, names in enumerate(kept):
        frames = (slots[:, person] >= 0).nonzero()[:, 0]
        lost = f"; lost and found again {len(names) - 1} times" if len(names) > 1 else ""
        notes.append(
            f"person {person}: frames {int(frames[0]) + first_frame}-{int(frames[-1]) + first_frame}, seen in "
            f"{len(frames)} of {len(slots)} frames{lost}"
        )
    return tuple(notes)


def _handed_over(identities: Tensor, people: list[Person]) -> Tensor:
    """End each track of a person where the next one begins."""
    frame = torch.arange(identities.shape[1])[:, None]
    for person in people:
        for before, after in pairwise(person.tracks):
            identities = torch.where((identities == before.identity) & (frame >= after.first), -1, identities)
    return identities


def _slots(identities: Tensor, names: list[list[int]], count: int) -> Tensor:
    """Turn identities (V, T, P) of slots into slots (V, T, count) of people, of whom each goes by several names."""
    views, frames, places = identities.shape
    person = torch.full((max(int(identities.max()) + 1 if identities.numel() else 0, 1),), -1)
    for index, aliases in enumerate(names):
        person[aliases] = index
    owner = torch.where(identities >= 0, person[identities.clamp(min=0)], -1)
    slots = torch.full((views, frames, count + 1), -1)
    # the place one beyond the people takes whatever is nobody's
    slots.scatter_(2, torch.where(owner >= 0, owner, count), torch.arange(places).expand(views, frames, places))
    return slots[..., :count].contiguous()


def take_slots(keypoints: Keypoints2D, slots: Tensor) -> Keypoints2D:
    """Pick the detection slots (V, T, P') of people; empty where -1."""
    index = slots.clamp(min=0)
    missing = slots < 0

    def pick(field: Tensor, empty: float) -> Tensor:
        extra = field.ndim - 3
        place = index.reshape(*index.shape, *(1,) * extra).expand(*index.shape, *field.shape[3:])
        return field.gather(2, place).masked_fill(missing.reshape(*missing.shape, *(1,) * extra), empty)

    if not keypoints.batch_shape[2]:
        keypoints = _one_empty_slot(keypoints)
    return dataclasses.replace(
        keypoints,
        positions=pick(keypoints.positions, torch.nan),
        covariance=pick(keypoints.covariance, torch.nan),
        score=pick(keypoints.score, 0.0),
    )


def _one_empty_slot(keypoints: Keypoints2D) -> Keypoints2D:
    views, frames, _ = keypoints.batch_shape
    joints = len(keypoints.skeleton)
    return dataclasses.replace(
        keypoints,
        positions=keypoints.positions.new_full((views, frames, 1, joints, 2), torch.nan),
        covariance=keypoints.covariance.new_full((views, frames, 1, joints, 2, 2), torch.nan),
        score=keypoints.score.new_zeros((views, frames, 1, joints)),
    )


def _people_found(kept: list[Person], people: int | None, frames: int, first_frame: int) -> list[str]:
    notes = [
        f"person {index}: frames {person.first + first_frame}-{person.last + first_frame}, seen by {person.views:.1f} "
        f"views on average in {person.seen} of {frames} frames"
        + (f"; lost and found again {len(person.tracks) - 1} times" if len(person.tracks) > 1 else "")
        for index, person in enumerate(kept)
    ]
    if people is not None and len(kept) < people:
        notes.append(f"{people} people were asked for and {len(kept)} found; the other slots are empty")
    return notes


def _set_aside(kept: list[Person], aside: list[Person], least: int, first_frame: int) -> list[str]:
    """Who was left out: appearances of fewer than `least` frames, and bystanders."""
    brief = sum(person.seen < least for person in aside)
    notes = [f"set aside: {brief} appearances of fewer than {least} frames"] if brief else []
    return notes + [
        f"set aside: somebody seen by {person.views:.1f} views on average in {person.seen} frames "
        f"({person.first + first_frame}-{person.last + first_frame}); ask for more than {len(kept)} people to keep "
        "such a bystander"
        for person in aside
        if person.seen >= least
    ]


def _unclaimed(detections: Detections2D, names: tuple[str, ...], slots: Tensor) -> list[str]:
    """Say in which views detections are nobody's."""
    there = (detections.keypoints.positions.isfinite().all(-1) & (detections.keypoints.score > 0)).any(-1)
    left = there.sum((1, 2)) - (slots >= 0).sum((1, 2))
    places = names or tuple(f"view {view}" for view in range(len(left)))
    parts = [f"{count} in {place}" for place, count in zip(places, left.tolist(), strict=True) if count]
    return [f"detections that are nobody's (bystanders and false ones): {', '.join(parts)}"] if parts else []
