"""Make the picture of README from a recording such as `marey demo` makes, with two people.

python docs/make_pictures.py
"""

import tempfile
import warnings
from pathlib import Path

import marey
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import CALIBRATION_FILE, write_keypoint_capture
from marey.viz.plots import save_overview

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    """Estimate a recording and draw one frame of it."""
    capture = make_keypoint_capture(KeypointCaptureConfig(people=2))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording = write_keypoint_capture(capture, folder)
        config = marey.EstimateConfig(people=2, fps=capture.fps)
        result = marey.estimate(recording, calibration=recording / CALIBRATION_FILE, config=config)
    save_overview(STATIC / "demo.png", result, dpi=110)


if __name__ == "__main__":
    main()
