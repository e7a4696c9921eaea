"""Export a module for programs without Marey: as an ONNX file or as a program of torch.export.

The program of torch.export is the source of both. No file is left unless, loaded again, it computes what the module
computes: on the example, and on other sizes of its open dimensions.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from marey._version import __version__
from marey.core import InputError
from marey.engine.export_check import Runner, Trial, check_round_trip
from marey.engine.export_onnx import OnnxRunner, write_onnx
from marey.engine.networks import Network, weights_hash
from marey.io.atomic import atomic_path

ExportFormat = Literal["onnx", "torch"]

OPSET = 20
TOLERANCE = 1e-4
"""Of an output's largest value. Single precision keeps seven digits; the rest is for sums in another order."""

CARD = "marey.json"
"""Name of the card within a program of torch.export."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How to export."""

    format: ExportFormat = "onnx"
    """`onnx`, or `torch` for a program of torch.export (.pt2)."""
    opset: int = OPSET
    """Version of ONNX's standard operators."""
    tolerance: float = TOLERANCE
    """Largest difference between file and module, as a share of each output's largest value."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """What the card says of where the module is from, such as its method and recipe."""

    def __post_init__(self) -> None:
        if self.format not in get_args(ExportFormat):
            raise InputError(f"format: expected one of {', '.join(get_args(ExportFormat))}, got '{self.format}'")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance: expected a share between 0 and 1, got {self.tolerance}")


_OPTIONS = ExportOptions()


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written."""

    path: Path
    card_path: Path
    card: Mapping[str, Any]
    """What JSON holds beside the file; within the file the same, but for the checks and the file's own hash."""
    trials: tuple[Trial, ...]


def export(network: Network, path: str | os.PathLike[str], *, options: ExportOptions = _OPTIONS) -> Export:
    """Export a network, load the file again, compare, and only then put it in its place with a card beside it.

    The copy that is exported lies on the CPU and is in evaluation mode; the module given is left alone.

    Args:
        network: the module, an example, and the names, shapes, units and frames of its inputs and outputs.
        path: the file; the card is `<path>.json`.
        options: format, version, tolerance.

    Raises:
        InputError: the module cannot be traced, an operator has no ONNX counterpart, the file does not compute what
            the module does, or it cannot be written. No file is left, and an older one is as it was.
        ShapeError: the outputs are not of the shapes that were named.
        MissingDependencyError: the extra `onnx` is not installed.
    """
    path = Path(path)
    card_path = path.with_name(f"{path.name}.json")
    network = network.on_cpu()
    program = traced(network)
    card = _card(network, options)
    with atomic_path(card_path) as temporary_card, atomic_path(path) as temporary:
        runner, runtime = _write(temporary, program, network, options, card)
        trials = check_round_trip(network, runner, tolerance=options.tolerance, what=f"the {options.format} export")
        card |= {
            "sha256": hashlib.sha256(temporary.read_bytes()).hexdigest(),
            "check": {
                "runtime": runtime,
                "tolerance": options.tolerance,
                "trials": [asdict(trial) for trial in trials],
            },
        }
        temporary_card.write_text(_json(card), encoding="utf-8", newline="\n")
    return Export(path=path, card_path=card_path, card=card, trials=trials)


def traced(network: Network) -> torch.export.ExportedProgram:
    """The program of a network's module, its open dimensions free.

    Raises:
        InputError: the module branches on data, or holds for one size of an open dimension only.
    """
    dimensions = {name: _dimension(network, name) for name in network.sizes}
    shapes = tuple(
        {axis: dimensions[name] for axis, name in enumerate(port.shape) if isinstance(name, str)}
        for port in network.inputs
    )
    try:
        with torch.no_grad():
            program = torch.export.export(network.module, network.example, dynamic_shapes=shapes)
    except Exception as error:  # torch raises a dozen types here, most of them private
        reason = str(error).partition("For more information")[0].strip()
        raise InputError(
            f"{type(network.module).__name__} cannot be traced with open {', '.join(dimensions) or 'no dimensions'}: "
            f"{reason[:600]}\nWrite branches on values as torch.where, and take sizes from shapes"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _dimension(network: Network, name: str) -> Any:
    """An open dimension, as a multiple of a free one where it has to be."""
    multiple = network.multiple(name)
    if multiple == 1:
        return torch.export.Dim(name, min=network.smallest(name))
    return multiple * torch.export.Dim(f"{name}_by_{multiple}", min=-(-network.smallest(name) // multiple))


def _write(
    path: Path, program: torch.export.ExportedProgram, network: Network, options: ExportOptions, card: Mapping[str, Any]
) -> tuple[Runner, str]:
    """Write the file; return what runs it from there, and on what."""
    if options.format == "onnx":
        properties = {key: value if isinstance(value, str) else json.dumps(value) for key, value in card.items()}
        write_onnx(path, program, network, opset=options.opset, properties=properties)
        runner = OnnxRunner(path)
        return runner, runner.runtime
    with path.open("wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own insides
        torch.export.save(program, file, extra_files={CARD: _json(card)})
    with path.open("rb") as written:
        module = torch.export.load(written).module()

    def run(inputs: Any) -> Any:
        with torch.no_grad():
            found = module(*inputs)
        return (found,) if isinstance(found, torch.Tensor) else found

    return run, f"torch {torch.__version__} on the CPU"


def _card(network: Network, options: ExportOptions) -> dict[str, Any]:
    """What the file is, without what is only known once it is there."""
    return {
        "marey": __version__,
        "torch": torch.__version__,
        **options.origin,
        "format": options.format,
        **({"opset": options.opset} if options.format == "onnx" else {}),
        "weights_sha256": weights_hash(network.module),
        "inputs": [asdict(port) for port in network.inputs],
        "outputs": [asdict(port) for port in network.outputs],
        "open_dimensions": {name: network.smallest(name) for name in network.sizes},
        **({"multiples": dict(network.multiples)} if network.multiples else {}),
        **network.facts,
    }


def _json(card: Mapping[str, Any]) -> str:
    return json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
