"""Layers and networks against what Learnable Triangulation's own computed."""

import numpy as np
import pytest
import torch
from torch import nn

from marey.nn.pose_resnet import PoseResNet
from marey.nn.soft_argmax import soft_argmax_2d, soft_argmax_3d
from marey.nn.v2v import V2V
from marey.nn.volumes import rotate_grid, unproject
from published_weights import filled, shapes_of

pytestmark = pytest.mark.realdata

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def load(shared_parity, name):
    with np.load(shared_parity / "triangulation" / name) as arrays:
        return {
            key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files if arrays[key].dtype.kind in "fib"
        }


def fill(network: nn.Module) -> nn.Module:
    network.load_state_dict(filled({name: tuple(value.shape) for name, value in network.state_dict().items()}))
    return network


def images() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(11).randn(2, 3, 3, 128, 128).astype(np.float32))


def assert_statistics(tensor, expected):
    tensor = tensor.double()
    found = torch.stack((tensor.mean(), tensor.std(), tensor.abs().sum()))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_soft_argmax__as_published(shared_parity):
    data = load(shared_parity, "soft_argmax.npz")
    flat = soft_argmax_2d(data["heatmaps"] * float(data["mult2d"]))
    torch.testing.assert_close(flat.positions, data["coords2d_softmax"], **CLOSE)
    torch.testing.assert_close(flat.distribution, data["prob2d"], **CLOSE)
    positive = soft_argmax_2d(data["heatmaps"], normalisation="relu")
    torch.testing.assert_close(positive.positions, data["coords2d_relu"], **CLOSE)
    solid = soft_argmax_3d(data["volumes"] * float(data["mult3d"]))
    torch.testing.assert_close(solid.positions, data["coords3d_softmax"], **CLOSE)
    torch.testing.assert_close(solid.distribution, data["prob3d"], **CLOSE)
    torch.testing.assert_close(
        soft_argmax_3d(data["volumes"], normalisation="relu").positions, data["coords3d_relu"], **CLOSE
    )
    placed = soft_argmax_3d(data["volumes"] * float(data["mult3d"]), coordinates=data["coord_volumes"])
    torch.testing.assert_close(placed.positions, data["coordvol_softmax"], rtol=1e-5, atol=1e-3)
    unnormalised = soft_argmax_3d(
        data["volumes"], coordinates=data["coord_volumes"], normalisation="relu", renormalise=False
    )
    torch.testing.assert_close(unnormalised.positions, data["coordvol_relu"], rtol=1e-5, atol=1e-3)


def as_published(height: int, width: int) -> torch.Tensor:
    """The published mapping divides x by the height and y by the width, then stretches to the centres of the border."""
    return torch.tensor([(width - 1) / height, (height - 1) / width])


@pytest.mark.parametrize("aggregation", ["sum", "max", "softmax", "conf", "conf_norm"])
def test_unprojection__as_published(shared_parity, aggregation):
    data = load(shared_parity, "unproject.npz")
    confidences = data["vol_confidences"]
    if aggregation == "conf_norm":
        confidences = confidences / confidences.sum(1, keepdim=True)
    by_confidence = aggregation.startswith("conf")
    found = unproject(
        data["features"],
        data["proj"],
        data["coord_volumes"],
        aggregation="confidence" if by_confidence else aggregation,
        confidences=confidences if by_confidence else None,
        map_scale=as_published(24, 24),
        skip_unseen=False,
    )
    torch.testing.assert_close(found, data[f"vol_{aggregation}"], rtol=1e-4, atol=2e-5)


def test_unprojection__of_a_map_that_is_not_square(shared_parity):
    data = load(shared_parity, "unproject.npz")
    found = unproject(
        data["nonsq_features"],
        data["proj"][:1, :2],
        data["coord_volumes"][:1],
        aggregation="sum",
        map_scale=as_published(16, 24),
        skip_unseen=False,
    )
    torch.testing.assert_close(found, data["nonsq_vol_sum"], rtol=1e-4, atol=2e-5)


