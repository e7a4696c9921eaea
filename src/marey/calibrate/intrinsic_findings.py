"""What is good and what is wrong about the intrinsics of a view, with numbers and advice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from marey.calibrate.calibration import Finding
from marey.core import Cameras
from marey.geometry.projection import invertible_share

CELLS = 8
"""Along each side of the image, for the share that corners cover."""
FULL_COVERAGE, LITTLE_COVERAGE = 0.5, 0.25
REACH = 0.7
"""Of the distance from the middle of the image to its corner: corners should get that far."""
RMS = (0.5, 1.5)
"""Pixels: up to the first is good, above the second a problem."""
FOCAL = (0.005, 0.02)
"""Relative standard deviations of the focal length: the same."""
TILT = 15.0
"""Degrees of the steepest board against the image plane: below, focal length and distance cannot be told apart."""
FEW_BOARDS = 10
ASPECT = 0.02
OFF_CENTER = 0.1
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewFacts:
    """What the findings about one view are drawn from."""

    camera: Cameras
    """()"""
    model: str
    deviation: Tensor
    """(K,) of fx fy cx cy and the lens."""
    pixels: Tensor
    """(M, C, 2) of the corners used; NaN = not used."""
    rotation: Tensor
    """(M, 3, 3) board to camera."""
    rms: float
    held_out: dict[str, float]
    covers: float
    """Share of the image in which the lens has an inverse."""
    centred: bool
    """The principal point was held in the middle."""


def view_findings(name: str, facts: ViewFacts) -> Iterator[Finding]:
    """Judge the intrinsics of the view `name`."""
    yield _fit(name, facts)
    yield _lens(name, facts)
    yield from _folds(name, facts.covers)
    yield from _coverage(name, facts)
    yield from _focal(name, facts)
    yield from _center(name, facts)


def lens_findings(cameras: Cameras) -> tuple[Finding, ...]:
    """Judge the lenses of cameras (V,) from elsewhere: where in the image their distortion cannot be undone."""
    names = cameras.names or tuple(f"cam_{view}" for view in range(len(cameras.intrinsics)))
    shares = invertible_share(cameras).tolist()
    return tuple(finding for name, share in zip(names, shares, strict=True) for finding in _folds(name, share))


def coverage(pixels: Tensor, size: Tensor) -> tuple[float, float, tuple[str, ...]]:
    """How much of an image of `size` (2,) the corners (..., 2) cover.

    Returns:
        Share of 8 x 8 cells with a corner; the farthest corner's distance from the middle relative to the image's
        corner; which ninths of the image hold none.
    """
    points = pixels.reshape(-1, 2)
    points = points[points.isfinite().all(-1)]
    size = size.to(points.dtype)
    inside = ((points + 0.5) / size).clamp(0, 1 - 1e-9)
    cells = (inside * CELLS).long()
    share = len(torch.unique(cells[:, 0] * CELLS + cells[:, 1])) / CELLS**2
    middle = (size - 1) / 2
    reach = float((points - middle).square().sum(-1).max().sqrt() / (size / 2).square().sum().sqrt())
    ninths = (inside * 3).long()
    filled = set(map(tuple, ninths.tolist()))
    empty = tuple(
        f"{_ROWS[row]} {_COLUMNS[column]}" for row in range(3) for column in range(3) if (column, row) not in filled
    )
    return share, reach, empty


def _fit(name: str, facts: ViewFacts) -> Finding:
    boards = int(facts.pixels.isfinite().any(-1).any(-1).sum())
    corners = int(facts.pixels.isfinite().all(-1).sum())
    text = f"View {name}: {corners} corners of {boards} boards fit with {facts.rms:.2f} px root mean square."
    if facts.rms > RMS[1]:
        return Finding(
            severity="problem",
            text=text,
            advice="Is the board flat and its square size right? Hold it still, with more light and less blur.",
        )
    if facts.rms > RMS[0] or boards < FEW_BOARDS:
        few = f"{boards} boards are few; 15 or more are better. " if boards < FEW_BOARDS else ""
        return Finding(severity="notice", text=text, advice=f"{few}Hold the board still while it is seen.")
    return Finding(severity="good", text=text)


def _lens(name: str, facts: ViewFacts) -> Finding:
    values = ", ".join(f"{model} {error:.3f}" for model, error in facts.held_out.items() if error < float("inf"))
    text = f"View {name}: the lens is described by the model '{facts.model}'."
    if not values:
        return Finding(severity="notice", text=text, advice="Too few boards to judge between models of the lens.")
    return Finding(severity="good", text=f"{text} Errors on boards held out, px: {values}.")


def _folds(name: str, covers: float) -> Iterator[Finding]:
    if covers < 1:
        yield Finding(
            severity="problem",
            text=(
                f"View {name}: the distortion has no inverse in {100 * (1 - covers):.0f} % of the image: the "
                "polynomial folds, and points there cannot be undistorted."
            ),
            advice="Take boards near the borders of the image, or choose a simpler model of the lens or 'fisheye'.",
        )


def _coverage(name: str, facts: ViewFacts) -> Iterator[Finding]:
    share, reach, empty = coverage(facts.pixels, facts.camera.image_size)
    missing = f"; nothing in the {', '.join(empty)}" if empty else ""
    text = (
        f"View {name}: corners in {100 * share:.0f} % of the image, out to {100 * reach:.0f} % of the way to its "
        f"corners{missing}."
    )
    if share >= FULL_COVERAGE and reach >= REACH:
        yield Finding(severity="good", text=text)
    else:
        yield Finding(
            severity="problem" if share < LITTLE_COVERAGE else "notice",
            text=text,
            advice="Show the board there too: the lens is a guess where no corner was seen.",
        )


def _focal(name: str, facts: ViewFacts) -> Iterator[Finding]:
    used = facts.pixels.isfinite().all(-1).any(-1)
    tilts = facts.rotation[used][:, 2, 2].abs().clamp(max=1).arccos().rad2deg()
    focal = float(facts.camera.intrinsics[0, 0])
    deviation = float(facts.deviation[0]) / focal
    text = (
        f"View {name}: focal length {focal:.1f} px, known to {100 * deviation:.2f} %; boards tilted up to "
        f"{float(tilts.max()):.0f} degrees."
    )
    flat = float(tilts.max()) < TILT
    if flat or not deviation <= FOCAL[1]:
        yield Finding(
            severity="problem",
            text=text,
            advice="Focal length and distance cannot be told apart: tilt the board by 30 to 45 degrees, both ways.",
        )
    elif deviation > FOCAL[0]:
        yield Finding(severity="notice", text=text, advice="Tilt the board by 30 to 45 degrees in more pictures.")
    else:
        yield Finding(severity="good", text=text)


def _center(name: str, facts: ViewFacts) -> Iterator[Finding]:
    K, size = facts.camera.intrinsics, facts.camera.image_size.to(facts.camera.intrinsics)
    if facts.centred:
        yield Finding(
            severity="notice",
            text=f"View {name}: the boards do not tell the principal point; it was held in the middle of the image.",
            advice="Show the board in all parts of the image, tilted both ways.",
        )
        return
    off = (K[:2, 2] - (size - 1) / 2).abs() / size.max()
    if float(off.max()) > OFF_CENTER:
        yield Finding(
            severity="notice",
            text=(
                f"View {name}: the principal point ({float(K[0, 2]):.0f}, {float(K[1, 2]):.0f}) is far from the middle "
                f"of the image of {float(size[0]):.0f} x {float(size[1]):.0f}."
            ),
            advice="Unless the image was cropped, the boards are too few or too alike.",
        )
    aspect = float(K[1, 1] / K[0, 0])
    if abs(aspect - 1) > ASPECT:
        yield Finding(
            severity="notice",
            text=f"View {name}: pixels are {aspect:.3f} times as wide as high.",
            advice="Unless the video is anamorphic, the boards are too few, or the board's squares are not square.",
        )
