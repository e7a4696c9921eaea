"""The miniature is made from the words on the label file, with a skier and cameras that a hand can follow."""

import json
from dataclasses import replace

import cv2
import h5py
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import with_keypoints
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.skipose import SkiPoseOptions, read_centers
from marey.data.prepare.sources import DATA_SETS

# Camera 0 looks along the world's z from (0, 0, -10). Camera 3 looks along the world's -x from (20, 0, 0):
# its x axis is the world's z, its y axis the world's y, its z axis the world's -x; the columns of R_cam_2_world.
POSITIONS = {0: [0.0, 0, -10], 3: [20.0, 0, 0]}
ROTATIONS = {0: np.eye(3), 3: np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])}
INTRINSICS = np.array([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])
CENTER = np.array([1.0, 2.0, 0.5])


def skier() -> np.ndarray:
    """(17, 3) offsets in the world: joint j at (0.01 j, -0.05 j, 0.02 j)."""
    return np.arange(17)[:, None] * np.array([0.01, -0.05, 0.02])


def row(seq: int, cam: int, frame: int) -> dict[str, np.ndarray]:
    in_camera = ROTATIONS[cam].T @ (CENTER + skier() - POSITIONS[cam]).T
    shares = INTRINSICS @ in_camera
    return {
        "seq": seq,
        "cam": cam,
        "frame": frame,
        "subj": 2,
        "3D": (ROTATIONS[cam].T @ skier().T).T.reshape(51),
        "2D": (shares[:2] / shares[2]).T.reshape(34),
        "cam_intrinsic": INTRINSICS.reshape(9),
        "cam_position": POSITIONS[cam],
        "R_cam_2_world": ROTATIONS[cam].reshape(9),
    }


def write_split(root, split, pictures):
    rows = [row(*picture) for picture in pictures]
    (root / split).mkdir(parents=True)
    with h5py.File(root / split / "labels.h5", "w") as file:
        for name in rows[0]:
            column = np.array([one[name] for one in rows], dtype=np.float64)
            file[name] = column[:, None] if name in ("seq", "cam", "frame", "subj") else column
    for seq, cam, frame in pictures:
        folder = root / split / f"seq_{seq:03d}" / f"cam_{cam:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"image_{frame:06d}.png"), np.zeros((256, 256, 3), np.uint8))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "skipose"
    write_split(root, "train", [(1, 0, 7), (1, 3, 7), (1, 0, 8)])
    write_split(root, "test", [(103, 3, 7)])
    places = [(1, 7), (1, 8), (103, 7)]
    (root / "ski_centers.csv").write_text("".join(f"{seq} {frame} 1.0 2.0 0.5\n" for seq, frame in places))
    return root


def prepared(root, **options):
    return prepare_data_set(
        DATA_SETS["skipose"], root, root.parent / "out", SkiPoseOptions(**options), fresh=True, show=False
    )


def notes(root):
    return json.loads((root.parent / "out" / "card.json").read_text("utf-8"))["notes"]


def test_prepare__joints_in_the_world_and_a_camera_a_picture(root):
    labels = prepared(root)
    assert labels.images.path.tolist() == [
        "../skipose/train/seq_001/cam_00/image_000007.png",
        "../skipose/train/seq_001/cam_03/image_000007.png",
        "../skipose/train/seq_001/cam_00/image_000008.png",
        "../skipose/test/seq_103/cam_03/image_000007.png",
    ]
    np.testing.assert_allclose(labels.values["joints"], np.broadcast_to(CENTER + skier(), (4, 17, 3)), atol=1e-9)
    # joint 0 before camera 0: (1, 2, 10.5), so 512 * (1, 2) / 10.5 + 128
    np.testing.assert_allclose(labels.values["keypoints"][0, 0], [176.7619047619, 225.5238095238])
    np.testing.assert_allclose(
        labels.cameras.centers.numpy(), [POSITIONS[0], POSITIONS[3], POSITIONS[0], POSITIONS[3]], atol=1e-12
    )
    assert labels.cameras.intrinsics[0].tolist() == [[512, 0, 128], [0, 512, 128], [0, 0, 1]]
    assert labels.split.tolist() == ["train", "train", "train", "test"]
    assert labels.images.sequence.tolist() == ["seq_001"] * 3 + ["seq_103"]
    assert labels.values["subject"].tolist() == ["2"] * 4
    assert labels.by_moment().tolist() == [[0, -1, -1, 1], [2, -1, -1, -1], [-1, -1, -1, 3]]
    assert labels.version == "1"
    bare = {name: column for name, column in labels.values.items() if name != "keypoints"}
    np.testing.assert_allclose(
        with_keypoints(replace(labels, values=bare)).values["keypoints"], labels.values["keypoints"], atol=1e-6
    )
    assert any("projected joints lie 0.00 pixels" in note for note in notes(root))


