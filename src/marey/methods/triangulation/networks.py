"""Networks with their weights, and what has to be known to use them: joints, images, the upright of their volumes.

Weights come from an official checkpoint (`.pth`), from a folder that `marey train` wrote, or with the package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from marey.core import InputError, MissingAssetError, ShapeError, Skeleton, skeleton, skeleton_names
from marey.data.view_crops import ViewCropRule
from marey.detect.trunk import MARGIN, SIDE, shipped_trunk
from marey.detect.trunk_lifting import shipped_image_lifter
from marey.io.h36m_labels import H36M_JOINTS
from marey.io.settings_toml import changed, plain_settings
from marey.io.weights import CARD, Source, card_entry, load_weights
from marey.methods.triangulation.checkpoint import load_official
from marey.methods.triangulation.model import (
    AlgebraicConfig,
    AlgebraicNet,
    RansacConfig,
    RansacNet,
    VolumetricConfig,
    VolumetricNet,
)
from marey.nn.trunk import KEYPOINTS

Kind = Literal["algebraic", "volumetric", "ransac"]
Up = Literal["y", "z", "-y", "-z"]
Network = AlgebraicNet | RansacNet | VolumetricNet
Weights = str | os.PathLike[str]

SHIPPED = resources.files("marey.methods.triangulation") / "assets"
"""A folder of weights for each kind."""
CUBOID_SIDE = 2.5
"""Metres: of the published cuboid, 2500 mm."""
ENTRY = "triangulation"
"""What `describe` gives, within the card of weights or within what their card says of the data."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet; the published programs apply them channel by channel in whichever order the channels are."""
_NETWORKS: Mapping[Kind, tuple[type[Network], type]] = {
    "algebraic": (AlgebraicNet, AlgebraicConfig),
    "volumetric": (VolumetricNet, VolumetricConfig),
    "ransac": (RansacNet, RansacConfig),
}
_COCO, _CMU = "coco_17", "panoptic_19"


@dataclass(frozen=True, kw_only=True)
class ImageConvention:
    """What the images are like that a network looks at; the defaults are the published ones."""

    side: tuple[int, int] = (384, 384)
    """Width and height of the crops."""
    channels: Literal["rgb", "bgr"] = "bgr"
    normalised: bool = True
    """Whether ImageNet's mean and deviation are taken out; otherwise values are in 0..1."""
    box_scale: float = 1.0
    """Side of the square that is cut out, over the longer side of the person's box."""
    inside: bool = False
    """Whether squares are moved into the picture where they fit. Otherwise what is outside is black."""
    half_pixels: bool = False
    """Whether pixels of picture and crop correspond by their centres. Published: coordinates are multiplied by the
    ratio of the sizes."""

    @property
    def rule(self) -> ViewCropRule:
        """How people are cut out."""
        return ViewCropRule(size=self.side, scale=self.box_scale, half_pixels=self.half_pixels)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """A network that is ready to estimate. Lengths are in metres."""

    module: nn.Module
    """Called with images (B, V, 3, H, W) and projections (B, V, 3, 4), the volumetric one with centres (B, 3) too."""
    kind: Kind
    skeleton: Skeleton
    """The joints in the order in which the network gives them."""
    image: ImageConvention = ImageConvention()
    roots: tuple[str, ...] = ("pelvis",)
    """Joints about whose mean the cuboid was put in training."""
    up: Up = "z"
    """The axis that pointed up in training; volumes are filled in a world turned that way."""
    source: str = ""
    """Where the weights are from, in words."""

    @property
    def cuboid_side(self) -> float:
        """Of the volumetric network, metres."""
        return float(self.config.cuboid_side)

    @property
    def config(self) -> Any:
        """The settings of the network; of one on the trunk those of its head, None if it has no head."""
        return getattr(self.module, "config", getattr(getattr(self.module, "head", None), "config", None))

    @property
    def learned(self) -> nn.Module:
        """What its own weights are of: the network, or its head on the trunk."""
        head: nn.Module = getattr(self.module, "head", self.module)
        return head


