"""Optimisers as settings name them, with parts of the network that learn at rates of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from marey.core import InputError
from marey.engine.adam_tensorflow import AdamTensorFlow
from marey.engine.settings import Optimiser, ParameterGroup


def make_optimiser(module: nn.Module, settings: Optimiser) -> torch.optim.Optimizer:
    """Make the optimiser of a module's parameters that need gradients.

    Each of its groups has a `name`, and `full_rate`, the learning rate before the schedule.

    Raises:
        InputError: a group's prefix fits no parameter, or there is nothing to learn.
    """
    found: dict[tuple[str, bool], list[nn.Parameter]] = {}
    parts = {group.prefix: group for group in settings.groups}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            prefix = max((prefix for prefix in parts if name.startswith(prefix)), key=len, default="")
            decays = settings.decay_vectors or parameter.ndim > 1
            found.setdefault((prefix, decays), []).append(parameter)
    if not found:
        raise InputError(f"{type(module).__name__} has no parameter that needs a gradient; there is nothing to learn")
    for prefix in parts.keys() - {prefix for prefix, _ in found}:
        near = sorted({name.partition(".")[0] for name, _ in module.named_parameters()})
        raise InputError(f"optimiser.groups: no parameter begins with '{prefix}'; they begin with {', '.join(near)}")
    rest = ParameterGroup(prefix="", learning_rate=settings.learning_rate)
    groups = [_group(parts.get(prefix, rest), decays, members, settings) for (prefix, decays), members in found.items()]
    return _algorithm(groups, settings)


def set_learning_rates(optimiser: torch.optim.Optimizer, factor: float) -> dict[str, float]:
    """Set every group's learning rate for the next step, and give them by name."""
    rates = {}
    for group in optimiser.param_groups:
        rates[group["name"]] = group["lr"] = group["full_rate"] * factor
    return rates


def _group(part: ParameterGroup, decays: bool, members: list[nn.Parameter], settings: Optimiser) -> dict[str, Any]:
    decay = settings.weight_decay if part.weight_decay is None else part.weight_decay
    return {
        "params": members,
        "name": part.prefix.rstrip(".") or "all",
        "lr": part.learning_rate,
        "full_rate": part.learning_rate,
        "weight_decay": decay if decays else 0.0,
    }


def _algorithm(groups: list[dict[str, Any]], settings: Optimiser) -> torch.optim.Optimizer:
    if settings.algorithm == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum)
    if settings.algorithm == "rmsprop":
        return torch.optim.RMSprop(groups, alpha=settings.betas[1], eps=settings.epsilon, momentum=settings.momentum)
    kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "adam-tensorflow": AdamTensorFlow}
    optimiser: torch.optim.Optimizer = kinds[settings.algorithm](groups, betas=settings.betas, eps=settings.epsilon)
    return optimiser
