"""The lifter: 2D keypoints of one person in one frame become joints in 3D with covariance.

    python benchmarks/lifting.py --out FILE [--data FOLDER] [--smoke]

*Synthetic.* Clips of 2 s that the training has not seen, with MediaPipe's joints and noise: the measured deviations of
`marey.detect.noise`, heavy tails, 60 % of the variance constant over a clip, hidden and cut-off joints guessed with low
scores, sides exchanged now and then. `sampled` motions are drawn from the pose prior; `recorded` ones are those of
`marey.body.motion_splits` for benchmarks. Errors are root-relative (midway between the hips), in metres, without any
alignment. Beside the lifter: the mean pose of what it was trained on, in the camera's frame; and the mean pose turned
to where the body truly looks, which nobody tells the lifter. Coverage: the share of the joints within the ellipsoids
that the covariances state for 90 % and 50 %. `skeletons`: the same with the joints and the noise of other detectors.

*Balancing.* The first 50 frames of four real videos, each by itself, PA-MPJPE over the 17 joints of
`one_camera.py` against its reference: MediaPipe's own world landmarks, the lifter on MediaPipe's keypoints, and the
lifter on OpenPose's keypoint files; and `marey.estimate` with a keypoint folder alone. Nothing was fitted to it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import marey
from marey.body.phenotypes import stature
from marey.core import Cameras, Keypoints2D
from marey.core import skeleton as skeleton_named
from marey.data.synthetic.random import Draws
from marey.detect.lifting import lift_keypoints, shipped_lifter
from marey.detect.noise import default_noise, with_noise
from marey.geometry.projection import world_to_camera
from marey.geometry.rotations import rotvec_to_matrix
from marey.methods.classical.body_size import implied_stature
from marey.methods.lifting.detections import Detecting
from marey.methods.lifting.losses import squared_deviation
from marey.methods.lifting.motions import MixedPoses, Motions, RecordedMotions, SampledMotions
from marey.methods.lifting.recipe import default, read_clips
from marey.methods.lifting.samples import SampleMaker, Samples, Scene
from marey.metrics.uncertainty import CHI2_90
from marey.nn.lifter import JOINTS, slots_of
from marey.pipeline.detections import find_detections
from measure import ROOT, Timing, describe, write_json
from mediapipe_balancing import JOINTS as COMMON
from mediapipe_balancing import read_reference
from one_camera import FRAMES, VIEWS, pa_mpjpe, root_depth

CLIPS, CLIP_FRAMES, SEED = 400, 20, 1
TRAINING_SAMPLES = 20_000
CHI2 = {"coverage_90": CHI2_90[3], "coverage_50": 2.3660}
"""Quantiles of the chi-squared distribution with three degrees of freedom."""
DETECTORS = {"coco_17": "onnx", "body_25": "openpose", "halpe_26": "onnx", "h36m_17": "onnx", "mpi_inf_3dhp_17": "onnx"}
"""Skeletons beside MediaPipe's, and whose noise they come with."""


def make(motions: Motions, skeleton: str, detector: str, clips: int) -> Samples:
    """Clips of the split for benchmarks, seen by one detector; where its joints are hidden they are guessed."""
    detecting = Detecting(noise={detector: 1.0}, guessing=1.0)
    scene = Scene(skeletons={skeleton: 1.0}, detecting=detecting)
    draws = Draws(seed=SEED, split="lifting/benchmark", indices=torch.arange(clips))
    return SampleMaker(motions, scene)(draws, CLIP_FRAMES)


def mean_poses(data: Path, count: int) -> tuple[Tensor, Tensor]:
    """Mean joints (J, 3) of the training samples, in the camera's frame and in that of a body that looks along z."""
    recipe = default()
    poses = MixedPoses(mix=recipe.poses, clips=read_clips(data, recipe.motions, "training"))
    draws = Draws(seed=recipe.training.seed, split="lifting/train", indices=torch.arange(count))
    samples = SampleMaker(poses, recipe.scene)(draws)
    return samples.joints.mean(0), (samples.joints @ turned(samples.heading)).mean(0)


