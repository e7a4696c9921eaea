"""`marey data`: listing, preparing, showing, from the command line to the files."""

import json

import cv2
import h5py
import numpy as np
import pytest

from marey.cli.main import main
from marey.data.labels import read_labels
from marey.data.prepare.sources import DATA_SETS


@pytest.fixture
def download(tmp_path):
    """Ski-PosePTZ-Camera with one picture: the skier's joints all lie 10 m ahead of the camera, in its axis."""
    folder = tmp_path / "data" / "skipose" / "train"
    (folder / "seq_000" / "cam_01").mkdir(parents=True)
    cv2.imwrite(str(folder / "seq_000" / "cam_01" / "image_000004.png"), np.zeros((256, 256, 3), np.uint8))
    with h5py.File(folder / "labels.h5", "w") as file:
        for name, value in {"seq": 0, "cam": 1, "frame": 4, "subj": 3}.items():
            file[name] = np.array([[value]], dtype=np.float64)
        file["3D"] = np.zeros((1, 51))
        file["2D"] = np.full((1, 34), 0.5)
        file["cam_intrinsic"] = np.array([[2.0, 0, 0.5, 0, 2, 0.5, 0, 0, 1]])
        file["cam_position"] = np.array([[0.0, 0, -10]])
        file["R_cam_2_world"] = np.eye(3).reshape(1, 9)
    (tmp_path / "data" / "skipose" / "ski_centers.csv").write_text("0 4 0 0 0\n")
    return tmp_path / "data"


def test_list__names_every_set_with_home_and_licence(capsys):
    assert main(["data", "list"]) == 0
    printed = capsys.readouterr().out
    for name, source in DATA_SETS.items():
        assert f"{name}: {source.title}\n" in printed
        assert source.home in printed
    assert "Simplified BSD" in printed
    assert main(["data", "list", "coco"]) == 0
    assert "person_keypoints_val2017.json" in capsys.readouterr().out


def test_list__an_unknown_set_lists_all(capsys):
    assert main(["data", "list", "coca"]) == 2
    assert "no data set 'coca'; did you mean 'coco'? there are: h36m, 3dhp" in capsys.readouterr().err


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets__say_what_they_are_and_have_options_with_defaults(name):
    source = DATA_SETS[name]
    assert source.prepare().__doc__
    assert source.options()() is not None
    assert source.options().__doc__


def test_prepare__writes_labels_and_says_what(download, capsys):
    words = ["data", "prepare", "skipose", "--data-root", str(download), "--splits", "train", "--cameras", "1", "2"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    out = download / "marey" / "skipose"
    assert "1 images, 1 people in them, 1 cameras" in printed
    assert f"wrote {out / 'labels.npz'}" in printed
    labels = read_labels(out / "labels.npz")
    np.testing.assert_allclose(labels.values["joints"], np.zeros((1, 17, 3)), atol=1e-12)
    card = json.loads((out / "card.json").read_text("utf-8"))
    assert card["options"]["cameras"] == [1, 2]
    assert [entry["path"] for entry in card["inputs"]] == ["ski_centers.csv", "train/labels.h5"]


def test_prepare__takes_the_root_from_the_environment(download, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MAREY_DATA", str(download))
    assert main(["data", "prepare", "skipose", "--splits", "train", "--out", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "labels.npz").exists()
    monkeypatch.delenv("MAREY_DATA")
    assert main(["data", "prepare", "skipose"]) == 2
    assert "Give --data-root, or set MAREY_DATA" in capsys.readouterr().err
    assert main(["data", "prepare", "skipose", "--data-root", str(tmp_path / "typo")]) == 2
    assert "typo: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_prepare__a_missing_download_says_where_to_get_it(tmp_path, capsys):
    assert main(["data", "prepare", "skipose", "--data-root", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "labels.h5: not found" in told
    assert "www.epfl.ch" in told
    assert "non-commercial research only" in told


def test_prepare__other_options_ask_for_a_fresh_start(download, capsys):
    words = ["data", "prepare", "skipose", "--data-root", str(download), "--splits", "train"]
    assert main(words) == 0
    assert main([*words, "--complete"]) == 2
    assert "pass --fresh to start over" in capsys.readouterr().err
    assert main([*words, "--cameras", "1", "--fresh"]) == 0


def test_show__counts_and_a_sheet(download, capsys, tmp_path):
    main(["data", "prepare", "skipose", "--data-root", str(download), "--splits", "train"])
    capsys.readouterr()
    sheet = tmp_path / "sheets" / "ski.png"
    assert main(["data", "show", str(download / "marey" / "skipose"), "--out", str(sheet), "--width", "128"]) == 0
    printed = capsys.readouterr().out
    assert "train: 1 images, 1 people" in printed
    assert "17 of h36m_17: pelvis, right_hip" in printed
    picture = cv2.imread(str(sheet))
    assert picture.shape == (128, 128, 3)
    # 256 pixels become 128: the joints all lie at 64, and nothing else near
    assert picture[64, 64].max() > 100
    assert picture[20, 20].max() == 0
    assert main(["data", "show", str(download / "marey" / "skipose" / "labels.npz"), "--split", "test"]) == 2
    assert "no split 'test'; there are: train" in capsys.readouterr().err


def test_folder__says_what_is_there_and_what_is_missing(tmp_path, capsys):
    folder = tmp_path / "walk" / "views" / "left"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "0.png"), np.zeros((20, 30, 3), np.uint8))
    assert main(["data", "folder", str(tmp_path / "walk"), "--step", "1"]) == 0
    printed = capsys.readouterr().out
    assert "1 images, 0 people in them, 0 cameras" in printed
    assert "- walk: no calibration" in printed
    assert "- walk: no 3D joints." in printed
    assert read_labels(tmp_path / "walk" / "marey" / "labels.npz").images.path.tolist() == ["../views/left/0.png"]
    assert main(["data", "folder", str(tmp_path / "walk"), "--out", str(tmp_path / "walk")]) == 2
    assert "is the folder of the recordings itself" in capsys.readouterr().err
    assert main(["data", "folder", str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()


def test_data__alone_lists_its_words(capsys):
    assert main(["data"]) == 2
    told = capsys.readouterr().err
    assert "'data' is followed by another word: data list, data prepare, data folder, data show" in told
