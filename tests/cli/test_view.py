"""`marey view` writes the report of a result."""

import pytest
import torch

from marey.cli.main import main
from marey.core import Estimate, Joints3D, skeleton
from marey.io.npz import write_estimate_npz


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
