"""Make the picture of docs/concepts/body.md: the open body in several shapes, poses and levels.

python docs/make_body_picture.py
"""

import dataclasses
import math
from pathlib import Path

import cv2
import torch

from marey.body.model import BodyModel
from marey.body.open_body import open_body
from marey.body.phenotypes import shape_of
from marey.core import BodyState
from marey.geometry.rotations import rotvec_to_matrix
from marey.render.maps import interpolate
from marey.render.meshes import face_normals, unit, vertex_normals
from marey.render.rasterize import rasterize
from marey.render.shading import Lights, shade

STATIC = Path(__file__).parent / "_static"
HEIGHT, SCALE, OVERSAMPLED = 460, 210, 2
FAR = 1000.0
"""Metres: so far that the picture is a parallel projection."""
CLAY = torch.tensor([0.62, 0.68, 0.76])
WALK = {
    "left_shoulder": (0, -20, -72), "right_shoulder": (0, -25, 72), "left_elbow": (0, -35, 0),
    "right_elbow": (0, 30, 0), "left_hip": (-28, 0, 0), "right_hip": (22, 0, 0), "left_knee": (12, 0, 0),
    "right_knee": (35, 0, 0), "right_ankle": (15, 0, 0), "right_foot": (-25, 0, 0), "spine2": (5, 0, 0),
}  # fmt: skip
"""Degrees about x, y and z, in the order x, y, z of fixed axes."""
REACH = WALK | {
    "right_shoulder": (0, 40, -60),
    "right_elbow": (0, 10, 0),
    "head": (-15, -30, 0),
    "left_knee": (60, 0, 0),
}


def main() -> None:
    """Draw them side by side."""
    medium, small = open_body("medium"), open_body("small")
    woman = shape_of(sex="female", stature=1.68)
    man = shape_of(sex="male", stature=1.82, muscle=0.7)
    parts = torch.rand(15, 3, generator=torch.Generator().manual_seed(3)) * 0.7 + 0.3
    panels = [
        panel(medium, posed(medium, woman, {}), width=400),
        panel(medium, posed(medium, man, WALK), turn=35),
        panel(medium, posed(medium, shape_of(sex="male", weight=0.95, stature=1.75), WALK), turn=-30),
        panel(medium, posed(medium, shape_of(sex="female", stature=1.52), REACH), turn=20),
        panel(medium, posed(medium, woman, REACH), turn=25, colors=parts[medium.face_parts("parts14")]),
        panel(small, posed(small, woman, WALK), turn=25, flat=True),
        panel(medium, posed(medium, woman, WALK), turn=60, dots="mediapipe_33"),
    ]
    picture = (255 * torch.cat(panels, 1).clamp(0, 1)).byte().numpy()
    cv2.imwrite(str(STATIC / "body.png"), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def posed(model: BodyModel, shape: torch.Tensor, degrees: dict[str, tuple[float, float, float]]) -> BodyState:
    """A person whose joints turn about z, then y, then x."""
    body = model.neutral()
    for name, angles in degrees.items():
        x, y, z = (
            rotvec_to_matrix(math.radians(angle) * axis) for angle, axis in zip(angles, torch.eye(3), strict=True)
        )
        body.pose[model.tree.joints.index(name) - 1] = z @ y @ x
    return dataclasses.replace(body, shape=shape)


def panel(model, body, *, width=230, turn=0.0, colors=None, flat=False, dots=""):
    """One person (HEIGHT, width, 3), turned about the vertical by some degrees."""
    turned = rotvec_to_matrix(torch.tensor([0.0, math.radians(turn), 0.0]))
    vertices = model(dataclasses.replace(body, orientation=turned)).vertices
    vertices = vertices - torch.tensor([0.0, float(vertices[:, 1].amin()) + 1.02, 0.0])
    size = (OVERSAMPLED * HEIGHT, OVERSAMPLED * width)
    seen = rasterize(on_screen(vertices, size)[None], model.faces, size)
    hits = seen.hits
    smooth = interpolate(seen, vertex_normals(vertices, model.faces)[None], model.faces).reshape(-1, 3)[hits.pixel]
    normals = unit(face_normals(vertices, model.faces))[hits.face] if flat else unit(smooth)
    lights = Lights(
        ambient=torch.full((3,), 0.35),
        place=torch.tensor([[0.5, 0.6, 0.8, 0.0], [-0.8, 0.1, 0.4, 0.0]]),
        color=torch.tensor([[0.6], [0.15]]).expand(2, 3),
    )
    albedo = CLAY.expand(len(hits.face), 3) if colors is None else colors[hits.face]
    picture = torch.ones(size[0] * size[1], 3)
    picture[hits.pixel] = shade(hits, lights, albedo=albedo, points=torch.zeros_like(normals), normals=normals)
    image = picture.reshape(*size, 3).numpy()
    for x, y, _ in on_screen(model.regress(vertices, dots), size).tolist() if dots else ():
        cv2.circle(image, (round(x), round(y)), 6, (0.8, 0.1, 0.1), -1, cv2.LINE_AA)
    return torch.from_numpy(cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA))


def on_screen(points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Pixels and depth of points."""
    scale = OVERSAMPLED * SCALE
    x, y, z = points.unbind(-1)
    return torch.stack((size[1] / 2 + scale * x, size[0] / 2 - scale * y - 0.03 * size[0], FAR - z), -1)


if __name__ == "__main__":
    main()
