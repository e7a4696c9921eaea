"""The networks: every way to a place, latent points, precision, wrong input."""

import pytest
import torch

from marey.core import InputError, ShapeError
from marey.methods.metrabs.heatmaps import HeatmapConfig, Places
from marey.methods.metrabs.model import HeadPlaces, HeatmapHeads, MetrabsConfig, MetrabsNet
from marey.methods.metrabs.quirks import Quirks

JOINTS = ("head", "left_hand", "right_hand", "left_foot", "right_foot", "pelvis")
BONES = ((0, 5), (1, 5), (2, 5), (3, 5), (4, 5))
BODY = torch.tensor(
    [[0.0, -0.7, 0.0], [0.5, -0.2, 0.2], [-0.6, -0.1, -0.1], [0.2, 0.9, 0.1], [-0.1, 0.8, -0.2], [0.0, 0.0, 0.0]]
)
PLACE = torch.tensor([0.2, 0.1, 3.0])
INTRINSICS = torch.tensor([[[380.0, 0.0, 100.0], [0.0, 380.0, 110.0], [0.0, 0.0, 1.0]]])


def network(**changed):
    torch.manual_seed(0)
    settings = {"backbone": "resnet_18", "joints": JOINTS, "heatmaps": HeatmapConfig(side=64), "border": 8.0}
    return MetrabsNet(MetrabsConfig(**{**settings, **changed})).eval()


def crops(count=2, side=64):
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return images, INTRINSICS.expand(count, 3, 3)


def seen(*, pixels=False):
    """What heatmaps would show of a known body at a known place."""
    joints = (BODY + PLACE)[None]
    at = joints @ INTRINSICS.mT
    at = at[..., :2] / at[..., 2:]
    solid = torch.cat((at, joints[..., 2:] - 1.5), -1) if pixels else BODY[None] + 0.8
    return HeadPlaces(
        Places(at, torch.eye(2).expand(1, 6, 2, 2)), Places(solid, 1e-4 * torch.eye(3).expand(1, 6, 3, 3))
    )


WHOLE = {"heatmaps": HeatmapConfig(side=256), "border": 0.0}


def test_metrabs__places_the_body():
    found = network(**WHOLE).posed(seen(), INTRINSICS)
    torch.testing.assert_close(found.joints[0], BODY + PLACE, rtol=1e-4, atol=1e-4)


def test_metro__is_relative_to_the_root():
    found = network(scale_recovery="metro").posed(HeadPlaces(None, seen().relative), INTRINSICS)
    torch.testing.assert_close(found.joints[0], BODY)
    assert found.keypoints is None
    assert torch.equal(found.covariance[0, -1], torch.zeros(3, 3))
    torch.testing.assert_close(found.covariance[0, 0], 2e-4 * torch.eye(3))


def test_metro__relative_to_the_mean():
    found = network(scale_recovery="metro", root=None).posed(HeadPlaces(None, seen().relative), INTRINSICS)
    torch.testing.assert_close(found.joints[0], BODY - BODY.mean(0))
    torch.testing.assert_close(found.covariance[0, 0], 1e-4 * (5 / 6) * torch.eye(3))


LENGTHS = BODY[:5].norm(dim=1)


@pytest.mark.parametrize(
    ("recovery", "settings", "given"),
    [
        ("bone-lengths", {"bones": BONES, "bone_lengths": tuple(LENGTHS.tolist())}, {}),
        ("bone-lengths", {"bones": BONES, "bone_lengths": (1.0,) * 5}, {"bone_lengths": LENGTHS[None]}),
        ("bone-lengths-true", {"bones": BONES}, {"bone_lengths": LENGTHS[None]}),
        ("true-root-depth", {}, {"root_depth": torch.tensor([3.0])}),
    ],
)
def test_25d__places_the_body(recovery, settings, given):
    found = network(scale_recovery=recovery, **settings, **WHOLE).posed(seen(pixels=True), INTRINSICS, **given)
    torch.testing.assert_close(found.joints[0], BODY + PLACE, rtol=1e-4, atol=1e-4)
    assert (torch.linalg.eigvalsh(found.covariance) >= -1e-8).all()


