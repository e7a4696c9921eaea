"""Bodies of three coloured dots before several cameras, and networks that find dots by their colours.

What the whole way makes of the dots can be compared with where they are: crops, lenses, cameras, views that are left
out, people. OpenCV draws them.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import nn

from frames_in_memory import Pictures
from marey.core import Boxes, Cameras, Observation, Skeleton
from marey.geometry.triangulation import triangulate_projections
from marey.methods.triangulation.model import AlgebraicOutput, VolumetricOutput
from marey.methods.triangulation.networks import ImageConvention, LoadedNetwork
from marey.nn.soft_argmax import covariance_3d, soft_argmax_3d
from marey.nn.volumes import cuboid_grid, unproject

BODY = Skeleton("dots", ("left_hip", "right_hip", "head_top"), ((0, 1), (0, 2)))
SIZE = (640, 480)
LENS = (-0.12, 0.03, 0.001, -0.001)
IMAGES = ImageConvention(side=(192, 192), channels="rgb", normalised=False, half_pixels=True)


def ring(views, lens=LENS, distance=4.0):
    """Cameras around the origin at the height of 1 m, z up; they look at the axis."""
    turn = 2 * np.pi * np.arange(views) / max(views, 3) + np.pi / 4
    ahead = -np.stack((np.cos(turn), np.sin(turn), np.zeros(views)), -1)
    right = np.cross(ahead, (0, 0, 1))
    rotation = np.stack((right, np.tile((0.0, 0, -1), (views, 1)), ahead), 1)
    center = -distance * ahead + (0, 0, 1.0)
    return Cameras(
        intrinsics=torch.tensor([[500.0, 0, 322], [0, 505, 238], [0, 0, 1]]).double().expand(views, 3, 3).clone(),
        distortion=torch.tensor(lens).double().expand(views, len(lens)).clone(),
        image_size=torch.tensor(SIZE).double().expand(views, 2).clone(),
        rotation=torch.from_numpy(rotation),
        translation=torch.from_numpy(-(rotation @ center[..., None])[..., 0]),
    )


def bodies(frames, people):
    """(T, P, 3, 3) in the world, metres: people 1.6 m apart, who walk."""
    shape = np.array([[0.0, 0.15, 0.9], [0.0, -0.15, 0.95], [0.05, 0.0, 1.6]])
    place = np.zeros((frames, people, 1, 3))
    place[..., 0, 1] = (np.arange(people) - (people - 1) / 2) * 1.6
    place[..., 0, 0] = 0.05 * np.arange(frames)[:, None]
    return shape + place


def seen_at(points, cameras, view):
    """Pixels (..., 2) by OpenCV."""
    vector = cv2.Rodrigues(cameras.rotation[view].numpy())[0]
    lens = cameras.distortion[view].numpy() if cameras.distortion.shape[-1] else None
    flat = cv2.projectPoints(
        points.reshape(-1, 3), vector, cameras.translation[view].numpy(), cameras.intrinsics[view].numpy(), lens
    )[0]
    return flat.reshape(*points.shape[:-1], 2)


def picture(pixels, size=SIZE):
    """Dots at pixels (P, 3, 2): red, green and blue, a little blurred."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for colour, (x, y) in ((colour, dot) for body in pixels for colour, dot in enumerate(body)):
        left, top = max(round(x) - 15, 0), max(round(y) - 15, 0)
        part = image[top : top + 31, left : left + 31, colour]
        rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
        away = (columns + left - x) ** 2 + (rows + top - y) ** 2
        np.maximum(part, np.rint(255 * np.exp(-away / (2 * 3.0**2))).astype(np.uint8), out=part)
    return image


def observation(cameras, joints, *, start=0, missing=(), before=0):
    """Pictures of bodies (T, P, 3, 3) with boxes; in `missing` (view, frame, person) there is none."""
    views = cameras.batch_shape[0]
    pixels = np.stack([seen_at(joints, cameras, view) for view in range(views)])
    frames = tuple(
        Pictures((*[np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)] * before, *[picture(one) for one in row]))
        for row in pixels
    )
    low, high = pixels.min(-2) - 25, pixels.max(-2) + 25
    corners = torch.from_numpy(np.concatenate((low, high), -1))
    for place in missing:
        corners[place] = torch.nan
    score = corners.isfinite().all(-1).double()
    return Observation(frames=frames, boxes=Boxes(corners=corners, score=score), cameras=cameras, start=start)


class FindDots(nn.Module):
    """Keypoints where each colour is, triangulated."""

    def __init__(self, confidence=1.0):
        super().__init__()
        self.confidence = confidence

    def forward(self, images, projections):
        y, x = torch.meshgrid(torch.arange(images.shape[-2]), torch.arange(images.shape[-1]), indexing="ij")
        bright = images.square()
        share = bright / bright.sum((-2, -1), keepdim=True)
        points = torch.stack([(share * axis).sum((-2, -1)) for axis in (x, y)], -1)
        found = triangulate_projections(points.transpose(0, 1), projections.transpose(0, 1))
        return AlgebraicOutput(
            joints=found.positions,
            covariance=found.covariance,
            keypoints=points,
            keypoint_covariance=torch.eye(2).expand(*points.shape, 2),
            heatmaps=share,
            confidences=torch.full(points.shape[:-1], self.confidence / points.shape[1]),
        )


def blurred(images):
    """Dots some voxels wide, 1 in their middles."""
    kernel = torch.exp(-((torch.arange(61) - 30.0) ** 2) / (2 * 13.0**2))
    flat = images.flatten(0, 2)[:, None]
    for shape in ((1, 1, 61, 1), (1, 1, 1, 61)):
        flat = nn.functional.conv2d(flat, kernel.view(shape), padding="same")
    wide = flat.view(images.shape)
    return wide / wide.amax((-2, -1), keepdim=True).clamp_min(1e-6)


@dataclass(frozen=True)
class Cuboid:
    cuboid_side: float = 2.5


class FillDots(nn.Module):
    """Joints where all views have the colour, in a volume; remembers where volumes were asked for."""

    def __init__(self, side=2.5):
        super().__init__()
        self.config = Cuboid(side)
        self.asked = []

    def forward(self, images, projections, centers):
        self.asked.append(centers)
        grid = cuboid_grid(centers, side=self.config.cuboid_side, size=32)
        # the product of the views' dots; what is outside of a crop tells nothing
        density = (blurred(images) + 0.01).log() - np.log(0.01)
        volumes = unproject(density, projections, grid, aggregation="sum")
        found = soft_argmax_3d(volumes, coordinates=grid)
        return VolumetricOutput(
            joints=found.positions,
            covariance=covariance_3d(found, grid),
            features=images,
            volumes=found.distribution,
            confidences=None,
            grid=grid,
        )


def network(kind="algebraic", module=None, **options):
    module = module or (FillDots() if kind == "volumetric" else FindDots())
    return LoadedNetwork(
        module=module, kind=kind, skeleton=BODY, image=IMAGES, roots=("left_hip", "right_hip"), **options
    )
