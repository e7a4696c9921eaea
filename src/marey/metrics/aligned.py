"""Errors of joints or vertices after an alignment. Every name says which one: a number without it says nothing.

What is freed before the distance is taken, and where it comes from:

- `mpjpe_mm(root=)`: position of the root (Ionescu et al. 2014)
- `n_mpjpe_mm`: position of the root, scale (Rhodin et al. 2018)
- `sc_mpjpe_mm`: position of the centroid, scale (Sengupta et al. 2020, STRAPS)
- `pa_mpjpe_mm`: position, rotation, scale (Procrustes; "protocol 2", often called rigid)
- `pmpjpe_mm`: the same and handedness, by MetaPose's scale (Usman et al. 2022)
- `nmpjpe_mm`: as `sc_mpjpe_mm`, and the sign of depth (Usman et al. 2022)
"""

from __future__ import annotations

import torch
from torch import Tensor

from marey.geometry.aligned_distances import aligned_distances
from marey.geometry.alignment import Transform
from marey.metrics.joints import Root, joint_errors, root_relative
from marey.metrics.known import check_pairs, mean_of_known, mean_over_joints


def procrustes_errors(
    estimated: Tensor, truth: Tensor, *, transform: Transform = "similarity", reflection: bool = False
) -> Tensor:
    """Distances after the best rotation, translation and scale of each pose.

    The alignment is found on the joints that both know, and freedom that so few joints leave is used to the full: a
    pose of which one joint is known has the error zero. Ask for at least as many as the protocol wants.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        truth: (..., J, 3) metres; NaN = unknown. Batches broadcast.
        transform: `similarity` (least squares), `rigid` for one without scale, `symmetric` for MetaPose's scale.
        reflection: whether a mirror image may be taken where it fits better. No published ruler of today does, but for
            MetaPose's.

    Returns:
        (..., J) metres, NaN where either is unknown. About a million poses of 17 joints a second and thread.

    Raises:
        ShapeError: the joints do not match.
        InputError: there is no such transform.
    """
    check_pairs(estimated, truth)
    return aligned_distances(estimated, truth, transform=transform, reflection=reflection)


def scaled_errors(estimated: Tensor, truth: Tensor, *, root: Root | None = None) -> Tensor:
    """Distances after the roots were put at the origin and the estimate was scaled about it by least squares.

    The scale is sum <e, t> / sum <e, e> over the joints that both know: negative where a pose looks the other way.

    Args:
        estimated: (..., J, 3) metres; NaN = unknown.
        truth: (..., J, 3) metres; NaN = unknown.
        root: what is put at the origin; None: they are there.

    Returns:
        (..., J) metres, NaN where either is unknown.

    Raises:
        ShapeError, InputError: as in `root_relative`.
    """
    check_pairs(estimated, truth)
    if root is not None:
        estimated, truth = root_relative(estimated, root), root_relative(truth, root)
    return aligned_distances(estimated, truth, transform="scale")


def scale_corrected_errors(estimated: Tensor, truth: Tensor) -> Tensor:
    """Distances after centroids and root mean square extents were made equal; no rotation.

    A pose that is one point keeps its size. Shapes and errors as in `procrustes_errors`.
    """
    check_pairs(estimated, truth)
    x, y = _centred(estimated, truth)
    extents = [points.square().sum(-1).nansum(-1) for points in (x, y)]
    spread = torch.where(extents[0] > 0, extents[0], 1.0)
    scale = torch.where(extents[0] > 0, (extents[1] / spread).sqrt(), 1.0)
    return joint_errors(scale[..., None, None] * x, y)


def n_mpjpe_mm(estimated: Tensor, truth: Tensor, *, root: Root | None = None) -> Tensor:
    """N-MPJPE: the mean of `scaled_errors` in millimetres, a scalar; InputError if nothing is known in both."""
    return 1000.0 * mean_of_known(scaled_errors(estimated, truth, root=root), "n_mpjpe_mm")


def sc_mpjpe_mm(estimated: Tensor, truth: Tensor) -> Tensor:
    """MPJPE-SC: the mean of `scale_corrected_errors` in millimetres, a scalar; InputError if nothing is known."""
    return 1000.0 * mean_of_known(scale_corrected_errors(estimated, truth), "sc_mpjpe_mm")


def pa_mpjpe_mm(
    estimated: Tensor, truth: Tensor, *, transform: Transform = "similarity", reflection: bool = False
) -> Tensor:
    """PA-MPJPE: the mean of `procrustes_errors` in millimetres, a scalar; InputError if nothing is known in both."""
    errors = procrustes_errors(estimated, truth, transform=transform, reflection=reflection)
    return 1000.0 * mean_of_known(errors, "pa_mpjpe_mm")


def pmpjpe_mm(estimated: Tensor, truth: Tensor) -> Tensor:
    """MetaPose's PMPJPE in millimetres: a mirror image is as good, and the scale is the ratio of the extents.

    A scalar, InputError if nothing is known in both. Compare it with nothing but MetaPose; `pa_mpjpe_mm` is strict.
    """
    return 1000.0 * mean_of_known(
        procrustes_errors(estimated, truth, transform="symmetric", reflection=True), "pmpjpe_mm"
    )


def nmpjpe_errors(estimated: Tensor, truth: Tensor, *, allow_mirror: bool = True) -> Tensor:
    """MetaPose's NMPJPE a joint: `scale_corrected_errors` in a camera's frame, of the pose or its depth mirror image.

    Args:
        estimated: (..., J, 3) metres in the frame of a camera, which no rotation corrects; NaN = unknown.
        truth: (..., J, 3) metres in the same frame.
        allow_mirror: take the better of z and -z, for each pose; weak perspective cannot tell them apart.

    Returns:
        (..., J) metres, NaN where either is unknown.

    Raises:
        ShapeError: the joints do not match.
    """
    errors = scale_corrected_errors(estimated, truth)
    if not allow_mirror:
        return errors
    mirrored = scale_corrected_errors(estimated * estimated.new_tensor([1.0, 1.0, -1.0]), truth)
    better = mean_over_joints(mirrored) < mean_over_joints(errors)
    return torch.where(better[..., None], mirrored, errors)


def nmpjpe_mm(estimated: Tensor, truth: Tensor, *, allow_mirror: bool = True) -> Tensor:
    """MetaPose's NMPJPE in millimetres: the mean of `nmpjpe_errors`, a scalar; InputError if nothing is known."""
    return 1000.0 * mean_of_known(nmpjpe_errors(estimated, truth, allow_mirror=allow_mirror), "nmpjpe_mm")


def _centred(estimated: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the centroid of the joints that both know at the origin, NaN where one does not."""
    gone = (estimated + truth).isnan().any(-1, keepdim=True)
    x, y = (torch.where(gone, torch.nan, points.expand(*gone.shape[:-1], 3)) for points in (estimated, truth))
    return x - x.nanmean(-2, keepdim=True), y - y.nanmean(-2, keepdim=True)
