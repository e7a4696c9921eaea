"""How well calibrated cameras agree about the people whom they see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marey.core import Cameras, Keypoints2D
from marey.geometry.epipolar import pairwise_sampson_distance
from marey.geometry.projection import project, reprojection_error, undistort_pixels, world_to_camera
from marey.geometry.triangulation import triangulate


@dataclass(frozen=True, kw_only=True, eq=False)
class PeopleAgreement:
    """Agreement of V views about joints that two or more of them saw. N joints: frames, people and joints in a row."""

    pixels: Tensor
    """(V, N, 2) as seen, lens included; NaN = not seen."""
    points: Tensor
    """(N, 3) the joints in the world, metres: linear triangulation from all views, none of them left out."""
    residuals: Tensor
    """(V, N, 2) seen minus projected, pixels; NaN = not seen."""
    residuals_mm: Tensor
    """(V, N) their length at the distance of the joints, millimetres."""
    error_px: Tensor
    """(V,) median length of the residuals; NaN for a view that shares no joint."""
    error_mm: Tensor
    """(V,) the same in millimetres at the distance of the joints."""
    unseen_px: Tensor
    """(V,) median distance in pixels between what the view saw and where the *other* views say the joint is; large in
    the view that is wrong. NaN where fewer than two others see its joints."""
    pair_px: Tensor
    """(V, V) median distance from fulfilling the epipolar constraint (Sampson), pixels; NaN: no shared joint."""
    pair_joints: Tensor
    """(V, V) how many joints two views share; on the diagonal how many a view sees."""

    @property
    def median_px(self) -> float:
        """Median over all views and joints."""
        return float(self.residuals.norm(dim=-1).nanmedian())

    @property
    def median_mm(self) -> float:
        """The same at the distance of the joints, millimetres."""
        return float(self.residuals_mm.nanmedian())


def agree_about_people(keypoints: Keypoints2D, cameras: Cameras, *, views: int = 2) -> PeopleAgreement:
    """Measure how far V calibrated cameras agree about people's joints.

    The joints are triangulated linearly from all views that saw them: an estimator that left views out would hide
    those that are wrong.

    Args:
        keypoints: (V, T, P), slot p the same person throughout.
        cameras: (V,) full.
        views: joints that fewer views saw do not count.
    """
    seen = keypoints.positions.double()
    pixels = seen.reshape(len(seen), -1, 2)
    enough = pixels.isfinite().all(-1).sum(0) >= max(views, 2)
    pixels = pixels[:, enough]
    cameras = cameras.to(torch.float64)
    points = triangulate(pixels, cameras, method="dlt").positions
    residuals = pixels - project(points[None].expand(len(pixels), -1, 3), cameras)
    there = residuals.isfinite().all(-1)
    depth = world_to_camera(points[None].expand(len(pixels), -1, 3), cameras)[..., 2]
    focal = cameras.intrinsics[:, [0, 1], [0, 1]].mean(-1)
    residuals_mm = 1000 * residuals.norm(dim=-1) * depth / focal[:, None]
    shared = there.double() @ there.double().T
    return PeopleAgreement(
        pixels=pixels,
        points=points,
        residuals=residuals,
        error_px=residuals.norm(dim=-1).nanmedian(-1).values,
        residuals_mm=residuals_mm,
        error_mm=residuals_mm.nanmedian(-1).values,
        unseen_px=_unseen_error(pixels, cameras),
        pair_px=pairwise_sampson_distance(undistort_pixels(pixels, cameras)[0], cameras).nanmedian(-1).values,
        pair_joints=shared.long(),
    )


def _unseen_error(pixels: Tensor, cameras: Cameras) -> Tensor:
    """Median distance (V,) of each view's keypoints from the projection of the joint found without that view."""
    views, count, _ = pixels.shape
    # place k of the second axis is the problem in which view k does not take part
    others = 1 - torch.eye(views, dtype=pixels.dtype)[..., None].expand(views, views, count)
    repeated = pixels[:, None].expand(views, views, count, 2)
    points = triangulate(repeated, cameras, weights=others, method="dlt").positions
    return reprojection_error(points, pixels, cameras).nanmedian(-1).values
