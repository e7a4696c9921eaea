"""What the published TensorFlow networks call their variables, and which of our networks they are of.

Networks of November 2020 have the names of TensorFlow's slim library (`MainPart/resnet_v2_50/block1/unit_1/...`), those
from 2021 on those of Keras, whose classes each name their layers in their own way. Kernels are (height, width, inputs,
outputs) there, those of depthwise convolutions (height, width, channels, 1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from marey.core.errors import FormatError
from marey.io.module_state import listed_tensors
from marey.nn.efficientnet_v2 import STAGES
from marey.nn.mobilenet_v3 import ROWS
from marey.nn.resnet import LAYOUTS
from marey.nn.resnet_v2 import UNITS, slim_names

HEAD = "heatmap_head"
"""The convolution of a Keras network's heatmaps, under whatever name: `heatmap_head/kernel`, `heatmap_head/bias`."""

_BACKBONE, _HEADS = "backbone.", "heads."
_VARIABLES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


@dataclass(frozen=True, kw_only=True)
class Family:
    """The backbone that variables are of."""

    backbone: str
    """One of `marey.nn.backbones.BACKBONES`."""
    scope: str
    """What the names of its variables begin with."""
    rename: Callable[[Collection[str]], dict[str, str]]
    """Entries of the backbone's state dictionary -> names of variables, without the scope."""
    own: str
    """A pattern of all names of variables of the backbone, without the scope."""
    slim: bool = False
    """Whether it has the heads of 2020: a normalisation and a convolution for each kind of heatmap."""


def recognise(names: Collection[str]) -> Family:
    """The family of variables, by their names.

    Raises:
        FormatError: it is none that has been published, or of a depth that was not.
    """
    for anchor, make in _ANCHORS.items():
        scopes = sorted({found[1] for name in names if (found := re.fullmatch(anchor, name))})
        if len(scopes) > 1:
            raise FormatError(f"several networks in one checkpoint: {', '.join(map(repr, scopes))}; expected one")
        if scopes:
            return make(scopes[0], [name[len(scopes[0]) :] for name in names if name.startswith(scopes[0])])
    raise FormatError(
        "expected variables of a MeTRAbs network (slim's ResNet-v2, Keras's ResNet, EfficientNetV2 or MobileNetV3), "
        f"got {listed_tensors(sorted(names))}"
    )


def variable_names(keys: Collection[str], family: Family) -> dict[str, str]:
    """Entries of the state dictionary of a `MetrabsNet` -> names of variables.

    Counts of batches, which TensorFlow does not keep, are left out, and so is what is no weight.
    """
    kept = [key for key in keys if not key.endswith("num_batches_tracked")]
    inside = [key.removeprefix(_BACKBONE) for key in kept if key.startswith(_BACKBONE)]
    found = {_BACKBONE + key: family.scope + name for key, name in family.rename(inside).items()}
    heads = [key for key in kept if key.startswith(_HEADS)]
    return found | {key: _slim_head(key, family.scope) if family.slim else _keras_head(key) for key in heads}


def converted(name: str, value: Tensor) -> Tensor:
    """A variable in PyTorch's order of dimensions, single precision."""
    value = value.float()
    if value.ndim != 4:
        return value
    return value.permute(2, 3, 0, 1) if name.endswith("depthwise_kernel") else value.permute(3, 2, 0, 1)


def biases_before_norms(names: Iterable[str]) -> dict[str, str]:
    """Biases that Keras's bottlenecks have where a normalisation follows -> the running mean that takes them away."""
    return {
        name: name.removesuffix("_conv/bias") + "_bn/moving_mean"
        for name in names
        if re.search(r"(^|/)conv\d(_block\d+_\d)?_conv/bias$", name)
    }


def _slim(scope: str, names: list[str]) -> Family:
    units = _counts(names, r"block(\d)/unit_(\d+)/bottleneck_v2/preact/gamma")
    depth = _depth(units, {depth: tuple(counts) for depth, counts in UNITS.items()})
    return Family(
        backbone=f"resnet_v2_{depth}",
        scope=scope,
        rename=slim_names,
        own=r"(conv1|block\d|postnorm_copy\d|logits_copy\d)/.*",
        slim=True,
    )


def _keras_v2(scope: str, names: list[str]) -> Family:
    units = _counts(names, r"conv(\d)_block(\d+)_preact_bn/gamma")
    depth = _depth(units, {depth: tuple(counts) for depth, counts in UNITS.items()})
    own = r"(conv1_conv|conv\d_block\d+_\w+|post_bn)/\w+"
    return Family(backbone=f"resnet_v2_{depth}", scope=scope, rename=_each(_keras_v2_name), own=own)


