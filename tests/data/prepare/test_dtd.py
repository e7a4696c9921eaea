"""DTD, on pictures of one colour and lists written down here."""

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.dtd import DtdOptions
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.data.textures import Textures, read_textures, write_textures

NAMES = [f"{category}/{category}_{number:04d}.jpg" for category in ("banded", "dotted", "woven") for number in (2, 4)]


def picture(path, *, grey=50, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), grey, dtype=np.uint8))


def write(root):
    for place, name in enumerate(NAMES):
        picture(root / "images" / name, grey=20 * place)
    (root / "labels").mkdir()
    (root / "labels/train1.txt").write_text(f"{NAMES[0]}\n{NAMES[2]}\n")
    (root / "labels/val1.txt").write_text(f"{NAMES[1]}\n")
    (root / "labels/test1.txt").write_text("\n".join(NAMES[3:]))
    return root


def prepared(root, out, **options):
    assert prepare_data_set(data_source("dtd"), root, out, DtdOptions(**options), show=False) is None
    return read_textures(out / "textures.npz")


def test_prepare__official_partition(tmp_path):
    found = prepared(write(tmp_path / "dtd"), tmp_path / "out")
    assert found.split.tolist() == ["train", "train", "validation", "test", "test", "test"]
    assert found.path.tolist() == [f"../dtd/images/{NAMES[place]}" for place in (0, 2, 1, 3, 4, 5)]
    assert found.category.tolist() == ["banded", "dotted", "banded", "dotted", "woven", "woven"]
    assert (tmp_path / "out/validation.txt").read_text() == f"../dtd/images/{NAMES[1]}\n"


def test_prepare__another_partition_is_another_list(tmp_path):
    write(tmp_path / "dtd")
    for name in ("train", "val", "test"):
        (tmp_path / f"dtd/labels/{name}10.txt").write_text(f"{NAMES[5]}\n" if name == "test" else "")
    found = prepared(tmp_path / "dtd", tmp_path / "out", partition=10)
    assert found.path.tolist() == [f"../dtd/images/{NAMES[5]}"]


def test_prepare__categories_apart(tmp_path):
    found = prepared(write(tmp_path / "dtd"), tmp_path / "out", split="categories", train_categories=2)
    assert found.category[found.split == "train"].tolist() == ["banded", "banded", "dotted", "dotted"]
    assert found.category[found.split == "test"].tolist() == ["woven", "woven"]
    with pytest.raises(InputError, match="3 categories, of which 27 cannot train"):
        prepared(tmp_path / "dtd", tmp_path / "out2", split="categories")


def test_prepare__folders_of_3dnbf(tmp_path):
    picture(tmp_path / "dtd/train/images/banded_0002.jpg")
    picture(tmp_path / "dtd/test/images/woven_0001.jpg")
    found = prepared(tmp_path / "dtd", tmp_path / "out")
    assert list(zip(found.split, found.category, strict=True)) == [("train", "banded"), ("test", "woven")]
    assert "as they are" in (tmp_path / "out/card.json").read_text()


def test_prepare__missing_files(tmp_path):
    with pytest.raises(MissingAssetError, match=r"images: not found.*robots.ox.ac.uk"):
        prepared(tmp_path / "dtd", tmp_path / "out")
    write(tmp_path / "dtd")
    with pytest.raises(MissingAssetError, match="list of the split train"):
        prepared(tmp_path / "dtd", tmp_path / "out2", partition=3)
    (tmp_path / "dtd/images" / NAMES[2]).unlink()
    with pytest.raises(MissingAssetError, match=r"dotted_0002.jpg: not found, the picture"):
        prepared(tmp_path / "dtd", tmp_path / "out")


@pytest.mark.parametrize("line", ["banded_0002.jpg", "../images/x.jpg", "a/../b.jpg", "banded/x.txt", "../x.jpg"])
def test_prepare__lists_of_something_else(tmp_path, line):
    write(tmp_path / "dtd")
    (tmp_path / "dtd/labels/val1.txt").write_text(line)
    with pytest.raises(FormatError, match="expected lines like"):
        prepared(tmp_path / "dtd", tmp_path / "out")


def test_prepare__no_picture(tmp_path):
    write(tmp_path / "dtd")
    (tmp_path / "dtd/images" / NAMES[5]).write_bytes(b"nothing")
    with pytest.raises(FormatError, match="woven_0004"):
        prepared(tmp_path / "dtd", tmp_path / "out")
    with pytest.raises(InputError, match="1 to 10"):
        DtdOptions(partition=11)


def test_textures__short_side_and_patches(tmp_path):
    test = prepared(write(tmp_path / "dtd"), tmp_path / "out").of_split("test")
    assert len(test) == 3
    assert test.read(0).shape == (320, 426, 3)
    assert abs(int(test.read(0).mean()) - 60) <= 1
    levels = {round(float(test.patch((57, 57), np.random.default_rng(seed)).mean()), -1) for seed in range(20)}
    assert levels == {60, 80, 100}
    with pytest.raises(InputError, match="no texture of evening"):
        test.of_split("evening")
    with pytest.raises(InputError, match="does not fit"):
        test.patch((57, 400), np.random.default_rng(0))


def test_textures__lists(tmp_path):
    text = np.array(["a.png"])
    textures = Textures(folder=tmp_path, path=text, category=text, split=text)
    with pytest.raises(InputError, match="write the list there"):
        write_textures(tmp_path / "x" / "t.npz", textures)
    np.savez(tmp_path / "t.npz", path=text, category=text, split=text)
    with pytest.raises(FormatError, match="'format' is missing"):
        read_textures(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", format=1, path=text, category=text, split=np.array([1]))
    with pytest.raises(FormatError, match="as many texts"):
        read_textures(tmp_path / "t.npz")
    empty = np.array([], dtype=np.str_)
    with pytest.raises(InputError, match="no texture to take"):
        Textures(folder=tmp_path, path=empty, category=empty, split=empty).patch((1, 1), np.random.default_rng(0))
