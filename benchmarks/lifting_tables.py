"""The tables of the lifter, from `results/lifting.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOTIONS = {"sampled": "drawn from the pose prior", "recorded": "recorded"}
_SOURCES = {
    "mediapipe_world_landmarks": "MediaPipe's world landmarks",
    "lifter_mediapipe_keypoints": "lifter on MediaPipe's keypoints",
    "lifter_openpose_keypoints": "lifter on OpenPose's keypoints",
    "estimate_openpose_keypoints": "`marey estimate` on OpenPose's keypoints",
}


def lifting_table(results: Path) -> str:
    """Unseen motions: errors beside the mean pose, and what the covariances hold."""
    document = _read(results)
    cells = {f"MediaPipe, motions {words}": document["synthetic"][name] for name, words in _MOTIONS.items()}
    cells |= {f"{name}, motions {_MOTIONS['sampled']}": cell for name, cell in document["skeletons"].items()}
    head = (
        "| joints and motions | MPJPE | of the mean pose | of the mean pose, facing right | in the 90 % ellipsoid "
        "| in the 50 % ellipsoid |\n|---|---:|---:|---:|---:|---:|"
    )
    rows = (
        f"| {name} | {cell['mpjpe_mm']['lifter']:.0f} mm | {cell['mpjpe_mm']['mean_pose']:.0f} mm "
        f"| {cell['mpjpe_mm']['mean_pose_facing']:.0f} mm | {100 * cell['coverage_90']:.1f} % "
        f"| {100 * cell['coverage_50']:.1f} % |"
        for name, cell in cells.items()
    )
    speed = document["speed"]
    return "\n".join(
        (
            head,
            *rows,
            "",
            f"One CPU thread lifts {speed['poses_per_s']:,.0f} poses a second in batches, and one pose in "
            f"{speed['single_pose_ms']:.1f} ms.",
        )
    )


def lifting_balancing_table(results: Path) -> str:
    """Four real videos, each alone."""
    balancing = _read(results)["balancing"]
    columns = {**balancing["views"], "mean": balancing["mean"]}
    rows = (
        f"| {words} | {' | '.join(f'{column[name]:.0f} mm' for column in columns.values())} |"
        for name, words in _SOURCES.items()
    )
    return "\n".join((f"| PA-MPJPE | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns), *rows))


def _read(results: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((results / "lifting.json").read_text(encoding="utf-8"))
    return document
