"""The published weights of MeTRo and MeTRAbs as networks of the house: PyTorch's and TensorFlow's, without TensorFlow.

What a file is of is read from the names and shapes of its tensors. Every tensor of the network has to be there, of the
right shape, and every tensor of the file that belongs to the network is used once; another file is refused.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from marey.core import Skeleton
from marey.core.errors import FormatError
from marey.io.module_state import listed_tensors, load_state
from marey.io.tensorflow_bundle import TensorBundle, read_tensor_bundle
from marey.io.torch_checkpoints import read_state_dict
from marey.methods.metrabs.joint_names import NamedJoints
from marey.methods.metrabs.model import MetrabsNet
from marey.methods.metrabs.published_config import PublishedOptions, Tensors, plan
from marey.methods.metrabs.published_names import (
    HEAD,
    Family,
    biases_before_norms,
    converted,
    recognise,
    variable_names,
)
from marey.methods.metrabs.release import VARIABLE, WEIGHTS, Release, bundle_release, read_release
from marey.nn.efficientnet_v2 import STAGES
from marey.nn.mobilenet_v3 import ROWS
from marey.nn.resnet import LAYOUTS
from marey.nn.resnet_v2 import UNITS

_TORCH_BACKBONE, _TORCH_HEADS = "backbone.1.", "heatmap_heads."
"""How names begin in the PyTorch release: its backbone is a sequence of preprocessing and network."""
_HEAD_KEY = re.compile(rf"(?:.*/)?heatmap_heads?/conv_final/(kernel|bias){re.escape(VARIABLE)}")
_HEAD_NAME = re.compile(r"(?:.*/)?(?:metrabs_heads|head3_?d)[^/]*/conv2d[^/]*/(kernel|bias)")
_BLOCKS: tuple[tuple[str, str, Mapping[str, int]], ...] = (
    (
        r"features\.(\d+)\.(\d+)\.block\.",
        "efficientnet_v2_",
        {size: sum(stage.blocks for stage in stages) for size, stages in STAGES.items()},
    ),
    (r"features\.(\d+)\.block\.", "mobilenet_v3_", {size: len(rows) for size, rows in ROWS.items()}),
    (r"block(\d)\.(\d+)\.preact\.", "resnet_v2_", {str(depth): sum(units) for depth, units in UNITS.items()}),
    (r"layer(\d)\.(\d+)\.conv1\.", "resnet_", {str(depth): sum(it.units) for depth, it in LAYOUTS.items()}),
)
"""What names of blocks are like in our backbones, what the backbone's name begins with, how many blocks a size has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """A published network, ready to estimate."""

    network: MetrabsNet
    skeleton: Skeleton
    """The joints in the order in which the network gives them."""
    skeletons: Mapping[str, NamedJoints]
    """The conventions among them, by their published names."""


def load_published(path: str | os.PathLike[str], options: PublishedOptions | None = None) -> Published:
    """Build the network of published weights.

    Args:
        path: A state dictionary of the PyTorch release (`ckpt.pt`) or the folder that it lies in; a checkpoint of
            TensorFlow (`model.ckpt-...`, one of its files or their folder), or the folder of a SavedModel: of the crop
            network, or of one with multi-person inference and detector, of which the detector is left aside.
        options: What the files do not show.

    Raises:
        MissingAssetError: there is nothing.
        InputError: a file cannot be read, or the options do not fit what it holds.
        FormatError: it is damaged, of another network, or leaves out something that has to be known.
    """
    place, options = Path(path), options or PublishedOptions()
    if place.is_dir() and (place / WEIGHTS).is_file():
        return _from_torch(place / WEIGHTS, read_release(place), options)
    if place.is_file() and place.suffix != ".index" and ".data-" not in place.name:
        return _from_torch(place, Release(), options)
    return _from_tensorflow(read_tensor_bundle(place), options)


def _from_torch(path: Path, release: Release, options: PublishedOptions) -> Published:
    state = {_torch_name(name): value for name, value in read_state_dict(path).items()}
    where = str(path)
    backbone = _torch_backbone(state, where)
    separate = sorted({name.split(".")[2] for name in state if name.startswith("heads.separate.")})
    heads = [f"heads.separate.{number}.2.bias" for number in separate] or ["heads.conv_final.bias"]
    if missing := [name for name in heads if name not in state]:
        raise FormatError(f"{where}: expected the heads of a MeTRAbs network, {listed_tensors(missing)}; got none such")
    tensors = Tensors(
        source=where,
        backbone=backbone,
        layout="separate" if separate else "shared",
        channels=tuple(len(state[name]) for name in heads),
    )
    published = _published(tensors, _with_settings(release, backbone), options)
    _put(published.network, state, where)
    return published


def _from_tensorflow(bundle: TensorBundle, options: PublishedOptions) -> Published:
    where = str(bundle.prefix)
    places = _program_names(bundle, where)
    try:
        family = recognise(places)
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    heads = _head_biases(family, places, where)
    channels = tuple(bundle.entries[places[name]].count for name in heads)
    tensors = Tensors(
        source=where,
        backbone=family.backbone,
        layout="separate" if family.slim else "shared",
        channels=channels,
        flat=not _is_metro(places[heads[0]]),
    )
    published = _published(tensors, bundle_release(bundle), options)
    _put(published.network, _state(bundle, published.network, family, places), where)
    return published


def _published(tensors: Tensors, release: Release, options: PublishedOptions) -> Published:
    """The network with random weights, and what its joints are."""
    planned = plan(tensors, release, options)
    network = MetrabsNet(planned.config)
    if planned.combination is not None:
        network.combination = planned.combination
    return Published(network=network, skeleton=planned.skeleton, skeletons=planned.skeletons)


