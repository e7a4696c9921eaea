"""The official checkpoints of Learnable Triangulation of Human Pose: whole networks, and the backbone they start from.

What the files are is read from the names and shapes of their tensors: the depth of the backbone, the joints, the heads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from marey.core.errors import FormatError
from marey.io.module_state import listed_tensors, load_state
from marey.io.torch_checkpoints import read_state_dict
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    BackboneConfig,
    RansacConfig,
    RansacNet,
    VolumetricConfig,
    VolumetricNet,
)
from marey.methods.triangulation.quirks import Quirks
from marey.nn.pose_resnet import PoseResNet
from marey.nn.resnet import LAYOUTS

_BACKBONE = "backbone."


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a tolerant loading found."""

    loaded: tuple[str, ...]
    """Names of the tensors that were copied."""
    partly: tuple[str, ...]
    """Those of which only the joints that both have were copied."""
    missing: tuple[str, ...]
    """Tensors of the network that stay as they were."""
    unused: tuple[str, ...]
    """Tensors of the file that have no place."""


def load_official(
    path: str | os.PathLike[str], config: AlgebraicConfig | RansacConfig | VolumetricConfig | None = None
) -> AlgebraicNet | RansacNet | VolumetricNet:
    """Build the network of an official checkpoint, with its weights, ready to estimate.

    Args:
        path: `weights.pth` of the algebraic or volumetric network, the RANSAC network, or a backbone alone (which makes
            a RANSAC network).
        config: Settings that the file does not show (cuboid, softmax over views or their sum, ...), with quirks; its
            backbone is replaced by what the file holds. None: the published settings of the network that it holds.

    Raises:
        MissingAssetError: the file is not there.
        FormatError: it holds something else, or does not fit the settings.
    """
    state = read_state_dict(path)
    if not any(name.startswith(_BACKBONE) for name in state):
        state = {_BACKBONE + name: value for name, value in state.items()}
    backbone = _backbone_of(state, str(path))
    settings = _published(state) if config is None else config
    with torch.device("meta"):  # no weights are drawn that the file replaces
        network = _network(replace(settings, backbone=backbone))
    load_state(network, {name: _single(value) for name, value in state.items()}, str(path), assign=True)
    return network.eval()


def _single(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def load_backbone(network: PoseResNet, path: str | os.PathLike[str]) -> Restored:
    """Copy what fits of a backbone's checkpoint, as a start for training.

    Of a last layer for other joints, those that both have are copied (the first ones), the rest starts anew: Xavier
    uniform filters, zero biases.

    Raises:
        MissingAssetError: the file is not there.
        FormatError: nothing in it fits.
    """
    state = {name.removeprefix(_BACKBONE): value for name, value in read_state_dict(path).items()}
    own = network.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    partly: dict[str, Tensor] = {
        name: _first_joints(state[name], own[name])
        for name in ("final_layer.weight", "final_layer.bias")
        if name in state and name not in fitting and state[name].shape[1:] == own[name].shape[1:]
    }
    if not fitting:
        raise FormatError(f"{path}: none of its {len(state)} tensors fits the backbone; it is of another network")
    network.load_state_dict(fitting | partly, strict=False)
    return Restored(
        loaded=tuple(fitting),
        partly=tuple(partly),
        missing=tuple(name for name in own if name not in fitting and name not in partly),
        unused=tuple(name for name in state if name not in fitting and name not in partly),
    )


def _first_joints(stored: Tensor, own: Tensor) -> Tensor:
    fresh = torch.zeros_like(own)
    if fresh.ndim > 1:
        nn.init.xavier_uniform_(fresh)
    joints = min(len(stored), len(own))
    fresh[:joints] = stored[:joints]
    return fresh


def _published(state: Mapping[str, Tensor]) -> AlgebraicConfig | RansacConfig | VolumetricConfig:
    """The published settings of the network that tensors belong to; lengths in millimetres."""
    quirks = Quirks.published()
    if any(name.startswith("volume_net.") for name in state):
        weighted = any(name.startswith("backbone.vol_confidences.") for name in state)
        aggregation: Any = "conf" if weighted else "softmax"
        return VolumetricConfig(aggregation=aggregation, cuboid_side=2500.0, quirks=quirks)
    if any(name.startswith("backbone.alg_confidences.") for name in state):
        return AlgebraicConfig(quirks=quirks)
    return RansacConfig(quirks=quirks)


def _network(config: AlgebraicConfig | RansacConfig | VolumetricConfig) -> AlgebraicNet | RansacNet | VolumetricNet:
    if isinstance(config, AlgebraicConfig):
        return AlgebraicNet(config)
    return RansacNet(config) if isinstance(config, RansacConfig) else VolumetricNet(config)


def _backbone_of(state: Mapping[str, Tensor], source: str) -> BackboneConfig:
    units = tuple(_count(state, rf"backbone\.layer{stage}\.(\d+)\.conv1\.weight") for stage in (1, 2, 3, 4))
    bottleneck = "backbone.layer1.0.conv3.weight" in state
    final = state.get("backbone.final_layer.weight")
    depth = next((depth for depth, layout in LAYOUTS.items() if layout == (units, bottleneck)), None)
    if final is None or depth is None:
        raise FormatError(
            f"{source}: expected a network of Learnable Triangulation on a residual backbone of 18 to 152 layers, got "
            f"tensors such as {listed_tensors(list(state))}"
        )
    return BackboneConfig(depth=depth, joints=len(final))  # type: ignore[arg-type]


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in state)
