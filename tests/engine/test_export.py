"""Exported files against the modules they are from, and what must not be exported."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from marey.core import InputError, MissingDependencyError, ShapeError
from marey.engine.export import CARD, ExportOptions, export
from marey.engine.export_check import check_round_trip, difference
from marey.engine.networks import Network, Port, weights_hash

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


class Scorer(nn.Module):
    """Points to the label of the nearest of 4 places, and the distances: integers and floats, batch norm, dropout."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.places = nn.Parameter(torch.randn(4, 3, generator=generator))
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)

    def forward(self, points):
        flat = self.dropout(self.norm(points.reshape(-1, 3))).reshape(points.shape)
        distances = (flat[..., None, :] - self.places).square().sum(-1)
        return distances, distances.argmin(-1)


class Applied(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, values):
        return self.function(values)


def scorer():
    return Network(
        module=Scorer(),
        example=(torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)),),
        inputs=(Port(name="points", shape=("batch", "points_each", 3), unit="metres", frame="world"),),
        outputs=(
            Port(name="distances", shape=("batch", "points_each", 4), unit="square metres"),
            Port(name="nearest", shape=("batch", "points_each"), meaning="Number of the nearest place."),
        ),
    )


def matrices(function, *, out=("batch", 3, 3), example=None):
    given = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1)) if example is None else example
    return Network(
        module=Applied(function),
        example=(given,),
        inputs=(Port(name="matrices", shape=("batch", 3, 3)),),
        outputs=(Port(name="found", shape=out),),
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(
        scorer(), tmp_path_factory.mktemp("export") / "scorer.onnx", options=ExportOptions(origin={"method": "scorer"})
    )


def test_export__onnx_equals_the_module_at_sizes_never_traced(exported):
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    points = torch.randn(7, 1, 3, generator=torch.Generator().manual_seed(2))
    distances, nearest = session.run(None, {"points": points.numpy()})
    expected = scorer().module.eval()(points)
    np.testing.assert_allclose(distances, expected[0].detach(), rtol=1e-5)
    assert (nearest == expected[1].numpy()).all()


def test_export__onnx_holds_standard_operators_names_and_metadata_and_no_path(exported):
    model = onnx.load(exported.path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert {node.domain for node in model.graph.node} == {""}
    shapes = {
        entry.name: [place.dim_param or place.dim_value for place in entry.type.tensor_type.shape.dim]
        for entry in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "points": ["batch", "points_each", 3],
        "distances": ["batch", "points_each", 4],
        "nearest": ["batch", "points_each"],
    }
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["method"] == "scorer"
    assert properties["weights_sha256"] == weights_hash(scorer().module)
    assert json.loads(properties["inputs"])[0]["unit"] == "metres"
    assert b".py" not in exported.path.read_bytes()


def test_export__card_lies_beside_and_says_what_was_checked(exported):
    card = json.loads(exported.card_path.read_text("utf-8"))
    assert exported.card_path.name == "scorer.onnx.json"
    assert card["sha256"] == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert card["outputs"][1]["meaning"] == "Number of the nearest place."
    sizes = [tuple(trial["sizes"].values()) for trial in card["check"]["trials"]]
    assert sizes == [(2, 5), (3, 6), (1, 5), (2, 1), (1, 1)]
    assert max(trial["errors"]["distances"] for trial in card["check"]["trials"]) < 1e-6
    assert {trial["errors"]["nearest"] for trial in card["check"]["trials"]} == {0.0}


def test_export__onnx_runs_where_neither_torch_nor_marey_can_be_imported(exported, tmp_path):
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "marey", "onnx", "onnxscript"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy, onnxruntime
session = onnxruntime.InferenceSession({str(exported.path)!r}, providers=["CPUExecutionProvider"])
distances, nearest = session.run(None, {{"points": numpy.zeros((3, 2, 3), numpy.float32)}})
print(distances.shape, nearest.dtype)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "(3, 2, 4) int64\n", done.stderr


def test_export__is_the_same_file_each_time(exported, tmp_path):
    again = export(scorer(), tmp_path / "scorer.onnx", options=ExportOptions(origin={"method": "scorer"}))
    assert again.path.read_bytes() == exported.path.read_bytes()


def test_export__torch_program_equals_the_module_and_holds_the_card(tmp_path):
    network = scorer()
    network.module.train()
    made = export(network, tmp_path / "scorer.pt2", options=ExportOptions(format="torch"))
    assert network.module.training  # the module given is left alone
    files = {CARD: ""}
    program = torch.export.load(made.path, extra_files=files)
    points = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(2))
    for found, expected in zip(program.module()(points), scorer().module.eval()(points), strict=True):
        torch.testing.assert_close(found, expected)
    assert json.loads(files[CARD])["weights_sha256"] == made.card["weights_sha256"]
    assert str(sys.prefix) not in files[CARD]


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda a: torch.linalg.svd(a)[1], "aten._linalg_svd"),
        (lambda a: torch.linalg.eigvalsh(a), "aten._linalg_eigh"),
        (lambda a: torch.special.i0e(a[..., 0]), "prims.bessel_i0e"),
    ],
)
def test_export__operator_without_onnx_counterpart__is_named(tmp_path, function, operator):
    network = matrices(function, out=("batch", 3))
    with pytest.raises(InputError, match=rf"operator {operator} has no ONNX counterpart; take a closed form"):
        export(network, tmp_path / "bad.onnx")
    assert not list(tmp_path.iterdir())


