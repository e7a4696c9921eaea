"""Published names of joints in the words of the house, against the table of the models of 2021."""

import json

import pytest

from marey.core import Skeleton, skeleton
from marey.methods.metrabs.joint_names import house_names, mirror_of, published_skeleton


def test_house_names__by_convention():
    assert house_names(["pelv", "lhip", "spin", "htop"], "h36m_17") == ("pelvis", "left_hip", "spine", "head_top")
    assert house_names(["spin", "rtoe"], "smpl_24") == ("spine2", "right_foot")
    assert house_names(["spin", "rtoe"], "mpi_inf_3dhp_28") == ("spine1", "right_big_toe")
    assert house_names(["learcoco", "reyecoco", "nosecoco"]) == ("left_ear", "right_eye", "nose")
    assert house_names(["lhip_smpl", "htop_mpi_inf_3dhp"], "smpl+head_30") == ("left_hip", "head_top")


def test_house_names__stay_where_they_would_be_the_same_or_one_is_not_known():
    assert house_names(["lhip_smpl", "lhip_h36m"]) == ("lhip_smpl", "lhip_h36m")
    assert house_names(["lhip", "marker7"]) == ("lhip", "marker7")


@pytest.mark.realdata
def test_published_skeletons__are_those_of_the_house(shared_parity):
    told = json.loads((shared_parity / "metrabs" / "skeletons_2021.json").read_text())
    for name, entry in told.items():
        found = published_skeleton(name, entry["names"], entry["edges"])
        if name == "h36m_25":  # whose table of 2021 leaves out the pelvis
            assert found.joints == skeleton("h36m_25").joints[:24]
            continue
        assert found is skeleton({"coco_19": "panoptic_19"}.get(name, name))
    edges = {frozenset(edge) for edge in told["smpl+head_30"]["edges"]}
    assert {frozenset(link) for link in skeleton("smpl+head_30").links} == edges


def test_published_skeleton__of_other_joints():
    found = published_skeleton("two", ["lkne", "marker"], [(0, 1), (1, 0)])
    assert found == Skeleton("two", ("lkne", "marker"), ((0, 1),))


def test_mirror__of_published_names():
    union = Skeleton("union", ("lkne_h36m", "pelv_h36m", "rkne_h36m", "rkne_coco", "left_marker"), ())
    assert mirror_of(union) == (2, 1, 0, 3, 4)
    assert mirror_of(skeleton("coco_17")) == skeleton("coco_17").mirror
