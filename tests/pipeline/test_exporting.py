"""The table of what can be exported."""

import numpy as np
import pytest
import torch

from marey.core import InputError, MissingAssetError
from marey.detect.trunk import shipped_trunk
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.engine.export import ExportOptions
from marey.io.weights import write_weights
from marey.methods.metrabs import networks
from marey.methods.metrabs.networks import describe, trunk_network
from marey.methods.metrabs.trunk_model import MetricHead, TrunkMetrabs
from marey.pipeline.exporting import NETWORKS, export_method, network_of

EVERY = [(method, recipe) for method, recipes in NETWORKS.items() for recipe in recipes]
SMALL = [(method, recipe) for method, recipe in EVERY if method != "metrabs"]
"""The files of the others are checked in tests/methods/metrabs/test_exported_files.py, with less to search."""


@pytest.fixture(scope="module")
def metrabs_weights(tmp_path_factory):
    """A folder of weights as `marey train` writes it, of a head that has learned nothing."""
    torch.manual_seed(0)
    module = TrunkMetrabs(shipped_trunk(), shipped_image_lifter(), MetricHead())
    folder = tmp_path_factory.mktemp("metrabs") / "weights"
    write_weights(folder, module.state_dict(), {"metrabs": describe(trunk_network(module))})
    return folder


@pytest.mark.parametrize(("method", "recipe"), EVERY)
def test_table__leads_to_networks_whose_ports_are_told(method, recipe, metrabs_weights):
    network, chosen = network_of(method, recipe, weights=metrabs_weights if method == "metrabs" else None)
    assert chosen == recipe
    assert all(port.meaning or port.unit or port.frame for port in (*network.inputs, *network.outputs))
    assert len(network.run(network.example)) == len(network.outputs)


def test_network_of__names_that_are_not_there():
    with pytest.raises(InputError, match=r"method: expected one that exports, classical.*, got 'monocular'"):
        network_of("monocular")
    with pytest.raises(InputError, match=r"recipe: 'classical' has lens, pinhole, got 'fisheye'"):
        network_of("classical", "fisheye")


def test_network_of__weights_for_methods_that_have_none_or_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match=r"weights: 'classical' takes none; algebraic, volumetric, metrabs, trunk do"):
        network_of("classical", weights=tmp_path)
    with pytest.raises(MissingAssetError, match=r"holds no card\.json"):
        network_of("trunk", weights=tmp_path)


def test_network_of__an_installation_without_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "SHIPPED", tmp_path)
    with pytest.raises(
        MissingAssetError, match=r"no weights for the method 'metrabs'; name weights \(--weights PATH\)"
    ):
        network_of("metrabs", "crops")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "recipe"), SMALL)
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_export_method__every_network_passes_the_gate(tmp_path, method, recipe, kind):
    if kind == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    made = export_method(method, tmp_path / "file", recipe=recipe, options=ExportOptions(format=kind))
    assert made.card["method"] == method
    assert made.card["recipe"] == recipe
    errors = [error for trial in made.trials for error in trial.errors.values()]
    assert np.max(errors) < 1e-4
