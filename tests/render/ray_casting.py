"""What a pixel sees, found without projecting anything: rays against triangles in space, in float64."""

import numpy as np


def cast(origin, directions, triangles):
    """Distance (R, M) along rays and weights (R, M, 3) of triangles (M, 3, 3); NaN where a ray misses.

    Möller and Trumbore, "Fast, minimum storage ray-triangle intersection", 1997.
    """
    a, b, c = np.moveaxis(np.asarray(triangles, np.float64), 1, 0)
    first, second = b - a, c - a
    across = np.cross(directions[:, None], second)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1 / (across * first).sum(-1)
        beside = origin - a
        v = (across * beside).sum(-1) * scale
        turned = np.cross(beside, first)
        w = (directions[:, None] * turned).sum(-1) * scale
        distance = (turned * second).sum(-1) * scale
        hit = (v >= 0) & (w >= 0) & (v + w <= 1)
    weights = np.stack((1 - v - w, v, w), -1)
    return np.where(hit, distance, np.nan), np.where(hit[..., None], weights, np.nan)


def pinhole_rays(size, focal, centre):
    """Directions (rows * columns, 3) of depth 1 through the pixel centres, in the camera's frame."""
    column, row = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    rays = np.stack(((column - centre[0]) / focal, (row - centre[1]) / focal, np.ones(size)), -1)
    return rays.reshape(-1, 3)
