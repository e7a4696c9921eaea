"""How a network is trained, whatever it is: what a recipe says beside its model and its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from marey.core import InputError
from marey.engine.schedules import Constant, Schedule

Algorithm = Literal["adamw", "adam", "adam-tensorflow", "sgd", "rmsprop"]
Precision = Literal["32-true", "64-true", "bf16-mixed", "16-mixed"]

RUN_ONLY = (
    *("validate_every", "checkpoint_every", "keep", "preview_every", "log_every"),
    *("accelerator", "devices", "nodes"),
)
"""Settings that do not touch what is learned: a run goes on with others."""


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """A part of the network with a learning rate of its own."""

    prefix: str
    """Of the names of its parameters, such as `backbone.`; the longest prefix that fits counts."""
    learning_rate: float
    weight_decay: float | None = None
    """None: the optimiser's."""


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """How gradients change parameters. Parameters that need no gradient are left out."""

    algorithm: Algorithm = "adamw"
    """`adam-tensorflow` differs from `adam` in where epsilon stands, see `marey.engine.adam_tensorflow`."""
    learning_rate: float = 1e-3
    """Of all parameters that no group names; the schedule's factor multiplies it, as those of the groups."""
    weight_decay: float = 0.0
    decay_vectors: bool = True
    """False: biases and the scales of normalisations, all parameters of less than two dimensions, do not decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of those named after Adam; the second is also rmsprop's smoothing."""
    epsilon: float = 1e-8
    momentum: float = 0.0
    """Of sgd and rmsprop."""
    groups: tuple[ParameterGroup, ...] = ()

    def __post_init__(self) -> None:
        rates = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay, "epsilon": self.epsilon}
        for group in self.groups:
            rates[f"learning_rate of '{group.prefix}'"] = group.learning_rate
            rates[f"weight_decay of '{group.prefix}'"] = group.weight_decay or 0.0
        for name, value in rates.items():
            if not 0 <= value < float("inf"):
                raise InputError(f"{name}: expected a number of 0 or more, got {value}")
        for name, value in (("betas", self.betas[0]), ("betas", self.betas[1]), ("momentum", self.momentum)):
            if not 0 <= value < 1:
                raise InputError(f"{name}: expected numbers from 0 to below 1, got {value}")
        prefixes = [group.prefix for group in self.groups]
        if len(set(prefixes)) < len(prefixes):
            raise InputError(f"groups: expected different prefixes, got {', '.join(prefixes)}")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Of one training run. The same settings, data and number of processes give the same weights."""

    steps: int = 10_000
    """Of the optimiser."""
    seed: int = 0
    """Of the order of the data and all random numbers."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Constant)
    """Of the learning rates: constant, cosine, step-decay, exponential or piecewise."""
    warm_up: int = 0
    """Steps over which the learning rates rise to what the schedule says."""
    accumulate: int = 1
    """Global batches whose gradients make one step."""
    precision: Precision = "32-true"
    """`bf16-mixed`: bfloat16 where it is safe, the parameters stay float32."""
    clip: float | None = None
    """Largest norm of the gradient of all parameters together; None: as it comes."""
    ema_decay: float | None = None
    """Of the average of the weights over the steps, such as 0.999: what is validated and exported. None: the weights
    of the last step are."""
    ema_warm_up: bool = True
    """The decay of step t is at most (1 + t) / (10 + t), so that the first weights are soon forgotten."""
    unused_parameters: bool = False
    """Whether a step may leave parameters out of the loss; with several processes such must be looked for."""
    deterministic: bool = False
    """Ask torch for kernels that repeat themselves bit by bit on GPUs too, where there are such; slower."""

    validate_every: int = 1000
    """Steps, and after the last; 0: never."""
    checkpoint_every: int = 1000
    """Steps, and after the last; 0: only after the last and when interrupted."""
    keep: int = 2
    """The last so many checkpoints, and the best."""
    best: str | None = None
    """Name of the validated score whose best weights are exported; None: those of the last step are."""
    best_is: Literal["lowest", "highest"] = "lowest"
    log_every: int = 50
    """Steps between lines of metrics.jsonl; whether the losses are finite is looked at then."""
    preview_every: int = 0
    """Steps between pictures in TensorBoard; 0: none."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int | None = None
    """Of each machine. None: as many as the launcher (torchrun) started processes for, else one."""
    nodes: int | None = None
    """Machines. None: what the launcher says, else one."""

    def __post_init__(self) -> None:
        at_least = {"steps": 1, "accumulate": 1, "keep": 1, "log_every": 1}
        at_least |= dict.fromkeys(("warm_up", "validate_every", "checkpoint_every", "preview_every"), 0)
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise InputError(f"{name}: expected {least} or more, got {getattr(self, name)}")
        for name in ("devices", "nodes"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise InputError(f"{name}: expected 1 or more, got {value}")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"clip: expected a norm above 0, got {self.clip}; none: no clipping")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise InputError(f"ema_decay: expected a number between 0 and 1, got {self.ema_decay}; none: no average")
        if self.best is not None and not self.validate_every:
            raise InputError(f"best: the score '{self.best}' needs validate_every above 0")
