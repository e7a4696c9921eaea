"""How likely poses are, and poses as people take them: a mixture of Gaussians in the coordinates of the joint limits.

Fitted by `tools/fit_pose_prior.py` to motions of which only these parameters are shipped. A pose and its mirror image
are equally likely: each component comes with its mirror image. Joints that most motions do not tell (toes, collars,
wrists, hands) are independent of the others, with deviations by their limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from marey.body.joint_limits import JointLimits, joint_limits
from marey.body.pose_sampling import apart, checked_numbers
from marey.body.smpl_tree import POSED_JOINTS, SMPL_MIRROR
from marey.body.trees import part_of
from marey.core import FormatError, InputError

ASSET = Path(__file__).parent / "assets" / "pose_prior.safetensors"
_MIDDLE_TURNS = (-1.0, -1.0, 1.0)
"""What a mirror does to the coordinates of joints in the middle: they turn and lean the other way."""
_FARTHEST = 3.0
"""Standard deviations beyond which no pose is drawn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PosePrior:
    """A mixture of 2 C Gaussians over the 69 coordinates of `JointLimits`: C of them, and their mirror images.

    The density is that of the coordinates (turn and swing in radians), not of rotations by the measure of the rotation
    group.
    """

    weights: Tensor
    """(C,) of a component together with its mirror image; they sum to 1."""
    means: Tensor
    """(C, 69)"""
    factors: Tensor
    """(C, 69, 69) lower triangular Cholesky factors of the covariances."""

    def __post_init__(self) -> None:
        components, width = len(self.weights), 3 * len(POSED_JOINTS)
        shapes = {"weights": (components,), "means": (components, width), "factors": (components, width, width)}
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if tuple(tensor.shape) != shape or not tensor.isfinite().all():
                raise FormatError(f"pose prior: '{name}' is {tuple(tensor.shape)}, expected {shape}, all finite")
        if not (self.weights > 0).all() or not (self.factors.diagonal(dim1=-2, dim2=-1) > 0).all():
            raise FormatError("pose prior: weights and the diagonals of the factors have to be above 0")

    def to(self, like: Tensor) -> PosePrior:
        """The prior in the precision and on the device of a tensor."""
        return PosePrior(**{field.name: getattr(self, field.name).to(like) for field in fields(self)})

    def log_density(self, pose: Tensor) -> Tensor:
        """Natural logarithm (...) of the density of poses (..., 23, 3, 3); differentiable.

        A pose and its mirror image have the same, to rounding.
        """
        own = self.to(pose)
        values = joint_limits().coordinates(pose).flatten(-2)
        both = torch.stack((values, mirrored_coordinates(values)), -2)
        # (2, C, 69): of the pose and of its mirror image from every mean, which equals that from the mirrored means
        apart = both[..., :, None, :] - own.means
        standard = (_inverse(own.factors) @ apart[..., None])[..., 0]
        spread = own.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1) + values.shape[-1] * math.log(2 * math.pi) / 2
        logs = (own.weights / 2).log() - spread - standard.square().sum(-1) / 2
        return logs.flatten(-2).logsumexp(-1)

    def negative_log_likelihood(self, pose: Tensor) -> Tensor:
        """What to minimise (...): less for likelier poses, in nats; any sign, for it is that of a density."""
        return -self.log_density(pose)


@dataclass(frozen=True, kw_only=True)
class PriorPoses:
    """Poses as people take them: drawn from the prior, brought into the limits of the joints, without self-contact."""

    spread: float = 1.0
    """Deviations from the mean of a component are multiplied by it."""
    tries: int = 4
    """Poses out of which the first is taken whose limbs are not in other parts of the body; else the one in which they
    are least."""

    def __post_init__(self) -> None:
        if not 0 <= self.spread < math.inf:
            raise InputError(f"PriorPoses.spread: expected 0 or more, got {self.spread}")
        if self.tries < 1:
            raise InputError(f"PriorPoses.tries: expected 1 or more, got {self.tries}")

    @property
    def numbers(self) -> int:
        """How many uniform numbers one pose takes."""
        return self.tries * (1 + 3 * len(POSED_JOINTS))

    def __call__(self, numbers: Tensor) -> Tensor:
        """Rotations (..., 23, 3, 3) of numbers (..., `numbers`) in [0, 1), in their precision.

        Raises:
            ShapeError: another number of numbers.
        """
        return joint_limits().pose(self.coordinates(numbers))

    def coordinates(self, numbers: Tensor) -> Tensor:
        """The same as turn and swing (..., 23, 3) of `JointLimits`."""
        prior, limits = pose_prior().to(checked_numbers(numbers, self.numbers)), joint_limits().to(numbers)
        numbers = numbers.reshape(*numbers.shape[:-1], self.tries, 1 + prior.means.shape[-1])
        edges = prior.weights.cumsum(0)
        drawn = numbers[..., 0] * edges[-1]
        component = (drawn[..., None] >= edges[:-1]).sum(-1)
        before = torch.where(component > 0, edges[component - 1], 0.0)
        flipped = (drawn - before) * 2 >= prior.weights[component]
        standard = torch.special.ndtri(numbers[..., 1:].clamp(1e-6, 1 - 1e-6)).clamp(-_FARTHEST, _FARTHEST)
        values = prior.means[component]
        # column by column and not by a library's product, by which a pose would depend on those beside it
        columns = prior.factors.mT.contiguous()
        for place, deviation in enumerate(standard.unbind(-1)):
            values = values + self.spread * deviation[..., None] * columns[component, place]
        values = torch.where(flipped[..., None], mirrored_coordinates(values), values)
        return apart(within(limits, values.reshape(*values.shape[:-1], len(POSED_JOINTS), 3)))


def within(limits: JointLimits, coordinates: Tensor) -> Tensor:
    """Coordinates (..., 23, 3), those beyond the limits brought back to them."""
    turn = coordinates[..., :1].clamp(limits.low[:, :1], limits.high[:, :1])
    swing = coordinates[..., 1:]
    return torch.cat((turn, swing / limits.fullness(swing).clamp_min(1.0)[..., None]), -1)


def mirrored_coordinates(values: Tensor) -> Tensor:
    """Coordinates (..., 69) of the mirror images of poses."""
    order, signs = _mirror()
    return values[..., order] * signs.to(values)


@cache
def _mirror() -> tuple[Tensor, Tensor]:
    joints = torch.tensor(SMPL_MIRROR[1:]) - 1
    order = (3 * joints[:, None] + torch.arange(3)).flatten()
    middle = torch.tensor([part_of(joint) == joint for joint in POSED_JOINTS])
    signs = torch.where(middle[:, None], torch.tensor(_MIDDLE_TURNS), torch.ones(3))
    return order, signs.flatten()


def _inverse(lower: Tensor) -> Tensor:
    """Inverses (C, N, N) of lower triangular matrices."""
    identity = torch.eye(lower.shape[-1]).to(lower)
    inverse: Tensor = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False)
    return inverse


@cache
def pose_prior() -> PosePrior:
    """The prior that is shipped, in double precision.

    Raises:
        FormatError: the file in the package is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(ASSET)
        return PosePrior(**{field.name: tensors[field.name].double() for field in fields(PosePrior)})
    except (OSError, KeyError, SafetensorError) as error:
        raise FormatError(f"{ASSET}: the pose prior cannot be read ({error}); install marey again") from error
