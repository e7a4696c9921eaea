"""Maps of the report: where in the image of each camera corners were seen, and how they missed, as SVG."""

from __future__ import annotations

import math
from html import escape

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MOST_ARROWS = 500
"""A camera; more would only be black."""
LONGEST_ARROW = 0.045
"""Of the image's longer side: how long the 90th percentile of the residuals is drawn."""
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


def residual_map(
    pixels: Array, residuals: Array, *, left_out: Array, size: tuple[int, int] | None, label: str
) -> tuple[str, int]:
    """Draw the corners of one camera with arrows from where they were projected towards where they were seen.

    Args:
        pixels: (N, 2) used corners as seen.
        residuals: (N, 2) seen minus projected.
        left_out: (K, 2) corners that were not used.
        size: of the image; None: that of what was seen.
        label: for those who do not see the drawing.

    Returns:
        SVG, and how many times longer than they are the arrows are drawn.
    """
    known = np.isfinite(pixels).all(-1) & np.isfinite(residuals).all(-1)
    pixels, residuals = pixels[known], residuals[known]
    left_out = left_out[np.isfinite(left_out).all(-1)]
    if size is None:
        reach = np.concatenate((pixels, left_out, [[2.0, 2.0]])).max(0)
        size = (math.ceil(reach[0]), math.ceil(reach[1]))
    longer = max(size)
    factor = exaggeration(residuals, longer)
    unit = longer / 400  # widths of lines look the same whatever the image's size
    pick = np.linspace(0, len(pixels) - 1, min(MOST_ARROWS, len(pixels))).round().astype(int)
    parts = [
        f'<rect class="sensor" x="-0.5" y="-0.5" width="{size[0]}" height="{size[1]}" stroke-width="{unit:.2f}"/>',
        _dots("seen", pixels, 2.4 * unit),
        _arrows(pixels[pick], factor * residuals[pick], 0.9 * unit),
        _dots("out", left_out[:MOST_ARROWS], 2.8 * unit),
    ]
    svg = (
        f'<svg class="map" viewBox="-0.5 -0.5 {size[0]} {size[1]}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
    return svg, factor


def exaggeration(residuals: Array, longer: float) -> int:
    """A round factor that makes the residuals (N, 2) visible in an image whose longer side is `longer` pixels."""
    if not len(residuals):
        return 1
    usual = float(np.quantile(np.linalg.norm(residuals, axis=-1), 0.9))
    wanted = LONGEST_ARROW * longer / max(usual, 1e-9)
    return max((factor for factor in FACTORS if factor <= wanted), default=1)


def _dots(kind: str, points: Array, width: float) -> str:
    if not len(points):
        return ""
    steps = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in points)
    return f'<path class="{kind}" d="{steps}" stroke-width="{width:.2f}"/>'


def _arrows(tails: Array, vectors: Array, width: float) -> str:
    if not len(tails):
        return ""
    steps = "".join(f"M{x:.1f} {y:.1f}l{dx:.1f} {dy:.1f}" for (x, y), (dx, dy) in zip(tails, vectors, strict=True))
    return f'<path class="arrow" d="{steps}" stroke-width="{width:.2f}"/>'