def turned(heading: Tensor) -> Tensor:
    """Rotations (M, 3, 3) about y."""
    zero = torch.zeros_like(heading)
    return rotvec_to_matrix(torch.stack((zero, heading, zero), -1))


@torch.no_grad()
def score(samples: Samples, mean: Tensor, upright: Tensor) -> dict[str, Any]:
    """Of the lifter and of the mean poses, over the joints of the skeleton of everybody who is seen."""
    view = samples.view
    lifted = shipped_lifter()(view.points, view.deviation, view.score, view.size)
    counted = samples.there & view.known[:, None]
    residual = samples.joints - lifted.positions
    squared = squared_deviation(residual, lifted.factor)
    facing = upright @ turned(samples.heading).mT
    errors = {
        "lifter": residual,
        "mean_pose": samples.joints - mean,
        "mean_pose_facing": samples.joints - facing,
    }
    mpjpe = {name: 1000 * float(error.norm(dim=-1)[counted].mean()) for name, error in errors.items()}
    joints = {
        name: float((squared[:, place] <= CHI2["coverage_90"])[counted[:, place]].float().mean())
        for place, name in enumerate(JOINTS)
        if counted[:, place].any()
    }
    return {
        "mpjpe_mm": mpjpe,
        "times_better_than_mean_pose": mpjpe["mean_pose"] / mpjpe["lifter"],
        "times_better_than_mean_pose_facing": mpjpe["mean_pose_facing"] / mpjpe["lifter"],
        **{name: float((squared <= quantile)[counted].float().mean()) for name, quantile in CHI2.items()},
        "coverage_90_joints": joints,
        "stature": sizes(lifted.positions, samples),
        "people": len(counted),
        "too_little_seen": int((~view.known).sum()),
    }


def sizes(positions: Tensor, samples: Samples) -> dict[str, float]:
    """The stature that trunk and legs of lifted joints imply, in people's own: median and spread over the clips."""
    names = skeleton_named("mediapipe_33")
    slots = [slot for slot in slots_of(names) if slot is not None]
    people, scores, own = (
        values.reshape(-1, CLIP_FRAMES, *values.shape[1:]).transpose(0, 1)
        for values in (positions[:, slots], samples.view.score[:, slots], stature(samples.shape))
    )
    ratio = (implied_stature(people, scores, names) / own).nanmedian(0).values
    known = ratio[ratio.isfinite()]
    return {"ratio": float(known.median()), "deviation": float(known.log().std())}


