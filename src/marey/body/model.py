"""A skinned body: shape and pose in, vertices and joints out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self, TypeVar

import torch
from torch import Tensor

from marey.body.skinning import blend_shapes, forward_kinematics, from_rest, joints_at_rest, skin
from marey.core.errors import InputError, ShapeError
from marey.core.motion import JointTree
from marey.core.results import BodyState
from marey.core.tensors import TensorFields, Trailing

Entry = TypeVar("Entry")

_WEIGHT_SUM_TOLERANCE = 1e-3
"""Half-precision files keep the sum of six weights to this."""
_INTEGERS = ("faces", "skin_joints", "uv_faces", "vertex_parts")


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedBody(TensorFields):
    """Bodies in the world, in the batch shape of the parameters they were made from."""

    vertices: Annotated[Tensor, Trailing("N", 3)]
    """Metres."""
    joints: Annotated[Tensor, Trailing("J", 3)]
    """Metres, in the order of the model's tree."""
    orientations: Annotated[Tensor, Trailing("J", 3, 3)]
    """Of the joints in the world; the identity for all in the rest pose."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BodyModel:
    """A body that is linear in its shape and moves by linear blend skinning; call it with a `BodyState`.

    At rest it stands with the arms stretched out (T-pose), y up, looking along +z, the left side at +x. All tensors of
    real numbers have one type and device; `to` makes a copy in another. They are constants: derivatives are taken in
    the body's parameters.
    """

    name: str
    tree: JointTree
    """J joints, the root first; K = J - 1 of them have a rotation relative to a parent."""
    template: Tensor
    """(N, 3) vertices of the mean shape at rest, metres."""
    faces: Tensor
    """(F, 3) int64, counter-clockwise seen from outside."""
    shape_basis: Tensor
    """(N, 3, S) metres a unit of each shape coefficient."""
    joint_template: Tensor
    """(J, 3) joints of the mean shape at rest, metres."""
    joint_basis: Tensor
    """(J, 3, S) metres a unit of each shape coefficient."""
    skin_joints: Tensor
    """(N, W) int64: the joints that move a vertex; where a vertex has fewer, any joint with the weight 0."""
    skin_weights: Tensor
    """(N, W) of `skin_joints`, rows summing to 1."""
    pose_basis: Tensor | None = None
    """(K * 9, N * 3) metres a unit of (R - identity), its nine numbers row by row; None: the body has none."""
    regressors: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of a skeleton of `marey.core.skeletons` (or of the body's own joint set) -> (J', N) weights of posed
    vertices."""
    vertex_parts: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of a division into parts -> (N,) int64 part of every vertex."""
    uv: Tensor | None = None
    """(U, 2) texture coordinates in 0..1, v up."""
    uv_faces: Tensor | None = None
    """(F, 3) int64 into `uv`, face by face as `faces`."""

    _weights: Tensor = field(init=False, repr=False)
    """(J, N): the skinning weights as a matrix, whose product with the transforms outruns sums over a few."""
    _regressors: Mapping[str, tuple[Tensor, Tensor]] = field(init=False, repr=False)
    """The vertices (M,) that a regressor uses, often a tenth of all, and their weights (J', M)."""

    @torch.inference_mode(False)  # what is made here must serve calls that take derivatives
    def __post_init__(self) -> None:
        for name, value in self._map(_lasting).items():
            object.__setattr__(self, name, value)
        _check("template", self.template, (None, 3), self.template)
        _check("shape_basis", self.shape_basis, (None, 3, None), self.template)
        for name, tensor, shape in self._expected():
            _check(name, tensor, shape, self.template)
        self._check_indices()
        self._check_weights()
        table = self.skin_weights.new_zeros(len(self.tree), len(self.template))
        table.scatter_add_(0, self.skin_joints.mT, self.skin_weights.mT)
        used = {name: regressor.any(0).nonzero()[:, 0] for name, regressor in self.regressors.items()}
        object.__setattr__(self, "_weights", table)
        object.__setattr__(
            self, "_regressors", {name: (places, self.regressors[name][:, places]) for name, places in used.items()}
        )

    def __call__(self, body: BodyState) -> PosedBody:
        """Pose bodies of any batch shape.

        Differentiable in every parameter. A parameter that is NaN makes its own body NaN and no other. On one processor
        the numbers of a body without pose blend shapes depend neither on those beside it in the batch nor, from a
        thousand vertices on, on the number of threads, bit for bit.

        Raises:
            ShapeError: the number of joints or shape coefficients, the type or the device is not the model's.
        """
        self._check_state(body)
        batch = body.batch_shape
        count = math.prod(batch)
        orientation, pose = body.orientation[..., None, :, :], body.pose
        rotations = torch.cat((orientation, pose), -3).reshape(count, len(self.tree), 3, 3)
        shape, translation = (part.reshape(count, part.shape[-1]) for part in (body.shape, body.translation))
        rest_joints = joints_at_rest(self.joint_template, self.joint_basis, shape)
        rest = blend_shapes(self.template, self.shape_basis, shape)
        if self.pose_basis is not None:
            bent = rotations[:, 1:] - torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            rest = blend_shapes(rest, self.pose_basis, bent.flatten(1))
        posed = forward_kinematics(self.tree, rest_joints, rotations)
        vertices = skin(rest, from_rest(posed, rest_joints), self._weights, translation)
        return PosedBody(
            vertices=vertices.reshape(*batch, *vertices.shape[1:]),
            joints=(posed[..., 3] + translation[:, None]).reshape(*batch, len(self.tree), 3),
            orientations=posed[..., :3].reshape(*batch, len(self.tree), 3, 3),
        )

    def neutral(self, *batch: int) -> BodyState:
        """The parameters of the mean shape at rest, its root joint where the template has it, in a batch shape."""
        identity = torch.eye(3, dtype=self.template.dtype, device=self.template.device)
        return BodyState(
            orientation=identity.repeat(*batch, 1, 1),
            pose=identity.repeat(*batch, len(self.tree) - 1, 1, 1),
            shape=self.template.new_zeros(*batch, self.shape_basis.shape[-1]),
            translation=self.template.new_zeros(*batch, 3),
        )

    def joint(self, name: str) -> int:
        """The place of a joint in the tree, and so in `PosedBody.joints`; in `BodyState.pose` it is one less.

        Raises:
            InputError: the model has no such joint.
        """
        if name not in self.tree.joints:
            raise InputError(f"model {self.name} has no joint '{name}'; it has: {', '.join(self.tree.joints)}")
        return self.tree.joints.index(name)

    def regress(self, vertices: Tensor, name: str) -> Tensor:
        """The joints (..., J', 3) of a regressor, from posed vertices (..., N, 3).

        Raises:
            InputError: the model has no such regressor.
        """
        used, weights = _named(self._regressors, name, f"{self.name} has no regressor")
        flat = vertices.reshape(-1, *vertices.shape[-2:]).index_select(1, used)
        return (weights.expand(len(flat), -1, -1) @ flat).reshape(*vertices.shape[:-2], -1, 3)

    def face_parts(self, name: str) -> Tensor:
        """The part (F,) of every face: the one most of its vertices are of, the lowest where all three differ.

        Raises:
            InputError: the model is not divided by that name.
        """
        return _named(self.vertex_parts, name, f"{self.name} is not divided into")[self.faces].mode(-1).values

    def to(self, target: torch.device | torch.dtype | str) -> Self:
        """A copy on a device, or with its tensors of real numbers in another precision."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor if isinstance(target, torch.dtype) and not tensor.is_floating_point() else tensor.to(target)

        return dataclasses.replace(self, **self._map(moved))

    def _map(self, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Every field of tensors by name, with a function applied to each tensor."""
        fields = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self) if entry.init}
        single = {name: function(value) for name, value in fields.items() if isinstance(value, Tensor)}
        several = {name: value for name, value in fields.items() if isinstance(value, Mapping)}
        return single | {name: {key: function(part) for key, part in value.items()} for name, value in several.items()}

    def _expected(self) -> Iterator[tuple[str, Tensor | None, tuple[int | None, ...]]]:
        """Every tensor with its name and shape; None where any size will do."""
        joints, vertices, coefficients = len(self.tree), self.template.shape[0], self.shape_basis.shape[-1]
        yield "faces", self.faces, (None, 3)
        yield "shape_basis", self.shape_basis, (vertices, 3, coefficients)
        yield "joint_template", self.joint_template, (joints, 3)
        yield "joint_basis", self.joint_basis, (joints, 3, coefficients)
        yield "skin_joints", self.skin_joints, (vertices, None)
        yield "skin_weights", self.skin_weights, tuple(self.skin_joints.shape)
        yield "pose_basis", self.pose_basis, (9 * (joints - 1), 3 * vertices)
        for name, regressor in self.regressors.items():
            yield f"regressors['{name}']", regressor, (None, vertices)
        for name, parts in self.vertex_parts.items():
            yield f"vertex_parts['{name}']", parts, (vertices,)
        yield "uv", self.uv, (None, 2)
        yield "uv_faces", self.uv_faces, tuple(self.faces.shape)

    def _check_indices(self) -> None:
        for name, indices, end in (
            ("faces", self.faces, len(self.template)),
            ("skin_joints", self.skin_joints, len(self.tree)),
            ("uv_faces", self.uv_faces, 0 if self.uv is None else len(self.uv)),
        ):
            if indices is not None and indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < end:
                raise InputError(
                    f"BodyModel.{name}: expected indices in 0..{end - 1}, got {int(indices.min())}.."
                    f"{int(indices.max())}; the arrays are not of one model"
                )

    def _check_weights(self) -> None:
        sums = self.skin_weights.sum(-1)
        if (self.skin_weights < 0).any() or (sums - 1).abs().max() > _WEIGHT_SUM_TOLERANCE:
            raise InputError(
                f"BodyModel.skin_weights: expected weights of at least 0 that sum to 1 for each vertex, got "
                f"{float(self.skin_weights.min()):.3g} at least and sums of {float(sums.min()):.3g}.."
                f"{float(sums.max()):.3g}; divide each row by its sum"
            )

    def _check_state(self, body: BodyState) -> None:
        for name, found, expected in (
            ("pose", body.pose.shape[-3], len(self.tree) - 1),
            ("shape", body.shape.shape[-1], self.shape_basis.shape[-1]),
        ):
            if found != expected:
                raise ShapeError(f"BodyState.{name}: expected the {expected} of model {self.name}, got {found}")
        for name in ("orientation", "pose", "shape", "translation"):
            tensor: Tensor = getattr(body, name)
            if tensor.dtype != self.template.dtype or tensor.device != self.template.device:
                raise ShapeError(
                    f"BodyState.{name}: expected {self.template.dtype} on {self.template.device} as model {self.name}, "
                    f"got {tensor.dtype} on {tensor.device}; use body.to(...) or model.to(...)"
                )


