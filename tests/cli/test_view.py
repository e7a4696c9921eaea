"""`marey view` writes the report of a result, and draws predictions over pictures."""

import numpy as np
import pytest
import torch

from labelled_set import moments_set, pose_of
from marey.cli.main import main
from marey.core import Estimate, Joints3D, skeleton
from marey.io.images import read_image
from marey.io.npz import write_estimate_npz
from marey.io.predictions import pose_rows, write_pose_rows


@pytest.fixture
def result(tmp_path):
    """A folder with an estimate of six frames of a person who stands still."""
    bones = skeleton("coco_17")
    positions = torch.rand(17, 3, generator=torch.Generator().manual_seed(0)).expand(6, 1, 17, 3)
    joints = Joints3D(
        positions=positions,
        covariance=1e-4 * torch.eye(3).expand(6, 1, 17, 3, 3),
        score=torch.ones(6, 1, 17),
        filled=torch.zeros(6, 1, 17, dtype=torch.bool),
        skeleton=bones,
    )
    write_estimate_npz(tmp_path / "estimate.npz", Estimate(joints=joints, fps=30.0, frames=tuple(range(6))))
    return tmp_path


def test_view__takes_the_folder_or_the_archive(result, capsys):
    for given in (result, result / "estimate.npz"):
        assert main(["view", str(given)]) == 0
        assert capsys.readouterr().out.strip() == f"report: {result / 'report.html'}"
        assert "<html" in (result / "report.html").read_text(encoding="utf-8").lower()
        (result / "report.html").unlink()


def test_view__without_a_result_says_what_to_give(tmp_path, capsys):
    assert main(["view", str(tmp_path)]) == 2
    assert "estimate.npz does not exist; give a folder" in capsys.readouterr().err


@pytest.fixture
def predicted(tmp_path):
    """A data set of two moments, and the folder of a cell that was predicted on it."""
    moments = [("S9", "Walking-1", 0), ("S9", "Walking-1", 5)]
    moments_set(tmp_path / "set", moments)
    (tmp_path / "val").mkdir()
    rows = pose_rows(
        np.stack([pose_of(0), pose_of(1)]),
        joint_names=skeleton("h36m_17").joints,
        sequence=["S9/Walking-1"] * 2,
        frame=[0, 5],
    )
    write_pose_rows(tmp_path / "val" / "predictions.npz", rows)
    return tmp_path


def test_view__draws_predictions_over_the_pictures_of_their_data_set(predicted, capsys):
    given = ["view", str(predicted / "val"), "--labels", str(predicted / "set")]
    assert main([*given, "--step", "2", "--views", "0,1", "--save", str(predicted / "pictures")]) == 0
    assert "wrote 1 pictures in " in capsys.readouterr().out
    (file,) = (predicted / "pictures").iterdir()
    assert read_image(file).shape == (30 + 3 * 324, 2 * 320 + 4, 3)
    assert main([*given, "--cuboid-side", "2.5"]) == 0
    assert len(list((predicted / "val" / "pictures").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["val/results.pkl"], "results.pkl holds poses of a data set: pass --labels FOLDER, or --config FILE.yaml"),
        (["val/results.pkl", "--labels", "set"], "results.pkl: no predictions; give a results.pkl"),
        (["val", "--labels", "set", "--config", "a.yaml"], "both say which data set it is"),
        (["val", "--labels", "other"], "there is no other"),
        (["val", "--labels", "set", "--views", "5"], "views: h36m has no '5'; there are: cam0, cam1"),
        (["val", "--labels", "set", "--split", "train"], "no split 'train'; there are: test"),
    ],
)
def test_view__says_what_is_wrong(predicted, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(predicted)
    assert main(["view", *arguments]) == 2
    assert message in capsys.readouterr().err
