"""Drawings of the report: cameras and boards from above and from the side, and who shares boards with whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
import torch

from marey.calibrate.assessment import Assessment
from marey.core import Cameras

Array = npt.NDArray[np.float64]

WIDTH, HEIGHT, BORDER = 560.0, 400.0, 56.0
"""Of a drawing, in its own units; what is drawn lies within the border."""
MOST_BOARDS = 80
MOST_POINTS = 600
LONGEST_NAME = 16
SNAP = 0.94
"""Cosine of the angle to a world axis within which the guessed up direction is taken to be that axis."""
NEAREST = 74.0
"""Least distance between two cameras in the graph; places that are nearer go onto a circle."""


def scene_axes(cameras: Cameras) -> Array:
    """Rows: two horizontal axes and up, (3, 3), guessed: on average cameras are held upright.

    Returns:
        Axes of the world itself where the guess lies near one.
    """
    rotation = cameras.extrinsics[0].double().numpy()
    mean = -rotation[:, 1].mean(0)
    length = float(np.linalg.norm(mean))
    up = mean / length if length > 0.3 else np.array([0.0, 0.0, 1.0])
    axis = int(np.abs(up).argmax())
    if abs(up[axis]) > SNAP:
        up = np.sign(up[axis]) * np.eye(3)[axis]
    start = np.eye(3)[int(np.abs(up).argmin())]
    first = start - up * (start @ up)
    first /= np.linalg.norm(first)
    return np.stack((first, np.cross(up, first), up))


@dataclass(frozen=True)
class _Frame:
    """From metres in a plane of the world to the drawing: equal scales, upwards is up."""

    scale: float
    middle: Array

    @classmethod
    def around(cls, points: Array) -> _Frame:
        known = points[np.isfinite(points).all(-1)]
        low, high = known.min(0), known.max(0)
        extent = np.maximum(high - low, 0.05)
        scale = float((np.array([WIDTH - 2 * BORDER, HEIGHT - 2 * BORDER]) / extent).min())
        return cls(scale, (low + high) / 2)

    def __call__(self, points: Array) -> Array:
        moved: Array = (points - self.middle) * [self.scale, -self.scale] + [WIDTH / 2, HEIGHT / 2]
        return moved


def plan(assessment: Assessment, cameras: Cameras, *, outlines: Array, points: Array, side: bool, label: str) -> str:
    """Draw the cameras and what they looked at as SVG.

    Args:
        assessment: names and fields of view.
        cameras: (V,) full.
        outlines: (M, 4, 3) corners of boards in the world, metres.
        points: (N, 3) joints of people.
        side: from the side instead of from above.
        label: what the drawing shows, for those who do not see it.
    """
    axes = scene_axes(cameras)[[0, 2] if side else [0, 1]]
    centers = cameras.centers.double().numpy()
    wedges = _wedges(assessment, cameras, centers) @ axes.T
    boards = _thinned(outlines, MOST_BOARDS) @ axes.T
    cloud = _thinned(points, MOST_POINTS) @ axes.T
    frame = _Frame.around(np.concatenate([part.reshape(-1, 2) for part in (wedges, boards, cloud)]))
    parts = [_polygons("board", frame(boards)), _dots("joint", frame(cloud)), _polygons("wedge", frame(wedges))]
    places = frame(centers @ axes.T)
    parts += [f'<circle class="place" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in places]
    parts += _labels([view.name for view in assessment.views], places, frame(wedges).mean(1))
    return _svg("".join(parts) + _scale_bar(frame.scale), label)


def pair_graph(assessment: Assessment, cameras: Cameras) -> str:
    """Draw who shares boards (or joints) with whom: cameras where they stand, seen from above, as SVG."""
    places = _spread_out(cameras.centers.double().numpy() @ scene_axes(cameras)[:2].T)
    most = max((pair.pictures for pair in assessment.pairs), default=0) or 1
    many = len(places) > 5
    lines, labels = [], []
    for pair in assessment.pairs:
        (ax, ay), (bx, by) = places[pair.views[0]], places[pair.views[1]]
        kind = "link" if pair.pictures else "link missing"
        width = 1.2 + 6.8 * math.sqrt(pair.pictures / most)
        lines.append(
            f'<line class="{kind}" x1="{ax:.1f}" y1="{ay:.1f}" x2="{bx:.1f}" y2="{by:.1f}" '
            f'stroke-width="{width if pair.pictures else 1.4:.1f}"/>'
        )
        at = 0.34 if many else 0.5  # in the middle of many cameras all numbers would lie on each other
        x, y = ax + at * (bx - ax), ay + at * (by - ay)
        if pair.pictures or not many:
            labels.append(f'<text class="count" x="{x:.1f}" y="{y + 4:.1f}">{pair.pictures or "none"}</text>')
    nodes = [f'<circle class="node" cx="{x:.1f}" cy="{y:.1f}" r="9"/>' for x, y in places]
    names = _labels([view.name for view in assessment.views], places, np.full_like(places, [WIDTH / 2, HEIGHT / 2]))
    what = "boards" if assessment.evidence == "boards" else "joints"
    text = f"How many {what} each pair of cameras shares; the table beside it holds the same numbers"
    return _svg("".join([*lines, *nodes, *labels, *names]), text)


def _wedges(assessment: Assessment, cameras: Cameras, centers: Array) -> Array:
    """(V, 3, 3) a triangle for each camera, as wide as its field of view, its tip in the optical centre."""
    rotation = cameras.extrinsics[0].double().numpy()
    extent = float(np.ptp(centers, axis=0).max()) if len(centers) > 1 else 0.0
    length = 0.13 * extent if extent > 0.05 else 0.3
    angles = np.array([view.field_of_view[0] for view in assessment.views])
    half = np.tan(np.radians(np.clip(np.nan_to_num(angles, nan=50.0), 5, 140) / 2)).clip(max=1.5)[:, None]
    ahead, across = rotation[:, 2], rotation[:, 0] * half
    return np.stack((centers, centers + length * (ahead + across), centers + length * (ahead - across)), axis=1)


def _thinned(rows: Array, most: int) -> Array:
    """At most so many rows, evenly spread, of those that are known."""
    known = rows[np.isfinite(rows).all(axis=tuple(range(1, rows.ndim)))]
    return known[np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int)] if len(known) else known


def _spread_out(places: Array) -> Array:
    """Places (V, 2) for the graph: where the cameras stand, or, if some stand too near each other, on a circle."""
    if len(places) == 1:
        return np.array([[WIDTH / 2, HEIGHT / 2]])
    shown = _Frame.around(places)(places)
    gaps = np.linalg.norm(shown[:, None] - shown, axis=-1)
    if gaps[~np.eye(len(places), dtype=bool)].min() >= NEAREST:
        return shown
    around = np.arctan2(*(shown - shown.mean(0)).T[::-1])
    turn = np.empty(len(places))
    turn[np.argsort(around, kind="stable")] = np.arange(len(places)) * 2 * np.pi / len(places)
    radius = np.array([WIDTH / 2 - BORDER - 40, HEIGHT / 2 - BORDER])
    circle: Array = radius * np.stack((np.cos(turn), np.sin(turn)), axis=-1) + [WIDTH / 2, HEIGHT / 2]
    return circle


def short_name(name: str) -> str:
    """A name that fits: its middle goes if it is long."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}\u2026{name[1 - half :]}"


