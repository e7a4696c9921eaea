"""What is prepared of Human3.6M."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from marey.core import InputError
from marey.data.prepare.h36m_names import ACTIONS, SUBJECTS

Layout = Literal["official", "fetched"]


@dataclass(frozen=True, kw_only=True)
class H36MOptions:
    """What is prepared; None stands for what the published preparation of the layout does."""

    layout: Layout | None = None
    """The official download, as MeTRAbs (2020) reads it, or images extracted by h36m-fetch with Martinez's poses, as
    Learnable Triangulation does. None: what lies there."""
    train_subjects: tuple[int, ...] = (1, 5, 6, 7, 8)
    """Their numbers."""
    validation_subjects: tuple[int, ...] = ()
    """Their numbers."""
    test_subjects: tuple[int, ...] = (9, 11)
    """Their numbers."""
    actions: tuple[str, ...] = ()
    """Such as `Greeting-2`, the subject's second trial; none: all thirty."""
    correct_s9: bool | None = None
    """Whether the displaced labels of three actions of S9 are brought back by 0.2 m. None: in the official layout."""
    boxes: Literal["files", "joints", "detections"] = "files"
    """Of the official files; a fifth larger than the hull of the joints; or, in the fetched layout, of a person
    detector (`extra/NAME.json` with `extra/NAME.txt`), where it has one."""
    undistort: Literal["h36m", "opencv", "none"] = "h36m"
    """Fetched layout: by which formula of the lens straight images are written."""
    train_step: int = 5
    """Official layout: every so many frames of the training subjects are looked at."""
    test_step: int = 64
    """Official layout: every so many frames of the others are taken."""
    least_motion_mm: float = 100.0
    """Official layout: frames of training subjects are left out while every joint moved less than this since the last
    frame that was kept."""
    images: Literal["frames", "crops", "none"] = "frames"
    """Official layout: whole frames, MeTRAbs's stored crops, or labels only."""
    partial: bool = False
    """Whether crops have room for training on parts of people (MeTRAbs's `h36m_partial`)."""

    def __post_init__(self) -> None:
        chosen = [*self.train_subjects, *self.validation_subjects, *self.test_subjects]
        if not chosen or len(set(chosen)) < len(chosen) or {f"S{number}" for number in chosen} - set(SUBJECTS):
            raise InputError(f"subjects: expected each of 1, 5, 6, 7, 8, 9, 11 once at most, got {chosen}")
        if strange := [action for action in self.actions if action not in ACTIONS]:
            raise InputError(f"actions: no {', '.join(strange)}; there are {', '.join(ACTIONS)}")
        if self.partial and self.images != "crops":
            raise InputError("partial: is about crops; pass --images crops with it")
        if min(self.train_step, self.test_step) < 1 or not self.least_motion_mm >= 0:
            raise InputError("train_step and test_step: expected 1 or more, and least_motion_mm 0 or more")

    @property
    def subjects(self) -> tuple[str, ...]:
        """All that are prepared, in the official order."""
        chosen = {*self.train_subjects, *self.validation_subjects, *self.test_subjects}
        return tuple(subject for subject in SUBJECTS if int(subject[1:]) in chosen)

    @property
    def chosen_actions(self) -> tuple[str, ...]:
        """All that are prepared, in the official order."""
        return tuple(action for action in ACTIONS if not self.actions or action in self.actions)

    def split(self, subject: str) -> str:
        """Where a subject belongs."""
        number = int(subject[1:])
        if number in self.train_subjects:
            return "train"
        return "validation" if number in self.validation_subjects else "test"

    def corrects(self, layout: Layout) -> bool:
        """Whether the labels of S9 are put right."""
        return layout == "official" if self.correct_s9 is None else self.correct_s9

    def version(self, layout: Layout) -> str:
        """Of the labels: what decides about their numbers."""
        words = [layout, *(() if self.corrects(layout) else ("S9 as published",))]
        if layout == "official":
            words += [f"steps {self.train_step}/{self.test_step}", f"{self.least_motion_mm:g} mm", self.images]
            words += ["partial"] if self.partial and self.images == "crops" else []
        else:
            words += [{"none": "distorted"}.get(self.undistort, f"undistorted ({self.undistort})")]
        return ", ".join([*words, *(() if self.boxes == "files" else (f"boxes of {self.boxes}",))])
