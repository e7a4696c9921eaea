"""Rotations, joint angles and motion files: how well they say where the joints are, and how fast they are made.

    python benchmarks/motion_files.py --out FILE [--data ../shared/data] [--smoke]

- balancing: `marey.estimate` without any option, written as BVH; the forward kinematics of another program's reader
  (bvhio) against the joints of the estimate, mean over joints and frames.
- clips: motions whose rotations are known (`motion_clips.py`). The points of a BODY_25B skeleton on them, exact and
  with noise of 10 mm in each coordinate, are turned into rotations; forward kinematics is compared with the true
  points, and the flexion of knees and elbows with the true one. `*_z_rms` is the error in stated standard deviations.
- mocap: a recording of a marker system (CMU 01_01), its joints turned into rotations and back.
- speed: frames a second of one person with 25 noisy joints.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from marey import estimate
from marey.body.angles import joint_angles
from marey.body.kinematics import inverse_kinematics
from marey.body.trees import body_tree
from marey.core import Joints3D, Skeleton
from marey.core.motion import Motion
from marey.io.bvh import read_bvh
from marey.pipeline.config import EstimateConfig
from marey.pipeline.motions import joints_y_up
from measure import Timing, describe, write_json
from motion_clips import Clip, read_clip

ROOT = Path(__file__).resolve().parents[1]
NOISE = 0.01
FLEXIONS = {
    "right_knee": "knee_angle_r",
    "left_knee": "knee_angle_l",
    "right_elbow": "elbow_flex_r",
    "left_elbow": "elbow_flex_l",
}
MOCAP_UNIT = 0.0254 / 0.45
"""Metres: the recordings of that laboratory count in inches over 0.45."""
MOCAP = {
    "Hips": "pelvis",
    "LowerBack": "spine1",
    "Spine": "spine2",
    "Spine1": "spine3",
    "Neck1": "neck",
    "Head": "head",
    **{
        f"{side.title()}{theirs}": f"{side}_{ours}"
        for side in ("left", "right")
        for theirs, ours in (
            ("UpLeg", "hip"),
            ("Leg", "knee"),
            ("Foot", "ankle"),
            ("ToeBase", "foot"),
            ("Shoulder", "collar"),
            ("Arm", "shoulder"),
            ("ForeArm", "elbow"),
            ("Hand", "wrist"),
        )
    },
}


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help="few clips and frames, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = [read_clip(path) for path in sorted((options.data / "motion_clips").glob("*.txt"))]
    found = {"meta": describe("torch", "numpy", "bvhio"), "balancing": balancing(options.data / "pose2sim_demo")}
    chosen = clips[-2:] if options.smoke else clips
    found["clips_exact"] = clip_errors(chosen, noise=0.0)
    found["clips_noisy"] = clip_errors(chosen, noise=NOISE)
    found["mocap"] = mocap(options.data / "mocap_cmu" / "01_01.bvh", step=40 if options.smoke else 4)
    longest = max(clips, key=lambda clip: len(clip.positions["nose"]))
    found["speed"] = speed(longest, repeats=1 if options.smoke else 5)
    write_json(options.out, found)


def balancing(data: Path) -> dict[str, float]:
    """Distance in mm of the joints from where another program's reader puts those of our BVH."""
    with tempfile.TemporaryDirectory() as folder:
        result = estimate(
            data / "balancing" / "pose",
            calibration=data / "calibration" / "Calib_qualisys.toml",
            config=EstimateConfig(fps=60.0, formats=("bvh",), overlay=False),
            out=folder,
        )
        places = read_with_bvhio(Path(folder) / "person_0.bvh", len(result.frames))
    joints = joints_y_up(result.joints, result.provenance["world_up"])
    names = joints.skeleton.joints
    there = np.stack([places[name] for name in names], 1)
    error = 1000 * np.linalg.norm(there - joints.positions[:, 0].double().numpy(), axis=-1)
    return {
        "mean_mm": float(np.nanmean(error)),
        "median_mm": float(np.nanmedian(error)),
        "percentile_95_mm": float(np.nanpercentile(error, 95)),
        "largest_mm": float(np.nanmax(error)),
        "joints": len(names),
        "frames": len(error),
    }


