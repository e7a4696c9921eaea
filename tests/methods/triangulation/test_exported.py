"""Networks of triangulation for export: the same numbers as the networks, and files that give them elsewhere."""

import json

import pytest
import torch

from marey.core import skeleton
from marey.engine.export import ExportOptions, export
from marey.methods.triangulation.exported import Estimator, network_of
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    BackboneConfig,
    VolumetricConfig,
    VolumetricNet,
)
from marey.methods.triangulation.networks import ImageConvention, LoadedNetwork
from marey.methods.triangulation.quirks import Quirks
from methods.triangulation.test_model import rig

JOINTS = skeleton("h36m_17")


def example(batch=2, views=3):
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (batch, views, 3, 128, 128), dtype=torch.uint8, generator=draws)
    middle = torch.tensor([0.5, -0.3, 1.0])  # what untrained networks find, in the middle of the pictures
    projections = rig(views, batch)
    shift = projections[..., 3:] - projections[..., :3] @ middle[:, None]
    centers = middle + torch.tensor([[0.3, 0.1, -0.2], [-0.1, 0.2, 0.4]])
    return images, torch.cat((projections[..., :3], shift), dim=-1), centers[:batch]


def loaded(kind, *, up="z", published=False):
    torch.manual_seed(0)
    backbone = BackboneConfig(depth=18, joints=17)
    quirks = Quirks.published() if published else Quirks()
    if kind == "algebraic":
        module = AlgebraicNet(AlgebraicConfig(backbone=backbone, quirks=quirks))
    else:
        module = VolumetricNet(
            VolumetricConfig(
                backbone=backbone,
                volume_size=32,
                feature_channels=4,
                v2v_width=4,
                volume_multiplier=500.0,  # untrained, it would say that everything may be everywhere
                quirks=quirks,
            )
        )
    convention = ImageConvention(side=(128, 128), channels="bgr" if published else "rgb", normalised=published)
    return LoadedNetwork(module=module.eval(), kind=kind, skeleton=JOINTS, image=convention, up=up)


@pytest.mark.parametrize("kind", ["algebraic", "volumetric"])
def test_estimator__equals_its_network_on_pictures_made_ready(kind):
    network = loaded(kind, published=True)
    images, projections, centers = example()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    ready = (images[:, :, [2, 1, 0]] / 255 - mean) / deviation
    given = (projections, centers) if kind == "volumetric" else (projections,)
    with torch.no_grad():
        expected = network.module(ready, *given)
        found = Estimator(network)(images, *given)
    assert len(found) == (2 if kind == "volumetric" else 4)
    torch.testing.assert_close(found[0], expected.joints)
    torch.testing.assert_close(found[1], expected.covariance)


def test_estimator__takes_a_world_with_z_up_whatever_the_training_had():
    network = loaded("volumetric", up="-y")
    images, projections, centers = example()
    to_training = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z becomes -y
    turned = torch.cat((projections[..., :3] @ to_training.T, projections[..., 3:]), dim=-1)
    with torch.no_grad():
        expected = network.module(images / 255, turned, centers @ to_training.T)
        joints, covariance = Estimator(network)(images, projections, centers)
    torch.testing.assert_close(joints, expected.joints @ to_training, rtol=0, atol=1e-5)
    torch.testing.assert_close(covariance, to_training.T @ expected.covariance @ to_training, rtol=0, atol=1e-5)


def test_network__says_what_pictures_are_like_and_which_joints_come_out():
    network = network_of(loaded("algebraic", published=True), example())
    assert network.facts["joints"] == list(JOINTS.joints)
    assert network.facts["images"]["channels"] == "red, green, blue"
    assert network.facts["crops"]["box_scale"] == 1.0
    assert [port.shape for port in network.inputs] == [
        ("batch", "views", 3, "height", "width"),
        ("batch", "views", 3, 4),
    ]
    assert all(port.meaning or port.unit for port in (*network.inputs, *network.outputs))
    json.dumps(network.facts)


@pytest.mark.slow
@pytest.mark.parametrize("published", [True, False])
@pytest.mark.parametrize("kind", ["algebraic", "volumetric"])
def test_onnx__equals_the_network_at_any_number_of_people_and_views(tmp_path, kind, published):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    network = loaded(kind, published=published)
    made = export(network_of(network, example()), tmp_path / "network.onnx")
    assert made.card["multiples"] == {"height": 32, "width": 32}
    session = onnxruntime.InferenceSession(str(made.path), providers=["CPUExecutionProvider"])
    for batch, views, side in ((1, 2, 128), (2, 3, 160), (1, 5, 128), *([(1, 1, 128)] if kind == "volumetric" else [])):
        images, projections, centers = example(batch, views)
        images = images.repeat(1, 1, 1, 2, 2)[..., :side, :side]
        given = (images, projections, centers)[: 3 if kind == "volumetric" else 2]
        names = [entry.name for entry in session.get_inputs()]
        found = session.run(None, {name: value.numpy() for name, value in zip(names, given, strict=True)})
        with torch.no_grad():
            expected = Estimator(network)(*given)
        for ours, theirs in zip(found, expected, strict=True):
            assert (torch.from_numpy(ours) - theirs).abs().max() < 1e-3 * theirs.abs().max()


@pytest.mark.slow
def test_program_of_torch__is_another_form_of_the_same(tmp_path):
    made = export(
        network_of(loaded("algebraic"), example()), tmp_path / "network.pt2", options=ExportOptions(format="torch")
    )
    assert max(error for trial in made.trials for error in trial.errors.values()) < 1e-4