def test_25d__depth_of_the_root_is_exact_if_given():
    net = network(scale_recovery="true-root-depth", **WHOLE)
    found = net.posed(seen(pixels=True), INTRINSICS, root_depth=torch.tensor([3.0]))
    assert found.covariance[0, -1, 2, 2] == 0
    assert found.covariance[0, 0, 2, 2].item() == pytest.approx(2e-4, rel=1e-3)


def test_latent_points__become_joints():
    net = network(points=6, joints=("nose", "neck"), **WHOLE)
    net.combination.copy_(torch.tensor([[2.0, 0], [-1, 0], [0, 0.25], [0, 0.25], [0, 0.25], [0, 0.25]]))
    found = net.posed(seen(), INTRINSICS)
    expected = torch.stack((2 * BODY[0] - BODY[1], BODY[2:].mean(0))) + PLACE
    torch.testing.assert_close(found.joints[0], expected, rtol=1e-4, atol=1e-4)
    assert found.keypoints.shape == (1, 6, 2)
    assert "combination" in net.state_dict()


def test_latent_points__with_heatmaps_of_the_joints():
    net = network(points=4, points_and_joints=True)
    assert net.heads.conv_final.out_channels == 10 + 8 * 10
    found = net(*crops())
    assert found.keypoints.shape == (2, 10, 2)
    assert found.joints.shape == (2, 6, 3)


def test_variances__as_fitted():
    plain, fitted = network(**WHOLE), network(covariance_scale=(4.0, 9.0), **WHOLE)
    metro = network(scale_recovery="metro", covariance_scale=(4.0, 9.0))
    torch.testing.assert_close(
        metro.posed(HeadPlaces(None, seen().relative), INTRINSICS).covariance[0, 0], 18e-4 * torch.eye(3)
    )
    narrow, wide = (net.posed(seen(), INTRINSICS).covariance for net in (plain, fitted))
    assert (torch.linalg.eigvalsh(wide - narrow) > 0).all()


@pytest.mark.parametrize("layout", ["shared", "separate"])
def test_heads__channels(layout):
    heads = HeatmapHeads(16, [6, 48], layout)
    flat, solid = heads(torch.randn(1, 16, 2, 2))
    assert flat.shape == (1, 6, 2, 2)
    assert solid.shape == (1, 48, 2, 2)


def test_heads__first_channels_of_one_convolution_are_the_keypoints():
    heads = HeatmapHeads(4, [3, 24], "shared")
    features = torch.randn(1, 4, 2, 2)
    flat, solid = heads(features)
    torch.testing.assert_close(torch.cat((flat, solid), 1), heads.conv_final(features))


def test_heads__each_has_its_own_normalisation():
    heads = HeatmapHeads(4, [3, 24], "separate")
    with torch.no_grad():
        heads.separate[0][0].weight.zero_()
    flat, solid = heads(torch.randn(2, 4, 3, 3))
    torch.testing.assert_close(flat, heads.separate[0][2].bias[None, :, None, None].expand_as(flat))
    assert solid.std() > 0


@pytest.mark.parametrize("settings", [{}, {"head_layout": "separate", "backbone": "resnet_v2_50"}])
def test_network__other_crops_of_the_batch_do_not_matter(settings):
    net = network(**settings)
    images, intrinsics = crops(3)
    with torch.no_grad():
        together, alone = net(images, intrinsics), net(images[1:2], intrinsics[1:2])
    torch.testing.assert_close(together.joints[1:2], alone.joints, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together.keypoints[1:2], alone.keypoints, rtol=1e-3, atol=1e-3)