def test_prepare__without_centres_skiers_are_placed_by_their_pixels(root):
    (root / "ski_centers.csv").unlink()
    labels = prepared(root)
    np.testing.assert_allclose(labels.values["joints"], np.broadcast_to(CENTER + skier(), (4, 17, 3)), atol=1e-4)
    assert any("no ski_centers.csv" in note for note in notes(root))


def test_prepare__some_cameras_and_complete_moments(root):
    labels = prepared(root, cameras=(3, 0), complete=True, splits=("train",))
    assert labels.by_moment().tolist() == [[1, 0]]
    assert len(prepared(root, cameras=(0,), splits=("train",))) == 2
    with pytest.raises(InputError, match=r"no picture of the cameras \(1, 2\) together"):
        prepared(root, cameras=(1, 2), complete=True)
    with pytest.raises(InputError, match="cameras from 0 to 5"):
        prepared(root, cameras=(6,))


def test_prepare__the_folder_of_the_archive_is_found(root):
    folder = root / "Ski-PosePTZ-CameraDataset-png"
    folder.mkdir()
    for name in ("train", "test"):
        (root / name).rename(folder / name)
    labels = prepared(root)
    assert labels.images.path[0] == f"../skipose/{folder.name}/train/seq_001/cam_00/image_000007.png"


@pytest.mark.parametrize("missing", ["train/labels.h5", "test/seq_103/cam_03/image_000007.png"])
def test_prepare__a_missing_file_is_named_with_its_source(root, missing):
    (root / missing).unlink()
    with pytest.raises(MissingAssetError, match=r"not found, .* of Ski-PosePTZ-Camera.*epfl\.ch.*non-commercial"):
        prepared(root)


def test_prepare__labels_of_other_things_are_refused(root):
    with h5py.File(root / "train" / "labels.h5", "a") as file:
        del file["3D"]
    with pytest.raises(FormatError, match="lacks 3D"):
        prepared(root)
    with h5py.File(root / "train" / "labels.h5", "a") as file:
        file["3D"] = np.zeros((3, 50))
    with pytest.raises(FormatError, match=r"'3D': expected \(3, 51\) numbers, got \(3, 50\)"):
        prepared(root)
    (root / "train" / "labels.h5").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="not an HDF5 file"):
        prepared(root)


def test_read_centers__names_the_line_that_is_wrong(tmp_path):
    path = tmp_path / "ski_centers.csv"
    path.write_text("1 2 0.5 0.25 -3\n\n4 5 6 7\n")
    with pytest.raises(FormatError, match=r"line 3: expected SEQ FRAME X Y Z, got '4 5 6 7'"):
        read_centers(path)
    path.write_text("1 2 0.5 0.25 -3\n")
    assert read_centers(path) == {(1, 2): (0.5, 0.25, -3.0)}


def test_prepare__a_centre_that_is_missing_is_named(root):
    (root / "ski_centers.csv").write_text("1 7 1.0 2.0 0.5\n")
    with pytest.raises(FormatError, match=r"lacks sequence 1 frame 8"):
        prepared(root)
