"""Names of joints and of files, and what users may say of a file."""

from pathlib import Path

import numpy as np
import pytest

from marey.core import InputError, skeleton
from marey.pipeline.conversion_parts import (
    Unstated,
    archive_members,
    named_skeleton,
    one_a_person,
    one_a_view,
    view_labels,
)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("RHip", "right_hip"),
        ("LBigToe", "left_big_toe"),
        ("R_KNEE", "right_knee"),
        ("LeftElbow", "left_elbow"),
        ("Head", "head_top"),
        ("Neck", "neck"),
        ("Nose", "nose"),
        ("left_wrist", "left_wrist"),
        ("Rib", "rib"),
    ],
)
def test_names__of_other_programs(theirs, ours):
    assert named_skeleton([theirs]).joints == (ours,)


def test_skeleton__is_known_by_its_joints():
    assert named_skeleton(skeleton("halpe_26").joints).name == "halpe_26"


def test_skeleton__names_that_would_become_one_stay():
    assert named_skeleton(["RHip", "right_hip"]).joints == ("RHip", "right_hip")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_unstated__impossible_rate(rate):
    with pytest.raises(InputError, match="fps: expected frames per second above 0"):
        Unstated(fps=rate)


def test_unstated__what_a_file_states_itself():
    said = Unstated(unit="mm", fps=50)
    said.only(Path("a.bvh"), "unit", "fps")
    with pytest.raises(InputError, match=r"a\.trc states its frame rate, or needs none; leave out fps"):
        said.only(Path("a.trc"), "unit")
    with pytest.raises(InputError, match="states its joints, or needs none; leave out skeleton"):
        Unstated(skeleton="coco_17").only(Path("a.trc"))


def test_archive_members__of_anything(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros(1), trans=np.zeros(1))
    assert archive_members(tmp_path / "a.npz") == {"poses", "trans"}
    (tmp_path / "b.npz").write_bytes(b"PK\x03\x04 cut off")
    assert archive_members(tmp_path / "b.npz") == set()
    assert archive_members(tmp_path / "none.npz") == set()


def test_one_a_person__the_path_itself_or_numbers(tmp_path):
    path = tmp_path / "walk.bvh"
    assert one_a_person(path, ["a"]) == [(path, "a")]
    with pytest.warns(UserWarning, match=r"one file a person: walk_0\.bvh, walk_1\.bvh"):
        files = one_a_person(path, ["a", "b"])
    assert files == [(tmp_path / "walk_0.bvh", "a"), (tmp_path / "walk_1.bvh", "b")]
    with pytest.raises(InputError, match="nobody to write"):
        one_a_person(path, [])


def test_one_a_view__names_of_views_as_parts_of_file_names(tmp_path):
    assert one_a_view(tmp_path / "c.json", ["left"]) == [tmp_path / "c.json"]
    with pytest.warns(UserWarning, match="one file a view"):
        files = one_a_view(tmp_path / "c.json", ["left", "../up right"])
    assert files == [tmp_path / "c_left.json", tmp_path / "c__up_right.json"]


def test_view_labels__names_that_files_cannot_tell_apart_are_numbered():
    assert view_labels(["a b", "A_b", "c"]) == ["a_b_0", "A_b_1", "c"]
