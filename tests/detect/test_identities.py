import pytest
import torch

from marey.detect.identities import Person, join, select
from marey.detect.people import Track
from marey.detect.settings import AssociationConfig

CONFIG = AssociationConfig(fps=30.0)
TALL, SHORT = (0.5, 0.3, 0.45), (0.4, 0.24, 0.36)


def seen(identity, first, last, start, end, bones=TALL, views=4.0, velocity=(0.0, 0.0, 0.0)):
    frames = last - first + 1
    return Track(
        identity=identity,
        first=first,
        last=last,
        start=torch.tensor(start, dtype=torch.float64).expand(5, 3),
        end=torch.tensor(end, dtype=torch.float64).expand(5, 3),
        end_velocity=torch.tensor(velocity, dtype=torch.float64).expand(5, 3),
        bones=torch.tensor(bones, dtype=torch.float64),
        seen=frames,
        sightings=round(views * frames),
    )


def chains(tracks):
    return [[track.identity for track in person.tracks] for person in join(tracks, CONFIG)]


def test_join__nobody():
    assert join([], CONFIG) == []


def test_join__near_in_space_and_time():
    assert chains([seen(0, 0, 50, (0, 0, 1), (1, 0, 1)), seen(1, 60, 90, (1.2, 0, 1), (2, 0, 1))]) == [[0, 1]]


@pytest.mark.parametrize(
    "other",
    [
        seen(1, 20, 90, (1, 0, 1), (2, 0, 1)),  # there while the first still is
        seen(1, 60, 90, (5, 0, 1), (6, 0, 1)),  # too far to walk in 10 frames
        seen(1, 60, 90, (1.2, 0, 1), (2, 0, 1), bones=(0.8, 0.5, 0.7)),  # of another build
        seen(1, 250, 290, (1.2, 0, 1), (2, 0, 1)),  # long after
    ],
)
def test_join__not_the_same(other):
    assert chains([seen(0, 0, 50, (0, 0, 1), (1, 0, 1)), other]) == [[0], [1]]


def test_join__a_new_track_takes_over_from_one_that_strays():
    assert chains([seen(0, 0, 50, (0, 0, 1), (1, 0, 1)), seen(1, 40, 90, (0.8, 0, 1), (2, 0, 1))]) == [[0, 1]]


def test_join__velocity_bridges_the_gap():
    tracks = [
        seen(0, 0, 50, (0, 0, 1), (0, 0, 1), velocity=(0.05, 0, 0)),
        seen(1, 65, 90, (0.75, 0, 1), (1, 0, 1)),
        seen(2, 65, 90, (-0.75, 0, 1), (-1, 0, 1)),
    ]
    assert chains(tracks) == [[0, 1], [2]]


def test_join__two_lost_together_are_told_apart_by_build():
    tracks = [
        seen(0, 0, 50, (0, 0, 1), (0, 0, 1), bones=TALL),
        seen(1, 0, 50, (1, 0, 1), (0.3, 0, 1), bones=SHORT),
        seen(2, 100, 150, (0.3, 0, 1), (1, 0, 1), bones=TALL),
        seen(3, 100, 150, (0, 0, 1), (1, 0, 1), bones=SHORT),
    ]
    assert chains(tracks) == [[0, 2], [1, 3]]


BODY = torch.linspace(0.1, 0.5, 16, dtype=torch.float64)


@pytest.mark.parametrize(
    ("scale", "seconds", "people"), [(1.12, 1.5, 2), (0.88, 3.0, 2), (1.0, 1.5, 1), (1.03, 1.5, 1)]
)
def test_join__stature_tells_people_apart_who_come_one_after_the_other(scale, seconds, people):
    """Single bones are measured 6 % wrong; that of the whole body is known better."""
    error = 1 + 0.06 * torch.randn(16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    again = round(50 + seconds * CONFIG.fps)
    tracks = [
        seen(0, 0, 50, (0, 0, 1), (1, 0, 1), bones=BODY.tolist()),
        seen(1, again, again + 50, (1.4, 0, 1), (2, 0, 1), bones=(scale * error * BODY).tolist()),
    ]
    assert len(join(tracks, CONFIG)) == people


def test_join__one_bone_grossly_wrong_makes_nobody_else():
    wrong = BODY.clone()
    wrong[4] *= 3
    tracks = [
        seen(0, 0, 50, (0, 0, 1), (1, 0, 1), bones=BODY.tolist()),
        seen(1, 60, 90, (1.2, 0, 1), (2, 0, 1), bones=wrong.tolist()),
    ]
    assert chains(tracks) == [[0, 1]]


def test_join__bones_never_measured_do_not_forbid():
    nan = (float("nan"),) * 3
    tracks = [seen(0, 0, 50, (0, 0, 1), (1, 0, 1), bones=nan), seen(1, 60, 90, (1, 0, 1), (2, 0, 1))]
    assert chains(tracks) == [[0, 1]]


def test_join__chain_of_three():
    tracks = [seen(k, 20 * k, 20 * k + 15, (k, 0, 1), (k + 1, 0, 1)) for k in range(3)]
    people = join(tracks, CONFIG)
    assert len(people) == 1
    assert (people[0].first, people[0].last, people[0].seen) == (0, 55, 48)
    assert people[0].views == pytest.approx(4.0)


def test_select__bystanders_and_passers_by():
    main = Person(tracks=(seen(0, 10, 99, (0, 0, 1), (0, 0, 1), views=3.8),))
    edge = Person(tracks=(seen(1, 0, 99, (0, 0, 1), (0, 0, 1), views=2.4),))
    bystander = Person(tracks=(seen(2, 0, 99, (0, 0, 1), (0, 0, 1), views=2.0),))
    ghost = Person(tracks=(seen(3, 0, 3, (0, 0, 1), (0, 0, 1), views=4.0),))
    kept, aside = select([main, edge, bystander, ghost], None, CONFIG)
    assert kept == [edge, main]
    assert aside == [bystander, ghost]


def test_select__so_many_as_wanted():
    people = [Person(tracks=(seen(k, 0, 20 * k + 20, (0, 0, 1), (0, 0, 1)),)) for k in range(3)]
    kept, aside = select(people, 2, CONFIG)
    assert kept == [people[2], people[1]] or kept == [people[1], people[2]]
    assert aside == [people[0]]
