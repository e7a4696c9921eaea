"""One image network in an ONNX file, run by onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.core import FormatError, MissingAssetError, MissingDependencyError
from marey.detect.onnx_decode import Array

_OPEN_SIZE = 640
"""Width and height for networks that take any size."""


class OnnxNetwork:
    """A session of onnxruntime on a graph with one image input."""

    def __init__(self, path: str | os.PathLike[str], providers: Sequence[str] | None = None) -> None:
        """Open the file.

        Args:
            path: of the ONNX file.
            providers: of onnxruntime, in order of preference; None: all that are installed.

        Raises:
            MissingDependencyError: onnxruntime is not installed.
            MissingAssetError: there is no such file.
            FormatError: onnxruntime cannot open it, or it does not take images.
        """
        self.path = Path(path)
        if not self.path.is_file():
            raise MissingAssetError(f"no ONNX file {self.path}; export or download the network and give its path")
        self._session = _open(self.path, providers)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
            shapes = [(entry.name, entry.shape) for entry in inputs]
            raise FormatError(f"{self.path}: expected one input (N, 3, height, width), got {shapes}")
        self._input = inputs[0].name
        self._batch, _, height, width = inputs[0].shape
        self.size = _side(width), _side(height)
        self.outputs = [(entry.name, tuple(entry.shape)) for entry in self._session.get_outputs()]

    size: tuple[int, int]
    """Width and height of the input."""
    outputs: list[tuple[str, tuple[int | str | None, ...]]]
    """Names and shapes; a side that is not fixed is a name or None."""

    def run(self, images: Array) -> list[Array]:
        """Outputs for images (N, height, width, 3), N > 0, in as many runs as the graph's batch size asks for."""
        batch = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        step = self._batch if isinstance(self._batch, int) else len(batch)
        padding = np.zeros((-len(batch) % step, *batch.shape[1:]), np.float32)
        batch = np.concatenate((batch, padding))
        runs = [self._session.run(None, {self._input: batch[at : at + step]}) for at in range(0, len(batch), step)]
        return [np.concatenate(parts)[: len(images)] for parts in zip(*runs, strict=True)]


def _side(value: int | str | None) -> int:
    return value if isinstance(value, int) else _OPEN_SIZE


def _open(path: Path, providers: Sequence[str] | None) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError as error:
        raise MissingDependencyError.of(
            "onnxruntime", "running an ONNX network", 'pip install "marey[onnx]"'
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    chosen = list(providers or onnxruntime.get_available_providers())
    failures = (errors.InvalidProtobuf, errors.InvalidGraph, errors.NotImplemented, errors.Fail)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except failures as error:
        raise FormatError(f"{path}: onnxruntime cannot open it: {error}") from error