def _keras_v1(scope: str, names: list[str]) -> Family:
    units = _counts(names, r"conv(\d)_block(\d+)_1_conv/kernel")
    bottleneck = "conv2_block1_3_conv/kernel" in names
    layouts = {depth: layout.units for depth, layout in LAYOUTS.items() if layout.bottleneck == bottleneck}
    own = r"(conv1|conv\d_block\d+_\d)_(conv|bn)/\w+"
    return Family(backbone=f"resnet_{_depth(units, layouts)}", scope=scope, rename=_each(_keras_v1_name), own=own)


def _efficient(scope: str, names: list[str]) -> Family:
    units = len({found[1] for name in names if (found := re.match(r"blocks_(\d+)/", name))})
    sizes = {size: sum(stage.blocks for stage in stages) for size, stages in STAGES.items()}
    size = _of_count(units, sizes)
    own = r"(stem|head|blocks_\d+)/.*"
    return Family(backbone=f"efficientnet_v2_{size}", scope=scope, rename=_efficient_names, own=own)


def _mobile(scope: str, names: list[str]) -> Family:
    units = len({found[1] for name in names if (found := re.match(r"(expanded_conv(?:_\d+)?)/project/kernel", name))})
    size = _of_count(units, {size: len(rows) for size, rows in ROWS.items()})
    own = r"(Conv|Conv_1|Conv_2|expanded_conv(_\d+)?)/.*"
    return Family(backbone=f"mobilenet_v3_{size}_keras", scope=scope, rename=_mobile_names, own=own)


_ANCHORS: Mapping[str, Callable[[str, list[str]], Family]] = {
    r"(|.*/)block1/unit_1/bottleneck_v2/preact/gamma": _slim,
    r"(|.*/)conv2_block1_preact_bn/gamma": _keras_v2,
    r"(|.*/)conv2_block1_1_conv/kernel": _keras_v1,
    r"(|.*/)stem/conv2d/kernel": _efficient,
    r"(|.*/)expanded_conv/depthwise/depthwise_kernel": _mobile,
}
"""A variable that only one family has, its scope in front -> what makes the family of the names behind the scope."""


def _counts(names: Iterable[str], pattern: str) -> tuple[int, ...]:
    """How many units each stage has."""
    found = [match[1] for name in names if (match := re.fullmatch(pattern, name))]
    return tuple(found.count(stage) for stage in sorted(set(found)))


def _depth(units: tuple[int, ...], known: Mapping[int, tuple[int, ...]]) -> int:
    for depth, counts in known.items():
        if counts == units:
            return depth
    raise FormatError(f"a residual network with stages of {units} units; expected one of {sorted(known.values())}")


def _of_count(units: int, known: Mapping[str, int]) -> str:
    for size, count in known.items():
        if count == units:
            return size
    raise FormatError(f"a network of {units} blocks; expected {' or '.join(map(str, known.values()))}")


def _slim_head(key: str, scope: str) -> str:
    """`heads.separate.1.0.weight` -> `postnorm_copy1/gamma`."""
    _, _, number, layer, variable = key.split(".")
    if layer == "0":
        return f"{scope}postnorm_copy{number}/{_VARIABLES[variable]}"
    return f"{scope}logits_copy{number}/{ {'weight': 'weights', 'bias': 'biases'}[variable] }"


def _keras_head(key: str) -> str:
    return f"{HEAD}/{_keras_variable('conv', key.rpartition('.')[2])}"


def _keras_variable(layer: str, variable: str) -> str:
    if "bn" in layer or "norm" in layer.lower():
        return _VARIABLES[variable]
    kernel = "depthwise_kernel" if "depthwise" in layer else "kernel"
    return {"weight": kernel, "bias": "bias"}[variable]


def _each(rename: Callable[[str], str]) -> Callable[[Collection[str]], dict[str, str]]:
    return lambda keys: {key: rename(key) for key in keys}


def _keras_v1_name(key: str) -> str:
    """`layer2.0.bn1.weight` -> `conv3_block1_1_bn/gamma`; the way around is layer 0."""
    *place, variable = key.replace("downsample.0", "conv0").replace("downsample.1", "bn0").split(".")
    kind, number = re.sub(r"\d", "", place[-1]), re.sub(r"\D", "", place[-1])
    begin = f"conv{int(place[0][-1]) + 1}_block{int(place[1]) + 1}_{number}" if len(place) > 1 else "conv1"
    return f"{begin}_{kind}/{_keras_variable(kind, variable)}"


