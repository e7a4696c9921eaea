"""What is shown of each person in several views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from marey.core import InputError
from marey.data.view_crops import ViewCropRule


@dataclass(frozen=True, kw_only=True)
class MultiViewOptions:
    """What is shown of each person; the names are those of the published configuration."""

    image_shape: tuple[int, int] = (384, 384)
    """Height and width of the crops."""
    scale_bbox: float = 1.0
    """Times the (square) box."""
    square_bbox: bool = True
    """Whether the shorter side of a box is widened to the longer first."""
    crop: bool = True
    """Whether people are cut out. False: whole images are resized; no boxes are needed then."""
    undistort: bool = True
    """Whether the lens is taken out of pictures that have one. False: they stay bent, and projections ignore it."""
    lens_formula: Literal["opencv", "h36m"] | None = None
    """None: Human3.6M's own for labels of that name, else OpenCV's."""
    reduced_decoding: bool = False
    """Whether JPEG images of which a crop shows at least 2, 4 or 8 times as many pixels as it has are decoded so many
    times smaller: much faster for small crops of large images, and a little softer."""
    published_pixels: bool = False
    """Whether the cameras of crops are scaled as published, without the half pixel between corner and centre; official
    checkpoints were trained so."""
    cameras: tuple[str, ...] = ()
    """Names of those that are used, or numbers of CMU Panoptic's (`24` is `00_24`); none: all."""
    ignore_cameras: tuple[str, ...] = ()
    """Likewise; those that are not."""
    retain_every_n: int = 1
    """Of the moments for validation and test, every so many."""
    with_damaged_actions: bool = True
    """Whether the three scenes of Human3.6M's S9 with displaced labels stay among those for validation and test."""
    randomize_n_views: bool = False
    """Whether `draw_views` draws how many views a batch has, and which. Otherwise it takes the first ones."""
    min_n_views: int | None = None
    """Of a random number of views; None: 1."""
    max_n_views: int | None = None
    """Of a random number of views; None: all that there are."""
    skeleton: str | None = None
    """Joints of the samples, matched by name; None: those of the labels."""

    def __post_init__(self) -> None:
        least, most = self.min_n_views or 1, self.max_n_views
        if least < 1 or (most is not None and most < least):
            raise InputError(f"views: expected 1 <= min_n_views <= max_n_views, got {self.min_n_views} and {most}")
        if self.retain_every_n < 1:
            raise InputError(f"retain_every_n: expected 1 or more, got {self.retain_every_n}")

    @property
    def crop_rule(self) -> ViewCropRule:
        """How views are cut."""
        height, width = self.image_shape
        return ViewCropRule(
            size=(width, height),
            square=self.square_bbox and self.crop,
            scale=self.scale_bbox if self.crop else 1.0,
            straighten=self.undistort,
            half_pixels=not self.published_pixels,
            reduce=self.reduced_decoding,
        )
