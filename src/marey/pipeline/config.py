"""What `marey.estimate` can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from marey.core import InputError, MissingAssetError
from marey.geometry.triangulation import Method
from marey.io.units import Unit
from marey.refine.refine import Refinement

Format = Literal["trc", "csv", "npz", "bvh", "glb", "mot", "c3d", "usda", "amass", "coco", "humandata", "videopose3d"]
CameraUse = Literal["adjusted", "as-given"]

__all__ = ["DEFAULT_FORMATS", "FORMATS", "CameraUse", "EstimateConfig", "Format", "Method", "Refinement", "Unit"]

FORMATS: tuple[Format, ...] = get_args(Format)
DEFAULT_FORMATS: tuple[Format, ...] = ("trc", "csv", "npz")
"""The joints, one file each for OpenSim, spreadsheets and Python. Rotations (bvh, glb, usda, amass, mot) take a few
milliseconds a frame and person, so they are made on demand."""


@dataclass(frozen=True, kw_only=True)
class EstimateConfig:
    """Settings of the way from a recording to 3D. The defaults suit a recording of people by calibrated cameras."""

    triangulation: Method = "robust"
    """How views become points: `robust`, `weighted` by their covariances, or `dlt` weighted by their scores."""
    refine: Refinement = "smooth"
    """`none`, `smooth` (gaps filled, noise smoothed as far as the covariances warrant), `bones` (smooth, and constant
    bone lengths)."""
    people: int | None = None
    """How many people to follow. None: everyone whom two or more views see persistently, but for bystanders: those seen
    by fewer than 0.6 of the views that see the best seen person. The notes name them. With one view: everyone seen for
    0.3 s or more, and a number keeps those who are seen longest."""
    detector: str = "auto"
    """For images: `auto` (`mediapipe` if it is installed, otherwise `marey`), `marey`, `mediapipe`, or the path of an
    ONNX model. Keypoint files need none."""
    cameras: CameraUse = "adjusted"
    """`adjusted`: within the accuracy of a calibration (about 0.3 degrees, 1 cm), and only if that lowers the median
    reprojection error by a tenth or more; the notes say so. `as-given`: never."""
    formats: tuple[Format, ...] = DEFAULT_FORMATS
    """Files to write: joints as trc, csv, npz, c3d; motion with rotations as bvh, glb, usda, amass; angles as mot; for
    training and evaluation coco (keypoints), humandata (keypoints, and joints in each camera's frame), videopose3d
    (joints, and keypoints). What an estimate lacks for a format is told with a warning, and the others are written."""
    skeleton: str | None = None
    """Of the keypoint files, where their joint count does not say it; see `marey info skeletons`."""
    unit: Unit | float | None = None
    """Of the calibration's translations, where the file does not say it."""
    fps: float | None = None
    """Frames per second, where the inputs do not say it."""
    sync: str = "auto"
    """Clocks of the views. `auto`: views that are surely off by a frame or more are shifted, if they agree better then,
    and views of different frame rates are brought to one; the notes say so. `none`: never. Or offsets in seconds or
    frames, such as `cam_1=0.12,cam_2=-3f`, or the path of a synchronisation.json."""
    field_of_view: float | None = None
    """Of a single camera without calibration: degrees along the larger side of the image. None: what the image's EXIF
    says, else 55."""
    stature: float | None = None
    """Of the people before a single camera, metres: their distance is known as well as this is. None: adults of unknown
    stature."""
    weights: Path | None = None
    """Of the method's network: a checkpoint, or a folder that `marey train` wrote. None: what is shipped."""
    overlay: bool = True
    """Write a video of every view with the estimate drawn over it."""

    def __post_init__(self) -> None:
        if self.people is not None and self.people < 1:
            raise InputError(f"people: expected 1 or more, got {self.people}")
        if self.field_of_view is not None and not 0 < self.field_of_view < 180:
            raise InputError(f"field_of_view: expected degrees between 0 and 180, got {self.field_of_view}")
        if self.stature is not None and not 0.3 <= self.stature <= 2.8:
            raise InputError(f"stature: expected metres from 0.3 to 2.8, got {self.stature}")
        if self.weights is not None and not self.weights.exists():
            raise MissingAssetError(f"{self.weights}: expected a checkpoint or a folder of weights, found nothing")
        if not self.formats:
            raise InputError(f"formats: expected one or more of {', '.join(FORMATS)}, got none")
        unknown = set(self.formats) - set(FORMATS)
        if unknown:
            raise InputError(f"formats: expected some of {', '.join(FORMATS)}, got {', '.join(sorted(unknown))}")
