"""What training starts from: whole networks, or backbones that can tell pictures apart already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.core import FormatError, InputError, MissingAssetError
from marey.detect.trunk import WEIGHTS as TRUNK
from marey.detect.trunk import shipped_trunk
from marey.engine.capture_recipe import card_hash
from marey.io.module_state import load_state
from marey.io.tensorflow_bundle import TensorBundle, read_tensor_bundle
from marey.io.torch_checkpoints import read_state_dict
from marey.methods.metrabs.model import MetrabsNet
from marey.methods.metrabs.networks import load_network
from marey.nn.resnet_v2 import ResNetV2, slim_names, state_from_slim
from marey.nn.trunk import TrunkFeatures

_TORCH = (".pth", ".pt", ".safetensors")
_POSTNORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def start_backbone(network: MetrabsNet, path: Path) -> dict[str, Any]:
    """Copy weights of a classifier of pictures into the backbone; its last layer is left out.

    Args:
        network: Whose heads stay random, but for the normalisations before them that slim's networks end with.
        path: A checkpoint of TensorFlow's slim library (`resnet_v2_50.ckpt`), or one of PyTorch with the names of
            torchvision.

    Returns:
        Plain values that say what was loaded.

    Raises:
        MissingAssetError: it is not there.
        FormatError: it is of another backbone.
    """
    counts = {name for name in network.backbone.state_dict() if name.endswith("num_batches_tracked")}
    state = {name: value for name, value in _stored(network, path).items() if name not in counts}
    load_state(network.backbone, state, str(path), network=f"the backbone {network.config.backbone}", optional=counts)
    return {"backbone": path.name, "loaded": len(state)}


def start_on_trunk(network: MetrabsNet) -> dict[str, Any]:
    """Copy the shipped trunk's weights into a backbone that is one.

    Returns:
        Plain values that say what was loaded.

    Raises:
        InputError: the backbone is another.
        MissingAssetError, FormatError: the files in the package are missing or damaged.
    """
    if not isinstance(network.backbone, TrunkFeatures):
        raise InputError(f"backbone_weights: expected a file for the backbone {network.config.backbone}, got none")
    own = network.backbone.trunk.state_dict()
    found = shipped_trunk().state_dict()
    network.backbone.trunk.load_state_dict({name: found[name] for name in own})
    return {"backbone": card_hash(TRUNK), "loaded": len(own)}


def start_network(network: MetrabsNet, path: Path) -> None:
    """Copy the weights of a whole network of the same settings.

    Args:
        network: Whose weights change.
        path: A folder that `marey train` wrote, or a published network.

    Raises:
        MissingAssetError: it is not there.
        FormatError: it is of another network.
    """
    load_state(network, load_network(path).module.state_dict(), str(path))


def _stored(network: MetrabsNet, path: Path) -> dict[str, Tensor]:
    """Tensors of a classifier that the backbone has by the same names."""
    if path.suffix in _TORCH:
        if not path.is_file():
            raise _missing(path)
        own = network.backbone.state_dict()
        return {name: value for name, value in read_state_dict(path).items() if name in own}
    if not any(place.exists() for place in (path, path.with_name(f"{path.name}.index"))):
        raise _missing(path)
    return _from_slim(network, read_tensor_bundle(path), path)


def _missing(path: Path) -> MissingAssetError:
    return MissingAssetError(
        f"weights of the backbone: expected {path}; the pages of TensorFlow's slim models and of torchvision have "
        "them. Or set init_backbone=false to begin with random weights"
    )


def _from_slim(network: MetrabsNet, bundle: TensorBundle, path: Path) -> dict[str, Tensor]:
    if not isinstance(network.backbone, ResNetV2):
        raise FormatError(
            f"{path}: checkpoints of slim are read for backbones resnet_v2, this is {network.config.backbone}; name "
            "one of torchvision in backbone_weights"
        )
    first = min((name for name in bundle.entries if name.endswith("conv1/weights")), key=len, default="")
    scope = first.removesuffix("conv1/weights")
    own = network.backbone.state_dict()
    names = [scope + name for name in slim_names(own).values()]
    if missing := [name for name in names if name not in bundle.entries]:
        raise FormatError(f"{path}: weights of another backbone: '{missing[0]}' is missing")
    state = state_from_slim(own, {name: value.numpy() for name, value in bundle.tensors(names).items()}, scope=scope)
    _start_norms(network, bundle, f"{scope}postnorm/")
    return state


def _start_norms(network: MetrabsNet, bundle: TensorBundle, scope: str) -> None:
    """Each head of the layout of 2020 begins with the last normalisation of the classifier."""
    if network.heads.layout != "separate" or f"{scope}gamma" not in bundle.entries:
        return
    found = {own: bundle.tensor(scope + slim).float() for own, slim in _POSTNORM.items()}
    with torch.no_grad():
        for head in network.heads.separate:
            head[0].load_state_dict(found, strict=False)  # type: ignore[index]
