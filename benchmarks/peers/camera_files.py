"""Camera files of ours, read, projected with and written anew by aniposelib, pycolmap and OpenCV.

    python benchmarks/peers/camera_files.py FOLDER

Reads `points.npy` (N, 3), `rig.toml`, `colmap/` and `easymocap/` in the folder; writes `peers.npz` with the pixels
(V, N, 2) that each program finds, and the programs' own files, `peers.toml`, `peers_colmap/` and `peers_easymocap/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from aniposelib.cameras import CameraGroup


def main() -> None:
    """Read, project, write."""
    folder = Path(sys.argv[1])
    points = np.load(folder / "points.npy")
    np.savez(
        folder / "peers.npz",
        anipose=_anipose(folder, points),
        colmap=_colmap(folder, points),
        opencv=_opencv(folder, points),
    )


def _anipose(folder: Path, points: np.ndarray) -> np.ndarray:
    group = CameraGroup.load(str(folder / "rig.toml"))
    group.dump(str(folder / "peers.toml"))
    return np.stack([camera.project(points).reshape(-1, 2) for camera in group.cameras])


def _colmap(folder: Path, points: np.ndarray) -> np.ndarray:
    model = pycolmap.Reconstruction(str(folder / "colmap"))
    (folder / "peers_colmap").mkdir()
    model.write_text(str(folder / "peers_colmap"))
    images = sorted(model.images.values(), key=lambda image: image.name)
    pixels = [[np.asarray(image.project_point(point)) for point in points] for image in images]
    return np.array(pixels) - 0.5  # COLMAP's pixels begin at the corner of the image


def _opencv(folder: Path, points: np.ndarray) -> np.ndarray:
    """Reads with cv2.FileStorage and projects as EasyMocap does."""
    (folder / "peers_easymocap").mkdir()
    read, written = (
        {
            name: cv2.FileStorage(str(folder / place / f"{name}.yml"), mode)
            for name in ("intri", "extri")
        }
        for place, mode in (("easymocap", cv2.FILE_STORAGE_READ), ("peers_easymocap", cv2.FILE_STORAGE_WRITE))
    )  # fmt: skip
    listed = read["intri"].getNode("names")
    names = [listed.at(place).string() for place in range(listed.size())]
    pixels = []
    for name in names:
        found = {key: read["intri"].getNode(f"{key}_{name}").mat() for key in ("K", "dist")}
        found |= {key: read["extri"].getNode(f"{key}_{name}").mat() for key in ("R", "T")}
        pixels.append(cv2.projectPoints(points, found["R"], found["T"], found["K"], found["dist"])[0].reshape(-1, 2))
        for key, matrix in found.items():
            written["intri" if key in ("K", "dist") else "extri"].write(f"{key}_{name}", matrix)
    for file in written.values():
        file.release()
    return np.stack(pixels)


if __name__ == "__main__":
    main()
