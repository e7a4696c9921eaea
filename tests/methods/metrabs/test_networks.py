"""Networks by what they were loaded from, and the joints that can be asked of them."""

import json

import pytest
import torch

from marey.core import FormatError, InputError, MissingAssetError, Skeleton, skeleton
from marey.io.weights import write_weights
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.joint_names import NamedJoints
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import ENTRY, LoadedNetwork, describe, load_network, trunk_network
from marey.methods.metrabs.published_config import PublishedOptions
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.trunk_model import MetricHead, MetricHeadConfig, TrunkMetrabs
from marey.nn.image_lifter import ImageLifter, ImageLifterConfig
from marey.nn.trunk import Trunk, TrunkConfig

JOINTS = ("neck", "left_hip", "right_hip", "pelvis")


def trained(joints=JOINTS):
    config = MetrabsConfig(
        backbone="mobilenet_v3_small",
        joints=joints,
        heatmaps=HeatmapConfig(side=64, depth=4),
        root=None,
        quirks=Quirks(uncentered_shift=True),
    )
    return LoadedNetwork(module=MetrabsNet(config), skeleton=Skeleton("mine", joints, ()))


@pytest.mark.parametrize("within", [False, True])
def test_folder__of_a_network_trained_here(tmp_path, within):
    before = trained()
    told = {ENTRY: describe(before)}
    write_weights(tmp_path, before.module.state_dict(), {"data": told} if within else told)
    after = load_network(tmp_path)
    assert after.module.config == before.module.config
    assert after.skeleton.joints == JOINTS
    assert (after.side, after.margin, after.source) == (64, 1.0, str(tmp_path))
    assert not after.module.training
    for name, value in before.module.state_dict().items():
        torch.testing.assert_close(after.module.state_dict()[name], value, rtol=1e-3, atol=1e-4)  # stored in 16 bits


def test_folder__on_a_trunk_of_its_own(tmp_path):
    parts = TrunkConfig(widths=(8, 8, 8, 8), units=(1, 1, 1, 1), features=16), ImageLifterConfig(features=16, width=8)
    module = TrunkMetrabs(
        Trunk(parts[0]), ImageLifter(parts[1]), MetricHead(MetricHeadConfig(features=16, width=8, blocks=1))
    )
    before = trunk_network(module)
    write_weights(tmp_path, module.state_dict(), {ENTRY: describe(before)})
    after = load_network(tmp_path)
    assert (after.module.trunk.config, after.module.lifter.config) == parts
    assert after.module.head.config.width == 8
    assert (after.side, after.margin, after.skeleton.name) == (128, 1.25, "halpe_26")


def test_folder__whose_joints_are_a_skeleton(tmp_path):
    joints = tuple(reversed(skeleton("lsp_14").joints))
    before = trained(joints)
    write_weights(tmp_path, before.module.state_dict(), {ENTRY: describe(before)})
    after = load_network(tmp_path)
    assert after.skeletons["lsp_14"].indices == tuple(range(13, -1, -1))
    assert len(after.skeleton.links) == len(skeleton("lsp_14").links)
    assert after.view("lsp_14").skeleton == skeleton("lsp_14")


def test_folder__takes_no_options(tmp_path):
    before = trained()
    write_weights(tmp_path, before.module.state_dict(), {ENTRY: describe(before)})
    with pytest.raises(InputError, match="leave the options for published weights out"):
        load_network(tmp_path, PublishedOptions())


@pytest.mark.parametrize("told", [{}, {"on": "paper"}, {"on": "crops"}, {"on": "crops", "network": {}}, 3])
def test_folder__of_something_else(tmp_path, told):
    (tmp_path / "card.json").write_text(json.dumps({"data": {}, ENTRY: told}))
    with pytest.raises(FormatError, match=r"not the weights of a network of MeTRAbs: its card\.json lacks"):
        load_network(tmp_path)


def test_weights__that_are_not_there(tmp_path):
    with pytest.raises(MissingAssetError, match="found no file"):
        load_network(tmp_path / "none")


def test_view__by_name_or_by_joints():
    pair = Skeleton("pair", ("left_hip", "right_hip"), ())
    network = LoadedNetwork(
        module=trained().module,
        skeleton=skeleton("halpe_26"),
        skeletons={"pair": NamedJoints(pair, (11, 12))},
    )
    assert network.view("pair").indices == (11, 12)
    coco = network.view("coco_17")
    assert coco.skeleton == skeleton("coco_17")
    assert [network.skeleton.joints[place] for place in coco.indices] == list(skeleton("coco_17").joints)
    with pytest.raises(InputError, match="skeleton: the network has pair, got 'smpl_24'"):
        network.view("smpl_24")
    assert network.mirror == skeleton("halpe_26").mirror


def test_describe__of_another_network():
    network = LoadedNetwork(module=torch.nn.Identity(), skeleton=skeleton("coco_17"))
    with pytest.raises(InputError, match="expected MetrabsNet or TrunkMetrabs, got Identity"):
        describe(network)