def read_with_bvhio(path: Path, frames: int) -> dict[str, np.ndarray]:
    """Joint -> places (T, 3) in metres, by another program's reader and forward kinematics."""
    import bvhio

    root = bvhio.readAsHierarchy(str(path))
    joints = [joint for joint, _, _ in root.layout()]
    places: dict[str, list[np.ndarray]] = {joint.Name: [] for joint in joints}
    for frame in range(frames):
        root.loadPose(frame)
        for joint in joints:
            places[joint.Name].append(0.01 * np.array(joint.PositionWorld))
    return {name: np.stack(rows) for name, rows in places.items()}


def clip_errors(clips: list[Clip], *, noise: float) -> dict[str, float]:
    """Errors over all clips."""
    distance, angle, ratio = [], {"knee": [], "elbow": []}, {"knee": [], "elbow": []}
    for clip in clips:
        joints = clip.joints("body_25b", noise=noise)
        (motion,) = inverse_kinematics(joints, fps=clip.fps)
        distance.append(position_errors(motion, clip.joints("body_25b", noise=0.0)))
        angles = joint_angles(motion)
        for joint, name in FLEXIONS.items():
            error = angles.values[:, angles.index(name)] - clip.flexion[joint]
            part = joint.split("_")[1]
            angle[part].append(error.rad2deg())
            ratio[part].append(error / angles.deviation[:, angles.index(name)])
    errors = torch.cat([rows.flatten() for rows in distance])
    found = {"position_mean_mm": float(errors.mean()), "position_95_mm": float(errors.quantile(0.95))}
    for part in angle:
        degrees = torch.cat(angle[part])
        found[f"{part}_mean_abs_deg"] = float(degrees.abs().mean())
        found[f"{part}_rms_deg"] = float(degrees.square().mean().sqrt())
        found[f"{part}_z_rms"] = float(torch.cat(ratio[part]).square().mean().sqrt())
    return {**found, "frames": sum(len(rows) for rows in distance), "clips": len(clips)}


def position_errors(motion: Motion, truth: Joints3D) -> torch.Tensor:
    """(T, J) mm between the joints of a motion and the true ones."""
    measured = torch.tensor(body_tree(truth.skeleton).measured)
    ours = motion.positions()[:, measured >= 0]
    return 1000 * (ours - truth.positions[:, 0, measured[measured >= 0]]).norm(dim=-1)


def mocap(path: Path, *, step: int) -> dict[str, float]:
    """Errors of the joints of a marker system's skeleton, every `step`-th frame."""
    source = read_bvh(path, unit=MOCAP_UNIT)
    places = {name: source.tree.joints.index(name) for name in MOCAP}
    positions = source.positions()[::step, list(places.values())][:, None]
    seen = torch.ones(positions.shape[:-1], dtype=positions.dtype)
    joints = Joints3D(
        positions=positions,
        covariance=(0.005**2 * torch.eye(3, dtype=positions.dtype)).expand(*seen.shape, 3, 3),
        score=seen,
        filled=seen < 1,
        skeleton=Skeleton("mocap", tuple(MOCAP.values()), ()),
    )
    (motion,) = inverse_kinematics(joints, fps=source.fps / step)
    errors = position_errors(motion, joints)
    return {
        "mean_mm": float(errors.mean()),
        "percentile_95_mm": float(errors.quantile(0.95)),
        "largest_mm": float(errors.max()),
        "frames": len(errors),
        "joints": errors.shape[1],
    }


def speed(clip: Clip, *, repeats: int) -> dict[str, float]:
    """Frames a second."""
    joints = clip.joints("body_25b", noise=NOISE)
    long = Joints3D.cat([joints] * repeats)
    timing, _ = Timing.of(lambda: inverse_kinematics(long, fps=clip.fps), warmup=1, runs=3)
    frames = long.batch_shape[0]
    return {"frames": frames, "frames_per_second": timing.per_second(frames), "seconds": timing.median}


if __name__ == "__main__":
    main()
