"""Films of 3DPW, followed by MeTRAbs and written as the challenge reads them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marey.core import InputError
from marey.data.prepare.pw3d import SPLITS
from marey.methods.metrabs.film_people import FilmPeople
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.people_options import PeopleOptions
from marey.methods.metrabs.video import SMPL, VideoOptions, predict_pw3d
from marey.pipeline.progress import Stages

_VIDEO = VideoOptions()


@dataclass(frozen=True, kw_only=True)
class FilmConfig:
    """How the films are worked on."""

    weights: Path | None = None
    """Of a network with SMPL's joints; None: what is shipped."""
    detector: str = "marey"
    """`marey`, `mediapipe`, or the path of an ONNX file."""
    detector_threshold: float | None = 0.5
    """Of a detection's score; None: the detector's own."""
    detector_flip_aug: bool = False
    """Whether the mirrored picture is searched too."""
    crops: int = 5
    """Views of each person that are averaged."""
    antialias_factor: int = 1
    """Crops are rendered so many times as large and averaged."""
    video: VideoOptions = _VIDEO


def track_pw3d(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: FilmConfig,
    *,
    splits: Sequence[str] = SPLITS,
    sequences: Sequence[str] = (),
    progress: bool = False,
) -> list[Path]:
    """Write `OUT/gtassoc/SPLIT/SEQUENCE.pkl`, or `OUT/nogtassoc/...`, for every sequence that has none yet.

    Args:
        root: Of the download: `imageFiles` and `sequenceFiles`.
        out: Folder.
        config: How.
        splits: Of the official ones.
        sequences: By name; none: all.
        progress: Show bars.

    Returns:
        The files.

    Raises:
        InputError: the network lacks joints of SMPL, or there is no such sequence.
        MissingAssetError: labels, pictures or weights are absent.
        MissingDependencyError: what the detector needs is not installed.
        FormatError: a file is damaged.
    """
    options = PeopleOptions(
        num_aug=config.crops,
        antialias_factor=config.antialias_factor,
        detector_flip_aug=config.detector_flip_aug,
    )
    model = PeopleModel.load(config.weights, detector=config.detector, options=options)
    known = model.per_skeleton_joint_names
    if SMPL.name not in known:
        names = ", ".join(filter(None, known))
        raise InputError(
            f"weights: 3DPW is scored on the 24 joints of SMPL, and this network has {names}; pass --weights"
        )
    people = FilmPeople(model=model, least_score=config.detector_threshold)
    try:
        return predict_pw3d(
            root,
            out,
            people.find_people,
            people.find_poses,
            options=config.video,
            splits=splits,
            sequences=sequences,
            bars=Stages(progress).bar,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{out} keeps the sequences that are done; run the same again to go on") from None
