import json

import numpy as np

from marey.cli.evaluate import Options, run
from marey.io.predictions import pose_rows, write_pose_rows
from marey.metrics.protocols.pw3d import JOINTS


def test_run__prints_numbers_and_card_and_writes_json(tmp_path, capsys):
    joints = np.random.default_rng(0).normal(size=(2, 24, 3))
    rows = pose_rows(joints, joint_names=JOINTS, sequence=["walk", "walk"], frame=[0, 1])
    write_pose_rows(tmp_path / "poses.npz", rows)
    paths = {"predictions": tmp_path / "poses.npz", "labels": tmp_path / "poses.npz", "out": tmp_path / "scores.json"}
    run(Options(protocol="3dpw-challenge", **paths))
    printed = capsys.readouterr().out
    assert "mpjpe_mm          0.000" in printed
    assert "pelvis on pelvis" in printed
    assert "2 rows" in printed
    assert json.loads((tmp_path / "scores.json").read_text("utf-8"))["values"]["pck"] == 100
