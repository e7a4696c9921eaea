"""Files of joints as estimates: rates, axes and names that files state or leave open."""

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.io.npz import write_estimate_npz
from marey.pipeline.conversion_parts import Unstated
from marey.pipeline.joint_conversion import joint_formats_of, joints_from_csv, joints_from_npz, markers_of
from pipeline.recordings import LEFT_EYE, recorded

CSV = """frame,time,person,joint,x,y,z,sd_x,sd_y,sd_z,score,filled
4,{0},0,RHip,1,2,3,0.1,0.2,0.3,0.5,0
6,{1},0,RHip,4,5,6,,,,1,1
"""


def altered(path, **changes):
    """The estimate's archive with some arrays exchanged, with NumPy alone."""
    write_estimate_npz(path, recorded())
    with np.load(path) as archive:
        content = dict(archive) | changes
    np.savez(path, **content)
    return path


def test_npz__what_is_left_open_is_taken_from_the_user(tmp_path):
    file = altered(tmp_path / "e.npz", fps=np.array(np.nan), frames=np.zeros(0, np.int64))
    found = joints_from_npz(file, Unstated(fps=25))
    assert (found.fps, found.frames) == (25, (0, 1, 2))
    assert joints_from_npz(file).fps == 30
    with pytest.raises(InputError, match="states its frame rate"):
        joints_from_npz(altered(tmp_path / "e.npz"), Unstated(fps=25))


def test_npz__up_is_found_where_the_file_says_nonsense(tmp_path):
    assert joints_from_npz(altered(tmp_path / "e.npz", provenance=np.array('{"world_up": "-y"}'))).provenance == {
        "world_up": "-y"
    }
    for text in ('{"world_up": "north"}', '{"world_up": ["x"]}', "{}"):
        found = joints_from_npz(altered(tmp_path / "e.npz", provenance=np.array(text)))
        assert found.provenance["world_up"] == "z"
    with pytest.raises(FormatError, match="provenance"):
        joints_from_npz(altered(tmp_path / "e.npz", provenance=np.array("[]")))


def test_csv__names_variances_and_rate(tmp_path):
    (tmp_path / "a.csv").write_text(CSV.format(0.08, 0.12))
    found = joints_from_csv(tmp_path / "a.csv")
    assert (found.joints.skeleton.joints, found.frames, found.fps) == (("right_hip",), (4, 6), 50)
    assert found.joints.positions[:, 0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    np.testing.assert_allclose(found.joints.covariance[0, 0, 0], np.diag([0.01, 0.04, 0.09]))
    assert found.joints.filled[:, 0, 0].tolist() == [False, True]
    with pytest.raises(InputError, match="states its frame rate"):
        joints_from_csv(tmp_path / "a.csv", Unstated(fps=25))


def test_csv__without_times(tmp_path):
    (tmp_path / "a.csv").write_text(CSV.format("", ""))
    assert joints_from_csv(tmp_path / "a.csv", Unstated(fps=25)).fps == 25


def test_markers__stand_with_y_up_and_only_those_who_are_there():
    estimate = recorded(provenance={"world_up": "z"})
    (person,) = markers_of(estimate)
    assert markers_of(estimate)[person][0, LEFT_EYE].tolist() == [2, 4, 1]


@pytest.mark.parametrize(
    ("members", "formats"),
    [
        (("format", "joints", "joint_names"), ["npz"]),
        (("positions_3d",), ["videopose3d"]),
        (("keypoints3d_smpl", "keypoints2d_smpl"), ["humandata"]),
        (("keypoints2d",), []),
        (("poses", "trans"), []),
    ],
)
def test_joint_formats_of__archives_by_their_members(tmp_path, members, formats):
    np.savez(tmp_path / "a.npz", **dict.fromkeys(members, np.zeros(1)))
    assert joint_formats_of(tmp_path / "a.npz") == formats
    assert joint_formats_of(tmp_path) == []
