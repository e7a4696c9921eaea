"""Whether other programs find our joints in the motion files that we write, and whether every real file can be read.

    python benchmarks/formats_motion.py --out FILE [--data ../shared/data]

The balancing trial (50 frames, one person) is estimated and written as C3D, BVH and glTF; ezc3d, bvhio and pygltflib
read them. `c3d.largest_um` is the largest distance, in micrometres, of a marker from the estimate's joint;
`bvh.largest_um` and `gltf.largest_um` that of a joint, by forward kinematics on what the other program read, from the
forward kinematics of our `Motion`. `real` reads the real files: how many there are, and those that could not be read.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ezc3d
import numpy as np
import numpy.typing as npt
import pygltflib
import torch

import marey
from marey.core import MareyError
from marey.io.bvh import read_bvh
from marey.io.c3d import read_c3d
from marey.io.caliscope_board import read_caliscope_board
from marey.io.caliscope_csv import read_caliscope_csv
from marey.io.camera_files import read_cameras
from marey.io.coco import read_coco_annotations
from marey.io.mot import read_mot
from marey.io.openpose import read_openpose_folder
from marey.io.trc import read_trc
from marey.io.video import VideoFrames
from marey.pipeline import EstimateConfig
from marey.pipeline.motions import joints_y_up, motions_of
from measure import ROOT, describe, write_json
from motion_files import read_with_bvhio

Reader = Callable[[Path], Any]
REAL: Mapping[str, Reader] = {
    "*/calibration/Calib_qualisys.toml": lambda path: read_cameras(path, unit="m"),
    "*/calibration/Calib.qca.txt": read_cameras,
    "sports2d/Calib_demo.toml": lambda path: read_cameras(path, unit="m"),
    "caliscope_*/**/config.toml": lambda path: read_cameras(path, unit="m"),
    "caliscope_*/**/camera_array.toml": lambda path: read_cameras(path, unit="m"),
    "caliscope_person/xy*.csv": read_caliscope_csv,
    "caliscope_charuco/**/extrinsic/xy.csv": read_caliscope_board,
    "**/*.trc": read_trc,
    "**/*.c3d": read_c3d,
    "**/*.mot": read_mot,
    "**/*.bvh": lambda path: read_bvh(path, unit="m"),
    "images/coco_annotations.json": read_coco_annotations,
    "pose2sim_demo/*/pose/*": read_openpose_folder,
    "**/*.mp4": VideoFrames,
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    results = {**exchange(options.data / "pose2sim_demo"), "real": real(options.data)}
    write_json(options.out, {**results, "meta": describe("torch", "numpy", "ezc3d", "bvhio", "pygltflib")})


def exchange(data: Path) -> dict[str, Any]:
    """Largest distances between what we wrote and what the other programs read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        estimate = marey.estimate(
            data / "balancing" / "pose",
            calibration=data / "calibration" / "Calib_qualisys.toml",
            config=EstimateConfig(fps=60.0, unit="m", formats=("c3d", "bvh", "glb"), overlay=False),
            out=folder,
        )
        motion = motions_of(estimate)[0]
        markers = joints_y_up(estimate.joints, estimate.provenance["world_up"]).positions[:, 0].double().numpy()
        found = ezc3d.c3d(str(folder / "person_0.c3d"))["data"]["points"][:3].transpose(2, 1, 0) / 1000
        places = read_with_bvhio(folder / "person_0.bvh", motion.length)
        bvh = np.stack([places[joint] for joint in motion.tree.joints], 1)
        gltf = read_with_pygltflib(folder / "motion.glb", motion.length)
    ours = motion.positions().double().numpy()
    return {
        "frames": motion.length,
        "joints": len(motion.tree),
        "c3d": {"largest_um": largest(found - markers)},
        "bvh": {"largest_um": largest(bvh - ours)},
        "gltf": {"largest_um": largest(gltf - ours)},
    }


def largest(difference: npt.NDArray[np.float64]) -> float:
    """The longest of vectors (..., 3) in metres, as micrometres."""
    return float(1e6 * np.nanmax(np.linalg.norm(difference, axis=-1)))


def read_with_pygltflib(path: Path, frames: int) -> npt.NDArray[np.float64]:
    """Places (T, K, 3) of the joints of the first skin, by forward kinematics on the keys of its only animation."""
    file = pygltflib.GLTF2().load(str(path))
    blob = file.binary_blob()

    def values(accessor_index: int, width: int) -> npt.NDArray[np.float64]:
        accessor = file.accessors[accessor_index]
        view = file.bufferViews[accessor.bufferView]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        return np.frombuffer(blob, "<f4", accessor.count * width, start).reshape(-1, width).astype(np.float64)

    animation, skin = file.animations[0], file.skins[0]
    keys = {
        (channel.target.node, channel.target.path): values(
            animation.samplers[channel.sampler].output, 4 if channel.target.path == "rotation" else 3
        )
        for channel in animation.channels
        if channel.target.path in ("rotation", "translation")
    }
    parents = {child: place for place, node in enumerate(file.nodes) for child in node.children or ()}
    still = np.eye(3)[None].repeat(frames, 0)

    def world(place: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        node = file.nodes[place]
        rotation = keys.get((place, "rotation"))
        turned = still if rotation is None else matrices(rotation)
        offset = keys.get((place, "translation"), np.asarray(node.translation or (0.0, 0.0, 0.0), np.float64)[None])
        offset = np.broadcast_to(offset, (frames, 3))
        if place not in parents:
            return turned, offset
        above, at = world(parents[place])
        return above @ turned, at + np.einsum("tij,tj->ti", above, offset)

    return np.stack([world(place)[1] for place in skin.joints], 1)


def matrices(quaternions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotations (T, 3, 3) of unit quaternions (T, 4) in the order x, y, z, w."""
    x, y, z, w = quaternions.T
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return np.moveaxis(np.array(rows), -1, 0)


def real(data: Path) -> dict[str, Any]:
    """Read every file that a reader is there for."""
    files, failed = 0, []
    for pattern, read in REAL.items():
        for path in sorted(data.glob(pattern)):
            files += 1
            try:
                read(path)
            except MareyError as error:
                failed.append(f"{path.relative_to(data)}: {error}")
    return {"files": files, "not_read": len(failed), "details": failed}


if __name__ == "__main__":
    main()
