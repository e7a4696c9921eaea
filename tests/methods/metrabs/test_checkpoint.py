"""Published networks, written here as PyTorch and TensorFlow store them, become the networks that they were made of."""

import pickle

import numpy as np
import pytest
import torch

from marey.core import FormatError, InputError, MissingAssetError, skeleton
from marey.methods.metrabs.checkpoint import load_published
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.published_config import PublishedOptions
from marey.methods.metrabs.published_names import recognise, variable_names
from published_variables import HEADS, SMALL, keras_resnet, mobilenet, resnet_v2
from tensorflow_files import write_checkpoint

VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SIDE = ("sho", "elb", "wri", "hip", "kne", "ank")
COCO = ("neck", "nose", "pelv", *(s + part for s in "lr" for part in _SIDE), "leye", "lear", "reye", "rear")


def made(backbone, joints=17, **settings):
    """A network of the house with random weights that float16 holds, statistics of its normalisations too."""
    torch.manual_seed(0)
    names = tuple(f"joint_{number}" for number in range(joints))
    network = MetrabsNet(MetrabsConfig(backbone=backbone, joints=names, **settings)).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_mean"):
                value.uniform_(-0.1, 0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.9, 1.1)
            if value.is_floating_point():
                value.copy_(value.half().float())
    return network


def variables_of(network, names):
    """Its weights as TensorFlow has them: by name, kernels (height, width, inputs, outputs)."""
    state = network.state_dict()
    found = {}
    for key, name in variable_names(state, recognise(names)).items():
        value = state[key].half().numpy()
        if value.ndim == 4:
            value = value.transpose(2, 3, 0, 1) if "depthwise_kernel" in name else value.transpose(2, 3, 1, 0)
        found[name] = value
    return found


def assert_same(found, network):
    expected = {name: value for name, value in network.state_dict().items() if "tracked" not in name}
    state = found.state_dict()
    assert {name for name in state if "tracked" not in name} == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())


@pytest.fixture(scope="module")
def mobile():
    return made("mobilenet_v3_small_keras", joints=19)


def torch_names(network):
    """The names of the PyTorch release: `backbone.1.0.0.weight`, `heatmap_heads.conv_final.weight`."""
    return {
        name.replace("backbone.features.", "backbone.1.").replace("heads.", "heatmap_heads."): value
        for name, value in network.state_dict().items()
    }


def light(shapes):
    """Tensors of real sizes, of one number each, in a small file."""
    return {name: torch.tensor(0.5).expand(shape) for name, shape in shapes.items()}


def shapes_of(points):
    network = MetrabsNet(MetrabsConfig(backbone="efficientnet_v2_s", joints=tuple(map(str, range(points)))))
    return {name: value.shape for name, value in torch_names(network).items() if "tracked" not in name}


CONFIG = """proc_side: 256

stride_test: 32   # of heatmaps
centered_stride: false
legacy_centered_stride_bug: true
efficientnet_size: s
backbone: efficientnetv2-s
depth: 8
box_size_mm: 2000
weak_perspective: false
mix_3d_inside_fov: 0.25
affine_weights: null
"""


def release(folder, state, names, *, infos=None, transform=None):
    """A folder of the PyTorch release."""
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "ckpt.pt")
    (folder / "config.yaml").write_text(CONFIG)
    np.savez(folder / "joint_info.npz", joint_names=np.array(names), joint_edges=np.array([[0, 1], [1, 2]]))
    if infos is not None:
        (folder / "skeleton_infos.pkl").write_bytes(pickle.dumps(infos))
    if transform is not None:
        np.save(folder / "joint_transform_matrix.npy", transform)
    return folder


