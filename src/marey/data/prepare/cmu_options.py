"""What is prepared of CMU Panoptic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from marey.core import InputError
from marey.data.prepare.cmu_sequences import TRAIN_SEQUENCES, VALIDATION_SEQUENCES, camera_id


@dataclass(frozen=True, kw_only=True)
class CMUOptions:
    """What is prepared; the defaults are those of Learnable Triangulation's fork for CMU Panoptic."""

    train_sequences: tuple[str, ...] = TRAIN_SEQUENCES
    """Names of their folders."""
    validation_sequences: tuple[str, ...] = VALIDATION_SEQUENCES
    """Names of their folders."""
    test_sequences: tuple[str, ...] = ()
    """Names of their folders."""
    frames: Literal["listed", "all"] = "listed"
    """Those of the fork's list, where it lists the sequence, or all with poses."""
    frames_file: str = ""
    """YAML file of ranges in the form of the fork's `cmu_frames.yaml`, which takes the place of its list."""
    step: int = 1
    """Every so many of them."""
    cameras: tuple[int, ...] = ()
    """Numbers of high-definition cameras, 24 is `00_24`; none: all that the sequences have."""
    ignored_cameras: tuple[int, ...] = ()
    least_confidence: float = 0.0
    """A joint is known if its confidence is above this."""
    boxes: Literal["joints", "detections"] = "joints"
    """A fifth larger than the hull of the joints, or of a person detector (`SEQUENCE/detections/00_24.json`), where one
    lies on the person."""

    def __post_init__(self) -> None:
        chosen = self.sequences
        if not chosen or len(set(chosen)) < len(chosen):
            raise InputError(f"sequences: expected each once, got {', '.join(chosen) or 'none'}")
        if self.frames_file and self.frames == "all":
            raise InputError("frames_file: lists frames, and --frames all takes all; pass one of them")
        if self.step < 1:
            raise InputError(f"step: expected 1 or more, got {self.step}")

    @property
    def sequences(self) -> tuple[str, ...]:
        """All that are prepared."""
        return (*self.train_sequences, *self.validation_sequences, *self.test_sequences)

    def split(self, sequence: str) -> str:
        """Where a sequence belongs."""
        if sequence in self.train_sequences:
            return "train"
        return "validation" if sequence in self.validation_sequences else "test"

    def wants(self, camera: str) -> bool:
        """Whether a camera is used."""
        number = camera_id(camera)
        return (not self.cameras or number in self.cameras) and number not in self.ignored_cameras

    @property
    def version(self) -> str:
        """Of the labels: what decides about their numbers."""
        used = f"cameras {', '.join(map(str, self.cameras))}" if self.cameras else "all cameras"
        left = f" without {', '.join(map(str, self.ignored_cameras))}" if self.ignored_cameras else ""
        frames = f"frames of {PurePath(self.frames_file).name}" if self.frames_file else f"{self.frames} frames"
        words = [f"{frames}, step {self.step}", used + left, f"boxes of {self.boxes}"]
        return "; ".join([*words, *((f"confidence {self.least_confidence:g}",) if self.least_confidence else ())])
