import pytest

from marey.core.skeletons import skeleton
from marey.io.marker_names import named_skeleton


def test_named_skeleton__knows_the_shipped_ones():
    assert named_skeleton(skeleton("coco_17").joints) is skeleton("coco_17")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("RHip", "right_hip"),
        ("R_HIP", "right_hip"),
        ("LBigToe", "left_big_toe"),
        ("Hip", "pelvis"),
        ("Head", "head_top"),
        ("nose", "nose"),
        ("right.knee", "right.knee"),
    ],
)
def test_named_skeleton__spells_markers_as_the_house_does(name, ours):
    assert named_skeleton([name]).joints == (ours,)


def test_named_skeleton__names_that_would_become_one_stay():
    assert named_skeleton(["RHip", "R_Hip"]).joints == ("RHip", "R_Hip")
