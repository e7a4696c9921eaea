"""What the heads learn from: synthetic people seen by some of the calibrated cameras around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from marey.body.open_body import open_body
from marey.core.cameras import Cameras
from marey.core.tensors import TensorFields, Trailing
from marey.data.synthetic import SyntheticBatch, SyntheticConfig, SyntheticGenerator, flipped, mirror_vertices
from marey.data.synthetic.keypoint_sight import keypoint_parts, keypoints_seen
from marey.engine.seeding import mixed_seed
from marey.geometry.projection import project_from_camera

RING = 8
"""Cameras around each scene, of which some look."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Captures(TensorFields):
    """B people, each seen by V cameras without distortion."""

    images: Annotated[Tensor, Trailing("V", 3, "H", "W")]
    """uint8, red green blue."""
    projections: Annotated[Tensor, Trailing("V", 3, 4)]
    """From the world, metres, to pixels of the images."""
    seen: Annotated[Tensor, Trailing("V", "J")]
    """Boolean: the joint's pixel shows the person around the joint."""
    joints: Annotated[Tensor, Trailing("J", 3)]
    """In the world."""
    centers: Annotated[Tensor, Trailing(3)]
    """Midway between the hips."""


@dataclass(frozen=True, kw_only=True)
class CaptureStream:
    """Which captures come, in which order: a pure function of the seed, whoever makes them."""

    tiers: tuple[tuple[str, int], ...]
    """And people of each in a global batch."""
    views: tuple[float, ...]
    """Weights of one view, two, and so on: as many as one batch has."""
    side: int
    skeleton: str
    seed: int
    rank: int
    world: int
    mirrored: bool
    device: torch.device

    def maker(self) -> CaptureMaker:
        """What makes them."""
        return CaptureMaker(self)


class CaptureMaker:
    """Renders the shards of one process; called with the number of a global batch."""

    def __init__(self, stream: CaptureStream) -> None:
        self.stream = stream
        body = open_body("small")
        self.mirror = mirror_vertices(body).to(stream.device)
        self.near = keypoint_parts(body, stream.skeleton).to(stream.device)
        at_once = 8 if stream.device.type == "cpu" else 128
        self.generators = [
            SyntheticGenerator(
                SyntheticConfig(
                    tier=tier, views=RING, image_size=(stream.side, stream.side), skeletons=(stream.skeleton,)
                ),
                device=stream.device,
                scenes_at_once=at_once,
            )
            for tier, _ in stream.tiers
        ]
        self._last: tuple[int, list[SyntheticBatch]] = (-1, [])

    def __call__(self, number: int) -> Captures:
        """The shard of a global batch; every second one is the mirror image of the one before it."""
        stream = self.stream
        rendered, mirrored = divmod(number, 2) if stream.mirrored else (number, 0)
        batches = self._rendered(rendered)
        if mirrored:
            batches = [flipped(batch, self.mirror) for batch in batches]
        return Captures.cat([captures_of(batch, stream.skeleton, self.near) for batch in batches])

    def _rendered(self, number: int) -> list[SyntheticBatch]:
        """A batch of each tier. The last ones are kept: what is asked for next is mostly their mirror image."""
        stream = self.stream
        if self._last[0] != number:
            cameras = self._cameras(number)
            batches = []
            for place, (_, people) in enumerate(stream.tiers):
                indices = torch.arange(number * people + stream.rank, (number + 1) * people, stream.world)
                # seeds of splits and tiers never meet: what has the same index would look alike
                seed = stream.seed * len(stream.tiers) + place
                batches.append(self.generators[place].sample(seed, indices, cameras=cameras))
            self._last = (number, batches)
        return self._last[1]

    def _cameras(self, number: int) -> list[int]:
        stream = self.stream
        draws = torch.Generator().manual_seed(mixed_seed("views", stream.seed, number))
        count = int(torch.multinomial(torch.tensor(stream.views), 1, generator=draws)) + 1
        return torch.randperm(RING, generator=draws)[:count].tolist()


def captures_of(batch: SyntheticBatch, skeleton: str, near: Tensor) -> Captures:
    """The first person of each sample, with the lenses' distortion taken out of the pictures.

    Args:
        batch: Labelled with the skeleton.
        skeleton: Of the joints.
        near: (J, parts), which parts of the body are around each.
    """
    rotation, translation = batch.cameras.extrinsics
    projections = batch.cameras.intrinsics @ torch.cat((rotation, translation[..., None]), dim=-1)
    joints = batch.skeletons[skeleton][:, 0]
    hips = batch.people.joints[:, 0, 1:3]
    return Captures(
        images=without_distortion(batch.images, batch.cameras),
        projections=projections.float(),
        seen=keypoints_seen(batch.skeletons_2d[skeleton][:, :, 0], batch.pixels, near),
        joints=joints.float(),
        centers=hips.mean(1).float(),
    )


def without_distortion(images: Tensor, cameras: Cameras) -> Tensor:
    """Pictures as pinholes with the same intrinsic matrices would have taken them; zero where nothing was seen.

    Args:
        images: (B, V, 3, H, W) uint8.
        cameras: (B, V).
    """
    height, width = images.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack((columns, rows), dim=-1).flatten(0, 1).to(cameras.intrinsics)
    inverse = torch.linalg.inv(cameras.intrinsics)
    rays = torch.nn.functional.pad(pixels, (0, 1), value=1.0) @ inverse.mT
    sources = project_from_camera(rays, cameras)
    places = (sources + 0.5) * (2 / pixels.new_tensor((width, height))) - 1
    grid = places.nan_to_num(nan=-9.0).clamp(-9, 9).view(-1, height, width, 2).float()
    flat = functional.grid_sample(images.flatten(0, 1).float(), grid, align_corners=False)
    return flat.round().to(torch.uint8).view(images.shape)
