"""How far estimated joints or vertices are from the truth as they stand, and relative to a root."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marey.core import InputError
from marey.metrics.known import check_pairs, mean_of_known

Root = int | Sequence[int]
"""A joint, or several whose middle is the root (the hips, where a skeleton has no pelvis)."""


def joint_errors(estimated: Tensor, truth: Tensor) -> Tensor:
    """Distances between joints, or the vertices of bodies.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        truth: (..., J, 3) metres, broadcastable to `estimated`; NaN = unknown.

    Returns:
        (..., J) metres, NaN where either is unknown.

    Raises:
        ShapeError: the joints are not as many, or not in three dimensions.
    """
    check_pairs(estimated, truth)
    errors: Tensor = torch.linalg.vector_norm(estimated - truth, dim=-1)
    return errors


def keypoint_errors(estimated: Tensor, truth: Tensor) -> Tensor:
    """Distances (..., J) in pixels between keypoints (..., J, 2), NaN where either is unknown.

    Raises:
        ShapeError: the keypoints are not as many, or not in two dimensions.
    """
    check_pairs(estimated, truth, (2,))
    errors: Tensor = torch.linalg.vector_norm(estimated - truth, dim=-1)
    return errors


def root_position(joints: Tensor, root: Root) -> Tensor:
    """Where the root of every pose (..., J, 3) is: (..., 3), NaN where one of its joints is unknown.

    Raises:
        InputError: there is no such joint.
    """
    places = [root] if isinstance(root, int) else list(root)
    count = joints.shape[-2]
    if not places or not all(-count <= place < count for place in places):
        raise InputError(f"root: expected indices of {count} joints, got {places}")
    return joints[..., places, :].mean(dim=-2)


def root_relative(joints: Tensor, root: Root) -> Tensor:
    """Put the root of every pose (..., J, 3) at the origin.

    A pose whose root is unknown becomes unknown: another joint in its place would be another metric.

    Raises:
        InputError: there is no such joint.
    """
    return joints - root_position(joints, root)[..., None, :]


def root_relative_errors(estimated: Tensor, truth: Tensor, *, root: Root) -> Tensor:
    """Distances (..., J) in metres after both roots were put at the origin; shapes and errors as in `joint_errors`.

    The root itself counts, with the error zero, as in every published MPJPE; drop its column where a protocol does.
    """
    check_pairs(estimated, truth)
    return joint_errors(root_relative(estimated, root), root_relative(truth, root))


def mpjpe_mm(estimated: Tensor, truth: Tensor, *, root: Root | None = None) -> Tensor:
    """Mean per-joint position error in millimetres over everything known in both, a scalar in double precision.

    Ionescu et al. 2014 ("Human3.6M", section 5), who put the roots in one place. Joints that the estimate leaves out
    are left out here: state `known_share` beside it.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        truth: (..., J, 3) metres; NaN = unknown.
        root: what is put at the origin first; None: positions as they stand.

    Raises:
        ShapeError: the joints do not match.
        InputError: nothing is known in both.
    """
    errors = joint_errors(estimated, truth) if root is None else root_relative_errors(estimated, truth, root=root)
    return 1000.0 * mean_of_known(errors, "mpjpe_mm")


def known_share(estimated: Tensor, truth: Tensor) -> Tensor:
    """Share of the joints of the truth that the estimate knows, a scalar in 0..1.

    Raises:
        ShapeError: the joints do not match.
        InputError: the truth knows nothing.
    """
    errors = joint_errors(estimated, truth)
    true = truth.isfinite().all(dim=-1).expand(errors.shape)
    return mean_of_known(torch.where(true, errors.isfinite().to(errors.dtype), torch.nan), "known_share")


def mrpe_mm(estimated: Tensor, truth: Tensor, *, root: Root = 0) -> Tensor:
    """Mean root position error in millimetres: how far off people stand, a scalar.

    Moon et al. 2019 ("Camera distance-aware top-down approach", section 5.1). Shapes and errors as in `mpjpe_mm`.
    """
    return 1000.0 * mean_of_known(_root_offsets(estimated, truth, root).norm(dim=-1), "mrpe_mm")


def mrpe_axes_mm(estimated: Tensor, truth: Tensor, *, root: Root = 0) -> Tensor:
    """Mean absolute error of the root along each axis, (3,) millimetres; in a camera's frame the last is the depth's.

    Shapes and errors as in `mpjpe_mm`.
    """
    offsets = _root_offsets(estimated, truth, root).abs()
    return 1000.0 * torch.stack([mean_of_known(offsets[..., axis], "mrpe_axes_mm") for axis in range(3)])


def _root_offsets(estimated: Tensor, truth: Tensor, root: Root) -> Tensor:
    check_pairs(estimated, truth)
    return root_position(estimated, root) - root_position(truth, root)
