"""The rasteriser once more, slowly: every pixel against every face, in float64."""

import numpy as np


def nearest_faces(vertices, faces, size, *, near=1e-3, cull_back_faces=False):
    """Face (H, W), -1 for none, and depth (H, W) seen by one view of vertices (N, 3)."""
    rows, columns = size
    column, row = np.meshgrid(np.arange(columns, dtype=np.float64), np.arange(rows, dtype=np.float64))
    face = np.full(size, -1)
    depth = np.full(size, np.inf, np.float32)
    for number, corners in enumerate(np.asarray(vertices)[np.asarray(faces)]):
        if not np.isfinite(corners).all() or (corners[:, 2] <= near).any():
            continue
        xy = np.round(corners[:, :2].astype(np.float64) * 256) / 256
        z = corners[:, 2].astype(np.float64)
        (ax, ay), (bx, by), (cx, cy) = xy
        # y points down: counter-clockwise to the eye is a negative area
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0 or (cull_back_faces and area > 0):
            continue
        if area > 0:
            xy, z = xy[::-1], z[::-1]
        inside = np.ones(size, bool)
        weights = []
        for corner in range(3):
            (px, py), (qx, qy) = xy[(corner + 1) % 3], xy[(corner + 2) % 3]
            value = (column - px) * (qy - py) - (row - py) * (qx - px)
            is_left, is_top = qy > py, qy == py and qx < px
            inside &= (value >= 0) if is_left or is_top else (value > 0)
            weights.append(value / abs(area))
        inverse = sum(weight / distance for weight, distance in zip(weights, z, strict=True))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            distance = (1 / inverse).astype(np.float32)
        nearer = inside & (distance < depth)  # an equal depth leaves the lower face
        face[nearer], depth[nearer] = number, distance[nearer]
    return face, depth
