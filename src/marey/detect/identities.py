"""From tracks to people: who came back, who is a person, who is a bystander."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from marey.detect.assignment import assign
from marey.detect.people import Track
from marey.detect.settings import AssociationConfig

_PLACE = 0.2
"""Metres: standard deviation of where somebody is who was lost only just now."""
_GATE = 9.0
"""Three standard deviations."""


@dataclass(frozen=True, kw_only=True)
class Person:
    """One identity: the tracks that belong to it, in the order of time."""

    tracks: tuple[Track, ...]

    @property
    def seen(self) -> int:
        """Frames in which two views or more saw the person."""
        return sum(track.seen for track in self.tracks)

    @property
    def views(self) -> float:
        """Views that see the person, on average."""
        return sum(track.sightings for track in self.tracks) / max(self.seen, 1)

    @property
    def sightings(self) -> int:
        """Views, added over the frames: how well the person is supported."""
        return sum(track.sightings for track in self.tracks)

    @property
    def first(self) -> int:
        """Frame of the first appearance."""
        return self.tracks[0].first

    @property
    def last(self) -> int:
        """Frame of the last appearance."""
        return self.tracks[-1].last


def join(tracks: list[Track], config: AssociationConfig) -> list[Person]:
    """Join tracks of the same person that a gap divides.

    The end of one track and the beginning of a later one belong together when the body's centre can have walked from
    one to the other in the time between and the bones are on average equally long; both in units of their standard
    errors. They may overlap a little: a track that loses its person lives on for a moment while a new one takes over.
    Ends and beginnings are paired by the exact assignment, so two people who are lost together are told apart together.
    """
    if not tracks:
        return []
    follower = assign(_affinity(tracks, config)).tolist()
    preceded = {after for after in follower if after >= 0}
    people = []
    for index in range(len(tracks)):
        if index in preceded:
            continue
        chain = [index]
        while follower[chain[-1]] >= 0:
            chain.append(follower[chain[-1]])
        people.append(Person(tracks=tuple(tracks[link] for link in chain)))
    return people


def _affinity(tracks: list[Track], config: AssociationConfig) -> torch.Tensor:
    """What joining the end of track i with the beginning of track k gains, (N, N); positive = may be joined."""
    last = torch.tensor([track.last for track in tracks], dtype=torch.float64)
    first = torch.tensor([track.first for track in tracks], dtype=torch.float64)
    gap = first[None] - last[:, None]
    end = torch.stack([track.end.mean(0) for track in tracks])
    start = torch.stack([track.start.mean(0) for track in tracks])
    velocity = torch.stack([track.end_velocity.mean(0) for track in tracks])
    patience = config.frames(config.patience)
    coasting = gap.clamp(min=-patience, max=patience)[..., None]
    distance = (end[:, None] + velocity[:, None] * coasting - start[None]).norm(dim=-1)
    doubt = (_PLACE**2 + (config.pace * gap / config.fps).square()).sqrt()
    build = _difference_in_build(torch.stack([track.bones for track in tracks]), config.stature)
    place = (distance / doubt).square()
    later = (
        (gap > -patience)
        & (gap <= config.frames(config.memory))
        & (first[None] > first[:, None])
        & (last[None] > last[:, None])
    )
    allowed = later & (place < _GATE) & (build < _GATE)
    # the sooner and the nearer the better, however many candidates the gates let through
    gain = 2 * _GATE - place - build - doubt.clamp(min=1e-3).log()
    return torch.where(allowed, gain.clamp(min=1e-3), 0.0)


def _difference_in_build(bones: torch.Tensor, stature: float) -> torch.Tensor:
    """Squared differences in size between N bodies, in units of their standard errors, (N, N).

    The size is the mean over the bones, which tells people of different stature apart where single bones are too noisy
    to. Its standard error comes from the bones' own disagreement, but from no less than `stature`. 1 where two bodies
    have no measured bone in common.

    Args:
        bones: (N, L) lengths; NaN where never measured.
        stature: relative standard deviation of a bone's length.
    """
    relative = (bones[:, None] - bones[None]) / (0.5 * (bones[:, None] + bones[None]))
    mean = relative.nanmean(-1)
    variance = (relative - mean[..., None]).square().nanmean(-1).clamp(min=stature**2)
    return (mean.square() * relative.isfinite().sum(-1) / variance).nan_to_num(nan=1.0)


def select(people: list[Person], wanted: int | None, config: AssociationConfig) -> tuple[list[Person], list[Person]]:
    """Divide into the people to keep, in the order of their appearance, and those set aside.

    Args:
        people: of `join`.
        wanted: how many to keep, the best supported ones; None: everyone who was seen long enough and, compared with
            the person best seen, by enough views.
        config: what is enough.
    """
    ranked = sorted(people, key=lambda person: -person.sightings)
    if wanted is None:
        lasting = [person for person in ranked if person.seen >= config.frames(config.persistence)]
        most = max((person.views for person in lasting), default=0.0)
        kept = [person for person in lasting if person.views >= config.bystander_ratio * most]
    else:
        kept = ranked[:wanted]
    aside = [person for person in ranked if not any(person is other for other in kept)]
    return sorted(kept, key=lambda person: person.first), aside
