"""The overlay video: every view with its keypoints and the estimate projected into it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from marey.core import CalibrationError, Estimate, FrameSource, Image, InputError, ShapeError
from marey.geometry.projection import project_with_jacobian
from marey.geometry.small import eigh_2x2
from marey.viz.mosaic import Mosaic, Tile, lay_out
from marey.viz.style import SIGMAS_90_PLANE, person_color, side_of
from marey.viz.summary import KEPT_WEIGHT

SIZE_LIMIT = (1600, 900)
"""Width and height of the video at most, pixels."""
CHUNK = 256
"""Frames that are projected at a time."""

_BACKGROUND = (24, 29, 36)
_PAPER = (38, 45, 55)
_INK = (235, 240, 245)
_REJECTED = (255, 90, 70)
_SUBPIXEL_BITS = 4
_DEFAULT_FPS = 30.0
_LARGEST = 4000.0
"""Pixels outside of a tile beyond which nothing is drawn; OpenCV's coordinates overflow far out."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """An estimate as seen by V views in T frames, in pixels of the original images."""

    points: Array
    """(V, T, P, J, 2), NaN = unknown or behind the camera."""
    axes: Array
    """(V, T, P, J, 2) semi-axes of the ellipse that holds 90 % of the uncertainty."""
    angle: Array
    """(V, T, P, J) of its first axis, degrees, clockwise as seen."""
    keypoints: Array | None
    """(V, T, P, J2, 2)"""
    kept: Array | None
    """(V, T, P, J) boolean: the keypoint counted."""
    filled: Array
    """(T, P, J) boolean."""


def write_overlay_video(
    path: str | os.PathLike[str],
    estimate: Estimate,
    sources: Sequence[FrameSource | None] = (),
    *,
    size_limit: tuple[int, int] = SIZE_LIMIT,
    progress: bool = False,
) -> None:
    """Write a video of all views: keypoints as dots (crosses where rejected), the estimate as lines and ellipses.

    Frames are decoded, drawn and encoded one by one, so memory does not grow with the length.

    Args:
        path: The file, MP4.
        estimate: With cameras; `frames` says which images of the sources are drawn on.
        sources: Of the V views; None or nothing: a plain background of the camera's size.
        size_limit: Width and height that the video may have.
        progress: Show a bar.

    Raises:
        CalibrationError: the estimate has no cameras with extrinsics.
        ShapeError: there is not one source for each view.
        InputError: there is no frame, a view's size is unknown, or the file cannot be written.
    """
    from marey.io.video import write_video

    frames: Iterable[Image] = overlay_frames(estimate, sources, size_limit=size_limit)
    if progress:
        from tqdm import tqdm

        frames = tqdm(frames, total=estimate.joints.batch_shape[0], desc="overlay", unit="frame", leave=False)
    write_video(path, frames, fps=estimate.fps or _DEFAULT_FPS)


def overlay_frames(
    estimate: Estimate, sources: Sequence[FrameSource | None] = (), *, size_limit: tuple[int, int] = SIZE_LIMIT
) -> Iterator[Image]:
    """Yield the frames of the overlay video, (height, width, 3) red green blue; see `write_overlay_video`."""
    if estimate.cameras is None:
        raise CalibrationError("an overlay needs the cameras of the estimate; it has none")
    views = estimate.cameras.batch_shape[0]
    sources = tuple(sources) or (None,) * views
    if len(sources) != views:
        raise ShapeError(f"sources: expected one for each of the {views} views (None: no images), got {len(sources)}")
    mosaic = lay_out([_size(estimate, view, source) for view, source in enumerate(sources)], limit=size_limit)
    return _draw_all(estimate, sources, mosaic)


