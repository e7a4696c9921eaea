"""MediaPipe on four real videos, one of them with left and right exchanged in every fourth frame.

    python benchmarks/mediapipe_balancing.py --out FILE [--data FOLDER]

The first 50 frames of the balancing trial of the Pose2Sim demonstration recording, estimated from the videos by
`marey.estimate` without refinement, are compared with another tool's triangulation of OpenPose keypoints: the mean
distance over nose, shoulders, elbows, wrists, hips, knees, ankles, big toes and heels. The reference is no truth: the
two detectors mean other points by the same name, most of all at the hips (57-78 mm).

`as_given` is the same without adjusting the cameras; `plain_dlt` is the linear triangulation of the same detections.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import marey
from marey.core import Estimate
from marey.core import skeleton as skeleton_named
from marey.geometry.triangulation import triangulate
from marey.io.trc import read_trc
from marey.pipeline.detections import find_detections
from measure import ROOT, describe, write_json

FRAMES = 50
PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "big_toe", "heel")
JOINTS = ("nose", *(f"{side}_{part}" for part in PARTS for side in ("left", "right")))


def house_name(marker: str) -> str:
    """`RBigToe` of the reference is `right_big_toe` here."""
    words = re.findall(r"[A-Z][a-z]*", marker)
    side = {"R": "right", "L": "left"}.get(words[0])
    return "_".join(word.lower() for word in ([side, *words[1:]] if side else words))


def read_reference(data: Path) -> Tensor:
    """The 17 joints (T, 17, 3) of the raw reference in the world of the calibration (z up), metres."""
    file = read_trc(data / "pose2sim_demo" / "balancing" / "pose-3d" / "reference_raw.trc")
    names = [house_name(marker) for marker in file.names]
    positions = torch.from_numpy(file.positions)[:FRAMES, :, [2, 0, 1]]
    return positions[:, [names.index(joint) for joint in JOINTS]]


def distances(positions: Tensor, reference: Tensor) -> dict[str, Any]:
    """Of joints (T, J, 3) in MediaPipe's order to the reference, millimetres; a joint that is missing is an error."""
    picked = positions[:, skeleton_named("mediapipe_33").indices(JOINTS)].double()
    away = 1000 * (picked - reference).norm(dim=-1)
    return {
        "mean_distance_mm": away.mean().item(),
        "median_distance_mm": away.median().item(),
        "joints": dict(zip(JOINTS, away.mean(0).tolist(), strict=True)),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    folder = arguments.data / "pose2sim_demo"
    inputs, calibration = folder / "balancing" / "videos", folder / "calibration" / "Calib_qualisys.toml"
    reference = read_reference(arguments.data)

    def run(cameras: str, kept: Path) -> Estimate:
        config = marey.EstimateConfig(
            detector="mediapipe", people=1, unit="m", refine="none", cameras=cameras, overlay=False, formats=("npz",)
        )
        return marey.estimate(inputs, calibration=calibration, frames=(0, FRAMES), config=config, out=kept)

    with tempfile.TemporaryDirectory() as kept:
        default, given = run("adjusted", Path(kept)), run("as-given", Path(kept))
        recording = marey.open_recording([inputs], calibration=calibration, unit="m")
        found = find_detections(recording, range(FRAMES), detector="mediapipe", people=1, folder=Path(kept))
    assert recording.cameras is not None
    keypoints = found.detections.keypoints[:, :, 0]
    plain = triangulate(keypoints.positions, recording.cameras, weights=keypoints.score, method="dlt")
    write_json(
        arguments.out,
        {
            **distances(default.joints.positions[:, 0], reference),
            "as_given": distances(given.joints.positions[:, 0], reference),
            "plain_dlt": distances(plain.positions, reference),
            "notes": list(default.notes),
            "meta": describe("torch", "mediapipe", threads=1),
        },
    )


if __name__ == "__main__":
    main()