def _labels(names: Sequence[str], places: Array, inward: Array) -> list[str]:
    """Names beside places, on the side that `inward` (V, 2) is not on, kept within the drawing and off each other."""
    labels: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for name, (x, y), (toward_x, toward_y) in zip(names, places, inward, strict=True):
        away = np.array([x - toward_x, y - toward_y])
        away = away / max(float(np.linalg.norm(away)), 1e-9)
        shown = short_name(name)
        half = 3.6 * len(shown)
        at_x = min(max(x + (14 + half) * away[0], half + 4), WIDTH - half - 4)
        at_y = min(max(y + 22 * away[1] + 4, 14), HEIGHT - 6)
        step = 14 if away[1] >= 0 else -14
        while any(abs(at_x - x_) < half + half_ and abs(at_y - y_) < 13 for x_, y_, half_ in taken):
            at_y += step
        taken.append((at_x, at_y, half))
        labels.append(
            f'<text class="name" x="{at_x:.1f}" y="{at_y:.1f}">{escape(shown)}<title>{escape(name)}</title></text>'
        )
    return labels


def _polygons(kind: str, shapes: Array) -> str:
    steps = ("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shape) + "Z" for shape in shapes)
    return f'<path class="{kind}" d="{"".join(steps)}"/>' if len(shapes) else ""


def _dots(kind: str, points: Array) -> str:
    steps = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return f'<path class="{kind}" d="{steps}"/>' if len(points) else ""


def _scale_bar(scale: float) -> str:
    """A bar of a round length, about a fifth of the drawing."""
    wanted = WIDTH / 5 / scale
    power = 10.0 ** math.floor(math.log10(wanted))
    length = next(power * step for step in (5, 2, 1) if power * step <= wanted)
    text = f"{length:g} m" if length >= 1 else f"{100 * length:g} cm"
    right, low = 14 + length * scale, HEIGHT - 12
    return (
        f'<path class="bar" d="M14 {low - 5:.0f}v5H{right:.1f}v-5"/>'
        f'<text class="unit" x="{(14 + right) / 2:.1f}" y="{low - 8:.0f}">{text}</text>'
    )


def _svg(content: str, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(label)}">{content}</svg>'


def board_outlines(calibration_corners: torch.Tensor, grid: tuple[int, int]) -> Array:
    """The four outer corners (M, 4, 3) of boards given by all corners (M, C, 3) of a grid, row by row."""
    columns, rows = grid
    ends = [0, columns - 1, columns * rows - 1, columns * (rows - 1)]
    corners: Array = calibration_corners[:, ends].double().numpy()
    return corners