def speed(frames: int) -> dict[str, Any]:
    """Of one thread: the network alone, keypoints to joints with their covariance, and one person at a time."""
    samples = make(SampledMotions(), "coco_17", "onnx", max(1, frames // CLIP_FRAMES))
    view = samples.view
    count = len(view.size)
    inputs = (view.points, view.deviation, view.score, view.size)
    names = skeleton_named("coco_17")
    slots = list(slots_of(names))
    keypoints = Keypoints2D(
        positions=1000 * view.points[None, :, None, slots],
        covariance=(1000 * view.deviation[None, :, None, slots, None, None]).square() * torch.eye(2),
        score=view.score[None, :, None, slots],
        skeleton=names,
    )
    camera = Cameras(
        intrinsics=torch.diag(torch.tensor([4000.0, 4000.0, 1.0]))[None],
        distortion=torch.zeros(1, 0),
        image_size=torch.full((1, 2), math.nan),
    )
    with torch.no_grad():
        network, _ = Timing.of(lambda: shipped_lifter()(*inputs))
        whole, _ = Timing.of(lambda: lift_keypoints(keypoints, camera))
        single, _ = Timing.of(lambda: lift_keypoints(keypoints[:, :1], camera), runs=30)
    return {
        "network_poses_per_s": network.per_second(count),
        "poses_per_s": whole.per_second(count),
        "single_pose_ms": 1000 * single.median,
        "batch": count,
    }


def balancing(data: Path, frames: int) -> dict[str, Any]:
    """Of each real video."""
    folder = data / "pose2sim_demo"
    calibration = folder / "calibration" / "Calib_qualisys.toml"
    reference = read_reference(data)[:frames]
    views = {}
    with tempfile.TemporaryDirectory() as kept:
        for view in VIEWS:
            files = folder / "balancing" / "pose" / f"{view}_json"
            video = marey.open_recording([folder / "balancing" / "videos" / f"{view}.mp4"], calibration=calibration)
            found = find_detections(video, range(frames), detector="mediapipe", people=1, folder=Path(kept))
            opened = marey.open_recording([files], calibration=calibration)
            assert video.cameras is not None
            assert opened.detections is not None
            assert found.detections.monocular is not None
            cameras = video.cameras.to(torch.float64)
            truth = world_to_camera(reference[None], cameras)[0]
            seen = with_noise(found.detections.keypoints, default_noise("mediapipe"))
            filed = with_noise(opened.detections.keypoints[:, :frames, :1], default_noise("openpose"))
            config = marey.EstimateConfig(people=1, overlay=False, formats=("npz",), fps=60.0)
            estimate = marey.estimate(files, calibration=calibration, frames=(0, frames), config=config)
            joints = world_to_camera(estimate.joints.positions[None, :, 0].double(), cameras)[0]
            place = estimate.joints.skeleton.indices(COMMON)
            depth = root_depth(joints, estimate.joints.skeleton.joints)
            error = depth / root_depth(truth, COMMON) - 1
            own = found.detections.monocular[0, :, 0, skeleton_named("mediapipe_33").indices(COMMON)].double()
            views[view] = {
                "mediapipe_world_landmarks": pa_mpjpe(own, truth),
                "lifter_mediapipe_keypoints": pa_mpjpe(lifted(seen, video.cameras), truth),
                "lifter_openpose_keypoints": pa_mpjpe(lifted(filed, video.cameras), truth),
                "estimate_openpose_keypoints": pa_mpjpe(joints[:, place], truth),
                "estimate_depth_error_percent": 100 * float(error.abs().mean()),
                "notes": list(estimate.notes),
            }
    names = [name for name in views[VIEWS[0]] if name != "notes"]
    means = {name: sum(view[name] for view in views.values()) / len(views) for name in names}
    return {"mean": means, "views": views, "frames": frames}


def lifted(keypoints: Keypoints2D, cameras: Cameras) -> Tensor:
    """The common joints (T, 17, 3) of the first person in the only view."""
    joints, _ = lift_keypoints(keypoints, cameras.to(keypoints.positions.dtype))
    return joints[0, :, 0, keypoints.skeleton.indices(COMMON)].double()


def worst(cells: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What the promises are about."""
    coverage = [cell["coverage_90"] for cell in cells]
    return {
        "least_times_better_than_mean_pose": min(cell["times_better_than_mean_pose"] for cell in cells),
        "least_coverage_90": min(coverage),
        "most_coverage_90": max(coverage),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--smoke", action="store_true", help="few clips and frames, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    clips, count, frames = (20, 1000, 5) if arguments.smoke else (CLIPS, TRAINING_SAMPLES, FRAMES)
    filmed = read_clips(arguments.data, default().motions, "benchmark")
    means = mean_poses(arguments.data, count)
    motions: dict[str, Motions] = {"sampled": SampledMotions(), "recorded": RecordedMotions(clips=filmed)}
    synthetic = {
        name: score(make(motion, "mediapipe_33", "mediapipe", clips), *means) for name, motion in motions.items()
    }
    skeletons = {
        name: score(make(motions["sampled"], name, detector, max(1, clips // 4)), *means)
        for name, detector in DETECTORS.items()
    }
    write_json(
        arguments.out,
        {
            **worst(list(synthetic.values())),
            "synthetic": synthetic,
            "recorded_motions": list(filmed.names),
            "skeletons": skeletons,
            "speed": speed(100 if arguments.smoke else 2000),
            "balancing": balancing(arguments.data, frames),
            "parameters": sum(parameter.numel() for parameter in shipped_lifter().parameters()),
            "meta": describe("torch", "mediapipe", threads=1),
        },
    )


if __name__ == "__main__":
    main()