def load_network(
    kind: Kind, weights: Weights | None = None, *, joints: str | None = None, aggregation: str | None = None
) -> LoadedNetwork:
    """Load a network and its weights.

    Args:
        kind: `algebraic`, `volumetric` or `ransac`.
        weights: An official checkpoint (`weights.pth`; RANSAC takes that of an algebraic network or of a backbone
            too), a folder that `marey train` wrote, or None: what is shipped.
        joints: Skeleton of an official checkpoint of 17 joints, which does not say it: `coco_17` for one trained on
            CMU Panoptic; None: Human3.6M's. A checkpoint of 19 joints has those of CMU Panoptic.
        aggregation: How a volumetric checkpoint brings views together, which it does not say either: `softmax`, `sum`
            or `max`, `conf` or `conf_norm`; None: `softmax`, or `conf` if it has weights for that.

    Raises:
        InputError: there is no such kind, or the joints or the aggregation are not those of the weights.
        MissingAssetError: the weights are not there.
        FormatError: they are damaged, or of another network.
    """
    if kind not in get_args(Kind):
        raise InputError(f"network: expected one of {', '.join(get_args(Kind))}, got '{kind}'")
    if weights is None:
        return _shipped(kind)
    path = Path(weights)
    if path.is_dir():
        _refuse(path, joints=joints, aggregation=aggregation)
        return _from_folder(kind, path)
    module = _of_kind(kind, load_official(path), path)
    if isinstance(module, VolumetricNet):
        module.config = _volumetric(module.config, aggregation, path)
    found = _official_joints(module.config.backbone.joints, joints, path)
    return LoadedNetwork(
        module=module.requires_grad_(False),
        kind=kind,
        skeleton=found,
        roots=("left_hip", "right_hip") if found.name == _COCO else ("pelvis",),
        up="-y" if found.name in (_COCO, _CMU) else "z",
        source=str(path),
    )


def trunk_network(kind: Kind, module: nn.Module, *, source: str = "") -> LoadedNetwork:
    """A network on the shared trunk, which sees people as the trunk was trained to see them."""
    return LoadedNetwork(
        module=module,
        kind=kind,
        skeleton=skeleton(KEYPOINTS),
        image=ImageConvention(
            side=(SIDE, SIDE), channels="rgb", normalised=False, box_scale=MARGIN, inside=True, half_pixels=True
        ),
        roots=("left_hip", "right_hip"),
        source=source,
    )


def describe(network: LoadedNetwork) -> dict[str, Any]:
    """What `load_network` has to know of a network, as plain values for the card of its weights."""
    return {
        "kind": network.kind,
        "on": "trunk" if hasattr(network.module, "trunk") else "backbone",
        "network": {} if network.config is None else plain_settings(network.config),
        "skeleton": network.skeleton.name,
        "joints": list(network.skeleton.joints),
        "image": plain_settings(network.image),
        "roots": list(network.roots),
        "up": network.up,
    }


def prepare_images(images: Tensor, convention: ImageConvention) -> Tensor:
    """Pictures (..., 3, H, W), uint8, red green blue, as floating-point numbers that a network expects.

    Raises:
        ShapeError: these are no such pictures.
    """
    if images.dtype != torch.uint8 or images.ndim < 3 or images.shape[-3] != 3:
        raise ShapeError(f"images: expected (..., 3, H, W) of 8 bits, got {tuple(images.shape)} of {images.dtype}")
    ordered = images.flip(-3) if convention.channels == "bgr" else images
    values = ordered.float() / 255
    if not convention.normalised:
        return values
    mean, deviation = (values.new_tensor(numbers)[:, None, None] for numbers in (_MEAN, _DEVIATION))
    return (values - mean) / deviation


def _of_kind(kind: Kind, module: Network, path: Path) -> Network:
    """The network that was asked for, on the tensors that were found."""
    wanted, _ = _NETWORKS[kind]
    if isinstance(module, wanted):
        made: Network = module
    elif kind == "algebraic" and isinstance(module, RansacNet):  # one without confidences has the same tensors
        made = _sharing(module, AlgebraicNet, AlgebraicConfig(use_confidences=False))
    elif kind == "ransac" and isinstance(module, AlgebraicNet):  # confidences are not asked
        made = _sharing(module, RansacNet, RansacConfig())
    else:
        other = next(name for name, (cls, _) in _NETWORKS.items() if isinstance(module, cls))
        raise InputError(f"{path}: weights of the method '{other}', not of '{kind}'; use that method, or other weights")
    if isinstance(made, RansacNet):  # all pairs instead of drawn ones: the same result every time
        made.config = replace(made.config, quirks=replace(made.config.quirks, random_pairs=None))
    return made.eval()


def _sharing(module: Network, cls: type[Any], config: AlgebraicConfig | RansacConfig) -> Any:
    """Another network on the backbone of a network."""
    with torch.device("meta"):  # no weights are drawn that are replaced
        made = cls(replace(config, backbone=module.config.backbone, quirks=module.config.quirks))
    made.backbone = module.backbone
    return made


