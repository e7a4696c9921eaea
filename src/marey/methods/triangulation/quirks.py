"""What the published programs do and we do not by default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """Behaviour of the published code that changes numbers; the defaults are ours."""

    half_pixels: bool = True
    """Pixels of maps and images correspond by their centres. Published: indices are multiplied by the ratio of the
    sizes, which moves everything by one and a half pixels of the image."""
    stretched_sampling: bool = False
    """Volumes sample maps at `u (w - 1) / h`, `v (h - 1) / w`: wrong by up to a pixel in square maps, altogether in
    others."""
    unseen_views_vote: bool = False
    """A view that does not see a voxel takes part in the softmax or the maximum over views with the value zero."""
    whole_pixel_maxima: bool = False
    """Keypoints for RANSAC are the pixels of the maxima. Ours are means around them."""
    random_pairs: int | None = None
    """RANSAC tries so many pairs of views, drawn at random. None: all pairs."""

    @classmethod
    def published(cls) -> Quirks:
        """The behaviour that the official checkpoints were trained and evaluated with."""
        return cls(
            half_pixels=False,
            stretched_sampling=True,
            unseen_views_vote=True,
            whole_pixel_maxima=True,
            random_pairs=10,
        )
