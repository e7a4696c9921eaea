"""What training starts from."""

from dataclasses import replace

import pytest
import torch

from marey.core import FormatError, InputError, MissingAssetError, skeleton
from marey.detect.trunk import shipped_trunk
from marey.engine.training import train
from marey.methods.metrabs.model import MetrabsNet
from marey.methods.metrabs.networks import load_network
from marey.methods.metrabs.recipe import depth_trunk
from marey.methods.metrabs.starting import start_backbone, start_network, start_on_trunk
from methods.metrabs.crowd import recipe, write_sets


def classifier(network):
    """As torchvision stores one: the backbone's tensors and a last layer."""
    made = {name: value + 1 if value.is_floating_point() else value for name, value in network.state_dict().items()}
    return {**made, "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


def test_backbone__takes_all_of_a_classifier_but_its_last_layer(tmp_path):
    network = MetrabsNet(recipe().network)
    wanted = classifier(network.backbone)
    torch.save(wanted, tmp_path / "resnet18.pth")
    heads = network.heads.conv_final.weight.clone()
    told = start_backbone(network, tmp_path / "resnet18.pth")
    assert torch.equal(network.backbone.conv1.weight, wanted["conv1.weight"])
    assert torch.equal(network.backbone.bn1.running_var, wanted["bn1.running_var"])
    assert torch.equal(network.heads.conv_final.weight, heads)
    assert told["backbone"] == "resnet18.pth"


def test_backbone__of_another_kind_is_refused(tmp_path):
    network = MetrabsNet(recipe().network)
    other = classifier(network.backbone)
    del other["layer4.1.bn2.weight"]
    torch.save(other, tmp_path / "other.pth")
    with pytest.raises(FormatError, match=r"does not fit the backbone resnet_18: lacks layer4\.1\.bn2\.weight"):
        start_backbone(network, tmp_path / "other.pth")
    for name in ("none.pth", "none.ckpt"):
        with pytest.raises(MissingAssetError, match="init_backbone=false"):
            start_backbone(network, tmp_path / name)


@pytest.mark.slow
def test_network__trained_weights_are_loaded_and_start_another_run(tmp_path):
    write_sets(tmp_path / "data", people=6, pictures=2)
    made = recipe(training=replace(recipe().training, steps=1))
    task = made.task(tmp_path / "data")
    train(task, task.training, tmp_path / "run")
    loaded = load_network(tmp_path / "run" / "weights")
    assert loaded.skeleton.joints == made.network.joints
    again = replace(made, weights=str(tmp_path / "run" / "weights")).task(tmp_path / "data")
    for one, two in zip(task.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-6)  # stored in half precision
    other = MetrabsNet(replace(made.network, scale_recovery="metro"))
    with pytest.raises(FormatError, match=r"does not fit MetrabsNet: .*other shapes: heads"):
        start_network(other, tmp_path / "run" / "weights")


def test_backbone__trunk_starts_as_the_shipped_one():
    task = replace(depth_trunk(), workers=0).task()
    backbone = task.model.backbone.trunk
    assert torch.equal(backbone.stem[0].weight, shipped_trunk().stem[0].weight)
    assert task.start["loaded"] == len(backbone.state_dict())
    lengths = dict(zip(task.model.config.bones, task.model.config.bone_lengths, strict=True))
    joints = skeleton("halpe_26")
    thigh = lengths[joints.index("left_hip"), joints.index("left_knee")]
    assert 0.3 < thigh < 0.5  # of those who are rendered for training


def test_backbone__without_a_file_is_refused():
    with pytest.raises(InputError, match="expected a file for the backbone resnet_18, got none"):
        start_on_trunk(MetrabsNet(recipe().network))
