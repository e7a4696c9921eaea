"""From what the tensors of a published network show, its release says and the user adds, to settings and joints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marey.core import Skeleton, skeleton, skeleton_names
from marey.core.errors import FormatError, InputError
from marey.io.unpickle import read_object_npz
from marey.methods.metrabs.heatmaps import HeatmapConfig
from marey.methods.metrabs.joint_names import NamedJoints, published_skeleton
from marey.methods.metrabs.model import HeadLayout, MetrabsConfig, ScaleRecovery
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.release import Release

_ROOT = "pelvis"
_CONVENTIONS = ("h36m_17", "mpi_inf_3dhp_17", "mpi_inf_3dhp_28", "smpl_24")
"""Of the networks of 2020, which give one convention and do not name it."""
_MILLIMETRES = 1000.0
_SUM_TOLERANCE = 1e-3
"""How far the columns of a mixture may be from adding up to 1."""


@dataclass(frozen=True, kw_only=True)
class PublishedOptions:
    """What the files of a network do not show; None: as it was published."""

    joints: str | Sequence[str] | None = None
    """A skeleton or names of joints, for a file that does not say them, in the order of the published output. (Within
    networks of 2020 the pelvis is the last.)"""
    scale_recovery: ScaleRecovery | None = None
    """None: `metrabs` where there are 2D heatmaps, else `metro`. Networks with 2.5D heatmaps have the same tensors as
    `metro`; their bones are the links of the joints."""
    bone_lengths: tuple[float, ...] = ()
    """Of the links, metres; for `bone-lengths`."""
    heatmaps: HeatmapConfig | None = None
    """None: of the configuration beside the weights, else 256 pixels, stride 32, 8 bins, 2.2 m, centred; but the small
    EfficientNet of the PyTorch release is not centred, see `Quirks.uncentered_shift`."""
    affine_weights: str | os.PathLike[str] | None = None
    """The `.npz` whose `w2` says what joints are of latent points, for a network that has such."""
    quirks: Quirks = field(default_factory=Quirks)
    """Beside `uncentered_shift`, which follows the weights."""


@dataclass(frozen=True, kw_only=True)
class Tensors:
    """What names and shapes show."""

    source: str
    """The file, for messages."""
    backbone: str
    """One of `marey.nn.backbones.BACKBONES`."""
    layout: HeadLayout
    channels: tuple[int, ...]
    """Of each convolution of the heads."""
    flat: bool = True
    """Whether a shared convolution makes 2D heatmaps too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What to build."""

    config: MetrabsConfig
    combination: Tensor | None
    """See `MetrabsNet.combination`."""
    skeleton: Skeleton
    """The joints in the order of the output."""
    skeletons: Mapping[str, NamedJoints]
    """The conventions among them by their published names; all joints are the one without a name."""


def plan(tensors: Tensors, release: Release, options: PublishedOptions) -> Plan:
    """Say what a network is made of.

    Raises:
        InputError: the options do not fit the tensors.
        FormatError: the parts of the release do not fit together, or leave out what has to be known.
    """
    recovery = options.scale_recovery or _recovery(tensors)
    maps = options.heatmaps or _heatmaps(release.settings)
    count, maps = _points(tensors, recovery, maps)
    mixture = _mixture(tensors, release, options, count)
    outputs = count if mixture is None else mixture.shape[1]
    joints, views = _joints(tensors, release, options, outputs)
    settings = release.settings
    of_2020 = tensors.layout == "separate"
    shifted = settings.get("legacy_centered_stride_bug") is True and options.heatmaps is None
    config = MetrabsConfig(
        backbone=tensors.backbone,
        joints=joints.joints,
        scale_recovery=recovery,
        heatmaps=maps,
        head_layout=tensors.layout,
        root=joints.index(_ROOT) if _ROOT in joints else -1,
        perspective="weak" if of_2020 or settings.get("weak_perspective") is True else "full",
        border=maps.stride * (1.0 if of_2020 else 0.75),
        mix=0.0 if of_2020 else _number(settings, "mix_3d_inside_fov", 0.5),
        points=None if mixture is None else len(mixture),
        points_and_joints=mixture is not None and count > len(mixture),
        bones=joints.links if recovery.startswith("bone-lengths") else (),
        bone_lengths=options.bone_lengths,
        quirks=replace(options.quirks, uncentered_shift=shifted or options.quirks.uncentered_shift),
    )
    return Plan(config=config, combination=mixture, skeleton=joints, skeletons=views)


def _recovery(tensors: Tensors) -> ScaleRecovery:
    has_2d = len(tensors.channels) == 2 if tensors.layout == "separate" else tensors.flat
    return "metrabs" if has_2d else "metro"


def _heatmaps(settings: Mapping[str, Any]) -> HeatmapConfig:
    """The settings of a published configuration."""
    usual = HeatmapConfig()
    return HeatmapConfig(
        side=int(_number(settings, "proc_side", usual.side)),
        stride=int(_number(settings, "stride_test", usual.stride)),
        centered_stride=settings.get("centered_stride", True) is not False,
        depth=int(_number(settings, "depth", usual.depth)),
        box_size=_number(settings, "box_size_mm", usual.box_size * _MILLIMETRES) / _MILLIMETRES,
    )


def _number(settings: Mapping[str, Any], name: str, usual: float) -> float:
    value = settings.get(name)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e5:
        raise FormatError(f"config.yaml: {name}: expected a number from 0 to 100000, got {value!r}")
    return float(value)


def _points(tensors: Tensors, recovery: ScaleRecovery, maps: HeatmapConfig) -> tuple[int, HeatmapConfig]:
    """How many points there are heatmaps of; heads of two convolutions show the number of bins too."""
    total, source = sum(tensors.channels), tensors.source
    if len(tensors.channels) not in (1, 2):
        raise FormatError(f"{source}: {len(tensors.channels)} heads, expected one or two")
    if (recovery == "metrabs") != (len(tensors.channels) == 2) and tensors.layout == "separate":
        raise InputError(
            f"{source}: {len(tensors.channels)} heads do not make a network with scale_recovery '{recovery}'"
        )
    if len(tensors.channels) == 2 and tensors.channels[0]:
        maps = replace(maps, depth=max(tensors.channels[1] // tensors.channels[0], 1))
    each = maps.depth + (recovery == "metrabs")
    if not total or total % each:
        raise FormatError(
            f"{source}: {total} channels of heatmaps are no multiple of {each}, those of a point with {maps.depth} "
            "bins; say heatmaps= or scale_recovery="
        )
    return total // each, maps


def _mixture(tensors: Tensors, release: Release, options: PublishedOptions, count: int) -> Tensor | None:
    """What joints are of points (N, J), where they are not the points themselves."""
    latent = None if options.affine_weights is None else _affine_weights(options.affine_weights)
    known = len(release.names)
    if latent is None and release.transform is None:
        if tensors.layout == "shared" and known and known != count:
            raise FormatError(
                f"{tensors.source}: heatmaps of {count} points for {known} joints: the points are latent, and what "
                "joints are of them is not among the weights; name the .npz with w2 by affine_weights="
            )
        return None
    mixed = release.transform if latent is None else latent
    assert mixed is not None
    both = latent is not None and count == sum(latent.shape)
    if len(mixed) != count and not both:
        raise FormatError(f"{tensors.source}: heatmaps of {count} points, but {len(mixed)} are mixed into joints")
    if latent is not None and release.transform is not None:
        if both or latent.shape[1] != len(release.transform):
            raise FormatError(
                f"{tensors.source}: joints are mixed twice, by matrices {tuple(latent.shape)} and "
                f"{tuple(release.transform.shape)}, which cannot follow each other"
            )
        mixed = latent @ release.transform
    if not torch.allclose(mixed.sum(0), torch.ones(mixed.shape[1]), atol=_SUM_TOLERANCE):
        raise FormatError(f"{tensors.source}: shares of points in a joint do not add up to 1; expected affine mixtures")
    return mixed


def _affine_weights(path: str | os.PathLike[str]) -> Tensor:
    found = read_object_npz(path)
    values = found.get("w2")
    if values is None or values.ndim != 2 or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise FormatError(f"{path}: expected 'w2', a finite matrix (latent points, joints); got {', '.join(found)}")
    return torch.from_numpy(values.astype(np.float32))


def _joints(
    tensors: Tensors, release: Release, options: PublishedOptions, count: int
) -> tuple[Skeleton, dict[str, NamedJoints]]:
    """The joints in the order of the output, and the conventions among them."""
    given = _given(tensors, release, options, count)
    if tensors.layout == "separate":
        return _with_pelvis_last(given, count)
    if len(given) != count:
        raise InputError(f"{tensors.source}: {count} joints, got the names of {len(given)}")
    views = {"": NamedJoints(given, tuple(range(count)))}
    if given.name in skeleton_names():
        views[given.name] = views[""]
    for name, told in release.skeletons.items():
        if name and max(told.indices, default=-1) >= count:
            raise FormatError(f"{tensors.source}: the skeleton '{name}' has joints beyond the {count} of the network")
        if name and told.indices:
            views[name] = NamedJoints(published_skeleton(name, told.names, told.edges), told.indices)
    return given, views


def _given(tensors: Tensors, release: Release, options: PublishedOptions, count: int) -> Skeleton:
    """The joints as the user or the release names them."""
    if isinstance(options.joints, str):
        return skeleton(options.joints)
    if options.joints is not None:
        return Skeleton("joints", tuple(options.joints), ())
    names, edges = release.names, release.edges
    whole = release.skeletons.get("")
    if whole is not None and len(whole.names) == count != len(names):  # a transform has added joints
        names, edges = whole.names, whole.edges
    if not names:
        raise InputError(f"{tensors.source}: does not say what its {count} joints are; name their skeleton by joints=")
    edges = tuple(edge for edge in edges if max(edge) < len(names))
    for convention in _CONVENTIONS:
        found = published_skeleton(convention, names, edges)
        if found == skeleton(convention):
            return found
    return published_skeleton(f"metrabs_{len(names)}", names, edges)


def _with_pelvis_last(given: Skeleton, count: int) -> tuple[Skeleton, dict[str, NamedJoints]]:
    """The order within networks of 2020; joints that the published program left out of its output come after them."""
    if len(given) > count:
        raise InputError(f"{count} joints, got the names of {len(given)}")
    inner = [joint for joint in given.joints if joint != _ROOT] + [_ROOT] * (_ROOT in given)
    places = {joint: place for place, joint in enumerate(inner)}
    links = tuple((places[given.joints[a]], places[given.joints[b]]) for a, b in given.links)
    others = tuple(f"other_{place}" for place in range(len(given), count))
    whole = Skeleton(f"{given.name} of MeTRAbs", (*inner, *others), links, given.note)
    view = NamedJoints(given, tuple(places[joint] for joint in given.joints))
    return whole, {"": NamedJoints(whole, tuple(range(count))), given.name: view}
