"""Networks as they are found: what a checkpoint says of itself, what it does not, and the images that it is shown."""

import hashlib
import json
from dataclasses import replace

import pytest
import torch

from marey.core import FormatError, InputError, MissingAssetError, ShapeError, skeleton
from marey.detect.trunk import WEIGHTS as TRUNK
from marey.detect.trunk_lifting import WEIGHTS as LIFTER
from marey.io.weights import write_weights
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    BackboneConfig,
    RansacNet,
    VolumetricConfig,
    VolumetricNet,
)
from marey.methods.triangulation.networks import (
    ENTRY,
    SHIPPED,
    ImageConvention,
    LoadedNetwork,
    describe,
    load_network,
    prepare_images,
)
from methods.triangulation.official import checkpoint

H36M = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "spine", "neck",
    "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "head",
)  # fmt: skip


def test_algebraic_checkpoint__tells_its_depth_and_joints(tmp_path):
    network = load_network("algebraic", checkpoint(tmp_path / "weights.pth", "algebraic"))
    assert isinstance(network.module, AlgebraicNet)
    assert network.config.backbone == BackboneConfig(depth=18, joints=17)
    assert network.config.use_confidences
    assert network.skeleton.joints == H36M
    assert network.roots == ("pelvis",)
    assert network.up == "z"
    assert network.image == ImageConvention(side=(384, 384), channels="bgr", normalised=True, half_pixels=False)
    assert not network.config.quirks.half_pixels
    assert not any(weight.requires_grad for weight in network.module.parameters())


def test_checkpoint_without_confidences__is_of_two_methods(tmp_path):
    path = checkpoint(tmp_path / "weights.pth", "algebraic", confidences=False)
    algebraic, ransac = load_network("algebraic", path), load_network("ransac", path)
    assert not algebraic.config.use_confidences
    assert algebraic.config.backbone.depth == 18
    assert isinstance(ransac.module, RansacNet)
    assert ransac.config.quirks.random_pairs is None  # all pairs: the same result every time
    assert ransac.config.quirks.whole_pixel_maxima