def _volumetric(config: VolumetricConfig, aggregation: str | None, path: Path) -> VolumetricConfig:
    """The settings in metres, with the aggregation that was asked for."""
    allowed = ("conf", "conf_norm") if config.aggregation.startswith("conf") else ("softmax", "sum", "mean", "max")
    if aggregation is not None and aggregation not in allowed:
        raise InputError(f"{path}: aggregation: these weights can do {', '.join(allowed)}, got '{aggregation}'")
    chosen: Any = aggregation or config.aggregation
    return replace(config, cuboid_side=CUBOID_SIDE, aggregation=chosen)


def _official_joints(count: int, name: str | None, path: Path) -> Skeleton:
    """The skeleton of a checkpoint with so many joints."""
    if name is None:
        known = {17: H36M_JOINTS, 16: H36M_JOINTS.select(H36M_JOINTS.joints[:16]), 19: skeleton(_CMU)}
        if count not in known:
            raise InputError(f"{path}: {count} joints of an unknown skeleton; name it with joints=")
        return known[count]
    found = H36M_JOINTS if name in ("h36m_17", H36M_JOINTS.name) else skeleton(name)
    if len(found) != count:
        raise InputError(f"{path}: the weights have {count} joints, the skeleton {name} has {len(found)}")
    return found


def _refuse(path: Path, **given: str | None) -> None:
    stated = [name for name, value in given.items() if value is not None]
    if stated:
        raise InputError(f"{path}: its card says the {stated[0]}; leave {stated[0]}= out")


def _shipped(kind: Kind) -> LoadedNetwork:
    """The network with the weights in the package."""
    if kind == "ransac":  # learns nothing beyond the trunk
        return trunk_network(kind, _on_trunk(kind, {}, "ransac"), source="the shipped trunk")
    folder = SHIPPED / kind
    if not folder.joinpath(CARD).is_file():
        raise MissingAssetError(
            f"{folder}: this installation has no weights for the method '{kind}'; install the package again, or name "
            "weights (--weights PATH)"
        )
    return replace(_from_folder(kind, folder), source=f"the shipped {kind} head")


def _from_folder(kind: Kind, folder: Source) -> LoadedNetwork:
    """The network of a folder of weights, made as its card says."""
    with card_entry(folder, ENTRY, network="a network of triangulation") as told:
        if told["kind"] != kind:
            raise InputError(f"{folder}: weights of the method '{told['kind']}', not of '{kind}'; use that method")
        make = _on_trunk if told["on"] == "trunk" else _alone
        network = LoadedNetwork(
            module=make(kind, told["network"], str(folder)),
            kind=kind,
            skeleton=_card_joints(told),
            image=changed(ImageConvention(), told["image"], where=f"{folder}: image"),
            roots=tuple(told["roots"]),
            up=told["up"],
            source=str(folder),
        )
    load_weights(network.learned, folder)
    network.module.eval().requires_grad_(False)
    return network


def _alone(kind: Kind, settings: Mapping[str, Any], where: str) -> nn.Module:
    """A network with a backbone of its own."""
    cls, config = _NETWORKS[kind]
    module: nn.Module = cls(changed(config(), settings, where=where))
    return module


def _on_trunk(kind: Kind, settings: Mapping[str, Any], where: str) -> nn.Module:
    """A head on the shipped trunk."""
    from marey.methods.triangulation.trunk_model import (
        AlgebraicHead,
        AlgebraicHeadConfig,
        TrunkAlgebraic,
        TrunkRansac,
        TrunkVolumetric,
        VolumetricHead,
        VolumetricHeadConfig,
    )

    if kind == "ransac":
        return TrunkRansac(shipped_trunk()).eval()
    if kind == "algebraic":
        return TrunkAlgebraic(shipped_trunk(), AlgebraicHead(changed(AlgebraicHeadConfig(), settings, where=where)))
    head = VolumetricHead(changed(VolumetricHeadConfig(), settings, where=where))
    return TrunkVolumetric(shipped_trunk(), shipped_image_lifter(), head)


def _card_joints(told: Mapping[str, Any]) -> Skeleton:
    """The skeleton of a card: a known one in the card's order, or one without links."""
    name, joints = told["skeleton"], tuple(told["joints"])
    if name == H36M_JOINTS.name:
        return H36M_JOINTS
    known = skeleton(name) if name in skeleton_names() else None
    return known if known is not None and known.joints == joints else Skeleton(name, joints, ())
