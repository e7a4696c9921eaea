"""OpenPose JSON for one view: one file a frame, as `--write_json` of OpenPose and the tools around it name them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marey.core.errors import ShapeError
from marey.io.atomic import atomic_write_text, check_writable

PIXEL_DECIMALS = 3
SCORE_DECIMALS = 5


def write_openpose_folder(
    folder: str | os.PathLike[str], positions: npt.ArrayLike, score: npt.ArrayLike, *, first_frame: int = 0
) -> list[Path]:
    """Write keypoints of one view to `FOLDER/NAME_000000000012_keypoints.json`, NAME being that of the folder.

    A joint that is missing (NaN or score 0) is written as three zeros, which is how the format says it. A slot without
    any joint is left out: a frame in which nobody was seen has an empty list of people.

    Args:
        folder: Made if absent.
        positions: (T, P, J, 2) pixels, x right and y down.
        score: (T, P, J) in 0..1.
        first_frame: Number of the first file.

    Returns:
        The files, in order.

    Raises:
        ShapeError: the shapes do not fit together.
        InputError: the folder cannot be written.
    """
    points, scores = np.asarray(positions, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if points.ndim != 4 or points.shape[-1] != 2 or scores.shape != points.shape[:-1]:
        raise ShapeError(
            f"expected positions (T, P, J, 2) and score (T, P, J) of one view, got {points.shape} and {scores.shape}"
        )
    place = check_writable(folder)
    missing = ~(np.isfinite(points).all(-1) & (scores > 0))
    values = np.concatenate((points.round(PIXEL_DECIMALS), scores.round(SCORE_DECIMALS)[..., None]), axis=-1)
    values[missing] = 0
    people = values.reshape(*values.shape[:2], -1)
    present = np.any(~missing, axis=-1)
    files = []
    for frame, (rows, seen) in enumerate(zip(people, present, strict=True)):
        file = place / f"{place.name}_{first_frame + frame:012d}_keypoints.json"
        atomic_write_text(file, _document(rows[seen].tolist()))
        files.append(file)
    return files


def _document(people: list[list[float]]) -> str:
    entries = [{"person_id": [-1], "pose_keypoints_2d": person} for person in people]
    return json.dumps({"version": 1.3, "people": entries}, separators=(",", ":"))
