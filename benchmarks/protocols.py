"""Scoring MuPoTS-3D in all its variants: how long 20 sequences of the size of the real ones take.

    python benchmarks/protocols.py --out FILE [--runs 7] [--smoke]

One thread on one core. The real test set has 20 sequences of 200 to 800 frames, about 8,000 in all, in which two or
three people are annotated. Here every sequence has 420 frames of three people (25,200), and every frame three
detections of them, off by 30 mm and 5 pixels, in another order, and one false one. All eight variants with seven
metrics each, matching included, from arrays in memory; reading both files from npz is timed apart. The cards of all
protocols are written beside, for the documentation.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from marey.io.predictions import PoseRows, pose_rows, read_pose_rows, write_pose_rows
from marey.metrics.protocols import PROTOCOLS
from marey.metrics.protocols.mupots import JOINTS, MuPoTS
from measure import Timing, describe, pin_to_one_core, write_json

SEQUENCES, FRAMES, PEOPLE = 20, 420, 3
FALSE = 1
"""Detections a frame that are nobody's."""
FOCAL, CENTRE = 1500.0, (960.0, 540.0)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="ten frames a sequence, one run: does it work?")
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    frames, runs = (10, 1) if options.smoke else (FRAMES, options.runs)
    predictions, labels = recordings(frames)
    timing, scores = Timing.of(partial(MuPoTS().score, predictions, labels), warmup=1, runs=runs)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("predictions.npz", "labels.npz")]
        for path, rows in zip(paths, (predictions, labels), strict=True):
            write_pose_rows(path, rows)
        reading, _ = Timing.of(lambda: [read_pose_rows(path) for path in paths], warmup=1, runs=runs)
    write_json(
        options.out,
        {
            "mupots": {
                "seconds": timing.asdict(),
                "reading_seconds": reading.asdict(),
                "sequences": SEQUENCES,
                "frames": SEQUENCES * frames,
                "people": len(labels),
                "detections": len(predictions),
                "numbers": len(scores.values),
                "recall": scores.values["recall"],
            },
            "cards": [asdict(found.card) for found in PROTOCOLS.values()],
            "meta": describe("torch", "numpy"),
        },
    )


def recordings(frames: int) -> tuple[PoseRows, PoseRows]:
    """Detections and labels of people who stand side by side, four metres away."""
    source = np.random.default_rng(0)
    shape = (SEQUENCES, frames, PEOPLE)
    sequence, frame, person = np.indices(shape).reshape(3, -1)
    joints = source.normal(scale=(0.25, 0.5, 0.2), size=(len(person), len(JOINTS), 3))
    joints += np.stack([1.2 * (person - 1), np.zeros(len(person)), np.full(len(person), 4.0)], -1)[:, None]
    names = np.char.add("TS", (sequence + 1).astype(np.str_))
    labels = pose_rows(
        joints,
        joint_names=JOINTS,
        sequence=names,
        frame=frame,
        person=person,
        joints_universal=joints * 1.05,
        keypoints=_pixels(joints),
    )
    order = np.argsort(source.random((*shape[:2], PEOPLE + FALSE)), axis=-1)
    found = joints.reshape(*shape, len(JOINTS), 3) + source.normal(scale=0.03, size=(*shape, len(JOINTS), 3))
    false = found[:, :, :FALSE] + (0.0, 0.0, 2.0)
    found = np.take_along_axis(np.concatenate((found, false), axis=2), order[..., None, None], axis=2)
    keypoints = _pixels(found) + source.normal(scale=5, size=(*found.shape[:-1], 2))
    places = np.indices(order.shape).reshape(3, -1)
    predictions = pose_rows(
        found.reshape(-1, len(JOINTS), 3),
        joint_names=JOINTS,
        sequence=np.char.add("TS", (places[0] + 1).astype(np.str_)),
        frame=places[1],
        person=places[2],
        keypoints=keypoints.reshape(-1, len(JOINTS), 2),
    )
    return predictions, labels


def _pixels(joints: np.ndarray) -> np.ndarray:
    return FOCAL * joints[..., :2] / joints[..., 2:] + CENTRE


if __name__ == "__main__":
    main()
