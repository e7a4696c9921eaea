"""Batches of pictures for the trunk, made while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

import torch
from torch.nn import functional

from marey.body.open_body import open_body
from marey.core import InputError
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator, flipped, mirror_vertices
from marey.data.synthetic.keypoint_sight import keypoint_parts
from marey.engine.streams import made_ahead
from marey.methods.trunk.samples import TrunkSamples, trunk_samples
from marey.nn.trunk import KEYPOINTS

Framing = Literal["person", "scene"]
_LEVEL: Literal["small"] = "small"
"""Of the body's mesh: pictures are not larger than it is fine."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Some of the pictures of every global batch."""

    tier: str
    framing: Framing
    pictures: int


@dataclass(frozen=True, kw_only=True)
class TrunkStream:
    """Which pictures come, in which order: a pure function of the seed, whoever makes them.

    Global batches come in rounds: one that is rendered and, where they are `mirrored`, its mirror images.
    """

    shares: tuple[Share, ...]
    side: int
    seed: int
    rank: int
    world: int
    mirrored: bool
    device: torch.device

    def __post_init__(self) -> None:
        for share in self.shares:
            if share.pictures % self.world:
                raise InputError(
                    f"shares: expected multiples of the {self.world} processes, got {share.pictures} pictures"
                )

    def batches(self, start: int, stop: int | None, *, workers: int) -> Iterator[TrunkSamples]:
        """This process's shards of the global batches from `start` to before `stop`; None: without end."""
        each = 2 if self.mirrored else 1
        first, skipped = divmod(start, each)
        workers = workers if self.device.type == "cpu" else 0
        whole = chain.from_iterable(made_ahead(lambda: _Maker(self).round, first, workers=workers))
        return islice(whole, skipped, None if stop is None else max(stop - start, 0) + skipped)


class _Maker:
    """Renders the shards of one process."""

    def __init__(self, stream: TrunkStream) -> None:
        self.stream = stream
        body = open_body(_LEVEL)
        self.near = keypoint_parts(body, KEYPOINTS).to(stream.device)
        self.mirror = mirror_vertices(body).to(stream.device) if stream.mirrored else None
        at_once = 16 if stream.device.type == "cpu" else 256
        self.generators = [
            SyntheticGenerator(_config(share, stream.side), device=stream.device, scenes_at_once=at_once)
            for share in stream.shares
        ]

    def round(self, number: int) -> list[TrunkSamples]:
        """One global batch, and its mirror images."""
        shards = [self._shard(number, place) for place in range(len(self.stream.shares))]
        return [TrunkSamples.cat(_padded(list(parts))) for parts in zip(*shards, strict=True)]

    def _shard(self, number: int, place: int) -> list[TrunkSamples]:
        stream, share = self.stream, self.stream.shares[place]
        indices = torch.arange(number * share.pictures + stream.rank, (number + 1) * share.pictures, stream.world)
        # seeds of splits and shares never meet: what has the same index would look alike
        batch = self.generators[place].sample(stream.seed * len(stream.shares) + place, indices)
        batches = [batch] if self.mirror is None else [batch, flipped(batch, self.mirror)]
        return [trunk_samples(made, self.near, whole_scene=share.framing == "scene") for made in batches]


def _config(share: Share, side: int) -> SyntheticConfig:
    return SyntheticConfig(
        tier=share.tier, framing=share.framing, image_size=(side, side), skeletons=(KEYPOINTS,), level=_LEVEL
    )


def _padded(parts: list[TrunkSamples]) -> list[TrunkSamples]:
    """As many places for people in each."""
    most = max(part.boxes.shape[1] for part in parts)
    return [
        replace(part, boxes=functional.pad(part.boxes, (0, 0, 0, most - part.boxes.shape[1]), value=torch.nan))
        for part in parts
    ]
