"""The detector `marey` as one module of tensors alone, for graphs that are exported: pictures in, people's boxes out.

What `marey.detect.trunk` does with lists of candidates is done here in a fixed number of places, most of them empty:
how many people there are is told by a mask.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from marey.core import InputError
from marey.detect.area_crops import Pictures, area_crops, area_letterbox
from marey.detect.trunk import SIDE, SearchSettings, person_squares
from marey.detect.trunk_crops import whole_squares
from marey.detect.trunk_look import likeness, merged_with_mirrored, read_look
from marey.detect.trunk_search import Candidates, box_overlap, boxes_at, highest_centers, kept_apart
from marey.nn.trunk import Trunk, TrunkMaps

_PER_PERSON = 2
"""Candidates that are looked at, for each place for a person."""


class _Places(NamedTuple):
    """Candidates in N places of each of B pictures, the best first."""

    boxes: Tensor
    """(B, N, 4) numbers everywhere."""
    score: Tensor
    """(B, N) 0 in empty places."""


class TrunkPeople(nn.Module):
    """Finds the people that `marey.detect.trunk.MareyPose` finds in single pictures.

    It differs where there are more people than places, or twice as many candidates; and by less than a pixel in
    pictures that are not square, since they are put into squares to be searched.
    """

    def __init__(self, trunk: Trunk, *, people: int = 8, search: SearchSettings | None = None) -> None:
        """Hold a trunk.

        Args:
            trunk: In evaluation mode.
            people: Places in each picture.
            search: Defaults if None; `following` does not matter here.

        Raises:
            InputError: there is no place.
        """
        super().__init__()
        if people < 1:
            raise InputError(f"people: expected 1 or more, got {people}")
        self.trunk = trunk
        self.people = people
        self.search = search or SearchSettings()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at pictures.

        Args:
            images: (B, 3, H, W), 0 to 255, red green blue.

        Returns:
            Of K places each, the best first: boxes (B, K, 4) of left, top, right, bottom in pixels, NaN where there is
            nobody; scores (B, K), 0 where there is nobody; and whether there is somebody (B, K).
        """
        pictures = Pictures.of(images)
        found = self._glance(pictures, self.search.sides)
        if self.search.small_side is not None:
            small = self._glance(pictures, (self.search.small_side,))
            lonely = ~(found.score > 0).any(-1, keepdim=True)
            found = _Places(
                torch.where(lonely[..., None], small.boxes, found.boxes), torch.where(lonely, small.score, found.score)
            )
        likely = _Places(found.boxes[:, : self.people], found.score[:, : self.people])
        people = self._look(pictures, likely, self.search.least_score, mirrored=True)
        keep = people.score > 0
        return torch.where(keep[..., None], people.boxes, torch.nan), people.score, keep

    def _glance(self, pictures: Pictures, sides: tuple[int, ...]) -> _Places:
        """Who may well be there, by looking at all of each picture."""
        parts = [self._searched(pictures, side) for side in sides]
        found = _sorted(torch.cat([part.boxes for part in parts], 1), torch.cat([part.score for part in parts], 1))
        rivals = box_overlap(found.boxes, found.boxes) > self.search.most_overlap
        kept = kept_apart(found.score > self.search.least_candidate, rivals)
        likely = _sorted(found.boxes, torch.where(kept, found.score, 0.0), _PER_PERSON * self.people)
        return self._look(pictures, likely, self.search.least_score / 2)

    def _searched(self, pictures: Pictures, side: int) -> _Places:
        """The centres of people in pictures made small."""
        small, scale = area_letterbox(pictures, side)
        maps = self.trunk(small / 255)
        score, place = highest_centers(maps, min(self.search.most_people, _PER_PERSON * self.people))
        frame = torch.arange(place.shape[0], device=place.device)[:, None].expand_as(place)
        boxes = (boxes_at(maps, frame, place) + 0.5) * scale.repeat(2) - 0.5
        return _Places(boxes.float(), score)

    def _look(self, pictures: Pictures, likely: _Places, least_score: float, *, mirrored: bool = False) -> _Places:
        """Those of the candidates that are people by a close look, each once."""
        squares = whole_squares(person_squares(likely.boxes).double(), pictures.size)
        crops = area_crops(pictures, squares, SIDE).flatten(0, 1) / 255
        maps: TrunkMaps = self.trunk(crops)
        if mirrored:
            maps = merged_with_mirrored(maps, self.trunk(crops.flip(-1)))
        rows = torch.arange(crops.shape[0], device=crops.device)
        flat = Candidates(rows, likely.boxes.flatten(0, 1), likely.score.flatten())
        look = read_look(maps, flat, squares.flatten(0, 1))
        boxes, score, positions = (
            part.reshape(*likely.score.shape, *part.shape[1:])
            for part in (look.candidates.boxes, look.candidates.score, look.positions)
        )
        order = torch.where(likely.score > 0, score, 0.0).topk(score.shape[1], dim=1)
        boxes, positions = _taken(boxes, order.indices), _taken(positions, order.indices)
        settings = self.search
        alike = likeness(boxes, positions) > settings.most_similar
        rivals = (box_overlap(boxes, boxes) > settings.most_overlap) | alike
        kept = kept_apart(order.values > least_score, rivals)
        return _sorted(boxes, torch.where(kept, order.values, 0.0))


def _sorted(boxes: Tensor, score: Tensor, most: int | None = None) -> _Places:
    """The best first, as many as `most`."""
    best = score.topk(score.shape[1] if most is None else min(most, score.shape[1]), dim=1)
    return _Places(_taken(boxes, best.indices), best.values)


def _taken(values: Tensor, places: Tensor) -> Tensor:
    """Rows (B, n, ...) of values (B, N, ...) by numbers (B, n)."""
    index = places.reshape(*places.shape, *(1,) * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)
