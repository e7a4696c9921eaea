"""Networks of MeTRAbs with their weights, and what has to be known to use them.

Weights are published ones (see `marey.methods.metrabs.checkpoint`), of a folder that `marey train` wrote, or come with
the package.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from marey.core import InputError, MissingAssetError, Skeleton, skeleton, skeleton_names
from marey.detect.trunk import MARGIN
from marey.io.settings_toml import changed, plain_settings
from marey.io.weights import CARD, Source, card_entry, load_weights
from marey.methods.metrabs.checkpoint import load_published
from marey.methods.metrabs.joint_names import NamedJoints, mirror_of
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.published_config import PublishedOptions
from marey.methods.metrabs.trunk_model import MetricHead, MetricHeadConfig, TrunkMetrabs
from marey.nn.image_lifter import ImageLifter, ImageLifterConfig
from marey.nn.trunk import KEYPOINTS, Trunk, TrunkConfig

Weights = str | os.PathLike[str]

SHIPPED = resources.files("marey.methods.metrabs") / "assets" / "default"
"""The folder of the weights that come with the package."""
ENTRY = "metrabs"
"""What `describe` gives, within the card of weights or within what their card says of the data."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedNetwork:
    """A network that is ready to estimate."""

    module: MetrabsNet | TrunkMetrabs
    """A `CropNetwork`: called with crops (B, 3, side, side) and their intrinsics (B, 3, 3)."""
    skeleton: Skeleton
    """The joints in the order in which the network gives them."""
    skeletons: Mapping[str, NamedJoints] = field(default_factory=dict)
    """The conventions among them by name, `smpl_24`; all joints are the one without a name."""
    margin: float = 1.0
    """Side of the square that is cut out, over the longer side of the person's box."""
    source: str = ""
    """Where the weights are from, in words."""

    @property
    def side(self) -> int:
        """Of the crops, pixels."""
        return self.module.side

    @property
    def mirror(self) -> tuple[int, ...]:
        """For each joint the place of its counterpart on the other side."""
        return mirror_of(self.skeleton)

    def view(self, name: str = "") -> NamedJoints:
        """The joints of a convention.

        Raises:
            InputError: the network does not have it.
        """
        if name in self.skeletons:
            return self.skeletons[name]
        known = skeleton(name) if name in skeleton_names() else None
        if known is not None and all(joint in self.skeleton for joint in known.joints):
            return NamedJoints(known, tuple(self.skeleton.indices(known.joints)))
        names = ", ".join(name for name in self.skeletons if name) or self.skeleton.name
        raise InputError(f"skeleton: the network has {names}, got '{name}'")


def load_network(weights: Weights | None = None, options: PublishedOptions | None = None) -> LoadedNetwork:
    """Load a network and its weights.

    Args:
        weights: A folder that `marey train` wrote; the file or folder of a published network (see `load_published`);
            None: what is shipped.
        options: What published files do not show.

    Raises:
        InputError: options are given for weights that need none, or do not fit them.
        MissingAssetError: the weights are not there.
        FormatError: they are damaged, or of another network.
    """
    if weights is None:
        return _shipped(options)
    path = Path(weights)
    if (path / CARD).is_file():
        return _from_folder(path, options)
    found = load_published(path, options)
    return LoadedNetwork(
        module=found.network,
        skeleton=found.skeleton,
        skeletons=found.skeletons,
        source=f"published weights {path.name}",
    )


def trunk_network(module: TrunkMetrabs, *, source: str = "") -> LoadedNetwork:
    """A network on the trunk, which sees people as the trunk was trained to see them."""
    joints = skeleton(KEYPOINTS)
    return LoadedNetwork(module=module, skeleton=joints, skeletons=_views(joints), margin=MARGIN, source=source)


def describe(network: LoadedNetwork) -> dict[str, Any]:
    """What `load_network` has to know of a network, as plain values for the card of its weights.

    Raises:
        InputError: the network is of another kind than `MetrabsNet` or `TrunkMetrabs`.
    """
    if isinstance(network.module, TrunkMetrabs):
        return {"on": "trunk", "skeleton": network.skeleton.name} | network.module.settings()
    if isinstance(network.module, MetrabsNet):
        settings = plain_settings(network.module.config)
        return {"on": "crops", "skeleton": network.skeleton.name, "network": settings}
    raise InputError(f"network: expected MetrabsNet or TrunkMetrabs, got {type(network.module).__name__}")


def _shipped(options: PublishedOptions | None) -> LoadedNetwork:
    if not SHIPPED.joinpath(CARD).is_file():
        raise MissingAssetError(
            f"{SHIPPED}: this installation has no weights for the method 'metrabs'; name weights (--weights PATH)"
        )
    return replace(_from_folder(SHIPPED, options), source="the shipped weights of metrabs")


def _from_folder(folder: Source, options: PublishedOptions | None) -> LoadedNetwork:
    """The network of a folder of weights, made as its card says."""
    if options is not None:
        raise InputError(f"{folder}: its card says what it is; leave the options for published weights out")
    with card_entry(folder, ENTRY, network="a network of MeTRAbs") as told:
        make = {"trunk": _on_trunk, "crops": _on_crops}[told["on"]]
        network = make(told, str(folder))
    load_weights(network.module, folder)
    network.module.eval().requires_grad_(False)
    return network


def _on_trunk(told: Mapping[str, Any], where: str) -> LoadedNetwork:
    trunk = changed(TrunkConfig(), told["trunk"], where=f"{where}: trunk")
    lifter = changed(ImageLifterConfig(), told["lifter"], where=f"{where}: lifter")
    head = changed(MetricHeadConfig(), told["head"], where=f"{where}: head")
    return trunk_network(TrunkMetrabs(Trunk(trunk), ImageLifter(lifter), MetricHead(head)), source=where)


def _on_crops(told: Mapping[str, Any], where: str) -> LoadedNetwork:
    settings = told["network"]
    begin = MetrabsConfig(joints=tuple(map(str, settings["joints"])))
    module = MetrabsNet(changed(begin, settings, where=f"{where}: network"))
    joints = _known(str(told.get("skeleton", "")), module.config.joints)
    return LoadedNetwork(module=module, skeleton=joints, skeletons=_views(joints), source=where)


def _known(name: str, joints: tuple[str, ...]) -> Skeleton:
    """The skeleton of that name if it has these joints in this order, else theirs with the links of a shipped one."""
    if name in skeleton_names() and skeleton(name).joints == joints:
        return skeleton(name)
    fitting = [known for known in map(skeleton, skeleton_names()) if set(known.joints) == set(joints)]
    return fitting[0].select(joints, name or None) if fitting else Skeleton(name or "metrabs", joints, ())


def _views(joints: Skeleton) -> dict[str, NamedJoints]:
    """All joints, and every shipped skeleton of the same joints in whatever order."""
    views = {"": NamedJoints(joints, tuple(range(len(joints))))}
    for known in map(skeleton, skeleton_names()):
        if set(known.joints) == set(joints.joints):
            views[known.name] = NamedJoints(known, tuple(joints.indices(known.joints)))
    return views
