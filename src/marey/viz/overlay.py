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
from marey.viz.mosaic import Mosaic, lay_out
from marey.viz.style import SIGMAS_90_PLANE, person_color, side_of
from marey.viz.summary import KEPT_WEIGHT

SIZE_LIMIT = (1600, 900)
"""Width and height of the video at most, pixels."""
PLAIN_SIZE_LIMIT = (1280, 720)
"""The same where there are no images, whose details one would want to see."""
CHUNK = 256
"""Frames that are projected at a time."""

_BACKGROUND = (24, 29, 36)
_PAPER = (38, 45, 55)
_INK = (235, 240, 245)
_REJECTED = (255, 90, 70)
_DARKER = (0.8 * np.arange(256)).astype(np.uint8)
_SUBPIXEL_BITS = 4
_OUTLINE_POINTS = 21
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
    """(V, T, P, J) of its first axis, radians from x towards y."""
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
    size_limit: tuple[int, int] | None = None,
    progress: bool = False,
) -> None:
    """Write a video of all views: keypoints as dots (crosses where rejected), the estimate as lines and ellipses.

    Frames are decoded, drawn and encoded one by one, so memory does not grow with the length.

    Args:
        path: The file, MP4.
        estimate: With cameras; `frames` says which images of the sources are drawn on.
        sources: Of the V views; None or nothing: a plain background of the camera's size.
        size_limit: Width and height that the video may have; None: `SIZE_LIMIT`, less without any images.
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
    estimate: Estimate, sources: Sequence[FrameSource | None] = (), *, size_limit: tuple[int, int] | None = None
) -> Iterator[Image]:
    """Yield the frames of the overlay video, (height, width, 3) red green blue; see `write_overlay_video`."""
    if estimate.cameras is None:
        raise CalibrationError("an overlay needs the cameras of the estimate; it has none")
    views = estimate.cameras.batch_shape[0]
    sources = tuple(sources) or (None,) * views
    if len(sources) != views:
        raise ShapeError(f"sources: expected one for each of the {views} views (None: no images), got {len(sources)}")
    limit = size_limit or (SIZE_LIMIT if any(source is not None for source in sources) else PLAIN_SIZE_LIMIT)
    mosaic = lay_out([_size(estimate, view, source) for view, source in enumerate(sources)], limit=limit)
    return _draw_all(estimate, sources, mosaic)


def _draw_all(estimate: Estimate, sources: Sequence[FrameSource | None], mosaic: Mosaic) -> Iterator[Image]:
    numbers = estimate.frames or tuple(range(estimate.joints.batch_shape[0]))
    images = [_images(source, numbers) for source in sources]
    assert estimate.cameras is not None
    names = estimate.cameras.names or tuple(f"view {view + 1}" for view in range(len(sources)))
    blank = _blank(mosaic)
    for start in range(0, len(numbers), CHUNK):
        projection = project_estimate(estimate, slice(start, start + CHUNK))
        for offset, number in enumerate(numbers[start : start + CHUNK]):
            canvas = blank.copy()
            for view, tile in enumerate(mosaic.tiles):
                part = tile.of(canvas)
                _paste(part, next(images[view]))
                draw_view(part, tile.scale, estimate, projection, view, offset)
                label_tile(part, f"{names[view]}  frame {number}")
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
    angle = torch.atan2(vectors[..., 1, 0], vectors[..., 0, 0])
    evidence, diagnostics = estimate.keypoints, estimate.diagnostics
    return Projection(
        points=_numpy(points),
        axes=_numpy(axes),
        angle=_numpy(angle),
        keypoints=None if evidence is None else _numpy(evidence.positions[:, frames]),
        kept=None if diagnostics is None else _numpy(diagnostics.weights[:, frames] >= KEPT_WEIGHT),
        filled=_numpy(joints.filled).astype(bool),
    )


def draw_view(image: Image, scale: float, estimate: Estimate, projection: Projection, view: int, frame: int) -> None:
    """Draw everybody and their keypoints into an image of one view that is `scale` times its original size.

    Args:
        image: changed in place.
        scale: of the image.
        estimate: for its skeleton.
        projection: of a stretch of its frames.
        view: which of the V.
        frame: counted from the beginning of the stretch.
    """
    points = _scaled(projection.points[view, frame], scale)
    outlines = _outlines(points, projection.axes[view, frame] * scale, projection.angle[view, frame])
    skeleton = estimate.joints.skeleton
    sides = np.array([side_of(joint) == "left" for joint in skeleton.joints])
    links = np.array(skeleton.links, int).reshape(-1, 2)
    light_links = sides[links].any(-1)
    for person, placed in enumerate(points):
        strong = person_color(person)
        for light, color in ((False, strong), (True, _lighter(strong))):
            own = sides == light
            _draw_curves(image, placed[links[light_links == light]], color, thickness=2)
            _draw_curves(image, outlines[person, own], color, thickness=1)
            hollow = projection.filled[frame, person]
            _draw_dots(image, placed[own & ~hollow], 3, color)
            _draw_dots(image, placed[own & hollow], 3, _PAPER)
            _draw_dots(image, placed[own & hollow], 3, color, thickness=1)
    if projection.keypoints is not None:
        _draw_keypoints(image, _scaled(projection.keypoints[view, frame], scale), projection.kept, view, frame)


def _draw_keypoints(image: Image, keypoints: Array, kept: Array | None, view: int, frame: int) -> None:
    """Dots where they counted, crosses where they were rejected."""
    counted = np.ones(keypoints.shape[:-1], bool)
    if kept is not None and kept.shape[2:] == counted.shape:  # else the estimate has other joints than its evidence
        counted = kept[view, frame]
    _draw_dots(image, keypoints[counted], 1.6, _INK)
    crosses = keypoints[~counted][:, None, None] + 3.5 * np.array([[[-1, -1], [1, 1]], [[-1, 1], [1, -1]]])
    _draw_curves(image, crosses.reshape(-1, 2, 2), _REJECTED, thickness=1)


def _draw_curves(image: Image, curves: Array, color: tuple[int, int, int], *, thickness: int) -> None:
    """Draw lines through (N, points, 2); those with a missing point are left out."""
    import cv2

    known = curves[np.isfinite(curves).all((-1, -2))]
    if known.size:
        cv2.polylines(image, list(_fixed(known)), False, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_dots(
    image: Image, centers: Array, radius: float, color: tuple[int, int, int], *, thickness: int = -1
) -> None:
    """Draw discs, or circles of a thickness, around centers (N, 2); missing ones are left out."""
    import cv2

    size = round(radius * (1 << _SUBPIXEL_BITS))
    for center in _fixed(centers[np.isfinite(centers).all(-1)]).tolist():
        cv2.circle(image, center, size, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def _outlines(points: Array, axes: Array, angle: Array) -> Array:
    """Closed curves (..., points, 2) of ellipses; nothing is drawn smaller than a pixel."""
    turns = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS)
    first = np.clip(axes[..., :1], 1.0, _LARGEST) * np.cos(turns)
    second = np.clip(axes[..., 1:], 1.0, _LARGEST) * np.sin(turns)
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    outlines: Array = points[..., None, :] + np.stack((c * first - s * second, s * first + c * second), -1)
    return outlines


def _scaled(pixels: Array, scale: float) -> Array:
    """Pixels of the original image in one of another size; NaN far outside."""
    moved = (pixels + 0.5) * scale - 0.5
    return np.where((np.abs(moved) < _LARGEST).all(-1, keepdims=True), moved, np.nan)


def label_tile(image: Image, words: str) -> None:
    """Write into the top of a tile, on a darkened strip; the image is changed in place."""
    import cv2

    image[:26] //= 2
    cv2.putText(image, words, (10, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.48, _INK, 1, cv2.LINE_AA)


def _blank(mosaic: Mosaic) -> Image:
    """The frame with empty tiles."""
    canvas = np.full((mosaic.height, mosaic.width, 3), _BACKGROUND, np.uint8)
    for tile in mosaic.tiles:
        tile.of(canvas)[:] = _PAPER
    return canvas


def _paste(part: Image, image: Image | None) -> None:
    """Fill a tile with the image, darkened a little so that the drawing stands out."""
    import cv2

    if image is not None:
        height, width = part.shape[:2]
        cv2.LUT(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), _DARKER, dst=part)


def _images(source: FrameSource | None, numbers: Sequence[int]) -> Iterator[Image | None]:
    """The images of increasing frame numbers; None where the source has none (left), or there is no source."""
    if source is None:
        while True:
            yield None
    frames = source.frames(numbers[0], numbers[-1] + 1)
    before = numbers[0] - 1
    for number in numbers:
        yield next(islice(frames, number - before - 1, None), None)
        before = number


def _size(estimate: Estimate, view: int, source: FrameSource | None) -> tuple[int, int]:
    if source is not None:
        return source.size
    assert estimate.cameras is not None
    width, height = estimate.cameras.image_size[view].tolist()
    if not (np.isfinite(width) and np.isfinite(height) and width >= 1 and height >= 1):
        raise InputError(f"view {view}: its size is unknown; give its images, or a calibration that says the size")
    return round(width), round(height)


def _fixed(points: Array) -> npt.NDArray[np.int32]:
    """Coordinates in OpenCV's fixed-point format."""
    fixed: npt.NDArray[np.int32] = np.rint(points * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    return fixed


def _lighter(color: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(part + 0.42 * (255 - part)) for part in color)
    return red, green, blue


def _numpy(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