def _torch_name(name: str) -> str:
    """A name of the PyTorch release in ours; ours stay."""
    if name.startswith(_TORCH_BACKBONE):
        rest = name.removeprefix(_TORCH_BACKBONE)
        return f"backbone.features.{rest}" if rest[:1].isdigit() else f"backbone.{rest}"
    return f"heads.{name.removeprefix(_TORCH_HEADS)}" if name.startswith(_TORCH_HEADS) else name


def _torch_backbone(names: Collection[str], where: str) -> str:
    """The backbone whose names these are, by what its blocks are called and how many there are."""
    bottleneck = "backbone.layer1.0.conv3.weight" in names
    for pattern, begin, sizes in _BLOCKS:
        blocks = {match.groups() for name in names if (match := re.match(rf"backbone\.{pattern}", name))}
        for size, count in sizes.items():
            if blocks and len(blocks) == count and (begin != "resnet_" or LAYOUTS[int(size)].bottleneck == bottleneck):
                return begin + size + ("_keras" if "backbone.head.weight" in names else "")
    raise FormatError(
        f"{where}: expected a MeTRAbs network on a backbone of the house, got {listed_tensors(sorted(names))}"
    )


def _with_settings(release: Release, backbone: str) -> Release:
    """The small EfficientNet has settings of its own where none lie beside it; see `PublishedOptions.heatmaps`."""
    if release.settings or backbone != "efficientnet_v2_s":
        return release
    return replace(release, settings={"centered_stride": False, "legacy_centered_stride_bug": True})


def _program_names(bundle: TensorBundle, where: str) -> dict[str, str]:
    """What the program called its variables -> entries; the convolution of a Keras network's heatmaps as `HEAD`.

    An entry whose name others share keeps that of the checkpoint: a detector may have a `conv2d/kernel` too.
    """
    known = bundle.variable_names
    called = {key: known.get(key, key.removesuffix(VARIABLE)) for key in bundle.numeric if ".OPTIMIZER_SLOT" not in key}
    heads = {key: f"{HEAD}/{found[1]}" for key in called if (found := _HEAD_KEY.fullmatch(key))}
    if not heads:
        heads = {key: f"{HEAD}/{found[1]}" for key, name in called.items() if (found := _HEAD_NAME.fullmatch(name))}
    counts = Counter(called.values())
    names = {key: heads.get(key) or (name if counts[name] == 1 else key) for key, name in called.items()}
    if len(heads) > 2:
        raise FormatError(f"{where}: the heads of several networks: {listed_tensors(sorted(heads))}; expected one")
    return {name: key for key, name in names.items()}


def _is_metro(key: str) -> bool:
    """Whether the head is that of a network without 2D heatmaps: its attribute is called `heatmap_head`."""
    return re.search(r"(^|/)heatmap_head/|head3_?d", key) is not None


def _head_biases(family: Family, places: Mapping[str, str], where: str) -> list[str]:
    """Variables with one number for each channel of each kind of heatmap."""
    if not family.slim:
        found = [f"{HEAD}/bias"]
    else:
        pattern = rf"{re.escape(family.scope)}logits_copy\d/biases"
        found = sorted(name for name in places if re.fullmatch(pattern, name)) or [f"{family.scope}logits_copy0/biases"]
    if found[0] not in places:
        rest = sorted(name for name in places if not re.fullmatch(family.own, name.removeprefix(family.scope)))
        raise FormatError(
            f"{where}: a {family.backbone} without heatmaps of MeTRAbs: no '{found[0]}'; beside the backbone there are "
            f"{listed_tensors(rest)}"
        )
    return found


def _state(bundle: TensorBundle, network: MetrabsNet, family: Family, places: Mapping[str, str]) -> dict[str, Tensor]:
    """The state dictionary of a network, of the variables that are its."""
    where = bundle.prefix
    wanted = variable_names([key for key in network.state_dict() if key != "combination"], family)
    if missing := sorted(set(wanted.values()) - places.keys()):
        raise FormatError(f"{where}: variables of {family.backbone} are missing: {listed_tensors(missing)}")
    unused = _unused(family, places, set(wanted.values()))
    shifts = {mean: bias for bias, mean in biases_before_norms(unused).items()}
    if left := sorted(unused - set(shifts.values())):
        raise FormatError(f"{where}: variables of {family.backbone} without a place: {listed_tensors(left)}")
    state = {}
    for key, name in wanted.items():
        state[key] = converted(name, bundle.tensor(places[name]))
        if name in shifts:
            bias = bundle.tensor(places[shifts[name]]).float()
            if bias.shape != state[key].shape:
                raise FormatError(f"{where}: '{shifts[name]}' has the shape {tuple(bias.shape)}; it is damaged")
            state[key] = state[key] - bias
    return state


def _unused(family: Family, places: Collection[str], wanted: Collection[str]) -> set[str]:
    """Variables of the network that are not wanted, but for what an optimiser remembers of others (`.../Adam`)."""
    own = re.compile(re.escape(family.scope) + f"(?:{family.own})")
    return {
        name for name in places if name not in wanted and own.fullmatch(name) and name.rpartition("/")[0] not in places
    }


def _put(network: MetrabsNet, state: Mapping[str, Tensor], where: str) -> None:
    """Put tensors into a network, all of them; counts of batches may be missing, and so may the mixture of points."""
    optional = {name for name in network.state_dict() if name.endswith("num_batches_tracked") or name == "combination"}
    named = f"a MeTRAbs network on {network.config.backbone}"
    load_state(network, state, where, network=named, optional=optional)
    network.eval().requires_grad_(False)
