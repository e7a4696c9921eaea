"""The detector `marey`: people and their keypoints in images, by a small network that comes with the package.

The network (`marey.nn.trunk`) looks three times. At the whole image, made small at several scales, it says where people
may be; at a crop of each of them it says where their keypoints are and how surely, from which it follows whether there
is anybody; and once more at a crop that fits better. It was trained on synthetic pictures alone; its card says
what it is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor

from marey.core import Boxes, Detections2D, Image, InputError, Keypoints2D, ShapeError, skeleton
from marey.detect.trunk_crops import crop_squares, letterbox, whole_squares
from marey.detect.trunk_look import Look, joined_looks, merged_with_mirrored, read_look, similarity
from marey.detect.trunk_network import TrunkRunner
from marey.detect.trunk_search import Candidates, box_overlap, followed, joined, nobody, read_centers, suppress
from marey.io.weights import load_weights, read_card
from marey.nn.precision import Precision
from marey.nn.trunk import KEYPOINTS, MULTIPLE, Trunk, TrunkConfig

WEIGHTS = resources.files("marey.detect") / "assets" / "trunk"
"""What is shipped; its card says how it was trained and what it is worth."""
SIDE = 128
"""Of the crop of a person, pixels: what the network was trained with."""
MARGIN = 1.25
"""Side of a crop in the longer sides of the person's box; in training 1.08 to 1.6."""
_AT_ONCE = 32
"""Crops in one run of the network, which bounds the memory."""


@cache
def shipped_trunk() -> Trunk:
    """The network with the weights that are shipped, in single precision on the CPU; the same object for every call.

    Raises:
        MissingAssetError, FormatError: the files in the package are missing or damaged.
    """
    trunk = Trunk(TrunkConfig(**read_card(WEIGHTS)["network"]))
    load_weights(trunk, WEIGHTS)
    return trunk.eval().requires_grad_(False)


def person_squares(boxes: Tensor) -> Tensor:
    """Squares (..., 4) around boxes (..., 4) of left, top, right, bottom, with the margin that the network wants.

    The person is in the middle, the longer side takes up 1 / `MARGIN` of the square. NaN stays NaN.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]).amax(-1, keepdim=True) * (MARGIN / 2)
    return torch.cat((middle - half, middle + half), -1)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How people are looked for."""

    sides: tuple[int, ...] = (128, 256)
    """Longer sides that the whole image is brought to, pixels: each finds people who fill about 40 to 100 % of 128."""
    small_side: int | None = 512
    """Another one, for images in which the others find nobody; None: no."""
    least_candidate: float = 0.05
    """Of a centre in the whole image, from which it is looked at closely."""
    least_score: float = 0.15
    """Of a person, see `marey.detect.trunk_look.certainty`; half of that suffices for a second look."""
    most_overlap: float = 0.5
    """Intersection over union of two people's boxes above which the worse one is dropped."""
    most_similar: float = 0.3
    """Likewise of their keypoints, see `marey.detect.trunk_look.similarity`."""
    most_people: int = 20
    """In one image, the best ones."""
    following: bool = True
    """Whoever is found is looked for in the same place in the frames around, too. What is found in a frame then depends
    on these, but nobody is there who is not seen there."""

    def __post_init__(self) -> None:
        sides = (*self.sides, *(() if self.small_side is None else (self.small_side,)))
        if not self.sides or any(side < MULTIPLE or side % MULTIPLE for side in sides):
            raise InputError(f"sides: expected multiples of {MULTIPLE}, got {self.sides} and {self.small_side}")


