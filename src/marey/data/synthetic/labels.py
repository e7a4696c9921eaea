"""What is known exactly about a synthetic capture: bodies, cameras, joints in space and in pictures, maps of pixels.

Real numbers are float32. What is derived from others is derived from their rounded values: projecting the joints with
the cameras, both as given here, gives the 2D joints to the rounding of float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

import torch
from torch import Tensor

from marey.core import Cameras
from marey.core.results import BodyState
from marey.core.tensors import TensorFields, Trailing

BACKGROUND = -1
OCCLUDER = -2


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleLabels(TensorFields):
    """The people of B samples in the world (z up, metres), batch shape (B, P). Who is not there is NaN throughout."""

    present: Annotated[Tensor, Trailing()]
    """Boolean."""
    body: BodyState
    """What the body model gives `joints` and `vertices` for; its frame is the world."""
    joints: Annotated[Tensor, Trailing("J", 3)]
    """Of the body, in the order of its tree."""
    vertices: Annotated[Tensor, Trailing("N", 3)]
    """Of the undressed body."""
    surface: Annotated[Tensor, Trailing("N", 3)]
    """What is rendered: the vertices moved outwards by clothing and hair."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewLabels(TensorFields):
    """The people in the pictures, batch shape (B, V, P)."""

    joints: Annotated[Tensor, Trailing("J", 2)]
    """Pixels, also outside of the picture; NaN where no lens could see the point."""
    depth: Annotated[Tensor, Trailing("J")]
    """Of the joints along the optical axis, metres; NaN likewise."""
    visible: Annotated[Tensor, Trailing("J")]
    """Boolean: in the picture, and the nearest surface there is the skin or cloth around the joint itself."""
    box: Annotated[Tensor, Trailing(4)]
    """Left, top, right, bottom in pixels of the whole surface, hidden parts and parts outside included; or NaN."""
    truncated: Annotated[Tensor, Trailing()]
    """Share of the vertices of the surface outside of the picture, in 0..1."""
    occluded: Annotated[Tensor, Trailing()]
    """Share of the person's pixels that an occluder covers, in 0..1; of other people see `PixelLabels.person`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelLabels(TensorFields):
    """What the pixels show, batch shape (B, V)."""

    depth: Annotated[Tensor, Trailing("H", "W")]
    """Along the optical axis to the nearest person or occluder, metres; infinite where there is neither."""
    person: Annotated[Tensor, Trailing("H", "W")]
    """int16: which person the pixel would show without occluders, -1 for none."""
    part: Annotated[Tensor, Trailing("H", "W")]
    """int16: which part of the body, likewise without occluders: the joint of the body's tree that moves it, or -1."""
    occluder: Annotated[Tensor, Trailing("H", "W")]
    """Boolean: covered by an occluder."""

    @property
    def visible(self) -> Tensor:
        """(..., H, W) int16: the person that the pixel does show, -1 for the background, -2 for an occluder."""
        return torch.where(self.occluder, OCCLUDER, self.person)


@dataclass(frozen=True, kw_only=True, eq=False)
class SyntheticBatch:
    """B samples of V pictures with P places for people."""

    indices: Tensor
    """(B,) int64."""
    images: Tensor
    """(B, V, 3, H, W) uint8, red green blue."""
    cameras: Cameras
    """(B, V)."""
    people: PeopleLabels
    """(B, P)."""
    views: ViewLabels
    """(B, V, P)."""
    pixels: PixelLabels
    """(B, V)."""
    skeletons: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> (B, P, J, 3) joints of other skeletons in the world, metres; `project` gives them in the pictures."""
    skeletons_2d: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> (B, V, P, J, 2) the same in pixels."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: slice | Tensor) -> Self:
        """Some of the samples."""
        return self._mapped(lambda tensor: tensor[index])

    def to(self, target: torch.device | str) -> Self:
        """A copy on a device."""
        return self._mapped(lambda tensor: tensor.to(target))

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by a name such as `people.body.pose`."""
        found: dict[str, Tensor] = {}
        _collect(self, "", found)
        return found

    @classmethod
    def cat(cls, batches: Sequence[Self]) -> Self:
        """Join batches of one configuration along the samples."""
        changes: dict[str, Any] = {}
        for entry in dataclasses.fields(cls):
            values = [getattr(batch, entry.name) for batch in batches]
            changes[entry.name] = _joined(values)
        return dataclasses.replace(batches[0], **changes)

    def _mapped(self, function: Any) -> Self:
        changes = {entry.name: _applied(getattr(self, entry.name), function) for entry in dataclasses.fields(self)}
        return dataclasses.replace(self, **changes)


def _applied(value: Any, function: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: function(tensor) for name, tensor in value.items()}
    return function(value) if isinstance(value, Tensor) else value.map(function)


def _joined(values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, Mapping):
        return {name: torch.cat([value[name] for value in values]) for name in first}
    return torch.cat(values) if isinstance(first, Tensor) else type(first).cat(values)


def _collect(value: Any, prefix: str, found: dict[str, Tensor]) -> None:
    if isinstance(value, Tensor):
        found[prefix.removesuffix(".")] = value
    elif isinstance(value, Mapping):
        for name, tensor in value.items():
            found[f"{prefix}{name}"] = tensor
    elif dataclasses.is_dataclass(value):
        for entry in dataclasses.fields(value):
            _collect(getattr(value, entry.name), f"{prefix}{entry.name}.", found)


def joints_visible(pixels: Tensor, depth: Tensor, thickness: Tensor, *, shown: PixelLabels, near: Tensor) -> Tensor:
    """Test by depth whether joints are seen: (M, P, J) boolean.

    A joint lies inside the body, so it counts as seen where the nearest surface at its pixel is that of its own
    person's part around the joint, and no more than the flesh around the joint is before it.

    Args:
        pixels: (M, P, J, 2) joints in M pictures.
        depth: (M, P, J) metres.
        thickness: (M, P, J) metres of flesh and cloth that may be before the joint.
        shown: (M,) what the pixels show.
        near: (J, parts) boolean, which parts of the body are around which joint.
    """
    height, width = shown.person.shape[-2:]
    place = pixels.round()
    x, y = place.unbind(-1)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    flat = torch.where(inside, y * width + x, 0.0).long().flatten(1)
    person, part, nearest = (
        found.flatten(1).gather(1, flat).reshape(depth.shape) for found in (shown.visible, shown.part, shown.depth)
    )
    owner = torch.arange(depth.shape[1], device=depth.device)[:, None]
    joint = torch.arange(depth.shape[2], device=depth.device)
    own = (person == owner) & near[joint, part.long().clamp_min(0)]
    return inside & own & (depth - nearest <= thickness)
