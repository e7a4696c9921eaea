"""`marey export`."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from marey.cli.export import Options, run
from marey.core import InputError
from marey.methods.classical.network import pinhole


def test_run__writes_program_and_card_and_says_what_they_take(tmp_path, capsys):
    run(Options(method="classical", recipe="pinhole", out=tmp_path / "points.pt2"))
    printed = capsys.readouterr().out
    assert "input   keypoints            (views, frames, joints, 2)     pixels\n" in printed
    assert "output  positions            (frames, joints, 3)            metres\n" in printed
    assert f"wrote {tmp_path / 'points.pt2'} and {tmp_path / 'points.pt2.json'}" in printed
    card = json.loads((tmp_path / "points.pt2.json").read_text("utf-8"))
    assert (card["method"], card["recipe"], card["format"]) == ("classical", "pinhole", "torch")


@pytest.mark.slow
def test_run__onnx_of_the_triangulation_runs_alone_and_equals_it(tmp_path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    run(Options(method="classical", recipe="pinhole", out=tmp_path / "points.onnx"))
    network = pinhole()
    inputs = network.resized({"views": 2, "frames": 5, "joints": 9})
    names = [port.name for port in network.inputs]
    np.savez(tmp_path / "in.npz", **{name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)})
    code = """
import sys
sys.modules["torch"] = sys.modules["marey"] = sys.modules["onnx"] = None  # imports of them fail
import numpy, onnxruntime
session = onnxruntime.InferenceSession("points.onnx", providers=["CPUExecutionProvider"])
found = session.run(None, dict(numpy.load("in.npz")))
numpy.savez("out.npz", *found)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    for key, expected in zip(found.files, network.run(inputs), strict=True):
        torch.testing.assert_close(torch.from_numpy(found[key]), expected, rtol=1e-3, atol=1e-6, equal_nan=True)


def test_run__the_format_must_be_told_by_the_name_or_the_option(tmp_path):
    with pytest.raises(InputError, match=r"out: expected an ending of \.onnx, \.pt2, got 'file\.pb'; or pass --format"):
        run(Options(method="classical", out=tmp_path / "file.pb"))
