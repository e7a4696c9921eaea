"""Official checkpoints, built from the lists of names and shapes that the original programs printed."""

import pytest
import torch

from marey.core import FormatError, MissingAssetError
from marey.methods.triangulation.checkpoint import load_backbone, load_official
from marey.methods.triangulation.model import AlgebraicConfig, AlgebraicNet, RansacNet, VolumetricConfig, VolumetricNet
from marey.methods.triangulation.quirks import Quirks
from marey.nn.pose_resnet import PoseResNet
from published_weights import shapes_of

LISTS = {
    "ransac": RansacNet,
    "backbone": RansacNet,
    "alg": AlgebraicNet,
    "alg_no_conf": RansacNet,  # the same tensors
    "vol": VolumetricNet,
    "vol_conf": VolumetricNet,
}


def zeros(shared_parity, name):
    shapes = shapes_of(shared_parity / "triangulation" / f"state_dict_keys_{name}.txt")
    whole = ("num_batches_tracked",)
    # one storage for all: a file of real size without its bytes
    base = torch.zeros(1)
    return {
        key: torch.zeros(shape, dtype=torch.int64) if key.endswith(whole) else base.expand(shape)
        for key, shape in shapes.items()
    }


@pytest.mark.realdata
@pytest.mark.parametrize("name", LISTS)
def test_official_checkpoints__are_recognised_and_loaded_strictly(shared_parity, tmp_path, name):
    state = {f"module.{key}": value for key, value in zeros(shared_parity, name).items()}
    torch.save(state, tmp_path / "weights.pth")
    network = load_official(tmp_path / "weights.pth")
    assert type(network) is LISTS[name]
    assert network.config.backbone.depth == 152
    assert network.config.backbone.joints == 17
    assert network.config.quirks == Quirks.published()
    assert not network.training
    if name.startswith("vol"):
        assert network.config.aggregation == ("conf" if name == "vol_conf" else "softmax")
        assert network.config.cuboid_side == 2500


@pytest.mark.realdata
def test_official_checkpoint__without_confidences_by_its_settings(shared_parity, tmp_path):
    torch.save(zeros(shared_parity, "alg_no_conf"), tmp_path / "weights.pth")
    network = load_official(tmp_path / "weights.pth", AlgebraicConfig(use_confidences=False))
    assert type(network) is AlgebraicNet
    assert network.config.quirks == Quirks()


@pytest.mark.realdata
def test_official_checkpoint__that_lacks_a_tensor(shared_parity, tmp_path):
    state = zeros(shared_parity, "vol")
    del state["process_features.0.bias"]
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(FormatError, match=r"does not fit \w+: lacks process_features\.0\.bias$"):
        load_official(tmp_path / "weights.pth")


@pytest.mark.realdata
def test_official_checkpoint__for_other_settings(shared_parity, tmp_path):
    torch.save(zeros(shared_parity, "vol"), tmp_path / "weights.pth")
    with pytest.raises(FormatError, match=r"does not fit VolumetricNet: lacks backbone\.vol_confidences"):
        load_official(tmp_path / "weights.pth", VolumetricConfig(aggregation="conf"))


def backbone_file(folder, joints):
    """A backbone of 18 layers as the published start has it: within a dictionary, behind `module.`, counting up."""
    state = {name: torch.full_like(value, 3) for name, value in PoseResNet(18, joints).state_dict().items()}
    state["final_layer.weight"] = torch.arange(joints, dtype=torch.float32)[:, None, None, None].expand(-1, 256, 1, 1)
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, folder / "backbone.pth")
    return folder / "backbone.pth"


def test_backbone__of_other_joints_keeps_the_first(tmp_path):
    network = PoseResNet(18, 17, joint_confidences=True)
    found = load_backbone(network, backbone_file(tmp_path, 16))
    assert found.partly == ("final_layer.weight", "final_layer.bias")
    assert all(name.startswith("alg_confidences.") for name in found.missing)
    assert not found.unused
    weight = network.final_layer.weight.detach()
    assert torch.equal(weight[:16, 0, 0, 0], torch.arange(16.0))
    assert weight[16].abs().max() > 0
    assert network.final_layer.bias.tolist() == [3.0] * 16 + [0.0]
    assert torch.equal(network.conv1.weight, torch.full((64, 3, 7, 7), 3.0))


def test_backbone__of_another_network(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(FormatError, match="none of its 1 tensors fits the backbone"):
        load_backbone(PoseResNet(18, 17), tmp_path / "other.pth")
    with pytest.raises(FormatError, match="expected a network of Learnable Triangulation"):
        load_official(tmp_path / "other.pth")


def test_checkpoint__missing(tmp_path):
    with pytest.raises(MissingAssetError, match=r"nothing\.pth: expected a checkpoint, found no file"):
        load_official(tmp_path / "nothing.pth")
