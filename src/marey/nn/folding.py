"""Networks for inference alone: normalisation becomes part of the convolutions, weights lie channels-last."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from marey.core.errors import InputError

Network = TypeVar("Network", bound=nn.Module)

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMALISATIONS = (nn.BatchNorm2d, nn.BatchNorm3d)
_BLOCK = 31 << 20
"""Bytes, just under the largest block whose size glibc learns from."""


def folded(network: Network) -> Network:
    """Copy a network of `marey.nn` and take its batch normalisations into the convolutions before them.

    The results are the same up to rounding; weights can no longer be trained, nor loaded from checkpoints. A
    normalisation is taken to belong to the convolution that its module defines just before it, as in every block of
    this room.

    Args:
        network: in evaluation mode.

    Raises:
        InputError: the network is being trained.
    """
    if network.training:
        raise InputError("network: expected one in evaluation mode, call .eval() first; training needs its statistics")
    network = copy.deepcopy(network).requires_grad_(False)
    for module in list(network.modules()):
        _fold_children(module)
    for module in network.modules():
        if isinstance(module, _CONVOLUTIONS):
            flat = module.weight.ndim == 4
            module.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)  # type: ignore[call-overload]
    _keep_memory()
    return network


def _keep_memory() -> None:
    """Have activations use memory again that earlier ones did.

    Glibc gives free memory back to the system beyond twice the largest block that it has seen freed, and taking it
    anew costs a mobile network a fifth of its time. It sees such a block here, which nobody writes to.
    """
    torch.empty(_BLOCK, dtype=torch.uint8)


def _fold_children(module: nn.Module) -> None:
    for (name, convolution), (after, normalisation) in pairwise(list(module.named_children())):
        if not (isinstance(convolution, _CONVOLUTIONS) and isinstance(normalisation, _NORMALISATIONS)):
            continue
        if normalisation.num_features != convolution.out_channels:
            continue
        turned = isinstance(convolution, nn.ConvTranspose2d | nn.ConvTranspose3d)
        setattr(module, name, fuse_conv_bn_eval(convolution, normalisation, transpose=turned))
        setattr(module, after, nn.Identity())