def test_torch_release__with_its_skeletons_and_a_transform(tmp_path):
    names = ["lkne_h36m", "rkne_h36m", "pelv_h36m", "lkne_smpl"]
    infos = {
        "h36m_3": {"indices": [2, 0, 1], "names": ["pelv", "lkne", "rkne"], "edges": [(0, 1), (0, 2)]},
        "two": {"indices": [3, 4], "names": ["lkne", "marker"], "edges": []},
        "": {"indices": [0, 1, 2, 3, 4], "names": [*names, "mid_knee"], "edges": [(2, 4)]},
    }
    transform = np.hstack([np.eye(4), [[0.5], [0.5], [0], [0]]])
    folder = release(tmp_path, light(shapes_of(4)), names, infos=infos, transform=transform)
    found = load_published(folder)
    config = found.network.config
    assert config.backbone == "efficientnet_v2_s"
    assert config.scale_recovery == "metrabs"
    assert config.heatmaps == HeatmapConfig(centered_stride=False, box_size=2.0)
    assert (config.mix, config.border, config.perspective) == (0.25, 24, "full")
    assert config.quirks.uncentered_shift
    assert found.network.combination.tolist() == transform.tolist()
    assert found.skeleton.joints == (*names, "mid_knee")
    assert found.skeleton.links == ((2, 4),)
    assert found.skeletons["h36m_3"].skeleton.joints == ("pelvis", "left_knee", "right_knee")
    assert found.skeletons["h36m_3"].skeleton.links == ((0, 1), (0, 2))
    assert found.skeletons["h36m_3"].indices == (2, 0, 1)
    assert found.skeletons["two"].indices == (3, 4)
    assert found.skeletons[""].indices == (0, 1, 2, 3, 4)
    assert found.network.state_dict()["backbone.features.6.14.block.2.fc2.bias"].eq(0.5).all()


def test_torch_file__alone(tmp_path, mobile):
    torch.save(torch_names(mobile), tmp_path / "weights.pt")
    found = load_published(tmp_path / "weights.pt", PublishedOptions(joints="panoptic_19"))
    assert_same(found.network, mobile)
    assert found.network.config.heatmaps == HeatmapConfig()
    assert not found.network.config.quirks.uncentered_shift
    assert found.skeleton == skeleton("panoptic_19")
    assert found.network.config.root == 2


@pytest.mark.parametrize("both", [False, True])
def test_torch_file__of_latent_points(tmp_path, both):
    network = made("mobilenet_v3_small_keras", joints=3, points=2, points_and_joints=both)
    state = torch_names(network)
    del state["combination"]
    torch.save(state, tmp_path / "weights.pt")
    mixture = np.array([[0.25, 1, -0.5], [0.75, 0, 1.5]])
    np.savez(tmp_path / "affine.npz", w1=np.ones((3, 2)), w2=mixture)
    options = PublishedOptions(joints=("pelvis", "neck", "head"), affine_weights=tmp_path / "affine.npz")
    found = load_published(tmp_path / "weights.pt", options)
    assert found.network.combination.tolist() == mixture.tolist()
    assert found.network.config.points == 2
    assert found.network.config.points_and_joints == both
    assert found.skeleton.joints == ("pelvis", "neck", "head")


def test_torch_file__of_2d_and_metric_heads_of_2020(tmp_path):
    """The other layout: a normalisation and a convolution for each head."""
    network = made("resnet_18", joints=17, head_layout="separate")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    found = load_published(tmp_path / "weights.pt", PublishedOptions(joints="h36m_17"))
    assert_same(found.network, network)
    assert found.network.config.perspective == "weak"
    assert found.network.config.border == 32
    assert found.skeleton.joints[-1] == "pelvis"
    view = found.skeletons["h36m_17"]
    assert view.skeleton == skeleton("h36m_17")
    assert view.indices == (16, *range(16))


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


