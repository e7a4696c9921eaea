"""SSP-3D, on labels and pictures written down here."""

import pickle

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.data.prepare.ssp3d import Ssp3dOptions, read_sample, read_ssp3d_labels


def labels_of(**changed):
    joints = np.zeros((2, 17, 3))
    joints[0, 0] = [8, 6, 0.9]
    joints[1, 16] = [30, 20, 0.4]
    poses = np.zeros((2, 72))
    poses[1, [0, 3]] = 0.5, 0.25
    return {
        "fnames": np.array(["rugby_1.png", "tennis_2.png"]),
        "shapes": np.arange(20.0).reshape(2, 10),
        "poses": poses,
        "joints2D": joints,
        "bbox_centres": np.array([[6.0, 8], [20, 30]]),  # row, column
        "bbox_whs": np.array([10.0, 20.0]),
        "genders": np.array(["m", "f"]),
        **changed,
    }


def write(root, *, person=255, **changed):
    for folder in ("images", "silhouettes"):
        (root / folder).mkdir(parents=True)
    np.savez(root / "labels.npz", **labels_of(**changed))
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    picture[4:9, 5:12] = (10, 20, 30)  # blue green red
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[4:9, 5:12] = person
    for name in ("rugby_1.png", "tennis_2.png"):
        cv2.imwrite(str(root / "images" / name), picture)
        cv2.imwrite(str(root / "silhouettes" / name), mask)
    return root


def prepared(root, out):
    return prepare_data_set(data_source("ssp3d"), root, out, Ssp3dOptions(), show=False)


def test_prepare__labels(tmp_path):
    labels = prepared(write(tmp_path / "ssp3d"), tmp_path / "out")
    assert labels.images.path.tolist() == ["../ssp3d/images/rugby_1.png", "../ssp3d/images/tennis_2.png"]
    assert labels.images.size.tolist() == [[60, 40]] * 2
    assert labels.split.tolist() == ["test", "test"]
    assert labels.values["box"].tolist() == [[3, 1, 10, 10], [20, 10, 20, 20]]
    assert labels.values["keypoints"][0, 0].tolist() == [8, 6]
    assert np.isnan(labels.values["keypoints"][0, 1:]).all()
    assert labels.values["keypoint_score"][1, 16] == 0.4
    assert labels.values["visible"].sum() == 2
    assert labels.values["smpl_orientation"].tolist() == [[0, 0, 0], [0.5, 0, 0]]
    assert labels.values["smpl_pose"][1, 0] == 0.25
    assert labels.values["smpl_shape"][1, 9] == 19
    assert labels.values["gender"].tolist() == ["m", "f"]


@pytest.mark.parametrize("person", [1, 255])
def test_prepare__masks_whatever_number_stands_for_the_person(tmp_path, person):
    labels = prepared(write(tmp_path / "d", person=person), tmp_path / "out")
    assert labels.values["mask"].tolist() == ["masks/rugby_1.png", "masks/tennis_2.png"]
    mask = cv2.imread(str(tmp_path / "out/masks/tennis_2.png"), cv2.IMREAD_GRAYSCALE)
    assert (mask == 255).sum() == 35
    assert (mask[4:9, 5:12] == 255).all()


def test_read_sample__crop_of_the_original(tmp_path):
    labels = prepared(write(tmp_path / "d"), tmp_path / "out")
    found = read_sample(labels, 0, tmp_path / "out", size=36)
    # a side of 1.2 * 10 pixels around (8, 6) becomes 36: three times as large
    assert found.image.shape == (36, 36, 3)
    assert found.image[18, 18].tolist() == [30, 20, 10]
    assert found.keypoints[0].tolist() == [18, 18]
    assert np.isnan(found.keypoints[1]).all()
    rows, columns = np.nonzero(found.silhouette)
    assert found.silhouette.dtype == bool
    # the middles of columns 5 to 11 lie at 9 to 27, those of rows 4 to 8 at 12 to 24, each pixel three wide
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (8, 28, 11, 25)


def test_read_sample__default_is_the_published_size(tmp_path):
    labels = prepared(write(tmp_path / "d"), tmp_path / "out")
    assert read_sample(labels, 1, tmp_path / "out").image.shape == (256, 256, 3)


def test_read_sample__a_mask_of_another_picture(tmp_path):
    labels = prepared(write(tmp_path / "d"), tmp_path / "out")
    cv2.imwrite(str(tmp_path / "out/masks/rugby_1.png"), np.zeros((4, 4), dtype=np.uint8))
    with pytest.raises(InputError, match="but its picture is"):
        read_sample(labels, 0, tmp_path / "out")


def test_prepare__missing_files(tmp_path):
    with pytest.raises(MissingAssetError, match=r"labels.npz: not found.*github.com/akashsengupta1997/SSP-3D"):
        prepared(tmp_path / "d", tmp_path / "out")
    write(tmp_path / "d")
    (tmp_path / "d/silhouettes/tennis_2.png").unlink()
    with pytest.raises(MissingAssetError, match="the silhouette of SSP-3D"):
        prepared(tmp_path / "d", tmp_path / "out")
    (tmp_path / "d/images/tennis_2.png").unlink()
    with pytest.raises(MissingAssetError, match="the picture of SSP-3D"):
        prepared(tmp_path / "d", tmp_path / "out")


def test_read_ssp3d_labels__arrays_of_objects(tmp_path):
    plain = labels_of()
    boxed = {name: np.array(list(plain[name]), dtype=object) for name in ("fnames", "genders", "bbox_whs")}
    np.savez(tmp_path / "labels.npz", **plain | boxed)
    found = read_ssp3d_labels(tmp_path / "labels.npz")
    assert found["fnames"].tolist() == ["rugby_1.png", "tennis_2.png"]
    assert found["bbox_whs"].tolist() == [10, 20]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"poses": np.zeros((2, 69))}, r"'poses': expected \(2, 72\), got \(2, 69\)"),
        ({"bbox_whs": np.zeros(3)}, "'bbox_whs'"),
        ({"genders": np.array(["m"])}, "'genders'"),
        ({"genders": np.array(["m", "x"])}, r"got 2, \['x'\]"),
        ({"fnames": np.array(["../a.png", "b.png"])}, "expected names of files"),
        ({"fnames": np.array(["a.png", "a.png"])}, "comes twice"),
        ({"fnames": np.array([1, 2])}, "'fnames': expected a list of texts"),
        ({"shapes": np.array([["a"] * 10] * 2)}, "'shapes' holds no numbers"),
    ],
)
def test_read_ssp3d_labels__damaged(tmp_path, changed, message):
    np.savez(tmp_path / "labels.npz", **labels_of(**changed))
    with pytest.raises(FormatError, match=message):
        read_ssp3d_labels(tmp_path / "labels.npz")


def test_read_ssp3d_labels__lacks_an_array(tmp_path):
    made = labels_of()
    del made["joints2D"]
    np.savez(tmp_path / "labels.npz", **made)
    with pytest.raises(FormatError, match="'joints2D' is missing"):
        read_ssp3d_labels(tmp_path / "labels.npz")


def test_read_ssp3d_labels__runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    trap = np.empty((), dtype=object)
    trap[()] = Trap()
    assert b"exec" in pickle.dumps(trap)
    np.savez(tmp_path / "labels.npz", **labels_of(genders=trap))
    with pytest.raises(FormatError, match="refused"):
        read_ssp3d_labels(tmp_path / "labels.npz")
    assert not (tmp_path / "ran").exists()
