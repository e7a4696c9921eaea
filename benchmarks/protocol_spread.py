"""One set of predictions under the field's protocols: how far apart their numbers lie.

    python benchmarks/protocol_spread.py --out FILE [--count 2000] [--smoke]

The truth is the open body in poses as people move, four metres in front of a camera, turned every way. The predictions
are the same bodies with the faults of one image: joints and the whole turned by 5 degrees about every axis, depth
and size off by 5 % (standard deviations). Every protocol gets the joints that it
asks for, regressed from the same two meshes, so all that differs is the protocol.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.open_body import open_body
from marey.body.pose_prior import PriorPoses
from marey.body.pose_sampling import sample_poses
from marey.core import BodyState
from marey.core.skeletons import skeleton
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.predictions import PoseRows, pose_rows
from marey.metrics.protocols import protocol
from marey.metrics.protocols.mpi_inf_3dhp import ACTIVITIES, SCENES
from measure import describe, pin_to_one_core, write_json

JOINT_DEGREES, BODY_DEGREES = 5.0, 5.0
"""Of the turns' three components, standard deviations."""
DEPTH, SIZE = 0.05, 0.05
"""Shares, standard deviations."""
DISTANCE = 4.0

ASKED = (
    ("h36m", "mpjpe_mm", "h36m_17"),
    ("h36m", "mpjpe_relative_mm", "h36m_17"),
    ("h36m-mpii", "mpjpe_relative_mm", "h36m_17"),
    ("h36m-metrabs-pa", "pa_mpjpe_mm", "h36m_17"),
    ("metapose", "nmpjpe_mm", "h36m_17"),
    ("metapose", "pmpjpe_mm", "h36m_17"),
    ("3dhp", "mpjpe_mm", "mpi_inf_3dhp_17"),
    ("3dhp-shipped", "mpjpe_mm", "mpi_inf_3dhp_17"),
    ("mupots", "metric/relative/raw/mpjpe14_mm", "mpi_inf_3dhp_17"),
    ("mupots", "metric/relative/rescaled/mpjpe14_mm", "mpi_inf_3dhp_17"),
    ("mupots", "metric/absolute/raw/mpjpe14_mm", "mpi_inf_3dhp_17"),
    ("3dpw-metrabs", "mpjpe_mm", "smpl_24"),
    ("3dpw-metrabs", "pa_mpjpe_mm", "smpl_24"),
    ("3dpw-14", "mpjpe_mm", "lsp_14"),
    ("3dpw-14-pelvis", "mpjpe_mm", "lsp_14"),
    ("3dpw-3dnbf", "mpjpe_mm", "lsp_14"),
    ("3dpw-14", "pa_mpjpe_mm", "lsp_14"),
    ("cmu-panoptic", "mpjpe_relative_mm", "panoptic_19"),
)
"""Protocol, its number, and the skeleton that the joints come from."""


def main() -> None:
    """Score and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--smoke", action="store_true", help="fifty bodies: does it work?")
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    count = 50 if options.smoke else options.count
    with torch.inference_mode():
        truth, predicted = bodies(open_body("small"), count)
    rows = [
        {"protocol": name, "number": number, "mm": score(name, number, truth[joints], predicted[joints], joints)}
        for name, number, joints in ASKED
    ]
    values = [row["mm"] for row in rows]
    write_json(
        options.out,
        {
            "bodies": count,
            "rows": rows,
            "least_mm": min(values),
            "most_mm": max(values),
            "most_over_least": max(values) / min(values),
            "protocols": len({row["protocol"] for row in rows}),
            "meta": describe("torch", "numpy"),
        },
    )


def bodies(model: BodyModel, count: int) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Joints (count, J, 3) of true and predicted bodies by skeleton, in metres in the camera's frame."""
    source = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    def turns(*shape: int, degrees: float) -> Tensor:
        return rotvec_to_matrix(torch.deg2rad(torch.tensor(degrees)) * normal(*shape, 3))

    model = model.to(torch.float64)
    pose = sample_poses(PriorPoses(), count, seed=0)
    heading = 2 * torch.pi * torch.rand(count, generator=source, dtype=torch.float64)
    upright = torch.tensor([torch.pi, 0.0, 0.0], dtype=torch.float64).expand(count, 3)  # y down in the camera
    facing = torch.stack((torch.zeros(count), heading, torch.zeros(count)), -1).double()
    orientation = rotvec_to_matrix(upright) @ rotvec_to_matrix(facing)
    shape = 0.5 * normal(count, model.shape_basis.shape[-1])
    place = torch.tensor([0.0, 0.0, DISTANCE], dtype=torch.float64) + 0.3 * normal(count, 3)
    none = torch.zeros_like(place)
    true = model(BodyState(orientation=orientation, pose=pose, shape=shape, translation=none))
    found = model(
        BodyState(
            orientation=turns(count, degrees=BODY_DEGREES) @ orientation,
            pose=pose @ turns(*pose.shape[:2], degrees=JOINT_DEGREES),
            shape=shape,
            translation=none,
        )
    )
    size, depth = 1 + SIZE * normal(count, 1, 1), 1 + DEPTH * normal(count, 1)
    meshes = true.vertices + place[:, None], size * found.vertices + (depth * place)[:, None]
    regressors = {name: model.regressors[name].double() for _, _, name in ASKED}
    pelvis = regressors["smpl_24"][:1]  # which some protocols bring together, though none scores it
    regressors["lsp_14"] = torch.cat((regressors["lsp_14"], pelvis))
    first, second = ({name: matrix @ mesh for name, matrix in regressors.items()} for mesh in meshes)
    return first, second


def score(name: str, number: str, truth: Tensor, predicted: Tensor, joints: str) -> float:
    """One number of a protocol."""
    count = len(truth)
    names: tuple[str, ...] = skeleton(joints).joints
    if joints == "lsp_14":
        names = (*names, "pelvis")
    labels = {
        "subject": ["S9"] * count,
        "action": ["Walking" if "metrabs" in name else "Walking-1"] * count,
        "activity": [ACTIVITIES[0]] * count,
        "scene": [SCENES[0]] * count,
        "visible": np.ones((count, len(names)), dtype=bool),
        "joints_universal": truth.numpy(),
    }
    found = protocol(name).score(_rows(predicted, names), _rows(truth, names, **labels))
    return found.values[number]


def _rows(joints: Tensor, names: tuple[str, ...], **values: object) -> PoseRows:
    count = len(joints)
    # Matched in the image where the truth is, so that all protocols score the same people.
    return pose_rows(
        joints.numpy(),
        joint_names=names,
        sequence=["bodies"] * count,
        frame=range(count),
        keypoints=np.zeros((count, len(names), 2)),
        rotation=np.broadcast_to(np.eye(3), (count, 3, 3)),
        score=np.ones(count),
        **values,
    )


if __name__ == "__main__":
    main()
