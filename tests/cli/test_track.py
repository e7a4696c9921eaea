"""`marey track` on a film of two frames with a network that has learned nothing: files, skipping, and refusals."""

import pickle

import numpy as np
import pytest
import torch

from marey.cli.main import main
from marey.core.skeletons import skeleton
from marey.io.images import write_image
from marey.io.weights import write_weights
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import ENTRY, LoadedNetwork, describe

NAME, FRAMES = "courtyard_00", 2


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "3dpw" / "imageFiles" / NAME
    folder.mkdir(parents=True)
    for frame in range(FRAMES):
        write_image(folder / f"image_{frame:05d}.jpg", np.full((96, 128, 3), 100, np.uint8))
    labels = tmp_path / "3dpw" / "sequenceFiles" / "test"
    labels.mkdir(parents=True)
    document = {
        "sequence": NAME,
        "poses2d": [np.zeros((FRAMES, 3, 18))],
        "jointPositions": [np.zeros((FRAMES, 72))],
        "poses": [np.zeros((FRAMES, 72))],
        "betas": [np.zeros(10)],
        "trans": [np.zeros((FRAMES, 3))],
        "genders": ["f"],
        "campose_valid": [np.ones(FRAMES, dtype=np.int64)],
        "cam_intrinsics": np.array([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]),
        "cam_poses": np.tile(np.eye(4), (FRAMES, 1, 1)),
    }
    (labels / f"{NAME}.pkl").write_bytes(pickle.dumps(document, protocol=2))
    return tmp_path / "3dpw"


def weights(folder, joints):
    torch.manual_seed(0)
    config = MetrabsConfig(backbone="mobilenet_v3_small", joints=joints, heatmaps=HeatmapConfig(side=64))
    network = LoadedNetwork(module=MetrabsNet(config), skeleton=skeleton("smpl_24").select(joints, "some"))
    write_weights(folder, network.module.state_dict(), {ENTRY: describe(network)})
    return str(folder)


def test_track__writes_a_file_a_film_and_leaves_out_those_that_are_there(root, tmp_path, capsys):
    made = weights(tmp_path / "weights", skeleton("smpl_24").joints)
    words = ["track", str(root), "--out", str(tmp_path / "out"), "--weights", made, "--splits", "test", "--crops", "1"]
    assert main([*words, "--gt-assoc"]) == 0
    path = tmp_path / "out" / "gtassoc" / "test" / f"{NAME}.pkl"
    assert pickle.loads(path.read_bytes())["jointPositions"].shape == (1, FRAMES, 24, 3)
    assert f"1 films lie in {tmp_path / 'out' / 'gtassoc'}" in capsys.readouterr().out
    path.write_bytes(b"already")
    assert main([*words, "--gt-assoc"]) == 0
    assert path.read_bytes() == b"already"
    assert main([*words, "--sequences", "office_00"]) == 2
    assert "no office_00" in capsys.readouterr().err


def test_track__a_network_without_the_joints_of_smpl_is_refused(root, tmp_path, capsys):
    made = weights(tmp_path / "weights", skeleton("smpl_24").joints[:9])
    assert main(["track", str(root), "--out", str(tmp_path / "out"), "--weights", made]) == 2
    assert "scored on the 24 joints of SMPL, and this network has" in capsys.readouterr().err
