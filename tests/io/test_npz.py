import io
import json
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import (
    BodyState,
    Cameras,
    Diagnostics,
    Estimate,
    FormatError,
    InputError,
    Joints3D,
    Keypoints2D,
    MareyError,
    Skeleton,
    skeleton,
)
from marey.io.npz import read_arrays, read_estimate_npz, write_estimate_npz

V, T, P = 2, 3, 1
SKELETON = Skeleton("three", ("hip", "knee", "ankle"), ((0, 1), (1, 2)), "a leg")


def estimate(**changes):
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(T, P, 3, 3, generator=generator)
    positions[1, 0, 2] = torch.nan
    joints = Joints3D(
        positions=positions,
        covariance=torch.eye(3).expand(T, P, 3, 3, 3) * 1e-4,
        score=torch.rand(T, P, 3, generator=generator),
        filled=torch.tensor([[[True, False, False]]]).expand(T, P, 3),
        skeleton=SKELETON,
    )
    return Estimate(joints=joints, fps=60.0, frames=(4, 5, 6), **changes)


def minimal():
    """The arrays of the smallest file, as the specification lists them."""
    return {
        "format": np.array(1),
        "joints": np.zeros((2, 1, 1, 3), np.float32),
        "covariance": np.zeros((2, 1, 1, 3, 3), np.float32),
        "score": np.ones((2, 1, 1), np.float32),
        "filled": np.zeros((2, 1, 1), bool),
        "skeleton": np.array("point"),
        "skeleton_note": np.array(""),
        "joint_names": np.array(["nose"]),
        "links": np.zeros((0, 2), np.int64),
        "frames": np.array([3, 4]),
        "fps": np.array(np.nan),
        "provenance": np.array('{"seed": 7}'),
        "notes": np.array([], dtype=np.str_),
    }