TORCH_ERRORS = {
    "a missing tensor": (
        lambda state: without(state, "backbone.1.12.1.bias"),
        r"lacks backbone\.features\.12\.1\.bias",
    ),
    "one too many": (
        lambda state: state | {"backbone.1.99.bias": torch.ones(2)},
        r"no place for backbone\.features\.99",
    ),
    "another shape": (
        lambda state: state | {"backbone.1.12.1.bias": torch.ones(5)},
        r"features\.12\.1\.bias \(5,\) instead of \(576,\)",
    ),
    "no heads": (lambda state: without(state, "heatmap_heads.conv_final.bias"), r"expected the heads of a MeTRAbs"),
    "another network": (lambda _: {"layer.weight": torch.ones(2)}, r"on a backbone of the house, got layer\.weight"),
    "no heatmaps": (
        lambda state: state | {"heatmap_heads.conv_final.bias": torch.ones(20)},
        "20 channels of heatmaps are no multiple of 9",
    ),
}


@pytest.mark.parametrize(("change", "message"), TORCH_ERRORS.values(), ids=TORCH_ERRORS)
def test_torch_file__that_does_not_fit(tmp_path, mobile, change, message):
    torch.save(change(torch_names(mobile)), tmp_path / "weights.pt")
    with pytest.raises(FormatError, match=message):
        load_published(tmp_path / "weights.pt", PublishedOptions(joints="panoptic_19"))


def test_torch_file__whose_joints_are_not_known_or_others(tmp_path, mobile):
    torch.save(torch_names(mobile), tmp_path / "weights.pt")
    with pytest.raises(InputError, match="does not say what its 19 joints are; name their skeleton by joints="):
        load_published(tmp_path / "weights.pt")
    with pytest.raises(InputError, match="19 joints, got the names of 17"):
        load_published(tmp_path / "weights.pt", PublishedOptions(joints="coco_17"))


def saved_model(folder, network, names=COCO, *, change=lambda variables: variables):
    """A SavedModel of people in pictures: the crop network, a detector, tables of skeletons."""
    variables, called, told = {}, {}, change(variables_of(network, [*mobilenet(SMALL), *HEADS]))
    for number, (name, value) in enumerate(told.items()):
        key = f"crop_model/backbone/variables/{number}{VARIABLE}"
        if name in HEADS:
            part = name.partition("/")[2]
            key, name = f"crop_model/heatmap_heads/conv_final/{part}{VARIABLE}", f"metrabs/metrabs_heads/conv2d/{part}"
        variables[key], called[key] = value, name
    for number in range(2):  # two layers of one name
        key = f"detector/{number}/kernel{VARIABLE}"
        variables[key], called[key] = np.ones((1, 1, 3, 2), np.float32), "conv2d/kernel"
    extra = {
        "joint_names": list(names),
        "joint_edges": np.array([[0, 1], [0, 2]]),
        "crop_model/input_resolution": np.array(384, np.int32),
        "per_skeleton_indices/pair": np.array([8, 7], np.int32),
        "per_skeleton_joint_names/pair": ["lank", "lkne"],
        "per_skeleton_joint_edges/pair": np.array([[1, 0]], np.int32),
    }
    variables |= {name + VARIABLE: value for name, value in extra.items()}
    write_checkpoint(folder / "variables" / "variables", variables, called)
    (folder / "saved_model.pb").write_bytes(b"is not read")
    return folder


def test_saved_model__with_detector_and_skeletons(tmp_path, mobile):
    found = load_published(saved_model(tmp_path, mobile))
    assert_same(found.network, mobile)
    assert found.network.side == 384
    assert found.skeleton.joints == skeleton("panoptic_19").joints
    assert set(found.skeletons) == {"", "pair"}
    assert found.skeletons["pair"].skeleton.joints == ("left_ankle", "left_knee")
    assert found.skeletons["pair"].skeleton.links == ((0, 1),)
    assert found.skeletons["pair"].indices == (8, 7)


