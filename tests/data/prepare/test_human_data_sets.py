"""HumanData archives as a data set, with archives that NumPy wrote."""

import numpy as np
import pytest

from marey.core import InputError, MissingAssetError
from marey.data.prepare.human_data_sets import HumanDataOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source


def write(root, name="eft_lspet.npz", *, images=("a/1.jpg", "a/2.jpg")):
    root.mkdir(exist_ok=True)
    keypoints = np.zeros((2, 190, 3))
    keypoints[:, 55] = [[1, 2, 1], [3, 4, 1]]  # the nose
    np.savez(
        root / name,
        image_path=np.array(["a/1.jpg", "a/2.jpg"]),
        bbox_xywh=np.array([[0.0, 0, 8, 8, 1]] * 2),
        keypoints2d_original=keypoints,
        keypoints2d_original_mask=np.eye(190, dtype=np.uint8)[55],
    )
    for image in images:
        (root / "images" / image).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / image).write_bytes(b"")
    return root


def prepared(root, out, **options):
    return prepare_data_set(data_source("humandata"), root, out, HumanDataOptions(**options), show=False)


def test_prepare__the_only_archive(tmp_path):
    labels = prepared(write(tmp_path / "humandata"), tmp_path / "out", split="test")
    assert (labels.name, labels.skeleton.joints) == ("eft_lspet", ("nose",))
    assert labels.images.path.tolist() == ["../humandata/images/a/1.jpg", "../humandata/images/a/2.jpg"]
    assert labels.split.tolist() == ["test", "test"]
    assert labels.values["keypoints"].tolist() == [[[1, 2]], [[3, 4]]]


def test_prepare__one_of_several_and_images_elsewhere(tmp_path):
    write(tmp_path / "d")
    write(tmp_path / "d", "spin_x.npz")
    with pytest.raises(InputError, match="2 archives; say which with --archive, such as eft_lspet"):
        prepared(tmp_path / "d", tmp_path / "out")
    with pytest.raises(MissingAssetError, match="folder of images"):
        prepared(tmp_path / "d", tmp_path / "out3", archive="spin_x.npz", images="elsewhere")
    labels = prepared(tmp_path / "d", tmp_path / "out2", archive="spin_x.npz", images="elsewhere", check=False)
    assert labels.images.path[0] == "../d/elsewhere/a/1.jpg"


def test_prepare__missing_files(tmp_path):
    with pytest.raises(MissingAssetError, match=r"NAME.npz: not found, the archive"):
        prepared(tmp_path / "d", tmp_path / "out")
    write(tmp_path / "d", images=["a/1.jpg"])
    with pytest.raises(MissingAssetError, match=r"2.jpg: not found, the image"):
        prepared(tmp_path / "d", tmp_path / "out")
