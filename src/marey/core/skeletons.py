"""Named joints: the tables lie beside this file as JSON, one a skeleton."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources

from torch import Tensor

from marey.core.errors import InputError, ShapeError


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of joints and the links between them. Names are lower snake case, side first."""

    name: str
    joints: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    """Pairs of joint indices, parent-like first: what one draws, and what bone lengths are measured on."""
    note: str = ""
    """Where the order comes from and what is unusual about it."""

    def __post_init__(self) -> None:
        if len(set(self.joints)) != len(self.joints):
            raise InputError(f"skeleton {self.name}: joint names repeat")
        if any(not 0 <= end < len(self.joints) for link in self.links for end in link):
            raise InputError(f"skeleton {self.name}: a link names a joint that is not there")

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """The place of a joint.

        Raises:
            InputError: the skeleton has no such joint.
        """
        try:
            return self._places[joint]
        except KeyError:
            raise InputError(f"skeleton {self.name} has no joint '{joint}'; it has: {', '.join(self.joints)}") from None

    def indices(self, joints: Sequence[str]) -> list[int]:
        """The places of several joints."""
        return [self.index(joint) for joint in joints]

    def __contains__(self, joint: object) -> bool:
        return joint in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {joint: place for place, joint in enumerate(self.joints)}

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """For each joint the place of its counterpart on the other side (itself where there is none)."""
        swapped = {"left": "right", "right": "left"}

        def counterpart(joint: str) -> str:
            side, _, rest = joint.partition("_")
            return f"{swapped[side]}_{rest}" if side in swapped else joint

        return tuple(self._places.get(counterpart(joint), place) for place, joint in enumerate(self.joints))

    def select(self, joints: Sequence[str], name: str | None = None) -> Skeleton:
        """The skeleton of some of the joints, in the order given, with the links among them."""
        places = {self.index(joint): new for new, joint in enumerate(joints)}
        links = tuple((places[a], places[b]) for a, b in self.links if a in places and b in places)
        return Skeleton(name or f"{self.name}[{len(joints)}]", tuple(joints), links, self.note)


def check_joints(positions: Tensor, joints: Skeleton) -> None:
    """Raise a ShapeError unless positions (..., J, D) hold the joints of a skeleton."""
    if positions.shape[-2] != len(joints):
        raise ShapeError(
            f"positions: expected the {len(joints)} joints of skeleton {joints.name}, got {positions.shape[-2]}"
        )


@cache
def skeleton(name: str) -> Skeleton:
    """Load a shipped skeleton by name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in skeleton_names():
        raise InputError(f"no skeleton '{name}'; there are: {', '.join(skeleton_names())}")
    table = json.loads((_tables() / f"{name}.json").read_text(encoding="utf-8"))
    places = {joint: place for place, joint in enumerate(table["joints"])}
    links = tuple((places[a], places[b]) for a, b in table["links"])
    return Skeleton(name, tuple(table["joints"]), links, table["note"])


@cache
def skeleton_names() -> tuple[str, ...]:
    """The names of the shipped skeletons."""
    return tuple(sorted(path.name.removesuffix(".json") for path in _tables().iterdir() if path.name.endswith(".json")))


def _tables() -> resources.abc.Traversable:
    return resources.files("marey.core") / "skeleton_tables"
