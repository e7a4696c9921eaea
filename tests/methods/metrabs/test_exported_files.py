"""Files of the networks of MeTRAbs: what they give elsewhere, of other pictures, is what the networks give here."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from marey.core import skeleton
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import SearchSettings, shipped_trunk
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.engine.export import ExportOptions, export
from marey.methods.metrabs.exported import LENS_TERMS, network_of_boxes, network_of_crops, network_of_people
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.networks import LoadedNetwork, trunk_network
from marey.methods.metrabs.trunk_model import MetricHead, TrunkMetrabs

pytestmark = pytest.mark.slow

JOINTS = skeleton("coco_17")
QUICK = SearchSettings(sides=(128,), small_side=None)
ALONE = """
import sys
for name in ("torch", "marey", "onnx", "onnxscript", "cv2"):
    sys.modules[name] = None  # imports of them fail
import numpy, onnxruntime
session = onnxruntime.InferenceSession("file.onnx", providers=["CPUExecutionProvider"])
numpy.savez("out.npz", *session.run(None, dict(numpy.load("in.npz"))))
"""


def on_trunk():
    """The network on the trunk, its head as it begins: the lifter's guess."""
    torch.manual_seed(0)
    return trunk_network(TrunkMetrabs(shipped_trunk(), shipped_image_lifter(), MetricHead()).eval())


def on_crops():
    """A small network of the published kind."""
    torch.manual_seed(0)
    config = MetrabsConfig(backbone="mobilenet_v3_small", joints=JOINTS.joints, heatmaps=HeatmapConfig(side=64))
    return LoadedNetwork(module=MetrabsNet(config).eval(), skeleton=JOINTS, margin=1.2, source="random")


NETWORKS = {
    "published crops": lambda: network_of_crops(on_crops()),
    "boxes": lambda: network_of_boxes(on_trunk()),
    "people": lambda: network_of_people(on_trunk(), most=2, search=QUICK),
}


def others(network):
    """Inputs of other sizes and people than the example: three pictures through a lens, each with two boxes or one."""
    made = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(240, 176))).sample(5, range(3))
    corners = made.views.box[:, 0, :1].float()
    whole = torch.cat((corners[..., :2], corners[..., 2:] - corners[..., :2]), -1)
    upper = whole * torch.tensor([1.0, 1.0, 1.0, 0.5])
    upper[1] = torch.nan
    lens = torch.zeros(3, LENS_TERMS)
    lens[:, 0] = -0.05
    side = network.facts["crops"]["side"]
    known = {
        "images": made.images[:, 0],
        "crops": made.images[:, 0, :, :side, :side],
        "boxes": torch.cat((whole, upper, upper), 1),
        "intrinsics": made.cameras.intrinsics[:, 0].float(),
        "distortion": lens,
    }
    return {port.name: known[port.name].contiguous() for port in network.inputs}


def check(network, found):
    """Compare outputs with those of the module for the same inputs."""
    expected = network.run(tuple(others(network).values()))
    assert len(found) == len(expected)
    for port, ours, theirs in zip(network.outputs, found, expected, strict=True):
        if theirs.is_floating_point():
            assert theirs.isfinite().any(), port.name
            close = 1e-3 * float(theirs.nan_to_num(0.0).abs().amax())
            torch.testing.assert_close(ours, theirs, rtol=0, atol=close, equal_nan=True, msg=port.name)
        else:
            assert torch.equal(ours, theirs), port.name


@pytest.mark.parametrize("which", ["published crops", "people"])
def test_onnx__alone_equals_the_network(tmp_path, which):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    network = NETWORKS[which]()
    made = export(network, tmp_path / "file.onnx")
    assert {"batch"} <= set(made.card["open_dimensions"]) <= {"batch", "people", "height", "width"}
    np.savez(tmp_path / "in.npz", **{name: tensor.numpy() for name, tensor in others(network).items()})
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = np.load(tmp_path / "out.npz")
    check(network, [torch.from_numpy(out[name]) for name in out.files])


@pytest.mark.parametrize("which", ["published crops", "boxes"])
def test_program_of_torch__equals_the_network(tmp_path, which):
    network = NETWORKS[which]()
    made = export(network, tmp_path / "file.pt2", options=ExportOptions(format="torch"))
    program = torch.export.load(made.path)
    with torch.no_grad():
        check(network, program.module()(*others(network).values()))
