"""A sheet of single photographs as two ways see them; nothing is measured.

    python benchmarks/metrabs_photos.py --out FILE.png [--data FOLDER] [--with-photos] [--weights FOLDER]

A row for each photograph: what `metrabs` says of it (orange), with the detector `marey`, and what `monocular` says with
MediaPipe's keypoints (green). From left to right: in the picture, as seen by the camera, and from the person's
right. The photographs themselves are shown with --with-photos alone: the sheet in the documentation is without.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

import marey
from marey.core import Estimate, Image, InputError
from marey.geometry.projection import project
from marey.io.images import read_image, write_image
from marey.viz.figure_sketch import GUESS, TRUTH, blank, draw_figure, fitted
from measure import ROOT

SIDE = 320
PHOTOS = ("coco_000000000785.jpg", "pose.jpg", "portrait.jpg", "astronaut.png")
WAYS = (("metrabs", "marey", GUESS), ("monocular", "mediapipe", TRUTH))
EXTENT = 1.1
"""Metres from the middle of a sketch to its rim."""

Floats = npt.NDArray[np.float64]


def main() -> None:
    """Estimate and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--with-photos", action="store_true", help="behind the joints; not for the documentation")
    parser.add_argument("--weights", type=Path, help="of metrabs; those that are shipped if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    rows = [row(options.data / "images" / name, options) for name in PHOTOS]
    write_image(options.out, np.vstack(rows))


def row(photo: Path, options: argparse.Namespace) -> Image:
    """The three sketches of a photograph."""
    picture = read_image(photo)
    shown, scale = in_square(picture if options.with_photos else np.full_like(picture, 60))
    front, side = blank(SIDE), blank(SIDE)
    for method, detector, color in WAYS:
        weights = options.weights if method == "metrabs" else None
        config = marey.EstimateConfig(detector=detector, people=1, overlay=False, weights=weights)
        try:
            found = marey.estimate(photo, method=method, config=config)
        except InputError as error:
            print(photo.name, method, error)
            continue
        print(photo.name, method, *found.notes, sep="\n  ")
        draw(found, color, (shown, front, side), scale)
    return np.hstack((shown, front, side))


def in_square(picture: Image) -> tuple[Image, float]:
    """The picture in the upper left of a square, and how much smaller it became."""
    scale = SIDE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    square = blank(SIDE)
    square[: small.shape[0], : small.shape[1]] = small
    return square, scale


def draw(found: Estimate, color: tuple[int, int, int], sketches: tuple[Image, Image, Image], scale: float) -> None:
    """Draw the first frame's person into the three sketches."""
    assert found.cameras is not None
    joints = found.joints.positions[0, 0].double()
    links = found.joints.skeleton.links
    cameras = found.cameras.to(torch.float64)
    pixels = project(joints[None], cameras)[0].numpy()
    rotation, _ = cameras.extrinsics
    seen: Floats = (joints @ rotation[0].mT).numpy()
    seen = seen - np.nanmean(seen, axis=0)
    for sketch, points in (
        (sketches[0], (pixels + 0.5) * scale - 0.5),
        (sketches[1], fitted(seen[:, :2], SIDE, extent=EXTENT)),
        (sketches[2], fitted(seen[:, [2, 1]], SIDE, extent=EXTENT)),
    ):
        shown: npt.NDArray[np.bool_] = np.all(np.isfinite(points), axis=-1)
        draw_figure(sketch, points, links, color=color, shown=shown)


if __name__ == "__main__":
    main()
