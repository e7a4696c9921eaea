"""From the covariance of an adjustment to the deviation of each parameter of a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.geometry.rigid_bundle import RigidBundleAdjustment


def parameter_deviations(result: RigidBundleAdjustment) -> tuple[tuple[str, ...], Tensor]:
    """The names of a `Calibration`'s parameters and their standard deviations (V, K).

    From what single moments pull where enough of them tell, because errors of one picture of a board belong together;
    else from the scatter of the corners.
    """
    clustered = result.clustered_covariance
    whole = clustered if clustered.isfinite().all() else result.camera_covariance
    views = torch.arange(len(whole))
    own = whole[views, :, views]
    names = list(result.parameter_names)
    # to rows of: rotation, centre, fx, fy, cx, cy, coefficients
    rotation, _ = result.cameras.extrinsics
    rows = torch.eye(len(names), dtype=own.dtype).repeat(len(own), 1, 1)
    rows[:, 3:6, 3:6] = -rotation.mT
    said = ["rx", "ry", "rz", "x", "y", "z"]
    rest = names[6:]
    order = list(range(6))
    if "focal" in rest:
        at = names.index("focal")
        K = result.cameras.intrinsics
        fx, fy = torch.zeros_like(rows[:, 0]), torch.zeros_like(rows[:, 0])
        fx[:, at], fy[:, at] = K[:, 0, 0], K[:, 1, 1]
        if "aspect" in rest:
            fy[:, names.index("aspect")] = K[:, 1, 1]
        others = [names.index(name) for name in rest if name not in ("focal", "aspect")]
        rows = torch.cat((rows[:, order], fx[:, None], fy[:, None], rows[:, others]), 1)
        said += ["fx", "fy"] + [names[place] for place in others]
    variance = (rows @ own @ rows.mT).diagonal(dim1=-2, dim2=-1)
    return tuple(said), variance.clamp_min(0.0).sqrt()
