"""The shipped skeletons and the operations on them."""

import re

import pytest

from marey.core import InputError, Skeleton, skeleton, skeleton_names

# From the formats' own documents, as indices of joints whose place is easily got wrong.
PLACES = {
    "body_25": {"nose": 0, "neck": 1, "right_wrist": 4, "pelvis": 8, "left_ankle": 14, "left_big_toe": 19},
    "body_25b": {"nose": 0, "left_eye": 1, "right_wrist": 10, "neck": 17, "head_top": 18, "right_heel": 24},
    "coco_17": {"nose": 0, "left_eye": 1, "left_shoulder": 5, "right_wrist": 10, "left_hip": 11, "right_ankle": 16},
    "halpe_26": {"right_ankle": 16, "head_top": 17, "neck": 18, "pelvis": 19, "left_big_toe": 20, "right_heel": 25},
    "h36m_25": {"right_hip": 0, "left_big_toe": 9, "spine": 10, "left_hand": 18, "right_hand": 23, "pelvis": 24},
    "smpl+head_30": {"pelvis": 0, "spine3": 9, "right_hand": 23, "head_top": 24, "left_ear": 25, "right_eye": 29},
    "h36m_17": {"pelvis": 0, "right_hip": 1, "left_hip": 4, "neck": 8, "head_top": 10, "left_shoulder": 11},
    "mediapipe_33": {"nose": 0, "left_eye_inner": 1, "left_shoulder": 11, "right_hip": 24, "right_big_toe": 32},
    "smpl_24": {"pelvis": 0, "left_hip": 1, "spine3": 9, "neck": 12, "head": 15, "right_hand": 23},
}


@pytest.mark.parametrize("name", skeleton_names())
def test_table__is_well_formed(name):
    bones = skeleton(name)
    assert bones.name == name
    assert bones.note
    assert all(re.fullmatch(r"[a-z]+[0-9]?(_[a-z]+)*", joint) for joint in bones.joints)
    assert all(a != b for a, b in bones.links)
    assert len({frozenset(link) for link in bones.links}) == len(bones.links)


@pytest.mark.parametrize("name", skeleton_names())
def test_table__sides_mirror_each_other(name):
    bones = skeleton(name)
    mirror = bones.mirror
    assert [mirror[mirror[place]] for place in range(len(bones))] == list(range(len(bones)))
    sided = {joint for joint in bones.joints if joint.startswith(("left_", "right_"))}
    assert {bones.joints[place] for place, other in enumerate(mirror) if place != other} == sided
    links = {frozenset(link) for link in bones.links}
    assert {frozenset(mirror[end] for end in link) for link in links} == links


@pytest.mark.parametrize(("name", "places"), PLACES.items())
def test_table__joints_lie_where_the_format_says(name, places):
    assert skeleton(name).indices(list(places)) == list(places.values())
    assert len(skeleton(name)) == int(name.rpartition("_")[2].rstrip("b"))


def test_smpl_24__is_a_tree():
    bones = skeleton("smpl_24")
    assert sorted(child for _, child in bones.links) == list(range(1, 24))
    assert all(parent < child for parent, child in bones.links)


def test_smpl_with_head__begins_with_smpl():
    bones = skeleton("smpl+head_30")
    assert bones.joints[:24] == skeleton("smpl_24").joints
    assert sorted(child for _, child in bones.links) == list(range(1, 30))  # a tree


def test_skeleton__unknown_name_lists_the_known():
    with pytest.raises(InputError, match=r"no skeleton 'coco'; there are: .*coco_17"):
        skeleton("coco")


def test_index__unknown_joint_lists_the_known():
    with pytest.raises(InputError, match=r"skeleton coco_17 has no joint 'tail'; it has: nose, "):
        skeleton("coco_17").index("tail")
    assert "tail" not in skeleton("coco_17")
    assert "nose" in skeleton("coco_17")


def test_construction__refuses_repeated_joints_and_loose_links():
    with pytest.raises(InputError, match="joint names repeat"):
        Skeleton("twins", ("nose", "nose"), ())
    with pytest.raises(InputError, match="a link names a joint that is not there"):
        Skeleton("loose", ("nose", "neck"), ((0, 2),))
    with pytest.raises(InputError, match="a link names a joint that is not there"):
        Skeleton("loose", ("nose", "neck"), ((-1, 0),))


def test_select__keeps_order_and_links_among_the_chosen():
    chosen = skeleton("coco_17").select(["left_wrist", "nose", "left_elbow"], name="arm")
    assert chosen.joints == ("left_wrist", "nose", "left_elbow")
    assert chosen.links == ((2, 0),)
    assert chosen.name == "arm"
    assert chosen.mirror == (0, 1, 2)  # no counterparts among the chosen


def test_skeleton__equals_itself_and_hashes():
    assert skeleton("coco_17") == skeleton("coco_17")
    assert len({skeleton(name) for name in skeleton_names()}) == len(skeleton_names())