def test_saved_model__estimates_as_its_network(tmp_path, mobile):
    found = load_published(saved_model(tmp_path, mobile), PublishedOptions(heatmaps=HeatmapConfig(side=64)))
    twin = MetrabsNet(found.network.config).eval()
    twin.load_state_dict(mobile.state_dict())
    images, intrinsics = torch.rand(2, 3, 64, 64), torch.tensor([[99.0, 0, 32], [0, 99, 32], [0, 0, 1]]).expand(2, 3, 3)
    expected, got = twin(images, intrinsics), found.network(images, intrinsics)
    torch.testing.assert_close(got.joints, expected.joints, rtol=0, atol=0)


SAVED_ERRORS = {
    "a missing variable": (lambda them: without(them, "Conv_2/bias"), COCO, "are missing: Conv_2/bias"),
    "one too many": (lambda them: them | {"Conv_3/bias": np.ones(2, np.float16)}, COCO, None),
    "a part too many": (
        lambda them: them | {"Conv_2/gamma": np.ones(2, np.float16)},
        COCO,
        "without a place: Conv_2/gamma",
    ),
    "no heads": (lambda them: without(without(them, HEADS[0]), HEADS[1]), COCO, "no 'heatmap_head/bias'"),
    "latent points": (lambda them: them, COCO[:12], "19 points for 12 joints: the points are latent"),
}


@pytest.mark.parametrize(("change", "names", "message"), SAVED_ERRORS.values(), ids=SAVED_ERRORS)
def test_saved_model__that_does_not_fit(tmp_path, mobile, change, names, message):
    folder = saved_model(tmp_path, mobile, names, change=change)
    if message is None:  # a layer of something else
        assert_same(load_published(folder).network, mobile)
        return
    with pytest.raises(FormatError, match=message):
        load_published(folder)


def test_checkpoint__of_2020_with_what_the_optimiser_remembers(tmp_path):
    network = made("resnet_v2_50", joints=17, head_layout="separate")
    variables = variables_of(network, resnet_v2((3, 4, 6, 3)))
    slot = "MainPart/resnet_v2_50/logits_copy0/biases/Adam"
    variables |= {slot: np.ones(17, np.float16), "global_step": np.array(7)}
    write_checkpoint(tmp_path / "model.ckpt-7", variables)
    found = load_published(tmp_path, PublishedOptions(joints="mpi_inf_3dhp_17"))
    assert_same(found.network, network)
    assert found.network.config.scale_recovery == "metrabs"
    assert found.skeleton.joints[14:] == ("spine1", "head", "pelvis")
    assert found.skeletons["mpi_inf_3dhp_17"].indices == (*range(14), 16, 14, 15)


@pytest.mark.slow
def test_saved_model__of_bottlenecks_whose_biases_go_into_the_means(tmp_path):
    names = [*keras_resnet((3, 4, 6, 3), 3), *HEADS]
    network = made("resnet_50", joints=17)
    variables = variables_of(network, names)
    biases = {name: np.full(1, 0.25, np.float16) for name in names if name.endswith("_conv/bias")}
    for name in biases:
        biases[name] = np.full_like(variables[name.replace("_conv/bias", "_bn/gamma")], 0.25)
    for part in ("kernel", "bias"):
        variables[f"metrabs/metrabs_heads/conv2d/{part}"] = variables.pop(f"heatmap_head/{part}")
    write_checkpoint(tmp_path / "ckpt-1", variables | biases)
    found = load_published(tmp_path, PublishedOptions(joints="h36m_17")).network.state_dict()
    for name, value in network.state_dict().items():
        if "tracked" not in name:
            expected = value - 0.25 if name.endswith("running_mean") else value
            torch.testing.assert_close(found[name], expected)


def test_nothing__is_there(tmp_path):
    with pytest.raises(MissingAssetError, match="expected a checkpoint of TensorFlow or a SavedModel, found none"):
        load_published(tmp_path)
    write_checkpoint(tmp_path / "ckpt-1", {"conv2d/kernel": np.ones((1, 1, 3, 2), np.float32)})
    with pytest.raises(FormatError, match=r"ckpt-1: expected variables of a MeTRAbs network .* got conv2d/kernel"):
        load_published(tmp_path)
