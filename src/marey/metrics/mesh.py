"""Errors of body surfaces whose vertices correspond: PVE and its aligned and posture-free kinds."""

from __future__ import annotations

from torch import Tensor

from marey.metrics.aligned import procrustes_errors, scale_corrected_errors
from marey.metrics.joints import joint_errors
from marey.metrics.known import mean_of_known


def pve_mm(estimated: Tensor, truth: Tensor) -> Tensor:
    """Mean distance of vertices in millimetres as they stand, a scalar in double precision.

    Both bodies must be of one topology and in one frame; SMPL's own origin is not moved (HierProb3D's and STRAPS's
    PVE). Many others put the pelvis of a regressor at the origin first: use `root_relative_pve_mm`.

    Args:
        estimated: (..., N, 3) metres; NaN = unknown.
        truth: (..., N, 3) metres; NaN = unknown.

    Raises:
        ShapeError: the vertices are not as many.
        InputError: nothing is known in both.
    """
    return 1000.0 * mean_of_known(joint_errors(estimated, truth), "pve_mm")


def root_relative_pve_mm(estimated: Tensor, truth: Tensor, *, roots: tuple[Tensor, Tensor]) -> Tensor:
    """`pve_mm` after each body's root was put at the origin.

    Args:
        estimated: (..., N, 3) metres.
        truth: (..., N, 3) metres.
        roots: (..., 3) of the estimate and of the truth.

    Raises:
        ShapeError, InputError: as in `pve_mm`.
    """
    return pve_mm(estimated - roots[0][..., None, :], truth - roots[1][..., None, :])


def pve_sc_mm(estimated: Tensor, truth: Tensor) -> Tensor:
    """PVE-SC: `pve_mm` after centroids and root mean square extents were made equal."""
    return 1000.0 * mean_of_known(scale_corrected_errors(estimated, truth), "pve_sc_mm")


def pve_pa_mm(estimated: Tensor, truth: Tensor) -> Tensor:
    """PVE-PA: `pve_mm` after the best similarity without a reflection."""
    return 1000.0 * mean_of_known(procrustes_errors(estimated, truth), "pve_pa_mm")


def pve_t_mm(estimated_rest: Tensor, true_rest: Tensor) -> Tensor:
    """PVE-T: `pve_mm` of the two bodies in the T-pose, so of their shapes alone.

    Args:
        estimated_rest: (..., N, 3) metres, vertices of the estimated shape in the zero pose; of a distribution over
            shapes, that of its mean (Sengupta et al. 2021).
        true_rest: (..., N, 3) metres, of the true shape, of the gendered body where the label has a gender.
    """
    return 1000.0 * mean_of_known(joint_errors(estimated_rest, true_rest), "pve_t_mm")


def pve_t_sc_mm(estimated_rest: Tensor, true_rest: Tensor) -> Tensor:
    """PVE-T-SC: `pve_t_mm` after the scales were made equal: one image does not tell how tall a person is."""
    return 1000.0 * mean_of_known(scale_corrected_errors(estimated_rest, true_rest), "pve_t_sc_mm")
