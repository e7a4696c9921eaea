"""Still pictures of an estimate with matplotlib: one frame with the cameras, and a sheet of frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from marey.core import Cameras, Estimate, InputError
from marey.io.atomic import atomic_path
from marey.viz.style import PEOPLE_COLORS, SIGMAS_90_SPACE, side_of, upright_turn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.floating[Any]]
Axes = Any
"""Of mpl_toolkits.mplot3d, which has no types."""

_LIGHTER = 0.42
_VIEW = {"elev": 14.0, "azim": -60.0}
_PLAIN = "#8a94a1"
_TRAILED = ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle")


def save_overview(
    path: str | os.PathLike[str], estimate: Estimate, frame: int | None = None, *, dpi: int = 160
) -> None:
    """Save a picture of one frame: everybody with their 90 % ellipsoids, the path of their hands and feet, the cameras.

    Args:
        path: `.png`, `.svg` or `.pdf`.
        estimate: T frames.
        frame: Which of the T; None: the one in the middle.
        dpi: Of a `.png`.

    Raises:
        InputError: there is no such frame or nothing to draw in it, or the file cannot be written.
    """
    count = estimate.joints.batch_shape[0]
    frame = count // 2 if frame is None else frame
    _check_frames([frame], count)
    figure, axes = _figure(1, width=9.0, aspect=0.58)
    _draw_cameras(axes[0], estimate)
    _draw_trails(axes[0], estimate, frame)
    _draw_people(axes[0], estimate, frame, ellipsoids=True)
    _fit(axes[0], estimate, [frame], with_cameras=True)
    _save(path, figure, dpi)


def save_contact_sheet(
    path: str | os.PathLike[str], estimate: Estimate, frames: Sequence[int] | None = None, *, dpi: int = 120
) -> None:
    """Save frames side by side, all seen from the same place.

    Args:
        path: `.png`, `.svg` or `.pdf`.
        estimate: T frames.
        frames: Which of the T; None: eight from the first to the last.
        dpi: Of a `.png`.

    Raises:
        InputError: there is no such frame or nothing to draw in them, or the file cannot be written.
    """
    count = estimate.joints.batch_shape[0]
    chosen = np.linspace(0, count - 1, min(8, count)).round().astype(int).tolist() if frames is None else list(frames)
    _check_frames(chosen, count)
    figure, axes = _figure(len(chosen), width=12.0, aspect=0.75)
    for ax, frame in zip(axes, chosen, strict=True):
        _draw_people(ax, estimate, frame, ellipsoids=False)
        _fit(ax, estimate, chosen, with_cameras=False)
        ax.set_title(_caption(estimate, frame), fontsize=9, color=_PLAIN, y=0.12)
    _save(path, figure, dpi)


def _check_frames(frames: Sequence[int], count: int) -> None:
    if not frames or not all(0 <= frame < count for frame in frames):
        raise InputError(f"frames {list(frames)}: expected some of 0..{count - 1}, the frames of the estimate")


def _caption(estimate: Estimate, frame: int) -> str:
    number = estimate.frames[frame] if estimate.frames else frame
    return f"{frame / estimate.fps:.2f} s" if estimate.fps else f"frame {number}"


def _figure(panels: int, *, width: float, aspect: float) -> tuple[Figure, list[Axes]]:
    """A figure that no window and no global state knows of, of panels whose height is `aspect` of their width."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(panels, 4)
    rows = -(-panels // columns)
    figure = Figure(figsize=(width, rows * aspect * width / columns))
    FigureCanvasAgg(figure)
    across, down = 1 / columns, 1 / rows
    axes = []
    for place in range(panels):
        # the axes are drawn into a square only, so give each panel one that is as wide as it and reaches over its ends
        bottom = (rows - 1 - place // columns + 0.5) * down - 0.5 * down / aspect
        frame = (place % columns * across, bottom, across, down / aspect)
        ax: Axes = figure.add_axes(frame, projection="3d")
        ax.view_init(**_VIEW)
        ax.set_proj_type("persp", focal_length=0.7)
        ax.set_axis_off()
        ax.set_facecolor("none")
        axes.append(ax)
    return figure, axes


def _save(path: str | os.PathLike[str], figure: Figure, dpi: int) -> None:
    with atomic_path(path) as temporary:
        try:
            figure.savefig(temporary, dpi=dpi, facecolor="white")
        except ValueError as error:
            raise InputError(f"cannot write {path}: {error}") from error


def _upright(estimate: Estimate, points: Array) -> Array:
    turned: Array = points @ upright_turn(str(estimate.provenance.get("world_up", "z"))).T
    return turned


def _positions(estimate: Estimate) -> Array:
    """(T, P, J, 3) with z up."""
    return _upright(estimate, estimate.joints.positions.detach().cpu().double().numpy())


def _draw_people(ax: Axes, estimate: Estimate, frame: int, *, ellipsoids: bool) -> None:
    from matplotlib.colors import to_rgb

    positions, skeleton = _positions(estimate)[frame], estimate.joints.skeleton
    for person, points in enumerate(positions):
        base = np.array(to_rgb(PEOPLE_COLORS[person % len(PEOPLE_COLORS)]))
        colors = [base + _LIGHTER * (1 - base) if side_of(joint) == "left" else base for joint in skeleton.joints]
        for start, end in skeleton.links:
            color = max(colors[start], colors[end], key=np.sum)
            ax.plot(*points[[start, end]].T, color=color, linewidth=2.6, solid_capstyle="round")
        hollow = estimate.joints.filled[frame, person].cpu().numpy().astype(bool)
        faces = [(1, 1, 1) if empty else tuple(color) for empty, color in zip(hollow, colors, strict=True)]
        known = np.isfinite(points).all(-1)
        ax.scatter(
            *points[known].T,
            c=[face for face, there in zip(faces, known, strict=True) if there],
            edgecolors=[tuple(color) for color, there in zip(colors, known, strict=True) if there],
            s=12,
            depthshade=False,
        )
        if ellipsoids:
            _draw_ellipsoids(ax, estimate, frame, person, colors)


def _draw_trails(ax: Axes, estimate: Estimate, frame: int) -> None:
    """The way that hands, feet and nose took in the second before."""
    first = max(0, frame - round(estimate.fps or 30))
    positions, joints = _positions(estimate)[first : frame + 1], estimate.joints.skeleton.joints
    for person in range(positions.shape[1]):
        color = PEOPLE_COLORS[person % len(PEOPLE_COLORS)]
        for place in (place for place, joint in enumerate(joints) if joint in _TRAILED):
            ax.plot(*positions[:, person, place].T, color=color, linewidth=0.9, alpha=0.45)


def _draw_ellipsoids(ax: Axes, estimate: Estimate, frame: int, person: int, colors: Iterable[Array]) -> None:
    """Surfaces within which the true joints lie with 90 %, if the covariance is right."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 17), np.linspace(0, np.pi, 9))
    sphere = np.stack((np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)), -1)
    turn = upright_turn(str(estimate.provenance.get("world_up", "z")))
    covariances = estimate.joints.covariance[frame, person].detach().cpu().double().numpy()
    for center, covariance, color in zip(_positions(estimate)[frame, person], covariances, colors, strict=True):
        if np.isfinite(center).all() and np.isfinite(covariance).all():
            values, vectors = np.linalg.eigh(turn @ covariance @ turn.T)
            shell = center + SIGMAS_90_SPACE * (sphere * np.sqrt(np.maximum(values, 0))) @ vectors.T
            ax.plot_surface(*np.moveaxis(shell, -1, 0), color=color, alpha=0.18, linewidth=0, shade=False)


def _draw_cameras(ax: Axes, estimate: Estimate) -> None:
    """Pyramids with their names."""
    cameras = estimate.cameras
    if cameras is None or not cameras.has_extrinsics:
        return
    centers = _upright(estimate, cameras.centers.detach().cpu().double().numpy())
    corners = _upright(estimate, _image_corners(cameras, reach=0.45))
    for view, (center, rim) in enumerate(zip(centers, corners, strict=True)):
        ax.plot(*rim[[0, 1, 2, 3, 0]].T, color=_PLAIN, linewidth=1)
        for corner in rim:
            ax.plot(*np.stack((center, corner)).T, color=_PLAIN, linewidth=0.8)
        name = cameras.names[view] if cameras.names else f"view {view + 1}"
        ax.text(*(center + np.array((0, 0, 0.2))), name, color="#3c4654", fontsize=8, ha="center")


def _image_corners(cameras: Cameras, *, reach: float) -> Array:
    """World points (V, 4, 3) that the corners of the images see at a depth of `reach` metres, the lens left out."""
    rotation, translation = (part.detach().cpu().double().numpy() for part in cameras.extrinsics)
    intrinsics = cameras.intrinsics.detach().cpu().double().numpy()
    middle = intrinsics[:, :2, 2]
    size = cameras.image_size.detach().cpu().double().numpy()
    size = np.where(np.isfinite(size), size, 2 * middle + 1)
    pixels = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * size[:, None]
    focal = intrinsics[:, [0, 1], [0, 1]]
    rays = np.concatenate(((pixels - middle[:, None]) / focal[:, None], np.ones((*pixels.shape[:2], 1))), -1)
    points: Array = (reach * rays - translation[:, None]) @ rotation  # rows: (R^T (x - t))^T = (x - t)^T R
    return points


def _fit(ax: Axes, estimate: Estimate, frames: Sequence[int], *, with_cameras: bool) -> None:
    """Frame everything at one scale, and draw the ground under it."""
    points = _positions(estimate)[list(frames)].reshape(-1, 3)
    points = points[np.isfinite(points).all(-1)]
    if not len(points):
        raise InputError(f"nothing to draw: no joint is known in the frames {list(frames)}")
    ground = points[:, 2].min()
    if with_cameras and estimate.cameras is not None and estimate.cameras.has_extrinsics:
        centers = _upright(estimate, estimate.cameras.centers.detach().cpu().double().numpy())
        points = np.concatenate((points, centers[np.isfinite(centers).all(-1)]))
    low, high = points.min(0) - 0.25, points.max(0) + 0.25
    low[2] = min(ground, low[2])
    floor = np.array([np.floor(low[:2]), np.ceil(high[:2])])
    for axis in (0, 1):
        for line in np.arange(floor[0, axis], floor[1, axis] + 1):
            ends = floor.copy()
            ends[:, axis] = line
            ax.plot(*ends.T, ground, color="#d5dbe3", linewidth=0.6, zorder=-10)
    low[:2], high[:2] = floor
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
    ax.set_box_aspect(high - low, zoom=1.3 if with_cameras else 1.2)
