"""The networks and losses of triangulation against what Learnable Triangulation's own computed, on its weights rule."""

import numpy as np
import pytest
import torch

from marey.geometry.triangulation import triangulate_projections
from marey.methods.triangulation.losses import absolute_error, distance, squared_error, volumetric_cross_entropy
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    BackboneConfig,
    RansacConfig,
    RansacNet,
    VolumetricConfig,
    VolumetricNet,
    about_axis,
)
from marey.methods.triangulation.quirks import Quirks
from marey.methods.triangulation.ransac import ransac, reprojection_errors
from published_weights import filled, shapes_of

pytestmark = pytest.mark.realdata

PUBLISHED = Quirks.published()
MILLIMETRES = {"rtol": 0, "atol": 0.1}  # the parity README's for joints of whole networks
# one joint of one file, whose rays meet nowhere: a singular value decomposition in double precision of the original's
# own equations is 0.123 mm from its single-precision result, and so are we (the method's card says it)
ROUNDED = {"alg_r18_mult100.npz": {"rtol": 0, "atol": 0.13}}


def load(shared_parity, name):
    with np.load(shared_parity / "triangulation" / name) as arrays:
        numbers = {key: np.asarray(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fib"}
    return {key: torch.from_numpy(array) for key, array in numbers.items()}


def fill(network, **changed):
    state = filled({name: tuple(value.shape) for name, value in network.state_dict().items()})
    for name, factor in changed.items():
        state[name.replace("__", ".")] *= factor
    network.load_state_dict(state)
    return network


def images():
    return torch.from_numpy(np.random.RandomState(11).randn(2, 3, 3, 128, 128).astype(np.float32))


def pelvis():
    return torch.from_numpy(np.random.RandomState(12).randn(2, 17, 3) * 300 + (0, 0, 900))


def backbone(depth=18):
    return BackboneConfig(depth=depth)


def assert_statistics(tensor, expected):
    tensor = tensor.double()
    found = torch.stack((tensor.mean(), tensor.std(), tensor.abs().sum()))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


# Geometry


def views_first(data, *names):
    return (data[name].transpose(0, 1) for name in names)


@pytest.mark.parametrize("weighted", [False, True])
def test_dlt__in_double_precision(shared_parity, weighted):
    data = load(shared_parity, "dlt.npz")
    points, projections, confidences = views_first(data, "points_2d", "proj", "confidences")
    found = triangulate_projections(points, projections, weights=confidences if weighted else None).positions
    expected = data["X_torch_f64_conf" if weighted else "X_numpy_f64_noconf"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_dlt__in_single_precision(shared_parity, weighted):
    data = load(shared_parity, "dlt.npz")
    points, projections, confidences = (part.float() for part in views_first(data, "points_2d", "proj", "confidences"))
    found = triangulate_projections(points, projections, weights=confidences if weighted else None).positions
    torch.testing.assert_close(found, data["X_torch_f32_conf" if weighted else "X_torch_f32_noconf"], **MILLIMETRES)


def test_dlt__derivative(shared_parity):
    data = load(shared_parity, "dlt.npz")
    points, projections, confidences = views_first(data, "points_2d", "proj", "confidences")
    points, confidences = points.clone().requires_grad_(), confidences.clone().requires_grad_()
    triangulate_projections(points, projections, weights=confidences).positions[0, 0].square().sum().backward()
    torch.testing.assert_close(points.grad[:, 0, 0], data["grad_points"], rtol=1e-7, atol=1e-6)
    torch.testing.assert_close(confidences.grad[:, 0, 0], data["grad_conf"], rtol=1e-7, atol=1e-6)


def test_reprojection_errors__as_published(shared_parity):
    data = load(shared_parity, "dlt.npz")
    points, projections = views_first(data, "points_2d", "proj")
    found = reprojection_errors(data["X_numpy_f64_noconf"], points, projections)
    torch.testing.assert_close(found.permute(1, 2, 0), data["reproj_error_of_numpy"], rtol=0, atol=1e-6)


def test_ransac__same_views_and_points(shared_parity):
    data = load(shared_parity, "ransac.npz")
    points, projections = views_first(data, "points_2d", "proj")
    found = ransac(points, projections, pairs=data["sampled_pairs"], refine=False)
    assert torch.equal(found.inliers.permute(1, 2, 0), data["inliers"])
    torch.testing.assert_close(found.positions, data["X_no_opt"], rtol=0, atol=1e-6)


def test_ransac__refined_no_worse_than_scipy(shared_parity):
    data = load(shared_parity, "ransac.npz")
    points, projections = views_first(data, "points_2d", "proj")
    found = ransac(points, projections, pairs=data["sampled_pairs"])

    def loss(positions):
        error = reprojection_errors(positions, points, projections)
        huber = torch.where(error <= 1, error.square(), 2 * error - 1)
        return torch.where(found.inliers, huber, 0.0).sum(0)

    assert (loss(found.positions) - loss(data["X_direct_opt"])).max() < 1e-6
    # scipy stops at a relative change of the loss by 1e-8, that is within some hundredths of a millimetre
    torch.testing.assert_close(found.positions, data["X_direct_opt"], rtol=0, atol=0.05)


def test_rotations__as_published(shared_parity):
    data = load(shared_parity, "rotation.npz")
    for place, angle in enumerate(data["thetas"]):
        for axis in "yz":
            torch.testing.assert_close(about_axis(angle, axis), data[f"R_{axis}_{place}"], rtol=0, atol=1e-12)


def test_cmu_axes__as_published(shared_parity):
    data = load(shared_parity, "rotation.npz")
    found = data["coord_volume"].transpose(1, 2).flip(1)
    assert torch.equal(found, data["transfer_cmu_to_h36m"])


# Losses


def test_losses__values_and_derivatives(shared_parity):
    data = load(shared_parity, "losses.npz")
    known = data["validity"][..., 0] > 0
    losses = {
        "MSE": squared_error,
        "MSESmooth400": lambda *labels: squared_error(*labels, bend=400.0),
        "MAE": absolute_error,
        "L2": distance,
    }
    for name, loss in losses.items():
        joints = data["pred"].clone().requires_grad_()
        value = loss(joints, data["gt"], known)
        torch.testing.assert_close(value.double(), data[name], rtol=2e-5, atol=0, msg=name)
        value.backward()
        expected = data[f"grad_{name}"]
        if name == "L2":  # the original's derivative is NaN for joints without a label, ours zero
            assert torch.equal(expected.isnan().any(-1), ~known)
            expected = expected.nan_to_num()
        torch.testing.assert_close(joints.grad, expected, rtol=1e-4, atol=1e-7, msg=name)


def test_volumetric_cross_entropy__as_published(shared_parity):
    data = load(shared_parity, "losses.npz")
    found = volumetric_cross_entropy(
        data["ce_volumes"], data["ce_coord_volumes"], data["ce_gt"], data["ce_validity"][..., 0] > 0
    )
    torch.testing.assert_close(found.double(), data["VolumetricCE"], rtol=2e-5, atol=0)


# Networks


@pytest.mark.parametrize(
    ("file", "config"),
    [
        ("alg_r18_mult100.npz", AlgebraicConfig(backbone=backbone(), quirks=PUBLISHED)),
        ("alg_r18_mult5.npz", AlgebraicConfig(backbone=backbone(), quirks=PUBLISHED, heatmap_multiplier=5)),
        (
            "alg_r18_noconf_mult5.npz",
            AlgebraicConfig(backbone=backbone(), quirks=PUBLISHED, heatmap_multiplier=5, use_confidences=False),
        ),
    ],
)
def test_algebraic_network__as_published(shared_parity, file, config):
    data = load(shared_parity, file)
    network = fill(AlgebraicNet(config)).eval()
    with torch.inference_mode():
        found = network(images(), data["proj_128"].float())
    torch.testing.assert_close(found.joints, data["keypoints_3d"], **ROUNDED.get(file, MILLIMETRES))
    torch.testing.assert_close(found.keypoints, data["keypoints_2d"], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.confidences, data["confidences"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.heatmaps[..., ::4, ::4], data["heatmaps_sub"], rtol=1e-3, atol=1e-6)
    assert_statistics(found.heatmaps, data["heatmaps_stats"])


def test_ransac_network__same_keypoints(shared_parity):
    data = load(shared_parity, "ransac_net_r18.npz")
    network = fill(RansacNet(RansacConfig(backbone=backbone(), quirks=PUBLISHED))).eval()
    with torch.inference_mode():
        found = network(images(), data["proj_128"].float())
    assert torch.equal(found.keypoints.long(), data["keypoints_2d"])
    assert found.joints.isfinite().all()


@pytest.mark.parametrize("name", ["sum", "max", "softmax", "conf", "conf_norm", "coco"])
def test_volumetric_network__as_published(shared_parity, name):
    coco = name == "coco"
    data = load(shared_parity, "vol_r18_softmax_coco.npz" if coco else f"vol_r18_{name}_mpii.npz")
    config = VolumetricConfig(
        backbone=backbone(),
        aggregation="softmax" if coco else name,
        volume_size=int(data["volume_size"]),
        cuboid_side=float(data["cuboid_side"]),
        vertical="y" if coco else "z",
        quirks=PUBLISHED,
    )
    network = fill(VolumetricNet(config)).eval()
    center = pelvis()[:, [11, 12]].mean(1) if coco else pelvis()[:, 6]
    with torch.inference_mode():
        found = network(images(), data["proj_128"].float(), center.float())
    torch.testing.assert_close(found.joints, data["keypoints_3d"], **MILLIMETRES)
    torch.testing.assert_close(found.features[:, :, ::4, ::4, ::4], data["features_sub"], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.volumes[..., ::8, ::8, ::8], data["volumes_sub"], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", ["sum", "softmax", "conf", "softmax_1view"])
def test_volumetric_network__with_clear_peaks(shared_parity, name):
    data = load(shared_parity, f"vol_r18_{name}_peaked.npz")
    config = VolumetricConfig(
        backbone=backbone(),
        aggregation=name.removesuffix("_1view"),
        volume_size=int(data.get("volume_size", 32)),
        cuboid_side=float(data.get("cuboid_side", 2500.0)),
        volume_multiplier=float(data["volume_multiplier"]),
        quirks=PUBLISHED,
    )
    factor = float(data["process_weight_scale"])
    network = fill(VolumetricNet(config), process_features__0__weight=factor).eval()
    views = 1 if name.endswith("1view") else 3
    with torch.inference_mode():
        found = network(images()[:, :views], data["proj_128"][:, :views].float(), pelvis()[:, 6].float())
    torch.testing.assert_close(found.joints, data["keypoints_3d"], **MILLIMETRES)
    torch.testing.assert_close(found.volumes.flatten(2).amax(-1), data["volumes_max"], rtol=1e-2, atol=1e-6)


def test_algebraic_network__learns_as_published(shared_parity):
    data = load(shared_parity, "alg_r18_train_step.npz")
    projections = load(shared_parity, "alg_r18_mult5.npz")["proj_128"].float()
    network = fill(AlgebraicNet(AlgebraicConfig(backbone=backbone(), quirks=PUBLISHED, heatmap_multiplier=5))).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-5)
    found = network(images(), projections)
    known = torch.ones(2, 17, dtype=torch.bool)
    loss = squared_error(found.joints * 0.1, data["gt"].float() * 0.1, known, bend=400.0)
    loss.backward()
    torch.testing.assert_close(loss.double(), data["loss"], rtol=1e-4, atol=0)
    norms = {name: value.grad.norm().double() for name, value in network.named_parameters() if value.grad is not None}
    for name in data:
        if name.startswith("gradnorm__"):
            expected = data[name].flatten()[0]
            torch.testing.assert_close(
                norms[name.removeprefix("gradnorm__").replace("__", ".")], expected, rtol=5e-3, atol=1e-3, msg=name
            )
    optimiser.step()
    # the derivative of this bias is zero but for rounding, of which Adam makes a whole step to either side
    found_bias = network.backbone.final_layer.bias.detach()
    torch.testing.assert_close(found_bias, data["final_bias_after"], rtol=0, atol=2.1e-5)
    torch.testing.assert_close(
        network.backbone.bn1.running_mean, data["bn1_running_mean_after"], **{"rtol": 1e-4, "atol": 1e-6}
    )


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("ransac", lambda: RansacNet(RansacConfig())),
        ("alg", lambda: AlgebraicNet(AlgebraicConfig())),
        ("alg_no_conf", lambda: AlgebraicNet(AlgebraicConfig(use_confidences=False))),
        ("vol", lambda: VolumetricNet(VolumetricConfig())),
        ("vol_conf", lambda: VolumetricNet(VolumetricConfig(aggregation="conf"))),
    ],
)
def test_networks__have_the_published_names_and_shapes(shared_parity, name, make):
    expected = shapes_of(shared_parity / "triangulation" / f"state_dict_keys_{name}.txt")
    with torch.device("meta"):
        found = make().state_dict()
    assert {key: tuple(value.shape) for key, value in found.items()} == expected