def _lasting(tensor: Tensor) -> Tensor:
    """A tensor that later calls may take derivatives through, its numbers in order."""
    return (tensor.clone() if tensor.is_inference() else tensor).contiguous()


def _check(name: str, tensor: Tensor | None, shape: tuple[int | None, ...], template: Tensor) -> None:
    """Raise unless a tensor has its shape, the template's type and device, and nothing but finite numbers."""
    if tensor is None:
        return
    if tensor.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, tensor.shape, strict=True)):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ShapeError(f"BodyModel.{name}: expected ({wanted}) as the other arrays, got {tuple(tensor.shape)}")
    kind = torch.int64 if name.split("[")[0] in _INTEGERS else template.dtype
    if tensor.dtype != kind or tensor.device != template.device or not template.is_floating_point():
        raise ShapeError(
            f"BodyModel.{name}: expected {kind} on {template.device}, got {tensor.dtype} on {tensor.device}; "
            f"every real array has the type of the template, every array of indices int64"
        )
    if not tensor.isfinite().all():
        raise InputError(f"BodyModel.{name}: expected finite numbers, got NaN or infinity; the file is damaged")


def _named(entries: Mapping[str, Entry], name: str, problem: str) -> Entry:
    if name not in entries:
        raise InputError(f"model {problem} '{name}'; it has: {', '.join(sorted(entries)) or 'none'}")
    return entries[name]
