"""The processes of a training run: one, or as many as torchrun started, set up by Lightning Fabric."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from marey.core import InputError, MissingDependencyError
from marey.engine.settings import TrainingSettings

INSTALL = 'pip install "marey[train]"'


@contextmanager
def processes(settings: TrainingSettings) -> Iterator[Any]:
    """Join the other processes of the run and give the Lightning Fabric of this one; leave them when the block ends.

    Raises:
        MissingDependencyError: the extra `train` is not installed.
        InputError: the settings ask for other numbers of devices or machines than the launcher started, or for an
            accelerator that the machine does not have.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy
    except ImportError as error:
        raise MissingDependencyError.of("lightning-fabric", "training", INSTALL) from error
    joined_before = distributed.is_available() and distributed.is_initialized()
    devices, nodes = process_counts(settings)
    alone = devices * nodes == 1
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=devices,  # said outright: "auto" on CPU under torchrun runs as so many single processes
            num_nodes=nodes,
            strategy="auto" if alone else DDPStrategy(find_unused_parameters=settings.unused_parameters),
            precision=settings.precision,
        )
    except (ValueError, RuntimeError) as error:  # what Fabric raises for a machine without the accelerator
        raise InputError(f"training on {settings.accelerator} with {settings.precision}: {error}") from error
    fabric.launch()
    if fabric.world_size != devices * nodes:
        raise InputError(f"expected {devices * nodes} processes that train together, got {fabric.world_size}")
    try:
        yield fabric
    finally:
        if not joined_before and distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def process_counts(settings: TrainingSettings) -> tuple[int, int]:
    """Devices of each machine, and machines: as the launcher started them, else as the settings say, else one.

    Raises:
        InputError: the launcher started others than the settings ask for.
    """
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        return settings.devices or 1, settings.nodes or 1
    devices = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // devices
    for name, asked, started in (("devices", settings.devices, devices), ("nodes", settings.nodes, nodes)):
        if asked not in (None, started):
            raise InputError(f"{name}: the settings say {asked}, torchrun started {started}; leave the setting out")
    return devices, nodes


@contextmanager
def deterministic_kernels(enabled: bool) -> Iterator[None]:
    """Ask torch for kernels that repeat themselves while the block runs; those it does not have are warned of."""
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(enabled or before, warn_only=warned or not before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
