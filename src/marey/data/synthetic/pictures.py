"""Scenes rendered: colours, and what is known of every pixel and of every joint in the pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.data.synthetic.backgrounds import folder_backgrounds, folder_images, paint_backgrounds
from marey.data.synthetic.cameras import image_of
from marey.data.synthetic.degrade import degrade
from marey.data.synthetic.dressing import flesh_before
from marey.data.synthetic.labels import PixelLabels, SyntheticBatch, ViewLabels, joints_visible
from marey.data.synthetic.occluders import occluder_depth, occluder_masks, paint_occluders
from marey.data.synthetic.painting import Figures, paint_people
from marey.data.synthetic.scenes import Cast, Scenes
from marey.data.synthetic.views import Views, between_nodes
from marey.render.fragments import Fragments
from marey.render.rasterize import rasterize

_TOUCHING = ("left_foot", "right_foot", "left_ankle", "right_ankle", "pelvis", "left_hand", "right_hand", "head")
"""Joints under which the ground is in shadow where they are near it."""
_NOWHERE = 1e3
"""Metres: where the feet of nobody are."""


def find_surfaces(cast: Cast, scenes: Scenes) -> Fragments:
    """Find which face of which person the pixels of the (B V,) pictures show."""
    # bodies are closed, so faces seen from behind are hidden
    vertices = scenes.points.flatten(2, 3).flatten(0, 1).to(torch.float32)
    return rasterize(vertices, cast.faces, cast.config.image_size[::-1], cull_back_faces=True)


def render_scenes(cast: Cast, scenes: Scenes, fragments: Fragments, indices: Tensor) -> SyntheticBatch:
    """Render B scenes of some indices (B,), whose surfaces have been found (B V,)."""
    batch = scenes.points.shape[:2]
    faces = len(cast.model.faces)
    first = (fragments.face >= 0) & (fragments.face < faces)
    covered = occluder_masks(scenes.occluders, first)
    linear = paint_occluders(scenes.occluders, covered, _painted(cast, scenes, fragments))
    pixels = PixelLabels(
        depth=occluder_depth(scenes.occluders, covered, fragments.depth),
        person=torch.where(fragments.mask, fragments.face // faces, -1).to(torch.int16),
        part=cast.parts[fragments.face % faces].masked_fill(~fragments.mask, -1),
        occluder=covered,
    ).map(lambda tensor: tensor.reshape(*batch, *tensor.shape[1:]))
    joints = {name: cast.model.regress(scenes.people.vertices.double(), name) for name in cast.config.skeletons}
    rounded = {name: positions.to(torch.float32) for name, positions in joints.items()}
    return SyntheticBatch(
        indices=indices,
        images=degrade(scenes.flaws, scenes.grain, linear).reshape(*batch, *linear.shape[1:]),
        cameras=scenes.cameras.to(torch.float32),
        people=scenes.people,
        views=_views(cast, scenes, pixels),
        pixels=pixels,
        skeletons=rounded,
        skeletons_2d={
            name: image_of(positions.double()[:, None], scenes.cameras)[0].to(torch.float32)
            for name, positions in rounded.items()
        },
    )


def _painted(cast: Cast, scenes: Scenes, fragments: Fragments) -> Tensor:
    """(M, 3, H, W) linear colours of people and what is behind them."""
    count, per_scene = scenes.points.shape[:2]
    size = cast.config.image_size[::-1]
    owner = torch.arange(count, device=fragments.face.device).repeat_interleave(per_scene)
    touching = [cast.model.tree.joints.index(joint) for joint in _TOUCHING]
    feet = scenes.people.joints[:, :, touching].flatten(1, 2).nan_to_num(_NOWHERE)
    views = Views(
        origins=scenes.cameras.centers.flatten(0, 1).float(), rays=between_nodes(scenes.rays, size), feet=feet[owner]
    )
    if cast.config.backgrounds is None:
        background = paint_backgrounds(scenes.backgrounds, views)
    else:
        files = folder_images(cast.config.backgrounds, cast.config.split)
        background = folder_backgrounds(scenes.pictures, files, size)
    figures = Figures(
        faces=cast.model.faces,
        rest=cast.rest,
        normals=scenes.normals.flatten(0, 1),
        wardrobe=scenes.wardrobe,
        marks=cast.marks,
        people=cast.config.slots,
    )
    return paint_people(fragments, figures, scenes.lights, owner, views.rays, background)


def _views(cast: Cast, scenes: Scenes, pixels: PixelLabels) -> ViewLabels:
    people, points = scenes.people, scenes.points[..., :2]
    joints, depth = image_of(people.joints.double()[:, None], scenes.cameras)
    thickness = flesh_before(people.vertices, people.joints, cast.rings)[:, None].expand_as(depth)
    flat = (tensor.flatten(0, 1) for tensor in (joints, depth, pixels.visible, pixels.depth.double(), thickness))
    width, height = cast.config.image_size
    edge = points.new_tensor((width - 0.5, height - 0.5))
    inside = ((points >= -0.5) & (points <= edge)).all(-1)
    present = people.present[:, None].expand(depth.shape[:3])
    return ViewLabels(
        joints=joints,
        depth=depth,
        visible=joints_visible(*flat).reshape(depth.shape),
        box=_boxes(points),
        truncated=torch.where(present, 1 - inside.double().mean(-1), torch.nan),
        occluded=_occluded(pixels, people.present.shape[1]),
    ).to(torch.float32)


def _boxes(points: Tensor) -> Tensor:
    """(..., 4) of points (..., N, 2)."""
    missing = points.isnan()
    low, high = points.masked_fill(missing, torch.inf).amin(-2), points.masked_fill(missing, -torch.inf).amax(-2)
    box = torch.cat((low, high), -1)
    return torch.where(box.isfinite(), box, torch.nan)


def _occluded(pixels: PixelLabels, people: int) -> Tensor:
    """(B, V, P) share of each person's pixels under an occluder; NaN without pixels."""
    owner = torch.arange(people, device=pixels.person.device)[:, None, None]
    mine = pixels.person[:, :, None] == owner
    hidden = (mine & pixels.occluder[:, :, None]).flatten(3).sum(-1)
    return hidden.double() / mine.flatten(3).sum(-1)
