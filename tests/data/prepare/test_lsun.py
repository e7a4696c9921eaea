"""LSUN, on exported pictures made here."""

import json

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.lsun import LsunOptions, background
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source


def picture(path, *, size=(30, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 77, dtype=np.uint8))


def write(root):
    for number in range(5):
        picture(root / f"bedroom_train_images/b{number}.jpg")
    picture(root / "tower_train_images/a/b/t0.webp")
    picture(root / "church_outdoor_val_images/c0.jpg")
    return root


def prepared(root, out, **options):
    assert prepare_data_set(data_source("lsun"), root, out, LsunOptions(**options), show=False) is None
    return {split: sorted(path.name for path in (out / split).glob("*.jpg")) for split in ("train", "validation")}


def test_prepare__flat_folders_of_both_splits(tmp_path):
    found = prepared(write(tmp_path / "d"), tmp_path / "out")
    assert found == {
        "train": [f"bedroom_b{number}.jpg" for number in range(5)] + ["tower_t0.jpg"],
        "validation": ["church_outdoor_c0.jpg"],
    }
    assert (tmp_path / "out/train.txt").read_text().splitlines() == found["train"]
    written = cv2.imread(str(tmp_path / "out/train/tower_t0.jpg"))
    assert written.shape == (256, 256, 3)
    assert np.abs(written.astype(int) - 77).max() <= 2
    assert (
        "train: 6 backgrounds; HierarchicalProbabilistic3DHuman used 397582" in (tmp_path / "out/card.json").read_text()
    )


def test_prepare__folders_by_split_alone(tmp_path):
    picture(tmp_path / "d/train/kitchen_1.jpg")
    picture(tmp_path / "d/val/street.png")
    assert prepared(tmp_path / "d", tmp_path / "out") == {"train": ["kitchen_1.jpg"], "validation": ["street.jpg"]}


def test_prepare__some_of_each_scene(tmp_path):
    found = prepared(write(tmp_path / "d"), tmp_path / "out", most_per_scene=3, side=8)
    assert found["train"] == ["bedroom_b0.jpg", "bedroom_b2.jpg", "bedroom_b4.jpg", "tower_t0.jpg"]
    assert found["validation"] == ["church_outdoor_c0.jpg"]


def test_prepare__list_without_people(tmp_path):
    write(tmp_path / "d")
    boxes = {f"bedroom_b{number}.jpg": [] for number in range(5)} | {"tower_t0.jpg": [], "church_outdoor_c0.jpg": []}
    boxes["bedroom_b1.jpg"] = [[1, 2, 3, 4, 0.9]]
    boxes["bedroom_b2.jpg"] = [[1, 2, 3, 4, 0.2]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    prepared(tmp_path / "d", tmp_path / "out", detections=tmp_path / "boxes.json", side=8)
    listed = (tmp_path / "out/train/non_person_images.txt").read_text().split()
    assert listed == ["bedroom_b0.jpg", "bedroom_b2.jpg", "bedroom_b3.jpg", "bedroom_b4.jpg", "tower_t0.jpg"]
    del boxes["tower_t0.jpg"]
    (tmp_path / "fewer.json").write_text(json.dumps(boxes))
    with pytest.raises(InputError, match="tower_t0"):
        prepared(tmp_path / "d", tmp_path / "out2", detections=tmp_path / "fewer.json", side=8)


def test_prepare__goes_on_where_it_stopped(tmp_path):
    write(tmp_path / "d")
    broken = tmp_path / "d/tower_train_images/a/b/t0.webp"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="t0"):
        prepared(tmp_path / "d", tmp_path / "out", side=8)
    assert not (tmp_path / "out/card.json").exists()
    broken.write_bytes(content)
    assert len(prepared(tmp_path / "d", tmp_path / "out", side=8)["train"]) == 6


def test_prepare__missing_and_misplaced_files(tmp_path):
    with pytest.raises(MissingAssetError, match=r"not found.*yf.io/p/lsun"):
        prepared(tmp_path / "d", tmp_path / "out")
    (tmp_path / "d/bedroom_train_lmdb").mkdir(parents=True)
    with pytest.raises(MissingAssetError, match="exported pictures"):
        prepared(tmp_path / "d", tmp_path / "out")
    (tmp_path / "d/bedroom_train_lmdb/data.mdb").write_bytes(b"")
    with pytest.raises(InputError, match=r"LSUN's data.py export"):
        prepared(tmp_path / "d", tmp_path / "out")
    picture(tmp_path / "d/bedroom/x.jpg")
    with pytest.raises(InputError, match="has 'train' or 'val' in it"):
        prepared(tmp_path / "d", tmp_path / "out")


def test_prepare__two_pictures_of_one_name(tmp_path):
    picture(tmp_path / "d/bedroom_train_images/a/x.jpg")
    picture(tmp_path / "d/bedroom_train_images/b/x.jpg")
    with pytest.raises(InputError, match=r"two pictures of train would be called bedroom_x.jpg"):
        prepared(tmp_path / "d", tmp_path / "out")


def test_background__stretched_or_cut():
    image = np.zeros((4, 8, 3), dtype=np.uint8)
    image[:, :4] = 200
    stretched = background(image, LsunOptions(side=4))
    assert stretched[0, :, 0].tolist() == [200, 200, 0, 0]
    cut = background(image, LsunOptions(side=4, shape="square"))
    assert cut[0, :, 0].tolist() == [200, 200, 0, 0]
    image[:, :2] = 0
    assert background(image, LsunOptions(side=4, shape="square"))[0, :, 0].tolist() == [200, 200, 0, 0]
    assert background(image, LsunOptions(side=4))[0, :, 0].tolist() == [0, 200, 0, 0]
    with pytest.raises(InputError, match="1 or more"):
        LsunOptions(side=0)
