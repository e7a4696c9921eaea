"""What tensors, a release and options together say of a network."""

import numpy as np
import pytest
import torch

from marey.core import FormatError, InputError, skeleton
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.published_config import PublishedOptions, Tensors, plan
from marey.methods.metrabs.release import PublishedSkeleton, Release

SMPL = ("pelv", "lhip", "rhip", "bell", "lkne", "rkne", "spin", "lank", "rank", "thor", "ltoe", "rtoe", "neck")
SMPL += ("lcla", "rcla", "head", "lsho", "rsho", "lelb", "relb", "lwri", "rwri", "lhan", "rhan")


def tensors(*channels, layout="shared", **facts):
    return Tensors(source="w", backbone="resnet_18", layout=layout, channels=channels, **facts)


def test_plan__of_2020_with_joints_that_are_not_given():
    """The SMPL network learned 73 joints and gives 24, the pelvis first; inside it is the last of the 24."""
    planned = plan(tensors(73, 730, layout="separate"), Release(names=SMPL), PublishedOptions())
    assert planned.config.scale_recovery == "metrabs"
    assert planned.config.heatmaps == HeatmapConfig(depth=10)
    assert (planned.config.perspective, planned.config.border, planned.config.mix) == ("weak", 32, 0)
    assert planned.config.root == 23
    assert planned.skeleton.joints[22:25] == ("right_hand", "pelvis", "other_24")
    assert len(planned.skeleton) == 73
    assert planned.skeletons["smpl_24"].skeleton == skeleton("smpl_24")
    assert planned.skeletons["smpl_24"].indices == (23, *range(23))


def test_plan__without_2d_heatmaps():
    options = PublishedOptions(joints="coco_17")
    alone = plan(tensors(136, layout="separate"), Release(), options)
    shared = plan(tensors(136, flat=False), Release(), options)
    assert alone.config.scale_recovery == shared.config.scale_recovery == "metro"
    assert len(shared.config.joints) == 17
    lengths = (0.3,) * len(skeleton("coco_17").links)
    bones = PublishedOptions(joints="coco_17", scale_recovery="bone-lengths", bone_lengths=lengths)
    config = plan(tensors(136, flat=False), Release(), bones).config
    assert config.bones == skeleton("coco_17").links
    assert config.bone_lengths == lengths


def test_plan__by_the_settings_beside_the_weights():
    settings = {"proc_side": 384, "stride_test": 16, "weak_perspective": True, "depth": 16, "box_size_mm": 2600}
    config = plan(tensors(289), Release(settings=settings), PublishedOptions(joints="coco_17")).config
    assert config.heatmaps == HeatmapConfig(side=384, stride=16, depth=16, box_size=2.6)
    assert (config.perspective, config.border, config.mix) == ("weak", 12, 0.5)
    with pytest.raises(FormatError, match=r"config\.yaml: depth: expected a number from 0 to 100000, got 'deep'"):
        plan(tensors(289), Release(settings={"depth": "deep"}), PublishedOptions(joints="coco_17"))


def test_plan__latent_points_of_a_network_whose_joints_are_transformed(tmp_path):
    np.savez(tmp_path / "affine.npz", w2=np.array([[0.5, 1], [0.5, 0]]))
    transform = torch.tensor([[1, 0, 0.5], [0, 1, 0.5]])
    whole = {"": PublishedSkeleton(names=("pelv", "neck", "spin"), indices=(0, 1, 2))}
    release = Release(names=("pelv", "neck"), skeletons=whole, transform=transform)
    planned = plan(tensors(18), release, PublishedOptions(affine_weights=tmp_path / "affine.npz"))
    assert planned.combination.tolist() == [[0.5, 1, 0.75], [0.5, 0, 0.25]]
    assert planned.config.joints == ("pelvis", "neck", "spine")
    with pytest.raises(FormatError, match="joints are mixed twice"):
        plan(tensors(36), release, PublishedOptions(affine_weights=tmp_path / "affine.npz"))


TWO = Release(names=("pelv", "neck"))
BAD = {
    "no whole points": (tensors(20), TWO, FormatError, "20 channels of heatmaps are no multiple of 9"),
    "no channels": (tensors(0), TWO, FormatError, "0 channels"),
    "three heads": (tensors(2, 2, 2, layout="separate"), TWO, FormatError, "3 heads, expected one or two"),
    "latent": (tensors(27), TWO, FormatError, "heatmaps of 3 points for 2 joints: the points are latent"),
    "transform of others": (
        tensors(27),
        Release(names=("pelv", "neck"), transform=torch.eye(2)),
        FormatError,
        "heatmaps of 3 points, but 2 are mixed",
    ),
    "no shares": (
        tensors(18),
        Release(names=("pelv", "neck"), transform=2 * torch.eye(2)),
        FormatError,
        "do not add up to 1",
    ),
    "far joint": (
        tensors(18),
        Release(names=("pelv", "neck"), skeletons={"a": PublishedSkeleton(names=("neck",), indices=(2,))}),
        FormatError,
        "the skeleton 'a' has joints beyond the 2",
    ),
    "more names of 2020": (tensors(1, 8, layout="separate"), TWO, InputError, "1 joints, got the names of 2"),
    "no names": (tensors(18), Release(), InputError, "does not say what its 2 joints are"),
}


@pytest.mark.parametrize(("shown", "release", "error", "message"), BAD.values(), ids=BAD)
def test_plan__of_parts_that_do_not_fit(shown, release, error, message):
    with pytest.raises(error, match=message):
        plan(shown, release, PublishedOptions())


def test_plan__recovery_that_needs_another_head():
    options = PublishedOptions(joints="coco_17", scale_recovery="metrabs")
    with pytest.raises(InputError, match="1 heads do not make a network with scale_recovery 'metrabs'"):
        plan(tensors(136, layout="separate"), Release(), options)


def test_affine_weights__damaged(tmp_path):
    np.savez(tmp_path / "affine.npz", w1=np.eye(2))
    with pytest.raises(FormatError, match=r"expected 'w2', a finite matrix .* got w1"):
        plan(tensors(18), TWO, PublishedOptions(affine_weights=tmp_path / "affine.npz"))
