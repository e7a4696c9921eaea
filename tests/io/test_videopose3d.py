"""VideoPose3D archives, against archives made with NumPy alone."""

import os

import numpy as np
import pytest

from marey.core import FormatError, InputError, ShapeError
from marey.io.videopose3d import (
    VideoPose2D,
    read_videopose_2d,
    read_videopose_3d,
    write_videopose_2d,
    write_videopose_3d,
)

WALK = np.arange(4 * 32 * 3, dtype=np.float32).reshape(4, 32, 3)
VIEWS = [np.full((5, 3, 2), 7.0), np.full((6, 3, 2), 9.0)]
METADATA = {"layout_name": "coco", "num_joints": 3, "keypoints_symmetry": [[1], [2]]}


def archive(tmp_path, **members):
    np.savez_compressed(tmp_path / "a.npz", **{name: np.array(value, dtype=object) for name, value in members.items()})
    return tmp_path / "a.npz"


def test_read_videopose_3d__by_subject_and_action(tmp_path):
    found = read_videopose_3d(archive(tmp_path, positions_3d={"S1": {"Walking 1": WALK}, "S9": {"Eating": WALK[:2]}}))
    assert found["S9"]["Eating"].shape == (2, 32, 3)
    assert found["S1"]["Walking 1"].dtype == np.float32
    assert found["S1"]["Walking 1"][3, 31].tolist() == [381, 382, 383]


def test_read_videopose_2d__own_videos(tmp_path):
    metadata = METADATA | {"video_metadata": {"a.mp4": {"w": 640, "h": 480}}}
    found = read_videopose_2d(archive(tmp_path, positions_2d={"a.mp4": {"custom": VIEWS}}, metadata=metadata))
    assert [view.shape for view in found.positions["a.mp4"]["custom"]] == [(5, 3, 2), (6, 3, 2)]
    assert (found.layout, found.mirror, found.sizes) == ("coco", ((1,), (2,)), {"a.mp4": (640, 480)})


def test_read_videopose_2d__confidence_is_left_out(tmp_path):
    found = read_videopose_2d(archive(tmp_path, positions_2d={"S1": {"a": [np.ones((2, 3, 3))]}}, metadata=METADATA))
    assert found.positions["S1"]["a"][0].shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"positions_2d": {}}, "no 'positions_3d' in it, but positions_2d"),
        ({"positions_3d": [1, 2]}, "not a dictionary of subjects"),
        ({"positions_3d": {"S1": {"a": np.ones((2, 3))}}}, r"expected numbers \(T, joints, 3\)"),
        ({"positions_3d": {"S1": {"a": "text"}}}, r"expected numbers"),
    ],
)
def test_read_videopose_3d__malformed(tmp_path, members, message):
    with pytest.raises(FormatError, match=message):
        read_videopose_3d(archive(tmp_path, **members))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"positions_2d": {"S1": {"a": 3}}, "metadata": METADATA}, "not a list of views"),
        ({"positions_2d": {"S1": {"a": VIEWS}}, "metadata": {"keypoints_symmetry": [[1], []]}}, "of one length"),
        ({"positions_2d": {"S1": {"a": VIEWS}}, "metadata": 3}, "'metadata' is not"),
        ({"positions_2d": {"S1": {"a": VIEWS}}, "metadata": METADATA | {"video_metadata": [1]}}, "video_metadata"),
    ],
)
def test_read_videopose_2d__malformed(tmp_path, members, message):
    with pytest.raises(FormatError, match=message):
        read_videopose_2d(archive(tmp_path, **members))


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("made_by_a_pickle",)


def test_read_videopose_3d__runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError):
        read_videopose_3d(archive(tmp_path, positions_3d={"S1": {"a": Hostile()}}))
    assert not (tmp_path / "made_by_a_pickle").exists()


def test_read_videopose_3d__absent(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_videopose_3d(tmp_path / "absent.npz")


def test_write_videopose_3d__as_the_original_reads_it(tmp_path):
    write_videopose_3d(tmp_path / "a.npz", {"S1": {"Walking": WALK}})
    data = np.load(tmp_path / "a.npz", allow_pickle=True)["positions_3d"].item()
    np.testing.assert_array_equal(data["S1"]["Walking"], WALK)
    assert data["S1"]["Walking"].dtype == np.float32


def test_write_videopose_2d__as_the_original_reads_it(tmp_path):
    keypoints = VideoPose2D(
        positions={"a.mp4": {"custom": tuple(VIEWS)}}, layout="coco", mirror=((1,), (2,)), sizes={"a.mp4": (640, 480)}
    )
    write_videopose_2d(tmp_path / "a.npz", keypoints)
    data = np.load(tmp_path / "a.npz", allow_pickle=True)
    assert data["metadata"].item() == METADATA | {"video_metadata": {"a.mp4": {"w": 640, "h": 480}}}
    views = data["positions_2d"].item()["a.mp4"]["custom"]
    assert isinstance(views, list)
    np.testing.assert_array_equal(views[1], VIEWS[1])


def test_write_videopose__shapes(tmp_path):
    with pytest.raises(ShapeError, match=r"expected \(T, joints, 3\)"):
        write_videopose_3d(tmp_path / "a.npz", {"S1": {"a": np.ones((2, 3))}})
    uneven = VideoPose2D(positions={"S1": {"a": (VIEWS[0], VIEWS[1][:, :2])}}, layout="coco", mirror=((), ()))
    with pytest.raises(ShapeError, match="one number of joints"):
        write_videopose_2d(tmp_path / "a.npz", uneven)
