"""Which crops come in which batch of training: a pure function of the seed and the number of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from marey.core import InputError, Skeleton, skeleton, skeleton_names
from marey.data.augmentation import AppearanceOptions, Cutouts, change_appearance
from marey.data.labels.joining import joints_by_name
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.engine.captures import Captures, CaptureStream
from marey.engine.seeding import mixed_seed
from marey.engine.streams import shuffled
from marey.geometry.projection_matrices import pinhole_parts
from marey.methods.metrabs.framed_captures import FramedMaker, Framing
from marey.methods.metrabs.samples import CropSamples, CropSet, CropStyle

_STREAM = 2**32
"""Seeds of NumPy's `RandomState`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Share:
    """Some of the crops of every global batch."""

    people: CropSet
    count: int
    style: CropStyle

    def crops(self, number: int, name: str, *, seed: int, rank: int, world: int, threads: int) -> CropSamples:
        """This process's crops of a global batch; what is random does not depend on the number of processes."""
        mixed = mixed_seed(seed, name)
        shard = next(shuffled(len(self.people), self.count, seed=mixed, rank=rank, world=world, start=number))
        seeds = [mixed_seed(mixed, "crop", number, place) % _STREAM for place in range(rank, self.count, world)]
        return self.people.samples(shard, seeds, self.style, threads=threads)


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticPeople:
    """Synthetic captures as crops: made for them, so that they vary in appearance only."""

    tiers: tuple[tuple[str, int], ...]
    """And people of each in a global batch."""
    skeleton: Skeleton
    """Of the network; joints that no labels of the body have are unknown."""
    side: int
    appearance: AppearanceOptions | None
    objects: Cutouts | None = None
    framing: Framing = field(default_factory=Framing)

    def maker(self, *, seed: int, rank: int, world: int, mirrored: bool) -> SyntheticMaker:
        """What makes the shards of one process.

        Raises:
            InputError: a batch cannot be shared out evenly.
        """
        if odd := [people for _, people in self.tiers if people % world]:
            raise InputError(f"synthetic: expected multiples of the {world} processes, got {odd[0]} people")
        labelled = nearest_skeleton(self.skeleton)
        stream = CaptureStream(
            tiers=self.tiers,
            views=(1.0,),
            side=self.side,
            skeleton=labelled.name,
            seed=seed,
            rank=rank,
            world=world,
            mirrored=mirrored,
            device=torch.device("cpu"),
        )
        return SyntheticMaker(self, FramedMaker(stream, self.framing), labelled)


class SyntheticMaker:
    """Renders the shards of one process; called with the number of a global batch."""

    def __init__(self, people: SyntheticPeople, captures: FramedMaker, labelled: Skeleton) -> None:
        self.people, self.captures, self.labelled = people, captures, labelled

    def __call__(self, number: int) -> CropSamples:
        """The shard of a global batch."""
        people, made = self.people, self.captures(number)
        joints, keypoints, intrinsics = _seen(made, self.labelled, people.skeleton)
        images = made.images[:, 0]
        if people.appearance is not None:
            stream = self.captures.make.stream
            seed = mixed_seed("appearance", stream.seed, number, stream.rank) % _STREAM
            images = _changed(images, np.random.RandomState(seed), people.appearance, people.objects)
        return CropSamples(images=images, intrinsics=intrinsics, joints=joints, keypoints=keypoints)


def synthetic_joints(tier: str, wanted: Skeleton, count: int = 128) -> npt.NDArray[np.float32]:
    """(N, J, 3) metres, in the world: joints of the first people that are rendered for training."""
    labelled = nearest_skeleton(wanted)
    config = SyntheticConfig(tier=tier, split="training", skeletons=(labelled.name,))
    made = SyntheticGenerator(config).sample(0, range(count), images=False)
    return joints_by_name(made.skeletons[labelled.name][:, 0].numpy(), labelled, wanted).astype(np.float32)


def nearest_skeleton(wanted: Skeleton) -> Skeleton:
    """The skeleton that synthetic captures are labelled with which has most of the joints of another."""
    from marey.body.open_body import open_body

    known = [skeleton(name) for name in open_body("small").regressors if name in skeleton_names()]
    return max(known, key=lambda one: len(set(one.joints) & set(wanted.joints)))


def _seen(made: Captures, labelled: Skeleton, wanted: Skeleton) -> tuple[Tensor, Tensor, Tensor]:
    """Joints (B, J, 3) in the frames of the cameras, keypoints (B, J, 2) and intrinsics (B, 3, 3)."""
    projections = made.projections[:, 0]
    inverse, _ = pinhole_parts(projections)
    moved = inverse @ projections
    world = torch.from_numpy(joints_by_name(made.joints.numpy(), labelled, wanted))
    joints = world @ moved[..., :3].mT + moved[:, None, :, 3]
    intrinsics = torch.linalg.inv(inverse)
    plane = joints / torch.where(joints[..., 2:] > 0, joints[..., 2:], torch.nan)
    return joints, (plane @ intrinsics.mT)[..., :2], intrinsics


def _changed(
    images: Tensor, draws: np.random.RandomState, options: AppearanceOptions, objects: Cutouts | None
) -> Tensor:
    pictures = images.permute(0, 2, 3, 1).numpy()
    made = [change_appearance(np.ascontiguousarray(one), draws, options, objects=objects) for one in pictures]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True, kw_only=True, eq=False)
class CropStream:
    """The shards of one process."""

    people: Sequence[Share]
    pictures: Sequence[Share]
    synthetic: SyntheticPeople | None
    seed: int
    rank: int
    world: int
    accumulate: int
    """Global batches that make one step."""
    threads: int

    def __post_init__(self) -> None:
        if odd := [share.count for share in (*self.people, *self.pictures) if share.count % self.world]:
            raise InputError(f"count: expected multiples of the {self.world} processes, got {odd[0]}")

    def maker(self) -> CropMaker:
        """What makes them."""
        return CropMaker(self)


class CropMaker:
    """Makes the shards of one process; called with the number of a global batch."""

    def __init__(self, stream: CropStream) -> None:
        self.stream = stream
        self.synthetic: SyntheticMaker | None = None
        if stream.synthetic is not None:
            self.synthetic = stream.synthetic.maker(
                seed=2 * stream.seed, rank=stream.rank, world=stream.world, mirrored=True
            )

    def __call__(self, number: int) -> dict[str, CropSamples | int]:
        """`step` that the batch is of, `people` and, if there are, `pictures`."""
        stream = self.stream
        people = self._crops(number, "people", stream.people)
        if self.synthetic is not None:
            people.append(self.synthetic(number))
        batch: dict[str, CropSamples | int] = {
            "people": CropSamples.cat(people),
            "step": number // stream.accumulate,
        }
        if stream.pictures:
            batch["pictures"] = CropSamples.cat(self._crops(number, "pictures", stream.pictures))
        return batch

    def _crops(self, number: int, kind: str, shares: Sequence[Share]) -> list[CropSamples]:
        stream = self.stream
        return [
            share.crops(
                number,
                f"{kind} {place}",
                seed=stream.seed,
                rank=stream.rank,
                world=stream.world,
                threads=stream.threads,
            )
            for place, share in enumerate(shares)
        ]