def _draw_all(estimate: Estimate, sources: Sequence[FrameSource | None], mosaic: Mosaic) -> Iterator[Image]:
    numbers = estimate.frames or tuple(range(estimate.joints.batch_shape[0]))
    images = [_images(source, numbers) for source in sources]
    assert estimate.cameras is not None
    names = estimate.cameras.names or tuple(f"view {view + 1}" for view in range(len(sources)))
    for start in range(0, len(numbers), CHUNK):
        projection = project_estimate(estimate, slice(start, start + CHUNK))
        for offset, number in enumerate(numbers[start : start + CHUNK]):
            canvas = np.full((mosaic.height, mosaic.width, 3), _BACKGROUND, np.uint8)
            for view, tile in enumerate(mosaic.tiles):
                part = canvas[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
                _paste(part, next(images[view]))
                _draw_view(part, tile, estimate, projection, view, offset)
                _label(part, f"{names[view]}  frame {number}")
            yield canvas


def project_estimate(estimate: Estimate, frames: slice) -> Projection:
    """Project a stretch of frames into every view, with the ellipses of the covariance: `J C J^T`."""
    assert estimate.cameras is not None
    joints = estimate.joints[frames]
    views = estimate.cameras.batch_shape[0]
    points, jacobian = project_with_jacobian(joints.positions.expand(views, *joints.positions.shape), estimate.cameras)
    spread = jacobian @ joints.covariance @ jacobian.mT
    known = spread.isfinite().all(-1).all(-1)
    values, vectors = eigh_2x2(torch.where(known[..., None, None], spread, 0.0))
    axes = torch.where(known[..., None], SIGMAS_90_PLANE * values.clamp_min(0.0).sqrt(), torch.nan)
    angle = torch.rad2deg(torch.atan2(vectors[..., 1, 0], vectors[..., 0, 0]))
    evidence, diagnostics = estimate.keypoints, estimate.diagnostics
    return Projection(
        points=_numpy(points),
        axes=_numpy(axes),
        angle=_numpy(angle),
        keypoints=None if evidence is None else _numpy(evidence.positions[:, frames]),
        kept=None if diagnostics is None else _numpy(diagnostics.weights[:, frames] >= KEPT_WEIGHT),
        filled=_numpy(joints.filled).astype(bool),
    )


def _draw_view(image: Image, tile: Tile, estimate: Estimate, projection: Projection, view: int, frame: int) -> None:
    """Draw everybody into one tile."""
    points = (projection.points[view, frame] + 0.5) * tile.scale - 0.5
    axes = projection.axes[view, frame] * tile.scale
    points[~(np.abs(points) < _LARGEST).all(-1)] = np.nan
    skeleton = estimate.joints.skeleton
    for person, placed in enumerate(points):
        color = person_color(person)
        colors = [_lighter(color) if side_of(joint) == "left" else color for joint in skeleton.joints]
        hollow = projection.filled[frame, person]
        _draw_links(image, placed, skeleton.links, colors)
        _draw_ellipses(image, placed, axes[person], projection.angle[view, frame, person], colors)
        _draw_joints(image, placed, hollow, colors)
    if projection.keypoints is not None:
        keypoints = (projection.keypoints[view, frame] + 0.5) * tile.scale - 0.5
        kept = None if projection.kept is None else projection.kept[view, frame]
        if kept is not None and kept.shape != keypoints.shape[:-1]:
            kept = None  # the estimate has other joints than its evidence
        _draw_keypoints(image, keypoints, kept)


def _draw_links(
    image: Image, points: Array, links: Sequence[tuple[int, int]], colors: Sequence[tuple[int, int, int]]
) -> None:
    import cv2

    for start, end in links:
        ends = points[[start, end]]
        if np.isfinite(ends).all():
            color = colors[start] if colors[start] == colors[end] else max(colors[start], colors[end], key=sum)
            cv2.line(image, _fixed(ends[0]), _fixed(ends[1]), color, 2, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_ellipses(
    image: Image, points: Array, axes: Array, angles: Array, colors: Sequence[tuple[int, int, int]]
) -> None:
    import cv2

    limit = 4 * max(image.shape)
    for point, semi, angle, color in zip(points, axes, angles, colors, strict=True):
        if np.isfinite(point).all() and np.isfinite(semi).all():
            size = _fixed(np.clip(semi, 1.0, limit))
            cv2.ellipse(image, _fixed(point), size, float(angle), 0.0, 360.0, color, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_joints(image: Image, points: Array, hollow: Array, colors: Sequence[tuple[int, int, int]]) -> None:
    import cv2

    radius = 3 << _SUBPIXEL_BITS
    for point, empty, color in zip(points, hollow, colors, strict=True):
        if np.isfinite(point).all():
            inside = _PAPER if empty else color
            cv2.circle(image, _fixed(point), radius, inside, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
            if empty:
                cv2.circle(image, _fixed(point), radius, color, 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_keypoints(image: Image, keypoints: Array, kept: Array | None) -> None:
    """Dots where they counted, crosses where they were rejected."""
    import cv2

    counted = np.ones(keypoints.shape[:-1], bool) if kept is None else kept
    inside = (np.abs(keypoints) < _LARGEST).all(-1)
    for point in keypoints[inside & counted]:
        cv2.circle(image, _fixed(point), 24, _INK, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)
    for x, y in keypoints[inside & ~counted].round().astype(int).tolist():
        cv2.drawMarker(image, (x, y), _REJECTED, cv2.MARKER_TILTED_CROSS, 7, 1, cv2.LINE_AA)


def _label(image: Image, words: str) -> None:
    import cv2

    for color, thickness in (((0, 0, 0), 3), (_INK, 1)):
        cv2.putText(image, words, (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.48, color, thickness, cv2.LINE_AA)


def _paste(part: Image, image: Image | None) -> None:
    """Fill a tile with the image, darkened a little so that the drawing stands out, or with plain paper."""
    import cv2

    if image is None:
        part[:] = _PAPER
        return
    height, width = part.shape[:2]
    smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    np.multiply(smaller, 0.8, out=part, casting="unsafe")


def _images(source: FrameSource | None, numbers: Sequence[int]) -> Iterator[Image | None]:
    """The images of increasing frame numbers; None for ever without a source."""
    if source is None:
        while True:
            yield None
    frames = source.frames(numbers[0], numbers[-1] + 1)
    before = numbers[0] - 1
    for number in numbers:
        yield next(islice(frames, number - before - 1, None))
        before = number


def _size(estimate: Estimate, view: int, source: FrameSource | None) -> tuple[int, int]:
    if source is not None:
        return source.size
    assert estimate.cameras is not None
    width, height = estimate.cameras.image_size[view].tolist()
    if not (np.isfinite(width) and np.isfinite(height) and width >= 1 and height >= 1):
        raise InputError(f"view {view}: its size is unknown; give its images, or a calibration that says the size")
    return round(width), round(height)


def _fixed(point: Array) -> tuple[int, int]:
    """Coordinates in OpenCV's fixed-point format."""
    scaled = np.rint(point * (1 << _SUBPIXEL_BITS)).astype(int)
    return int(scaled[0]), int(scaled[1])


def _lighter(color: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(part + 0.42 * (255 - part)) for part in color)
    return red, green, blue


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
