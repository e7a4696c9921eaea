"""`marey track` on a film of two frames with a network that has learned nothing: files, skipping, and refusals."""

import pickle

import numpy as np
import pytest
import torch

from marey.cli.main import main
from marey.core.skeletons import skeleton
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
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


def test_track__by_the_first_image_and_motion_with_every_option(root, tmp_path):
    made = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(320, 320))).sample(3, range(1))
    picture = made.images[0, 0].permute(1, 2, 0).contiguous().numpy()
    for frame in range(FRAMES):
        write_image(root / "imageFiles" / NAME / f"image_{frame:05d}.jpg", picture)
    options = ["--crops", "2", "--antialias", "2", "--smoothing", "acausal", "--real-intrinsics", "--detector-flip-aug"]
    made_of = weights(tmp_path / "weights", skeleton("smpl_24").joints)
    words = ["track", str(root), "--out", str(tmp_path / "out"), "--weights", made_of, "--splits", "test", *options]
    assert main(words) == 0
    found = pickle.loads((tmp_path / "out" / "nogtassoc" / "test" / f"{NAME}.pkl").read_bytes())["jointPositions"]
    assert found.shape == (1, FRAMES, 24, 3)
    assert np.isnan(found).all()  # a network that has learned nothing sees nobody whose bones are possible


def test_track__a_picture_that_is_not_there_is_named(root, tmp_path, capsys):
    (root / "imageFiles" / NAME / "image_00001.jpg").unlink()
    made = weights(tmp_path / "weights", skeleton("smpl_24").joints)
    assert main(["track", str(root), "--out", str(tmp_path / "out"), "--weights", made, "--splits", "test"]) == 2
    assert "image_00001.jpg does not exist" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.pkl"))


def test_track__a_network_without_the_joints_of_smpl_is_refused(root, tmp_path, capsys):
    made = weights(tmp_path / "weights", skeleton("smpl_24").joints[:9])
    assert main(["track", str(root), "--out", str(tmp_path / "out"), "--weights", made]) == 2
    assert "scored on the 24 joints of SMPL, and this network has" in capsys.readouterr().err
