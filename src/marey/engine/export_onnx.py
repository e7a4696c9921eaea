"""Write an exported program as ONNX of standard operators alone, and run such a file."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import InputError, MissingDependencyError
from marey.engine.networks import Network

OPSETS = (18, 19, 20, 21, 22, 23)
"""Versions of the operator set that can be asked for; 20 is the first that samples a volume at points."""

_MOST_BYTES = 2**31 - 2**20
_OPERATOR = re.compile(r"op='([\w.:]+)'")
_INSTALL = 'pip install "marey[onnx]"'


def write_onnx(
    path: Path, program: torch.export.ExportedProgram, network: Network, *, opset: int, properties: Mapping[str, str]
) -> None:
    """Write a program as ONNX.

    Args:
        path: the file.
        program: exported from the network's module.
        network: names and shapes.
        opset: version of the standard operators.
        properties: metadata of the file.

    Raises:
        MissingDependencyError: onnx or onnxscript is not installed.
        InputError: the opset is not one of `OPSETS`, an operator has no counterpart among the standard ones, or the
            weights are too large for one file.
    """
    if opset not in OPSETS:
        raise InputError(f"opset: expected one of {', '.join(map(str, OPSETS))}, got {opset}")
    _import_onnx()
    model = _converted(program, network, opset)
    _check_standard(model, opset)
    _tidy(model, network)
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    if model.ByteSize() > _MOST_BYTES:
        raise InputError(f"the weights take {model.ByteSize() >> 20} MiB, and one ONNX file holds 2 GiB: use 'torch'")
    path.write_bytes(model.SerializeToString(deterministic=True))


class OnnxRunner:
    """A file run by onnxruntime on the CPU."""

    def __init__(self, path: Path) -> None:
        """Open a file; MissingDependencyError if onnxruntime is not installed, InputError if it refuses the file."""
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError.of("onnxruntime", "checking an ONNX file", _INSTALL) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.runtime = f"onnxruntime {onnxruntime.__version__} on the CPU"
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base
            raise InputError(f"onnxruntime does not open what was exported: {error}") from error

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run it."""
        names = [entry.name for entry in self._session.get_inputs()]
        fed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return [torch.from_numpy(array) for array in self._session.run(None, fed)]


def _import_onnx() -> None:
    for package in ("onnx", "onnxscript"):
        try:
            __import__(package)
        except ImportError as error:
            raise MissingDependencyError.of(package, "writing ONNX", _INSTALL) from error


def _converted(program: torch.export.ExportedProgram, network: Network, opset: int) -> Any:
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                (),
                dynamo=True,
                opset_version=opset,
                input_names=[port.name for port in network.inputs],
                output_names=[port.name for port in network.outputs],
                optimize=False,
                verbose=False,
            )
            assert made is not None  # with dynamo=True it never is
            _shorten(made.model)
    except torch.onnx.OnnxExporterError as error:
        raise InputError(_worded_failure(error)) from error
    return made.model_proto


def _shorten(model: Any) -> None:
    """Compute in advance what is constant, and everything else once.

    The exporter's own way also looks for patterns of operators. The time of that grows with the square of their number,
    to a quarter of an hour for ten thousand, and runtimes look for them anyway.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants

    fold_constants(model)
    passes = Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )
    passes(model)


def _worded_failure(error: BaseException) -> str:
    """Which operator is at fault, from the chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        if found := _OPERATOR.search(str(cause)):
            return (
                f"the operator {found.group(1)} has no ONNX counterpart; take a closed form in its place (those of "
                "3x3 matrices, rotations and points are in marey.geometry: small, closest_rotation, alignment, "
                "triangulation), keep it outside of the module, or export with format 'torch'"
            )
        error, cause = cause, cause.__cause__
    return f"ONNX cannot hold this module: {str(error)[:500]}"


def _check_standard(model: Any, opset: int) -> None:
    """Refuse operators of other domains, local functions and another version."""
    versions = {entry.domain: entry.version for entry in model.opset_import}
    foreign = sorted({f"{node.domain}::{node.op_type}" for node in _nodes(model.graph) if node.domain})
    if foreign or model.functions:
        raise InputError(f"operators beyond the standard ones: {', '.join(foreign) or 'functions of its own'}")
    if versions.get("") != opset:
        raise InputError(
            f"opset: asked for {opset}, the exporter needs {versions.get('')}; ask for that, or for format 'torch'"
        )


def _nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _nodes(inner)


def _tidy(model: Any, network: Network) -> None:
    """Name the open dimensions, and drop what the exporter notes of the source: paths of this machine among it."""
    for entries, ports in ((model.graph.input, network.inputs), (model.graph.output, network.outputs)):
        for entry, port in zip(entries, ports, strict=True):
            for place, size in zip(entry.type.tensor_type.shape.dim, port.shape, strict=True):
                if isinstance(size, str):
                    place.dim_param = size
            entry.doc_string = " ".join(filter(None, (port.meaning, port.unit and f"Unit: {port.unit}.")))
            del entry.metadata_props[:]
    for node in _nodes(model.graph):
        del node.metadata_props[:]
        node.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's own reports of its progress, and its warnings about torch's insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
