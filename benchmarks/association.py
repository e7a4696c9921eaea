"""Do people keep their identity, and are they where they should be, when they cross in front of four cameras?

    python benchmarks/association.py --out FILE [--frames 1500]

2, 3 and 4 synthetic people walk through one another's paths, squat, wave and turn; four cameras see them with noise,
gross errors, left/right swaps, losses and mutual occlusion; a bystander is seen by one camera; the slots of every view
and frame are in random order, and nothing says how many people there are. Everything goes the pipeline's own way:
covariances from the noise model, `associate`, the left/right test, rejection of bad views, calibration of the noise,
robust triangulation.

The protocol, for each recording:
- A prediction is one person in one frame of whom at least half of the joints were found; its score is the mean over the
  joints of the views that count, as a share of all views.
- Predictions are sorted by score over all frames; one is true when the mean distance of its joints to a person of that
  frame whom no better prediction has claimed is at most 100 mm, the nearest such person first. A person in a frame whom
  no prediction claims is missed.
- Average precision is the area under precision over recall, precision being the best at that recall or more.
- An identity switch is counted when the truth person's prediction comes from another slot than the last one did.

`ap_100mm` is the worst and `switches_per_1000_frames` the mean over the recordings; `worst_switches_per_1000_frames` is
given as well. `hard` repeats it, for information, with more of everything that goes wrong. The seeds here are for this
measurement only; nothing was tuned on them (tests and tuning use seeds from 101).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from marey.data.detector_faults import DetectorFaults
from marey.data.keypoint_capture import KeypointCapture, KeypointCaptureConfig, make_keypoint_capture
from marey.detect.association import Association, associate, take_slots
from marey.detect.noise import NoiseModel, with_noise
from marey.detect.prepare import prepare_keypoints
from marey.detect.settings import AssociationConfig
from marey.geometry.triangulation import triangulate
from measure import describe, write_json

SEEDS = (1, 2, 3, 4)
PEOPLE = (2, 3, 4)
BOUND_M = 0.1
PLAIN = KeypointCaptureConfig(frames=1500, bystanders_in_one_view=1, state_covariance=False)
HARD = replace(
    PLAIN,
    fps=30.0,
    area=1.0,
    faults=DetectorFaults(
        noise_px=5.0,
        outlier_fraction=0.05,
        swap_fraction=0.1,
        dropout_fraction=0.1,
        lost_fraction=0.05,
        lost_seconds=1.0,
    ),
)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What came of one recording."""

    people: int
    seed: int
    people_found: int
    ap_100mm: float
    recall_100mm: float
    mean_error_mm: float | None
    """Of the true predictions; none if there are none."""
    switches: int
    switches_per_1000_frames: float
    ms_per_frame: float
    """Of `associate` alone, time of one processor."""


def measure(config: KeypointCaptureConfig) -> Score:
    """Record, estimate and score."""
    capture = make_keypoint_capture(config)
    detections = replace(capture.detections, keypoints=with_noise(capture.detections.keypoints, NoiseModel()))
    start = time.process_time()
    association = associate(detections, capture.cameras, config=AssociationConfig(fps=capture.fps))
    seconds = time.process_time() - start
    positions, score = estimate(association, capture)
    precision, recall, error, switches = judge(positions, score, capture.truth.positions.numpy())
    return Score(
        people=config.people,
        seed=config.seed,
        people_found=positions.shape[1],
        ap_100mm=precision,
        recall_100mm=recall,
        mean_error_mm=None if error is None else 1000 * error,
        switches=switches,
        switches_per_1000_frames=1000 * switches / config.frames,
        ms_per_frame=1000 * seconds / config.frames,
    )


def estimate(association: Association, capture: KeypointCapture) -> tuple[np.ndarray, np.ndarray]:
    """Joints (T, P, J, 3), metres, and scores (T, P)."""
    detected = take_slots(capture.detections.keypoints, association.slots)
    prepared = prepare_keypoints(detected, capture.cameras, NoiseModel()).keypoints
    found = triangulate(prepared.positions, capture.cameras, covariance=prepared.covariance)
    return found.positions.numpy(), found.weights.mean(dim=(0, -1)).numpy()


def judge(positions: np.ndarray, score: np.ndarray, truth: np.ndarray) -> tuple[float, float, float | None, int]:
    """Average precision, recall, mean error of true predictions in metres, and the number of identity switches."""
    complete = np.isfinite(positions).all(-1).mean(-1) >= 0.5
    distance = np.linalg.norm(positions[:, :, None] - truth[:, None], axis=-1)
    count = np.isfinite(distance).sum(-1)
    error = np.where(complete[..., None], np.nansum(distance, axis=-1) / np.maximum(count, 1), np.inf)
    frames, slots = np.nonzero(complete)
    owner = np.full(truth.shape[:2], -1)
    true = np.zeros(len(frames), dtype=bool)
    order = np.argsort(-score[frames, slots], kind="stable")
    for rank, index in enumerate(order):
        frame, slot = frames[index], slots[index]
        candidates = np.where(owner[frame] < 0, error[frame, slot], np.inf)
        person = int(candidates.argmin())
        if candidates[person] <= BOUND_M:
            owner[frame, person] = slot
            true[rank] = True
    hits = true.cumsum()
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    claimed = np.nonzero(owner >= 0)
    errors = error[claimed[0], owner[claimed], claimed[1]]
    return (
        float(precision[true].sum() / owner.size),
        len(errors) / owner.size,
        float(errors.mean()) if errors.size else None,
        sum(switches_of(column[column >= 0]) for column in owner.T),
    )


def switches_of(slots: np.ndarray) -> int:
    """How often the slot changes along a person's predictions."""
    return int((slots[1:] != slots[:-1]).sum())


def summary(scores: Iterable[Score]) -> dict[str, object]:
    """The worst average precision, the mean rate of switches, and every recording."""
    scores = list(scores)
    rates = [score.switches_per_1000_frames for score in scores]
    return {
        "ap_100mm": min(score.ap_100mm for score in scores),
        "mean_ap_100mm": float(np.mean([score.ap_100mm for score in scores])),
        "switches_per_1000_frames": float(np.mean(rates)),
        "worst_switches_per_1000_frames": max(rates),
        "ms_per_frame": float(np.median([score.ms_per_frame for score in scores])),
        "recordings": [asdict(score) for score in scores],
    }


def main() -> None:
    """Write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=PLAIN.frames)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plain, hard = (
        summary(
            measure(replace(config, frames=options.frames, people=people, seed=seed))
            for people in PEOPLE
            for seed in SEEDS
        )
        for config in (PLAIN, HARD)
    )
    meta = {**describe("torch", "numpy"), "seeds": SEEDS, "frames": options.frames}
    write_json(options.out, {**plain, "hard": hard, "meta": meta})


if __name__ == "__main__":
    main()