class MareyPose:
    """The shared network as a detector: any number of people, the 26 keypoints of `halpe_26`, each with a covariance.

    The score of a keypoint is its probability of being visible; keypoints that others or the person's own body cover
    are found as well, with a covariance that says how uncertain that is. What lies outside of the image is missing.
    """

    name = "marey"
    fingerprint: str
    """Another one finds other things: of the weights, the settings and the precision."""

    def __init__(
        self,
        *,
        trunk: Trunk | None = None,
        search: SearchSettings | None = None,
        precision: Precision = "auto",
        device: torch.device | str = "cpu",
        frames_at_once: int = 8,
    ) -> None:
        """Load the network.

        Args:
            trunk: None: the shipped one.
            search: defaults if None.
            precision: of the network's arithmetic.
            device: where the network runs.
            frames_at_once: read and looked at together.

        Raises:
            MissingAssetError, FormatError: the shipped weights are missing or damaged.
            InputError: fewer than one frame at once.
        """
        if frames_at_once < 1:
            raise InputError(f"frames_at_once: expected 1 or more, got {frames_at_once}")
        self.skeleton = skeleton(KEYPOINTS)
        self._runner = TrunkRunner(trunk or shipped_trunk(), device=device, precision=precision)
        self._search = search or SearchSettings()
        self._frames_at_once = frames_at_once
        self.fingerprint = f"{self._runner.fingerprint} {self._search}"

    def __call__(self, frames: Iterable[Image], boxes: Boxes | None = None) -> Iterator[Detections2D]:
        """Yield the detections of each frame, best first; with boxes, one for each box in their order; see `Detector`.

        Raises:
            ShapeError: a frame is no image (H, W, 3) of 8 bits, or there are fewer rows of boxes than frames.
        """
        remaining, earlier = iter(frames), torch.zeros(0, 4)
        for start in count(0, self._frames_at_once):
            images = [_checked(image) for image in islice(remaining, self._frames_at_once)]
            if not images:
                return
            if boxes is None:
                seen = self._find(images, earlier)
                earlier = seen.candidates.boxes[seen.candidates.frame == len(images) - 1]
            else:
                given = _given(boxes, start, len(images))
                seen = self._look(images, given, mirrored=True)._replace(candidates=given)
            for number, image in enumerate(images):
                yield self._detections(seen.pick(seen.candidates.frame == number), image)

    def _find(self, images: Sequence[Image], earlier: Tensor) -> Look:
        """Everybody in the images; in the one before them people were in the boxes `earlier` (P, 4)."""
        settings, numbers = self._search, range(len(images))
        likely = self._glance(images, numbers, settings.sides)
        lonely = [number for number in numbers if not (likely.frame == number).any()]
        if lonely and settings.small_side is not None:
            likely = joined([likely, self._glance(images, lonely, (settings.small_side,))])
        if settings.following:
            sure = likely.pick(likely.score > settings.least_score)
            anywhen = sure._replace(frame=torch.zeros_like(sure.frame))
            places = sure.boxes[suppress(anywhen, box_overlap(sure.boxes, sure.boxes) > settings.most_overlap)]
            likely = joined([likely, followed(likely, torch.cat((earlier, places)), len(images))])
        return self._best(self._look(images, likely, mirrored=True), settings.least_score)

    def _glance(self, images: Sequence[Image], chosen: Sequence[int], sides: Sequence[int]) -> Candidates:
        """Who may well be in some of the images, by looking at all of each."""
        found = self._searched(images, chosen, sides)
        found = found.pick(suppress(found, box_overlap(found.boxes, found.boxes) > self._search.most_overlap))
        return self._best(self._look(images, found), self._search.least_score / 2).candidates

    def _searched(self, images: Sequence[Image], chosen: Sequence[int], sides: Sequence[int]) -> Candidates:
        settings = self._search
        found = [nobody()]
        for side in sides:
            for group in _same_size(images, chosen):
                small = [letterbox(images[number], side, MULTIPLE) for number in group]
                maps = self._runner(np.stack([each.pixels for each in small]))
                local = read_centers(maps, least_score=settings.least_candidate, most=settings.most_people)
                scale = torch.tensor(small[0].scale * 2)
                boxes = (local.boxes.cpu() + 0.5) * scale - 0.5
                found.append(Candidates(torch.tensor(group)[local.frame.cpu()], boxes, local.score.cpu()))
        return joined(found)

    def _look(self, images: Sequence[Image], candidates: Candidates, *, mirrored: bool = False) -> Look:
        """Look closely at each candidate; also at their mirror images, which takes twice as long and is better."""
        candidates = candidates.pick(candidates.frame.argsort(stable=True))
        squares = person_squares(candidates.boxes).double()
        crops = [np.zeros((0, SIDE, SIDE, 3), np.uint8)]
        for number, image in enumerate(images):
            mine = candidates.frame == number
            squares[mine] = whole_squares(squares[mine], (image.shape[1], image.shape[0]))
            crops.append(crop_squares(image, squares[mine], SIDE))
        everything, looks = np.concatenate(crops), []
        for run in torch.split(torch.arange(len(squares)), _AT_ONCE):
            pictures = everything[run.numpy()]
            maps = self._runner(pictures)
            if mirrored:
                maps = merged_with_mirrored(maps, self._runner(np.ascontiguousarray(pictures[:, :, ::-1])))
            looks.append(read_look(maps, candidates.pick(run), squares[run]))
        return joined_looks(looks)

    def _best(self, seen: Look, least_score: float) -> Look:
        """Those that are people, each once, the best first."""
        seen = seen.pick(seen.candidates.score > least_score)
        boxes, settings = seen.candidates.boxes, self._search
        rivals = (box_overlap(boxes, boxes) > settings.most_overlap) | (similarity(seen) > settings.most_similar)
        return seen.pick(suppress(seen.candidates, rivals))

    def _detections(self, seen: Look, image: Image) -> Detections2D:
        """Of one frame."""
        limit = torch.tensor([image.shape[1], image.shape[0]]) - 0.5
        inside = ((seen.positions > -0.5) & (seen.positions < limit)).all(-1)
        missing = torch.tensor(torch.nan)
        return Detections2D(
            keypoints=Keypoints2D(
                positions=torch.where(inside[..., None], seen.positions, missing),
                covariance=torch.where(inside[..., None, None], seen.covariance, missing),
                score=torch.where(inside, seen.score, 0.0),
                skeleton=self.skeleton,
            ),
            boxes=Boxes(corners=seen.candidates.boxes, score=seen.candidates.score),
        )


def _given(boxes: Boxes, start: int, frames: int) -> Candidates:
    """The boxes that are there, of some frames."""
    rows = slice(start, start + frames)
    corners, score = boxes.corners[rows].float().cpu(), boxes.score[rows].float().cpu()
    if len(corners) < frames:
        raise ShapeError(f"boxes: expected a row for each frame, got {boxes.batch_shape[0]} and more frames than that")
    frame, slot = torch.nonzero(corners.isfinite().all(-1) & (score > 0), as_tuple=True)
    return Candidates(frame, corners[frame, slot], score[frame, slot])


def _same_size(images: Sequence[Image], chosen: Sequence[int]) -> list[list[int]]:
    """Numbers of images, those of one size together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number in chosen:
        groups.setdefault(images[number].shape, []).append(number)
    return list(groups.values())


def _checked(image: Image) -> Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ShapeError(f"frame: expected (H, W, 3) of 8 bits, red green blue, got {image.shape} of {image.dtype}")
    return image