_KERAS_V2_LAYERS = {
    "preact": "preact_bn",
    "shortcut": "0_conv",
    "conv1": "1_conv",
    "bn1": "1_bn",
    "conv2": "2_conv",
    "bn2": "2_bn",
    "conv3": "3_conv",
}


def _keras_v2_name(key: str) -> str:
    """`block1.0.preact.weight` -> `conv2_block1_preact_bn/gamma`."""
    *place, variable = key.split(".")
    if len(place) == 1:
        layer = {"conv1": "conv1_conv", "postnorm": "post_bn"}[place[0]]
        return f"{layer}/{_keras_variable(layer, variable)}"
    layer = _KERAS_V2_LAYERS[place[2]]
    return f"conv{int(place[0][-1]) + 1}_block{int(place[1]) + 1}_{layer}/{_keras_variable(layer, variable)}"


def _efficient_names(keys: Collection[str]) -> dict[str, str]:
    """`features.1.0.block.0.0.weight` -> `blocks_0/conv2d/kernel`; blocks are counted over all stages."""
    parts = {key: key.split(".") for key in keys}
    blocks = sorted({(int(part[1]), int(part[2])) for part in parts.values() if "block" in part})
    numbers = {block: number for number, block in enumerate(blocks)}
    weighing = {tuple(map(int, part[1:3])) for part in parts.values() if "fc1" in part}
    found = {}
    for key, part in parts.items():
        if "block" not in part:
            scope, place, separate = "stem" if part[1] == "0" else "head", 0, False
        else:
            block = int(part[1]), int(part[2])
            scope, place, separate = f"blocks_{numbers[block]}", int(part[4]), block in weighing
        found[key] = f"{scope}/{_efficient_layer(part, place, separate)}"
    return found


def _efficient_layer(part: list[str], place: int, separate: bool) -> str:
    """The layer of a block with a depthwise convolution (`separate`) or without."""
    if part[-2] in ("fc1", "fc2"):
        return f"se/conv2d{'' if part[-2] == 'fc1' else '_1'}/{_keras_variable('conv', part[-1])}"
    if separate:
        place = {0: 0, 1: 1, 3: 2}[place]
        convolution = ("conv2d", "depthwise_conv2d", "conv2d_1")[place]
    else:
        convolution = ("conv2d", "conv2d_1")[place]
    norm = "tpu_batch_normalization" + (f"_{place}" if place else "")
    layer = convolution if part[-2] == "0" else norm
    return f"{layer}/{_keras_variable(layer, part[-1])}"


def _mobile_names(keys: Collection[str]) -> dict[str, str]:
    """`features.2.block.0.0.weight` -> `expanded_conv_1/expand/kernel`."""
    parts = {key: key.split(".") for key in keys}
    last = str(max(int(part[1]) for part in parts.values() if part[0] == "features"))
    rows: dict[str, list[str]] = {}
    """Of each block the places of its convolutions with normalisations."""
    for part in parts.values():
        if "block" in part and part[-2] in ("0", "1"):
            places = rows.setdefault(part[1], [])
            places += [part[3]] * (part[3] not in places)
    return {key: _mobile_name(part, last, rows) for key, part in parts.items()}


def _mobile_name(part: list[str], last: str, rows: Mapping[str, list[str]]) -> str:
    if part[0] == "head":
        return f"Conv_2/{_keras_variable('conv', part[-1])}"
    if "block" not in part:
        scope, layer = "", "Conv_1" if part[1] == last else "Conv"
    else:
        row = int(part[1]) - 1
        scope = f"expanded_conv_{row}/" if row else "expanded_conv/"
        if part[-2] in ("fc1", "fc2"):
            conv = "Conv" if part[-2] == "fc1" else "Conv_1"
            return f"{scope}squeeze_excite/{conv}/{_keras_variable('conv', part[-1])}"
        places = sorted(rows[part[1]], key=int)
        layer = ("expand", "depthwise", "project")[places.index(part[3]) + 3 - len(places)]
    if part[-2] == "1":
        return f"{scope}{layer}/BatchNorm/{_VARIABLES[part[-1]]}"
    return f"{scope}{layer}/{_keras_variable(layer, part[-1])}"
