"""Make the pictures of README and of the pages: a recording such as `marey demo` makes, and samples of every tier.

python docs/make_pictures.py
"""

import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np

import marey
from marey.data.synthetic import TIERS, SyntheticConfig, SyntheticGenerator
from marey.data.synthetic.recording import CALIBRATION_FILE, RecordingConfig, write_recording
from marey.data.synthetic.sheet import contact_sheet
from marey.io.images import read_image, write_image
from marey.io.video import VideoFrames
from marey.viz.overlay import overlay_frames
from marey.viz.plots import save_overview

STATIC = Path(__file__).parent / "_static"
SEED = 7
COLUMNS = 8
SIDE = 160
HEIGHT = 480
MOMENT = 60
"""Frame of the recording."""


def main() -> None:
    """Draw both pictures."""
    write_image(STATIC / "demo.jpg", demo())
    write_image(STATIC / "synthetic.jpg", samples())


def demo() -> np.ndarray:
    """One moment of two people: what the cameras saw with the estimate over it, and the estimate in space."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        config = RecordingConfig(people=2, frames=90, image_size=(480, 360), seed=11)
        write_recording(config, folder, keypoints=True)
        settings = marey.EstimateConfig(people=2)
        result = marey.estimate(folder, calibration=folder / CALIBRATION_FILE, config=settings)
        films = [VideoFrames(folder / f"{name}.mp4") for name in result.cameras.names]
        overlay = list(overlay_frames(result, films))[MOMENT]
        save_overview(folder / "overview.png", result, MOMENT, dpi=110)
        overview = without_margins(read_image(folder / "overview.png"))
    return np.concatenate([of_height(overlay, HEIGHT), of_height(overview, HEIGHT)], axis=1)


def samples() -> np.ndarray:
    """Samples of every tier, a row each."""
    rows = []
    for row, tier in enumerate(TIERS):
        generator = SyntheticGenerator(SyntheticConfig(tier=tier, image_size=(256, 256), level="medium"))
        batch = generator.sample(SEED, range(row * COLUMNS, (row + 1) * COLUMNS))
        rows.append(of_height(contact_sheet(batch, columns=COLUMNS), SIDE))
    return np.concatenate(rows)


def without_margins(picture: np.ndarray) -> np.ndarray:
    """The picture without white around it, but for a little."""
    rows, columns = (np.flatnonzero((picture < 250).any(axis)) for axis in ((1, 2), (0, 2)))
    top, left = max(rows[0] - 10, 0), max(columns[0] - 10, 0)
    return picture[top : rows[-1] + 10, left : columns[-1] + 10]


def of_height(picture: np.ndarray, height: int) -> np.ndarray:
    """The picture at a height in pixels."""
    width = round(picture.shape[1] * height / picture.shape[0])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main()
