"""`marey track`: people followed through the films of 3DPW, as the challenge wants them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from marey.cli.evaluate import comma_separated
from marey.methods.metrabs.video import FIELD_OF_VIEW, Smoothing, VideoOptions
from marey.pipeline.films import FilmConfig, track_pw3d

_DEFAULTS = FilmConfig()


@dataclass(frozen=True, kw_only=True)
class Options:
    """Follow the people in the films of 3DPW with MeTRAbs and write jointPositions, a pickle for each film.

    Films whose file is there are left out. `marey evaluate --predictions OUT/gtassoc/test --protocol 3dpw-metrabs
    --labels MAREY_DATA/marey/3dpw/protocols/test_24.npz` scores the files. Other films: marey estimate FILM --method
    metrabs.
    """

    root: Positional[Path]
    """The folder of the download, with imageFiles and sequenceFiles."""
    out: Path
    """Folder for gtassoc/SPLIT/FILM.pkl or nogtassoc/SPLIT/FILM.pkl."""
    gt_assoc: bool = False
    """Tell by the labels of every image who is who, and not by those of the first one and by motion."""
    real_intrinsics: bool = False
    """Use the camera's intrinsics."""
    fov: float = FIELD_OF_VIEW
    """Otherwise, its field of view along the larger side of the image, degrees."""
    weights: Path | None = None
    """Of a network with SMPL's joints: a published checkpoint or a folder of `marey train`; if not given, what is
    shipped."""
    crops: int = _DEFAULTS.crops
    """Views of each person that are averaged; 1: as it is."""
    antialias: int = _DEFAULTS.antialias_factor
    """Crops are rendered so many times as large and averaged."""
    detector: str = _DEFAULTS.detector
    """marey, mediapipe, or PERSON.onnx."""
    detector_threshold: float | None = _DEFAULTS.detector_threshold
    """Of a detection's score."""
    detector_flip_aug: bool = False
    """Search the mirrored images too."""
    smoothing: Smoothing = "none"
    """causal looks at two frames before, acausal at two after too."""
    splits: str = "train,validation,test"
    """Separated by commas."""
    sequences: str | None = None
    """Films by name, separated by commas; all if not given."""


def run(options: Options) -> None:
    """Track, and say what lies where."""
    config = FilmConfig(
        weights=options.weights,
        detector=options.detector,
        detector_threshold=options.detector_threshold,
        detector_flip_aug=options.detector_flip_aug,
        crops=options.crops,
        antialias_factor=options.antialias,
        video=VideoOptions(
            association="labels" if options.gt_assoc else "first_frame",
            real_intrinsics=options.real_intrinsics,
            field_of_view=options.fov,
            smoothing=options.smoothing,
        ),
    )
    files = track_pw3d(
        options.root,
        options.out,
        config,
        splits=comma_separated(options.splits),
        sequences=comma_separated(options.sequences),
        progress=True,
    )
    print(f"{len(files)} films lie in {options.out / files[0].parent.parent.name}")