def test_write__keys_and_types_for_plain_numpy(tmp_path):
    cameras = Cameras(
        intrinsics=torch.eye(3).expand(V, 3, 3),
        distortion=torch.zeros(V, 5),
        image_size=torch.full((V, 2), 100.0),
        rotation=torch.eye(3).expand(V, 3, 3),
        translation=torch.zeros(V, 3),
        names=("left", "rïght"),
    )
    keypoints = Keypoints2D(
        positions=torch.ones(V, T, P, 17, 2),
        covariance=torch.ones(V, T, P, 17, 2, 2),
        score=torch.ones(V, T, P, 17),
        skeleton=skeleton("coco_17"),
    )
    diagnostics = Diagnostics(weights=torch.ones(V, T, P, 3), residuals=torch.full((V, T, P, 3), 2.0))
    write_estimate_npz(
        tmp_path / "estimate.npz",
        estimate(cameras=cameras, keypoints=keypoints, diagnostics=diagnostics, provenance={"inputs": ["a"]}),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["estimate.npz"]
    with np.load(tmp_path / "estimate.npz", allow_pickle=False) as found:
        assert found["joints"].shape == (T, P, 3, 3)
        assert found["joints"].dtype == np.float32
        assert np.isnan(found["joints"][1, 0, 2]).all()
        assert found["covariance"].shape == (T, P, 3, 3, 3)
        assert found["filled"].dtype == bool
        assert found["joint_names"].tolist() == ["hip", "knee", "ankle"]
        assert found["links"].tolist() == [[0, 1], [1, 2]]
        assert found["frames"].tolist() == [4, 5, 6]
        assert found["fps"] == 60
        assert found["residuals"].shape == found["weights"].shape == (V, T, P, 3)
        assert found["camera_names"].tolist() == ["left", "rïght"]
        assert found["camera_rotation"].shape == (V, 3, 3)
        assert found["keypoints"].shape == (V, T, P, 17, 2)
        assert json.loads(str(found["provenance"])) == {"inputs": ["a"]}


def test_read__file_made_with_plain_numpy(tmp_path):
    np.savez(tmp_path / "a.npz", **minimal())
    found = read_estimate_npz(tmp_path / "a.npz")
    assert found.joints.batch_shape == (2, 1)
    assert found.joints.skeleton == Skeleton("point", ("nose",), ())
    assert found.fps is None
    assert found.frames == (3, 4)
    assert found.provenance == {"seed": 7}
    assert found.cameras is found.keypoints is found.diagnostics is found.body is found.samples is None


def test_write_read__everything_survives(tmp_path):
    body = BodyState(
        orientation=torch.eye(3).expand(T, P, 3, 3),
        pose=torch.eye(3).expand(T, P, 4, 3, 3),
        shape=torch.zeros(T, P, 10),
        translation=torch.ones(T, P, 3),
    )
    cameras = Cameras(
        intrinsics=torch.eye(3).expand(V, 3, 3), distortion=torch.ones(V, 4), image_size=torch.ones(V, 2),
        fisheye=torch.tensor([True, False]),
    )  # fmt: skip
    given_estimate = estimate(
        body=body, cameras=cameras, samples=torch.randn(5, T, P, 3, 3), notes=("one", "twö"), provenance={"a": 1.5}
    )
    write_estimate_npz(tmp_path / "a.npz", given_estimate)
    found = read_estimate_npz(tmp_path / "a.npz")
    assert torch.equal(found.joints.positions.nan_to_num(9), given_estimate.joints.positions.nan_to_num(9))
    assert torch.equal(found.joints.filled, given_estimate.joints.filled)
    assert found.joints.skeleton == SKELETON
    assert torch.equal(found.samples, given_estimate.samples)
    assert torch.equal(found.body.pose, body.pose)
    assert not found.cameras.has_extrinsics
    assert found.cameras.fisheye.tolist() == [True, False]
    assert (found.notes, found.provenance, found.fps) == (("one", "twö"), {"a": 1.5}, 60.0)


def test_write__provenance_that_is_not_json(tmp_path):
    with pytest.raises(InputError, match="provenance: expected what JSON can hold"):
        write_estimate_npz(tmp_path / "a.npz", estimate(provenance={"path": tmp_path}))
    assert not list(tmp_path.iterdir())


def test_read__pickled_archive_is_refused_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    np.savez(tmp_path / "a.npz", **(minimal() | {"joints": np.array([Bomb()], dtype=object)}))
    with pytest.raises(FormatError, match="pickled Python objects, which are never loaded"):
        read_estimate_npz(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": None}, "not an estimate of marey: the key 'joints' is missing"),
        ({"format": np.array(99)}, "format 99, this version reads 1"),
        ({"score": np.ones((3, 1, 1))}, "expected the batch shape"),
        ({"joint_names": np.array(["nose", "neck"])}, "expected the 2 joints"),
        ({"frames": np.arange(5)}, "5 frame indices for 2 frames"),
        ({"provenance": np.array("{")}, "a.npz: "),
        ({"links": np.array([[0, 4]])}, "link names a joint that is not there"),
    ],
)
def test_read__arrays_that_do_not_fit(tmp_path, change, message):
    np.savez(tmp_path / "a.npz", **{key: value for key, value in (minimal() | change).items() if value is not None})
    with pytest.raises(FormatError, match=message):
        read_estimate_npz(tmp_path / "a.npz")


def test_read__bomb_is_refused_before_unpacking(tmp_path, monkeypatch):
    monkeypatch.setattr("marey.io.npz.MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("joints.npy", bytes(4 << 20))
    with pytest.raises(FormatError, match="refused"):
        read_estimate_npz(tmp_path / "a.npz")


def test_read__no_file_and_no_archive(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_estimate_npz(tmp_path / "absent.npz")
    (tmp_path / "a.npz").write_bytes(b"hello")
    with pytest.raises(FormatError, match="not a readable npz archive"):
        read_estimate_npz(tmp_path / "a.npz")


def packed():
    buffer = io.BytesIO()
    np.savez(buffer, **minimal())
    return buffer.getvalue()


PACKED = packed()


@settings(deadline=None, max_examples=80)
@given(st.binary(max_size=30), st.integers(0, len(PACKED)), st.integers(0, 500))
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    path.write_bytes(PACKED[:place] + junk + PACKED[place + cut :])
    try:
        found = read_estimate_npz(path)
    except MareyError:
        return
    assert isinstance(found, Estimate)


def test_read_arrays__members_that_are_no_arrays_or_no_text(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("a.npy", b"not an array")
    with pytest.raises(FormatError, match="magic string"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", text=np.array([0x110000], dtype=np.uint32).view("<U1"))
    with pytest.raises(FormatError, match="no text"):
        read_arrays(tmp_path / "b.npz")
