"""Synthetic captures: the function from a seed and an index to pictures and all that is known about them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.open_body import open_body
from marey.core import InputError
from marey.data.synthetic.bodies import People, Shapes, people_shapes, pose_samplers
from marey.data.synthetic.clips import read_clips
from marey.data.synthetic.config import SyntheticConfig
from marey.data.synthetic.labels import SyntheticBatch
from marey.data.synthetic.pictures import render_scenes
from marey.data.synthetic.scenes import Cast, draw_scenes
from marey.data.synthetic.staging import Staging

_SCENES = 16
"""Scenes that are drawn together, always as many: what is computed for one does not depend on how many were asked for.
A multiple of the lanes of vector instructions."""


class SyntheticGenerator:
    """Makes synthetic captures: a pure function of the configuration, a seed, an index and a time.

    On a processor the result does not depend, bit for bit, on how indices are split into calls, on the number of
    workers, or on the number of threads: all is computed in steps of one size, on one thread. To use several, run
    several workers. On an accelerator labels agree with these to rounding, and random choices exactly.

    Args:
        config: What is made.
        model: The body, with the joints of SMPL; None takes the open body at the level of the configuration.
        shapes: Draws the shape coefficients of people of a tier; by default those of the open body.
        staging: Who moves how, and where the cameras are, for all indices alike; None: drawn.
        device: Where all is computed, and where the batches are.
        scenes_at_once: How many scenes are drawn together; another number changes last bits. More suit an accelerator.
    """

    def __init__(
        self,
        config: SyntheticConfig | None = None,
        *,
        model: BodyModel | None = None,
        shapes: Shapes = people_shapes,
        staging: Staging | None = None,
        device: torch.device | str = "cpu",
        scenes_at_once: int = _SCENES,
    ) -> None:
        if scenes_at_once < 1:
            raise InputError(f"scenes_at_once: expected 1 or more, got {scenes_at_once}")
        self.config = config or SyntheticConfig()
        self.device = torch.device(device)
        self.scenes_at_once = scenes_at_once
        self.model = (model or open_body(self.config.level)).to(torch.float64).to(self.device)
        clips = read_clips(self.config.motions, self.config.split) if self.config.motions else None
        people = People(
            model=self.model,
            shapes=shapes,
            samplers=pose_samplers(self.config.difficulty),
            clips=clips and clips.to(self.device),
        )
        self._cast = Cast.of(self.config, people, staging)

    def sample(
        self,
        seed: int,
        indices: Sequence[int] | Tensor,
        times: Sequence[float] | Tensor = (),
        *,
        cameras: Sequence[int] | None = None,
        images: bool = True,
    ) -> SyntheticBatch:
        """Make the samples of some indices.

        Args:
            seed: Any whole number.
            indices: B whole numbers; each is a scene with people, clothes, light, and cameras.
            times: B seconds: the moment of the scene. Without, all are 0, the still pictures.
            cameras: Which of the configuration's cameras to look through, in this order; None: all. Labels are the
                same bits either way, colours the same to rounding.
            images: Whether colours are wanted. Labels alone take a third of the time; `images` is (B, V, 3, 0, 0) then.

        Raises:
            InputError: there is no index, not as many times as indices, or no such camera.
        """
        chosen = _checked(cameras, self.config.views)
        numbers = torch.as_tensor(indices, dtype=torch.int64, device=self.device).reshape(-1)
        moments = torch.as_tensor(times, dtype=torch.float64, device=self.device).reshape(-1)
        moments = moments if len(moments) else torch.zeros(len(numbers), dtype=torch.float64, device=self.device)
        if not len(numbers) or len(numbers) != len(moments):
            raise InputError(f"expected one or more indices and as many times, got {len(numbers)} and {len(moments)}")
        size = self.scenes_at_once
        with torch.no_grad(), one_thread():
            parts = zip(torch.split(numbers, size), torch.split(moments, size), strict=True)
            return SyntheticBatch.cat([self._some(seed, *part, chosen, images) for part in parts])

    def batches(
        self, seed: int, *, batch_size: int, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[SyntheticBatch]:
        """Make batches without end, each sample once.

        Batch k of all processes together holds the indices k `batch_size` and on; process `rank` of `world` makes every
        `world`-th. What is made does not depend on how many processes make it.

        Args:
            seed: Any whole number.
            batch_size: Scenes in a batch.
            start: The first batch; to go on where a run was interrupted.
            rank: Which of the processes this is.
            world: How many there are.

        Raises:
            InputError: the numbers do not fit together.
        """
        if batch_size < 1 or start < 0 or not 0 <= rank < world:
            raise InputError(
                "expected batch_size >= 1, start >= 0 and 0 <= rank < world, got "
                f"{batch_size}, {start}, {rank} and {world}"
            )
        number = start + rank
        while True:
            yield self.sample(seed, torch.arange(number * batch_size, (number + 1) * batch_size))
            number += world

    def _some(
        self, seed: int, indices: Tensor, times: Tensor, cameras: tuple[int, ...] | None, images: bool
    ) -> SyntheticBatch:
        """At most `scenes_at_once` scenes, drawn together with copies of the last one that fill up the number."""
        count, size = len(indices), self.scenes_at_once
        filled = torch.arange(size, device=self.device).clamp_max(count - 1)
        scenes = draw_scenes(self._cast, seed, indices[filled], times[filled])
        scenes = scenes if cameras is None else scenes.seen_by(cameras)
        # pictures are large: on a processor one after the other stays in its cache
        at_once = 1 if self.device.type == "cpu" else size
        return render_scenes(self._cast, scenes, indices, at_once=at_once, images=images)


def _checked(cameras: Sequence[int] | None, views: int) -> tuple[int, ...] | None:
    chosen = None if cameras is None else tuple(cameras)
    if chosen is not None and (not chosen or not all(0 <= camera < views for camera in chosen)):
        raise InputError(f"cameras: expected some of the numbers 0 to {views - 1}, got {chosen}")
    return chosen


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums of products come out the same whatever the machine would use."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
