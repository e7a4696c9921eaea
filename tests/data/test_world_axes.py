"""Which way is up."""

import numpy as np
import pytest

from marey.core import skeleton
from marey.data.labels import Images, Labels
from marey.data.world_axes import world_up

ORDER = skeleton("coco_17")


def people(heads, name="own", values=True):
    """Somebody for each head (x, y, z): shoulders there, ankles at the origin, everything else unknown."""
    joints = np.full((len(heads), 17, 3), np.nan, dtype=np.float32)
    joints[:, ORDER.index("left_shoulder")] = heads
    joints[:, ORDER.index("left_ankle")] = 0
    count = len(heads)
    return Labels(
        name=name,
        version="1",
        skeleton=ORDER,
        images=Images(
            path=np.full(count, "a.png"),
            size=np.zeros((count, 2), dtype=np.int64),
            camera=np.full(count, -1),
            sequence=np.full(count, "s"),
            frame=np.arange(count),
            moment=np.arange(count),
        ),
        split=np.full(count, "train"),
        image=np.arange(count),
        person=np.zeros(count, dtype=np.int64),
        values={"joints": joints} if values else {},
    )


@pytest.mark.parametrize(
    ("heads", "up"),
    [
        ([[0.1, 0, 1.4], [0, 0.2, 1.2], [1, 0, 0.2]], "z"),  # the third lies down
        ([[0, -1.4, 0]], "-y"),
        ([[0.3, 1.4, 0.3]], "y"),
        ([[-1, 0.1, 0]], "-x"),
        ([[1, 1, 1]], None),
        ([[0, 0, 1], [0, 0, -1]], None),
        ([[np.nan] * 3], None),
        ([[0.0, 0, 0]], None),
    ],
)
def test_up__is_the_axis_along_which_people_stand(heads, up):
    assert world_up(people(heads)) == up


def test_up__of_known_data_sets_is_theirs():
    assert world_up(people([[1.0, 0, 0]], name="h36m")) == "z"
    assert world_up(people([[1.0, 0, 0]], name="cmu")) == "-y"


def test_up__without_joints_is_unknown():
    assert world_up(people([[0.0, 0, 1]], values=False)) is None