def test_network__has_a_derivative_everywhere():
    net = network()
    net.train()
    found = net(*crops())
    (found.joints.sum() + found.covariance.diagonal(dim1=-2, dim2=-1).log().sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
    assert net.heads.conv_final.weight.grad.abs().sum() > 0


def test_network__geometry_keeps_its_digits_in_mixed_precision():
    net = network()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = net(*crops())
    assert {part.dtype for part in found} == {torch.float32}


def test_network__of_no_crops():
    with torch.no_grad():
        found = network()(*crops(0))
    assert found.joints.shape == (0, 6, 3)
    assert found.covariance.shape == (0, 6, 3, 3)


@pytest.mark.parametrize("stride", [16, 4])
def test_network__strides(stride):
    net = network(heatmaps=HeatmapConfig(side=64, stride=stride))
    with torch.no_grad():
        assert net.backbone(crops()[0]).shape[-2:] == (64 // stride, 64 // stride)


def test_network__at_the_finest_stride_as_published():
    torch.manual_seed(0)
    maps = HeatmapConfig(side=64, stride=4)
    nets = [network(heatmaps=maps), network(heatmaps=maps, quirks=Quirks(uncentered_finest_stride=True))]
    nets[1].load_state_dict(nets[0].state_dict())
    with torch.no_grad():
        ours, published = (net.backbone(crops()[0]) for net in nets)
    assert (ours - published).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{}, {"points": 4}, {"scale_recovery": "metro"},
     {"scale_recovery": "bone-lengths", "bones": BONES, "bone_lengths": (0.7,) * 5}],
)  # fmt: skip
def test_network__exports_with_a_free_batch(settings):
    net = network(**settings)
    batch = torch.export.Dim("batch")
    images, intrinsics = crops(2)
    program = torch.export.export(
        net, (images, intrinsics.clone()), dynamic_shapes={"images": {0: batch}, "intrinsics": {0: batch}}
    )
    images, intrinsics = crops(5)
    with torch.no_grad():
        for found, expected in zip(program.module()(images, intrinsics), net(images, intrinsics), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale_recovery": "metric"}, "scale_recovery: expected one of metro"),
        ({"head_layout": "one"}, "head_layout: expected one of shared, separate, got 'one'"),
        ({"joints": ()}, "joints: expected their names"),
        ({"scale_recovery": "bone-lengths"}, "bones: scale_recovery 'bone-lengths' needs them"),
        ({"scale_recovery": "bone-lengths", "bones": BONES}, "bone_lengths: expected 5, one a bone, got 0"),
        ({"scale_recovery": "true-root-depth", "root": None}, "index of a root"),
    ],
)
def test_config__that_makes_no_network(changed, message):
    with pytest.raises(InputError, match=message):
        MetrabsConfig(**{"joints": JOINTS, **changed})


def test_network__wrong_crops():
    net = network()
    images, intrinsics = crops()
    with pytest.raises(ShapeError, match=r"expected \(B, 3, 64, 64\)"):
        net(images[..., :32], intrinsics)
    with pytest.raises(ShapeError, match="images, intrinsics"):
        net(images, intrinsics[:1])
    for wrong in (torch.uint8, torch.int64, torch.float64):
        with pytest.raises(ShapeError, match=r"expected torch.float32 in 0..1 as the weights are"):
            net(images.to(wrong), intrinsics)


@torch.inference_mode()
def test_network__what_is_not_a_number_stays_with_its_crop():
    net = network()
    images, intrinsics = crops(3)
    expected = net(images, intrinsics).joints
    bad, singular = images.clone(), intrinsics.clone()
    bad[1, 0, 5, 7] = torch.nan
    singular[2] = 0.0
    found = net(bad, singular).joints
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)
    assert found[1:].isnan().all()


def test_25d__what_must_be_given():
    with pytest.raises(InputError, match="root_depth: 'true-root-depth' needs"):
        network(scale_recovery="true-root-depth")(*crops())
    with pytest.raises(InputError, match="bone_lengths: 'bone-lengths-true' needs"):
        network(scale_recovery="bone-lengths-true", bones=BONES)(*crops())
