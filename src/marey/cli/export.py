"""`marey export`: a method as a file that runs without Marey."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from marey.core import InputError
from marey.engine.export import OPSET, TOLERANCE, Export, ExportFormat, ExportOptions
from marey.pipeline.exporting import export_method


@dataclass(frozen=True, kw_only=True)
class Options:
    """Export a method as ONNX or as a program of torch.export; the file is checked against the method first."""

    method: Positional[str]
    """Such as classical; a wrong name lists them all."""
    out: Path
    """The file, such as classical.onnx or classical.pt2. A card, `<file>.json`, is written beside it."""
    format: ExportFormat | None = None
    """None: as the file's ending tells, .onnx or .pt2."""
    recipe: str | None = None
    """Which network of the method; a wrong name lists them. None: its first."""
    weights: Path | None = None
    """Official weights or a folder of `marey train`, for methods with weights. None: what is shipped."""
    opset: int = OPSET
    """Version of ONNX's standard operators."""
    tolerance: float = TOLERANCE
    """Largest difference between file and method, as a share of each output's largest value."""


def run(options: Options) -> None:
    """Export, and say what the file takes and gives."""
    chosen = ExportOptions(format=_format(options), opset=options.opset, tolerance=options.tolerance)
    made = export_method(options.method, options.out, recipe=options.recipe, weights=options.weights, options=chosen)
    print("\n".join(_told(made)))


def _format(options: Options) -> ExportFormat:
    if options.format is not None:
        return options.format
    endings: dict[str, ExportFormat] = {".onnx": "onnx", ".pt2": "torch"}
    if options.out.suffix not in endings:
        raise InputError(f"out: expected an ending of {', '.join(endings)}, got '{options.out.name}'; or pass --format")
    return endings[options.out.suffix]


def _told(made: Export) -> list[str]:
    card = made.card
    lines = []
    for kind in ("inputs", "outputs"):
        for port in card[kind]:
            shape = f"({', '.join(map(str, port['shape']))})"
            lines.append(f"{kind[:-1]:<7} {port['name']:<20} {shape:<30} {port['unit']}".rstrip())
    worst = max(error for trial in made.trials for error in trial.errors.values())
    return [
        *lines,
        f"checked with {card['check']['runtime']} at {len(made.trials)} sizes: differs from the method by "
        f"{worst:.1e} of the largest value",
        f"wrote {made.path} and {made.card_path}",
    ]