def test_ransac__takes_the_backbone_of_an_algebraic_network(tmp_path):
    path = checkpoint(tmp_path / "weights.pth", "algebraic")
    algebraic, ransac = load_network("algebraic", path), load_network("ransac", path)
    assert torch.equal(algebraic.module.backbone.final_layer.weight, ransac.module.backbone.final_layer.weight)
    images = torch.randn(1, 3, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    projections = torch.randn(1, 3, 3, 4, generator=torch.Generator().manual_seed(1))
    keypoints = ransac.module(images, projections).keypoints
    assert (keypoints % 4 == 0).all()  # maxima of maps at a quarter


@pytest.mark.realdata
def test_volumetric_checkpoint__is_in_metres(shared_parity, tmp_path):
    path = checkpoint(tmp_path / "weights.pth", "volumetric", confidences=False, parity=shared_parity)
    network = load_network("volumetric", path)
    assert isinstance(network.module, VolumetricNet)
    assert network.cuboid_side == 2.5
    assert network.config.aggregation == "softmax"
    assert load_network("volumetric", path, aggregation="sum").config.aggregation == "sum"
    with pytest.raises(InputError, match=r"these weights can do softmax, sum, mean, max, got 'conf'"):
        load_network("volumetric", path, aggregation="conf")


@pytest.mark.realdata
def test_volumetric_checkpoint__of_cmu_panoptic(shared_parity, tmp_path):
    path = checkpoint(tmp_path / "weights.pth", "volumetric", joints=19, parity=shared_parity)
    network = load_network("volumetric", path)
    assert network.config.aggregation == "conf"
    assert network.skeleton.joints[:3] == ("neck", "nose", "pelvis")
    assert network.up == "-y"
    assert network.roots == ("pelvis",)


def test_checkpoint__of_17_joints_of_coco(tmp_path):
    path = checkpoint(tmp_path / "weights.pth", "algebraic")
    network = load_network("algebraic", path, joints="coco_17")
    assert network.skeleton.joints[0] == "nose"
    assert network.roots == ("left_hip", "right_hip")
    assert network.up == "-y"
    with pytest.raises(InputError, match="the weights have 17 joints, the skeleton halpe_26 has 26"):
        load_network("algebraic", path, joints="halpe_26")


def test_checkpoint__of_16_joints_has_those_of_mpii(tmp_path):
    network = load_network("ransac", checkpoint(tmp_path / "backbone.pth", "ransac", joints=16))
    assert network.skeleton.joints == H36M[:16]


@pytest.mark.parametrize(
    ("given", "wanted", "match"),
    [
        ("algebraic", "volumetric", "weights of the method 'algebraic', not of 'volumetric'"),
        ("ransac", "volumetric", "weights of the method 'ransac', not of 'volumetric'"),
    ],
)
def test_checkpoint__of_another_method(tmp_path, given, wanted, match):
    with pytest.raises(InputError, match=match):
        load_network(wanted, checkpoint(tmp_path / "weights.pth", given))


def test_load_network__no_such_kind_or_file(tmp_path):
    with pytest.raises(InputError, match="expected one of algebraic, volumetric, ransac, got 'dlt'"):
        load_network("dlt")
    with pytest.raises(MissingAssetError, match=r"nothing\.pth"):
        load_network("ransac", tmp_path / "nothing.pth")


def small(kind):
    backbone = BackboneConfig(depth=18, joints=17)
    if kind == "algebraic":
        return AlgebraicNet(AlgebraicConfig(backbone=backbone))
    return VolumetricNet(VolumetricConfig(backbone=backbone, volume_size=32, v2v_width=16, cuboid_side=2.0))


@pytest.mark.parametrize("kind", ["algebraic", "volumetric"])
@pytest.mark.parametrize("where", ["top", "data"])
def test_folder__is_read_back_as_described(tmp_path, kind, where):
    own = described(kind)
    entry = json.loads(json.dumps({ENTRY: describe(own)}))
    write_weights(tmp_path, own.module.state_dict(), entry if where == "top" else {"data": entry})
    found = load_network(kind, tmp_path)
    assert found.config == own.config
    assert found.image == own.image
    assert (found.skeleton.name, found.roots, found.up) == ("coco_17", ("left_hip", "right_hip"), "-y")
    stored = own.module.backbone.conv1.weight.half().float()
    assert torch.equal(found.module.backbone.conv1.weight, stored)
    assert not found.module.training


def described(kind):
    return LoadedNetwork(
        module=small(kind),
        kind=kind,
        skeleton=skeleton("coco_17"),
        image=ImageConvention(side=(256, 192), channels="rgb", half_pixels=True, box_scale=1.5),
        roots=("left_hip", "right_hip"),
        up="-y",
    )


def test_folder__of_other_weights(tmp_path):
    write_weights(tmp_path, {"weight": torch.zeros(3)}, {"method": "lifting"})
    with pytest.raises(FormatError, match="not the weights of a network of triangulation"):
        load_network("algebraic", tmp_path)
    write_weights(tmp_path, small("algebraic").state_dict(), {ENTRY: describe(described("algebraic"))})
    with pytest.raises(InputError, match="weights of the method 'algebraic', not of 'volumetric'"):
        load_network("volumetric", tmp_path)
    with pytest.raises(InputError, match=r"its card says the joints; leave joints= out"):
        load_network("algebraic", tmp_path, joints="coco_17")


def test_prepare_images__blue_first_and_mean_taken_out():
    image = torch.tensor([255, 51, 0], dtype=torch.uint8)[None, None, :, None, None].expand(1, 1, 3, 2, 2)
    published = prepare_images(image, ImageConvention())
    # channel by channel, in the order blue, green, red: (0 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (1 - 0.406) / 0.225
    expected = torch.tensor([-2.117904, -1.142857, 2.64])
    assert torch.allclose(published[0, 0, :, 0, 0], expected, atol=1e-5)
    plain = prepare_images(image, ImageConvention(channels="rgb", normalised=False))
    assert torch.allclose(plain[0, 0, :, 1, 1], torch.tensor([1.0, 0.2, 0.0]))
    with pytest.raises(ShapeError, match="of 8 bits"):
        prepare_images(image.float(), replace(ImageConvention(), channels="rgb"))


def test_shipped__heads_were_learned_on_what_is_shipped():
    def card(weights):
        return json.loads(weights.joinpath("card.json").read_text(encoding="utf-8"))

    def digest(weights):
        return hashlib.sha256(weights.joinpath("card.json").read_bytes()).hexdigest()

    trunk = digest(TRUNK)
    assert card(LIFTER)["data"]["trunk"] == trunk
    assert card(SHIPPED / "algebraic")["data"]["trunk"] == trunk
    assert card(SHIPPED / "volumetric")["data"]["trunk"] == trunk
    assert card(SHIPPED / "volumetric")["data"]["lifter"] == digest(LIFTER)
