"""The detector `marey` beside MediaPipe on real photographs and videos, none of which it was trained on.

    python benchmarks/trunk_detector.py --out FILE [--data FOLDER] [--pictures FOLDER] [--smoke]

`pictures`: photographs, and frames spread over videos of six places. Neither detector is the truth. `recall` is the
share of MediaPipe's people whose box one of ours overlaps by half or more (intersection over union, within the picture;
MediaPipe says no boxes: it is the one around its joints, a twentieth larger on each side). Of these,
`median_distance_share` is the median distance of the joints that MediaPipe takes for visible (0.5 or more) from ours,
in heights of its box, and `median_distance_px` in pixels. `per_frame` counts the people found, where there is one, or
on the street two.

`balancing`: 50 frames of four calibrated cameras, estimated with nothing but the package; the mean distance of 17
joints from another tool's triangulation of OpenPose's keypoints, as in `mediapipe_balancing.py`: the method `classical`
on the detector's keypoints, and, by name, the methods that look at the pictures themselves. `time` is that of one
thread.

With `--pictures` contact sheets are written: green is `marey`, magenta is MediaPipe.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

import marey
from marey.core import Detections2D, Image, InputError, skeleton
from marey.detect.detector import open_detector
from marey.detect.trunk import MareyPose
from marey.detect.trunk_search import box_overlap
from marey.geometry.triangulation import triangulate
from marey.io.images import read_image, write_image
from marey.io.video import VideoFrames
from marey.pipeline.detections import find_detections
from marey.viz.figure_sketch import draw_figure
from measure import ROOT, describe, write_json
from mediapipe_balancing import FRAMES, JOINTS, read_reference

PLACES: Mapping[str, tuple[str, ...]] = {
    "photographs": (
        "images/astronaut.png",
        "images/coco_000000000785.jpg",
        "images/portrait.jpg",
        "images/pose.jpg",
    ),
    "gym": ("images/pose_1.mp4",),
    "squats": ("images/pose_squats.mp4",),
    "street": ("sports2d/demo.mp4",),
    "balancing": tuple(f"pose2sim_demo/balancing/videos/cam0{view}.mp4" for view in (1, 2, 3, 4)),
    "seated": tuple(f"caliscope_charuco/4_cam_recording/calibration/extrinsic/cam_{view}.mp4" for view in (0, 1, 2, 3)),
}
SPREAD = 24
"""Frames of a place's videos together."""
VISIBLE = 0.5
SHARED = tuple(joint for joint in skeleton("halpe_26").joints if joint in skeleton("mediapipe_33").joints)
"""Joints that both detectors know."""
WAYS = (
    ("classical", "classical", "adjusted"),
    ("as_given", "classical", "as-given"),
    ("ransac", "ransac", "as-given"),
    ("algebraic", "algebraic", "as-given"),
    ("volumetric", "volumetric", "as-given"),
)
"""Name, method, and what is done with the cameras."""
OURS, THEIRS = (0, 200, 0), (230, 0, 200)
_NOWHERE = 1e4
"""Stands for a distance where there is none, so that files are JSON."""
TILE = 320
"""Pixels, of the contact sheets."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One picture and what both detectors see in it."""

    image: Image
    ours: Detections2D
    theirs: Detections2D


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--pictures", type=Path, help="folder for contact sheets")
    parser.add_argument("--smoke", action="store_true", help="few frames, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    spread, frames = (4, 6) if options.smoke else (SPREAD, FRAMES)
    seen = {place: list(look(options.data, files, spread)) for place, files in PLACES.items()}
    places = {place: score(pictures) for place, pictures in seen.items()}
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for place, pictures in seen.items():
            write_image(options.pictures / f"{place}.jpg", contact_sheet(pictures))
    write_json(
        options.out,
        {
            "pictures": {**score([picture for pictures in seen.values() for picture in pictures]), "places": places},
            "balancing": balancing(options.data, frames),
            "time": speed(options.data),
            "meta": describe("torch", "mediapipe", threads=1),
        },
    )


def look(data: Path, files: tuple[str, ...], spread: int) -> Iterator[Seen]:
    """Pictures of a place, each judged by itself."""
    ours, theirs = MareyPose(), open_detector("mediapipe")
    images = [image for file in files for image in pictures_of(data / file, max(1, spread // len(files)))]
    for image, mine, other in zip(images, ours(images), theirs(images), strict=True):
        yield Seen(image=image, ours=mine, theirs=other)


def pictures_of(file: Path, most: int) -> list[Image]:
    """A photograph, or frames spread evenly over a video."""
    if file.suffix != ".mp4":
        return [read_image(file)]
    video = VideoFrames(file)
    chosen = {int(place) for place in np.linspace(0, len(video.timestamps) - 1, most)}
    return [frame for place, frame in enumerate(video.frames()) if place in chosen]


def score(pictures: list[Seen]) -> dict[str, float]:
    """Agreement with MediaPipe."""
    shares, pixels, people, found = [], [], 0, 0
    for picture in pictures:
        away = compare(picture)
        people += len(picture.theirs.keypoints.positions)
        if away is not None:
            found += 1
            pixels.append(away[0])
            shares.append(away[0] / away[1])
    return {
        "pictures": len(pictures),
        "people": people,
        "recall": found / max(people, 1),
        "median_distance_share": float(torch.cat(shares).median()) if shares else 1.0,
        "median_distance_px": float(torch.cat(pixels).median()) if pixels else _NOWHERE,
        "per_frame": sum(picture.ours.batch_shape[0] for picture in pictures) / len(pictures),
    }


def compare(picture: Seen) -> tuple[Tensor, float] | None:
    """Distances (J,) of the joints that MediaPipe takes for visible, and its box's height; None: it is not found."""
    size = picture.image.shape[1], picture.image.shape[0]
    other = picture.theirs.keypoints
    if picture.ours.boxes is None or not picture.ours.batch_shape[0] or not len(other.positions):
        return None
    theirs = around(other.positions, size)
    overlap, best = box_overlap(within(picture.ours.boxes.corners, size), theirs)[:, 0].max(0)
    if overlap < 0.5:
        return None
    names = other.skeleton.indices(SHARED)
    mine = picture.ours.keypoints.positions[best, picture.ours.keypoints.skeleton.indices(SHARED)]
    visible = other.score[0, names] >= VISIBLE
    away = (mine - other.positions[0, names])[visible].norm(dim=-1)
    return away.nan_to_num(nan=_NOWHERE), float(theirs[0, 3] - theirs[0, 1])


def around(joints: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (P, 4) around joints (P, J, 2), a twentieth larger on each side, within a picture of `size`."""
    low, high = joints.amin(1), joints.amax(1)
    beyond = 0.05 * (high - low).amax(-1, keepdim=True)
    return within(torch.cat((low - beyond, high + beyond), -1), size)


def within(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (P, 4) cut to a picture."""
    limit = torch.tensor(size * 2) - 0.5
    return torch.minimum(boxes.clamp_min(-0.5), limit)


def balancing(data: Path, frames: int) -> dict[str, Any]:
    """Distance of what four views give from the reference, millimetres; all is missing where nobody is found."""
    folder = data / "pose2sim_demo"
    inputs, calibration = folder / "balancing" / "videos", folder / "calibration" / "Calib_qualisys.toml"
    reference = read_reference(data)[:frames]
    picked = skeleton("halpe_26").indices(JOINTS)
    nobody = torch.full_like(reference, torch.nan)
    found: dict[str, Tensor] = {}
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as kept:
        for name, method, cameras in WAYS:
            config = marey.EstimateConfig(
                detector="marey",
                people=1,
                unit="m",
                refine="none",
                cameras=cameras,
                overlay=False,
                formats=("npz",),
            )
            try:
                result = marey.estimate(
                    inputs, calibration=calibration, method=method, frames=(0, frames), config=config, out=kept
                )
            except InputError as error:
                found[name] = nobody
                notes.append(str(error))
            else:
                found[name] = result.joints.positions[:, 0, picked]
                notes += result.notes
        recording = marey.open_recording([inputs], calibration=calibration, unit="m")
        keypoints = find_detections(recording, range(frames), detector="marey", people=1, folder=Path(kept))
    assert recording.cameras is not None
    best = keypoints.detections.keypoints[:, :, 0]
    plain = triangulate(best.positions, recording.cameras, weights=best.score, method="dlt").positions[:, picked]
    seen = best.score.amax(-1) > 0
    return {
        **distances(found.pop("classical"), reference),
        **{name: distances(positions, reference) for name, positions in found.items()},
        "plain_dlt": distances(plain, reference),
        "views_with_a_person_percent": 100 * float(seen.double().mean()),
        "notes": notes,
    }


def distances(positions: Tensor, reference: Tensor) -> dict[str, Any]:
    """Of joints (T, J, 3) to the reference, millimetres; those that are missing are counted apart, all of them 10 m."""
    away = 1000 * (positions.double() - reference).norm(dim=-1)
    known = away.isfinite()
    return {
        "mean_distance_mm": float(away.nanmean()) if known.any() else _NOWHERE,
        "median_distance_mm": float(away.nanmedian()) if known.any() else _NOWHERE,
        "missing_percent": 100 * float((~known).double().mean()),
    }


def speed(data: Path) -> dict[str, float]:
    """Milliseconds a frame of a video of full size, of the detector alone."""
    frames = pictures_of(data / PLACES["balancing"][0], 8)
    times: dict[str, float] = {}
    for name, detector in (("marey", MareyPose()), ("mediapipe", open_detector("mediapipe"))):
        spent = []
        for _ in range(3):
            start = time.thread_time() if name == "marey" else time.perf_counter()
            list(detector(frames))
            spent.append((time.thread_time() if name == "marey" else time.perf_counter()) - start)
        times[f"{name}_ms"] = 1000 * min(spent) / len(frames)
    return times


def contact_sheet(pictures: list[Seen], columns: int = 6) -> Image:
    """All pictures of a place as tiles."""
    tiles = [tile(picture) for picture in pictures]
    tiles += [np.zeros((TILE, TILE, 3), np.uint8)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[at : at + columns], 1) for at in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def tile(picture: Seen) -> Image:
    """A picture with both skeletons and our boxes, made small."""
    height, width = picture.image.shape[:2]
    scale = TILE / max(height, width)
    small = cv2.resize(picture.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((TILE, TILE, 3), 40, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    for found, color in ((picture.theirs, THEIRS), (picture.ours, OURS)):
        points = ((found.keypoints.positions + 0.5) * scale - 0.5).numpy()
        shown = (found.keypoints.score > 0.2).numpy()
        for person, seen in zip(points, shown, strict=True):
            draw_figure(canvas, person, found.keypoints.skeleton.links, color=color, shown=seen)
    if picture.ours.boxes is not None:
        for box, certainty in zip(picture.ours.boxes.corners.numpy(), picture.ours.boxes.score.tolist(), strict=True):
            left, top, right, bottom = ((box + 0.5) * scale - 0.5).round().astype(int).tolist()
            cv2.rectangle(canvas, (left, top), (right, bottom), OURS, 1)
            place = max(left, 0), max(top, 12)
            cv2.putText(canvas, f"{certainty:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, OURS, 1, cv2.LINE_AA)
    return canvas


if __name__ == "__main__":
    main()