def test_rotated_grid__as_published(shared_parity):
    data = load(shared_parity, "rotation.npz")
    for axis in "yz":
        for place in range(3):
            rotation = data[f"R_{axis}_{place}"].float()
            found = rotate_grid(data["centered_coord_volume"], rotation, torch.zeros(3))
            torch.testing.assert_close(found, data[f"rotated_{axis}_{place}"], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("depth", [18, 50])
def test_pose_resnet__as_published(shared_parity, depth):
    data = load(shared_parity, f"backbone_resnet{depth}.npz")
    network = fill(PoseResNet(depth, 17, joint_confidences=True, channel_confidences=32)).eval()
    with torch.inference_mode():
        found = network(images()[:, 0])
    torch.testing.assert_close(found.heatmaps, data["heatmaps"], **CLOSE)
    torch.testing.assert_close(found.features[:, ::8, ::4, ::4], data["features_sub"], **CLOSE)
    assert_statistics(found.features, data["features_stats"])
    torch.testing.assert_close(found.joint_confidence, data["alg_confidences"], **CLOSE)
    torch.testing.assert_close(found.channel_confidence, data["vol_confidences"], **CLOSE)


@pytest.mark.parametrize(
    ("list_name", "prefix", "options"),
    [
        ("backbone", "", {}),
        ("ransac", "backbone.", {}),
        ("alg_no_conf", "backbone.", {}),
        ("alg", "backbone.", {"joint_confidences": True}),
        ("vol", "backbone.", {}),
        ("vol_conf", "backbone.", {"channel_confidences": 32}),
    ],
)
def test_pose_resnet__has_the_published_names_and_shapes(shared_parity, list_name, prefix, options):
    shapes = shapes_of(shared_parity / "triangulation" / f"state_dict_keys_{list_name}.txt")
    expected = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    with torch.device("meta"):
        found = PoseResNet(152, 17, **options).state_dict()
    assert [(name, tuple(value.shape)) for name, value in found.items()] == list(expected.items())


def test_v2v__has_the_published_names_and_shapes(shared_parity):
    shapes = shapes_of(shared_parity / "triangulation" / "state_dict_keys_vol.txt")
    prefix = "volume_net."
    expected = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    found = V2V(32, 17).state_dict()
    assert [(name, tuple(value.shape)) for name, value in found.items()] == list(expected.items())


def test_v2v__as_published(shared_parity):
    data = load(shared_parity, "v2v_32.npz")
    network = fill(V2V(32, 17)).eval()
    side = 32
    volumes = torch.from_numpy(np.random.RandomState(21).randn(1, 32, side, side, side).astype(np.float32))
    with torch.inference_mode():
        front = network.front_layers(volumes)
        middle = network.encoder_decoder(front)
        back = network.back_layers(middle)
        output = network(volumes)
    for name, found in (("front", front), ("encdec", middle), ("back", back)):
        torch.testing.assert_close(found[:, ::4, ::8, ::8, ::8], data[f"{name}_sub"], rtol=1e-4, atol=1e-4)
        assert_statistics(found, data[f"{name}_stats"])
    torch.testing.assert_close(output[..., ::4, ::4, ::4], data["output_sub"], rtol=1e-4, atol=1e-4)
    assert_statistics(output, data["output_stats"])


def test_v2v__learns_as_published(shared_parity):
    data = load(shared_parity, "v2v_32_train.npz")
    network = fill(V2V(32, 17)).train()
    volumes = torch.from_numpy(np.random.RandomState(22).randn(2, 32, 32, 32, 32).astype(np.float32))
    loss = network(volumes).square().mean()
    loss.backward()
    expected = {name.removeprefix("gradnorm__"): norm for name, norm in data.items() if name.startswith("gradnorm__")}
    assert expected
    found = {name.replace(".", "__"): value.grad.norm().double() for name, value in network.named_parameters()}
    for name, norm in expected.items():
        torch.testing.assert_close(found[name], norm[0], rtol=2e-3, atol=1e-6, msg=name)