def test_export__the_same_operator_is_fine_for_torch(tmp_path):
    network = matrices(lambda a: torch.linalg.svdvals(a), out=("batch", 3))
    assert export(network, tmp_path / "values.pt2", options=ExportOptions(format="torch")).path.exists()


def test_export__branch_on_values__cannot_be_traced(tmp_path):
    network = matrices(lambda a: a if a.sum() > 0 else -a)
    with pytest.raises(
        InputError, match=r"(?s)Applied cannot be traced with open batch: .*data-dependent.*torch\.where"
    ):
        export(network, tmp_path / "bad.onnx")
    assert not list(tmp_path.iterdir())


def test_export__one_size_only__is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be traced with open batch: Constraints violated \(batch\)"):
        export(matrices(lambda a: a.reshape(2, 3, 3) * 2), tmp_path / "bad.onnx")


class Drifting(nn.Module):
    """Gives something else at every call, as a graph with random numbers in it does."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, values):
        self.calls += 1
        return values + self.calls  # the traced one is a constant of the graph


def test_export__file_that_computes_something_else__is_not_left_and_the_older_one_stays(tmp_path):
    (tmp_path / "drift.onnx").write_bytes(b"older")
    network = Network(
        module=Drifting(),
        example=(torch.ones(2),),
        inputs=(Port(name="values", shape=("batch",)),),
        outputs=(Port(name="sums", shape=("batch",)),),
    )
    with pytest.raises(
        InputError, match=r"the onnx export computes something else .* at batch 3: sums by .*nothing was"
    ):
        export(network, tmp_path / "drift.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["drift.onnx"]
    assert (tmp_path / "drift.onnx").read_bytes() == b"older"


def test_export__outputs_named_wrongly__are_refused(tmp_path):
    with pytest.raises(ShapeError, match=r"found: expected \(batch, 3\), here \(2, 3\), got \(2, 3, 3\)"):
        export(matrices(lambda a: a * 2, out=("batch", 3)), tmp_path / "bad.pt2", options=ExportOptions(format="torch"))


def test_export__nothing_finite_to_compare__is_no_check(tmp_path):
    network = matrices(lambda a: a * torch.nan)
    with pytest.raises(InputError, match=r"found: no value of the example is finite"):
        export(network, tmp_path / "bad.pt2", options=ExportOptions(format="torch"))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_export__without_the_extra__says_how_to_install_it(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"'{package}', which is not installed; run: pip install"):
        export(matrices(lambda a: a * 2), tmp_path / "double.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, r"format: expected one of onnx, torch, got 'tflite'"),
        ({"tolerance": 0.0}, r"tolerance: expected a share between 0 and 1, got 0\.0"),
    ],
)
def test_options__that_do_not_exist(options, message):
    with pytest.raises(InputError, match=message):
        ExportOptions(**options)


def test_export__opset_that_is_not_supported(tmp_path):
    with pytest.raises(InputError, match=r"opset: expected one of 18, .*, got 9"):
        export(matrices(lambda a: a * 2), tmp_path / "double.onnx", options=ExportOptions(opset=9))


def test_export__folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*double\.pt2"):
        export(matrices(lambda a: a * 2), tmp_path / "absent" / "double.pt2", options=ExportOptions(format="torch"))


def test_round_trip__integers_must_be_equal():
    network = scorer()
    network = network.on_cpu()

    def off_by_one(inputs):
        distances, nearest = network.run(inputs)
        return distances, nearest.roll(1, 0)

    with pytest.raises(InputError, match=r"nearest by \d"):
        check_round_trip(network, off_by_one, tolerance=0.5, what="the program")


def test_round_trip__a_program_for_one_size_is_found_out():
    network = matrices(lambda a: a * 2).on_cpu()

    def fixed(inputs):
        if len(inputs[0]) != 2:
            raise RuntimeError("batch is 2")
        return network.run(inputs)

    with pytest.raises(InputError, match=r"the program does not run at batch 3, where the module does: batch is 2"):
        check_round_trip(network, fixed, tolerance=1e-4, what="the program")


@pytest.mark.parametrize(
    ("found", "expected", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([0.0, 1e-3], [0.0, 0.0], 1e-3),
        ([1.0, np.nan], [1.0, np.nan], 0.0),
        ([1.0, np.nan], [1.0, 2.0], np.inf),
        ([1.0, 2.0], [1.0, np.nan], np.inf),
        ([1.0, np.inf], [1.0, -np.inf], np.inf),
        ([1.0, np.inf], [1.0, np.inf], 0.0),
    ],
)
def test_difference__a_share_of_the_largest_value(found, expected, error):
    assert difference(torch.tensor(found), torch.tensor(expected), "values") == pytest.approx(error)


def test_network__names_sizes_and_examples_are_checked():
    port = Port(name="values", shape=("batch", 3))
    with pytest.raises(ShapeError, match=r"values: expected \(batch, 3\), here \(2, 3\), got \(2, 4\)"):
        Network(module=nn.Identity(), example=(torch.ones(2, 4),), inputs=(port,), outputs=())
    with pytest.raises(ShapeError, match=r"expected open dimensions of 2 or more.*batch"):
        Network(module=nn.Identity(), example=(torch.ones(1, 3),), inputs=(port,), outputs=())
    with pytest.raises(InputError, match=r"expected each once, got values, values"):
        Network(module=nn.Identity(), example=(torch.ones(2, 3),), inputs=(port,), outputs=(port,))
    other = Port(name="others", shape=("batch",))
    with pytest.raises(ShapeError, match=r"others: expected \(batch\), here \(2,\), got \(5,\)"):
        Network(module=nn.Identity(), example=(torch.ones(2, 3), torch.ones(5)), inputs=(port, other), outputs=())


def test_resized__repeats_and_cuts_off():
    port = Port(name="values", shape=("batch", 2))
    network = Network(module=nn.Identity(), example=(torch.arange(6.0).view(3, 2),), inputs=(port,), outputs=())
    assert network.resized({"batch": 4})[0][:, 0].tolist() == [0, 2, 4, 0]
    assert network.resized({"batch": 1})[0].tolist() == [[0, 1]]


def test_weights_hash__changes_with_names_shapes_and_bytes():
    linear = nn.Linear(2, 2)
    first = weights_hash(linear)
    assert weights_hash(linear) == first
    with torch.no_grad():
        linear.bias[0] += 1e-3
    assert weights_hash(linear) != first
    assert weights_hash(nn.Sequential(linear)) != weights_hash(linear)


def test_export__example_that_shows_nothing_at_other_sizes_is_compared_by_what_is_missing():
    def known(rows):
        return torch.where(rows.sum(0) > 3, rows.amax(0), torch.nan)  # of one row nothing

    rows = torch.tensor([[2.0, 2.0], [2.0, 3.0]])
    network = Network(
        module=Applied(known),
        example=(rows,),
        inputs=(Port(name="rows", shape=("count", 2)),),
        outputs=(Port(name="largest", shape=(2,)),),
    )
    trials = check_round_trip(network, lambda inputs: network.run(inputs), tolerance=1e-4, what="the copy")
    assert [trial.errors["largest"] for trial in trials] == [0.0, 0.0, 0.0]
    with pytest.raises(InputError, match="something else than the module at count 1: largest by inf"):
        check_round_trip(network, lambda inputs: [known(*inputs).nan_to_num(7.0)], tolerance=1e-4, what="the file")
