"""Whether other programs find the pixels that we find, with the camera files that we write, and we with theirs.

    python benchmarks/formats_cameras.py --out FILE

Six distorted cameras around 500 points are written as TOML, COLMAP and EasyMocap files; aniposelib, pycolmap and OpenCV
read them, project the points, and write the cameras anew, which we read. `<program>.write_px` and `<program>.read_px`
are the largest distances between their pixels and ours, and between our pixels with their files and with our cameras.
`qualisys.*` compares the real `.qca.txt` with the TOML that another program made of it: largest differences of the
intrinsics in pixels and of the places in millimetres.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import workloads
from marey.core import Cameras
from marey.geometry.projection import project
from marey.io.camera_files import read_cameras, write_cameras
from measure import ROOT, describe, run_peer, write_json

VIEWS, POINTS = 6, 500
FILES = {
    "anipose": ("toml", "rig.toml", "peers.toml"),
    "colmap": ("colmap", "colmap", "peers_colmap"),
    "opencv": ("easymocap", "easymocap", "peers_easymocap"),
}
REAL = ROOT.parent / "shared" / "data" / "pose2sim_demo" / "calibration"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # COLMAP's scale is unknown: here it is metres
        results = dict(_exchange(Path(folder)))
    if REAL.is_dir():
        results["qualisys"] = _qualisys()
    write_json(options.out, {**results, "meta": describe("torch", "numpy")})


def _exchange(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    cameras, points = _rig()
    np.save(folder / "points.npy", points[0].numpy())
    for name, file, _ in FILES.values():
        write_cameras(folder / file, cameras, format=name)
    run_peer("camera_files.py", folder)
    pixels = project(points, cameras)
    theirs = np.load(folder / "peers.npz")
    for program, (name, _, file) in FILES.items():
        again = read_cameras(folder / file, format=name, dtype=torch.float64)
        yield (
            program,
            {
                "write_px": float((torch.from_numpy(theirs[program]) - pixels).norm(dim=-1).max()),
                "read_px": float((project(points, again) - pixels).norm(dim=-1).max()),
            },
        )


def _rig() -> tuple[Cameras, Tensor]:
    """Cameras of names whose order all programs agree on, and points (1, N, 3)."""
    work = workloads.triangulation(views=VIEWS, points=POINTS)
    named = Cameras(
        intrinsics=torch.from_numpy(work.intrinsics),
        distortion=torch.tensor([[-0.2, 0.05, 0.001, -0.002, 0.0]], dtype=torch.float64).expand(VIEWS, 5),
        image_size=torch.from_numpy(work.image_size).double(),
        rotation=torch.from_numpy(work.rotation),
        translation=torch.from_numpy(work.translation),
        names=tuple(f"cam_{view}" for view in range(VIEWS)),
    )
    return named, torch.from_numpy(work.points)[None]


def _qualisys() -> dict[str, float]:
    ours, theirs = (read_cameras(REAL / name, dtype=torch.float64) for name in ("Calib.qca.txt", "Calib_qualisys.toml"))
    return {
        "intrinsics_px": float((ours.intrinsics - theirs.intrinsics).abs().max()),
        "centers_mm": 1000 * float((ours.centers - theirs.centers).norm(dim=-1).max()),
        "distortion_ratio": float((ours.distortion[:, :4] / theirs.distortion).median()),
    }


if __name__ == "__main__":
    main()
