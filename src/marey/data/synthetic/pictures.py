"""Scenes rendered: colours, and what is known of every pixel and of every joint in the pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from marey.data.synthetic.backgrounds import folder_backgrounds, folder_images, paint_backgrounds
from marey.data.synthetic.degrade import degrade
from marey.data.synthetic.labels import PixelLabels, SyntheticBatch, joints_visible
from marey.data.synthetic.occluders import occluder_depth, occluder_masks, paint_occluders
from marey.data.synthetic.painting import Figures, Seen, paint_people
from marey.data.synthetic.scenes import Cast, Scenes
from marey.data.synthetic.views import Views, between_nodes
from marey.render.fragments import Fragments
from marey.render.rasterize import rasterize


def render_scenes(cast: Cast, scenes: Scenes, indices: Tensor, *, at_once: int, images: bool = True) -> SyntheticBatch:
    """Render the first scenes, those of indices (B,).

    Args:
        cast: what all scenes share.
        scenes: at least B, each seen by V cameras.
        indices: (B,) of the samples.
        at_once: how many scenes are painted together.
        images: whether colours are wanted; without, `images` is (B, V, 3, 0, 0).
    """
    count, views, slots = len(indices), scenes.cameras.batch_shape[1], cast.config.slots
    # bodies are closed, so faces seen from behind are hidden
    size = cast.config.image_size[::-1]
    fragments = rasterize(scenes.surface[: count * views], cast.faces, size, cull_back_faces=True)
    people = Seen.of(fragments)
    person = _map(people, people.face // len(cast.model.faces), fragments)
    which = [range(start, min(start + at_once, count)) for start in range(0, count, at_once)]
    covered = torch.cat([_covered(cast, scenes, person, some) for some in which])
    pixels = PixelLabels(
        depth=occluder_depth(scenes.paints.occluders[: count * views], covered, fragments.depth),
        person=person,
        part=_map(people, cast.parts.repeat(slots).index_select(0, people.face), fragments),
        occluder=covered,
    )
    seen = joints_visible(
        scenes.views.joints[:count].flatten(0, 1),
        scenes.views.depth[:count].flatten(0, 1),
        scenes.flesh[:count].repeat_interleave(views, 0),
        shown=pixels,
        near=cast.near,
    )
    labels = scenes.views[:count]
    painted = [torch.zeros(count * views, 3, 0, 0, dtype=torch.uint8, device=person.device)]
    if images:
        parts = people.parts(count * views, size[0] * size[1], at_once * views)
        painted = [_painted(cast, scenes, part, covered, some) for part, some in zip(parts, which, strict=True)]
    return SyntheticBatch(
        indices=indices,
        images=_by_view(torch.cat(painted), count, views),
        cameras=scenes.cameras[:count].to(torch.float32),
        people=scenes.people[:count],
        views=replace(
            labels,
            visible=seen.reshape(labels.visible.shape),
            occluded=_occluded(pixels, slots).reshape(labels.occluded.shape),
        ),
        pixels=pixels.map(lambda tensor: tensor.reshape(count, views, *size)),
        skeletons={name: joints[:count] for name, joints in scenes.skeletons.items()},
        skeletons_2d={name: joints[:count] for name, joints in scenes.skeletons_2d.items()},
    )


def _map(people: Seen, values: Tensor, fragments: Fragments) -> Tensor:
    """Values (K,) of the pixels that show people as a map (M, H, W) int16; -1 elsewhere."""
    face = fragments.face
    empty = torch.full((face.numel(),), -1, dtype=torch.int16, device=face.device)
    return empty.index_copy_(0, people.pixel, values.to(torch.int16)).reshape(face.shape)


def _covered(cast: Cast, scenes: Scenes, person: Tensor, which: range) -> Tensor:
    """Where occluders cover the pictures (M, H, W) of some scenes."""
    some = _pictures(scenes, which)
    first = person[some] == 0
    hidden = first if cast.config.framing == "person" else torch.ones_like(first)
    return occluder_masks(scenes.paints.occluders[some], hidden)


def _painted(cast: Cast, scenes: Scenes, people: Seen, covered: Tensor, which: range) -> Tensor:
    """Pictures (M, 3, H, W) uint8 of some scenes."""
    config, count = cast.config, scenes.cameras.batch_shape[1]
    some = _pictures(scenes, which)
    paints = scenes.paints[some]
    size = config.image_size[::-1]
    views = Views(origins=paints.origins, rays=between_nodes(paints.nodes, size), feet=paints.feet)
    if config.backgrounds is None:
        background = paint_backgrounds(scenes.backgrounds[some], views)
    else:
        files = folder_images(config.backgrounds, config.split)
        background = folder_backgrounds(scenes.pictures[some], files, size)
    dressed = scenes.dressed[which.start * config.slots : which.stop * config.slots]
    figures = Figures(
        faces=cast.model.faces,
        rest=cast.rest,
        normals=dressed.normals,
        wardrobe=dressed.wardrobe,
        marks=cast.marks,
        owner=torch.arange(len(which), device=views.rays.device).repeat_interleave(count),
        people=config.slots,
    )
    linear = paint_people(people, figures, paints.lights, views.rays, background)
    linear = paint_occluders(paints.occluders, covered[some], linear)
    return degrade(paints.flaws, scenes.grain[some], linear)


def _by_view(pictures: Tensor, count: int, views: int) -> Tensor:
    return pictures.reshape(count, views, *pictures.shape[1:])


def _pictures(scenes: Scenes, which: range) -> slice:
    """Those of some scenes."""
    views = scenes.cameras.batch_shape[1]
    return slice(which.start * views, which.stop * views)


def _occluded(pixels: PixelLabels, people: int) -> Tensor:
    """(M, P) float32 share of each person's pixels under an occluder; NaN without pixels."""
    owner = torch.arange(people, device=pixels.person.device)[:, None, None]
    mine = pixels.person[:, None] == owner
    hidden = (mine & pixels.occluder[:, None]).flatten(2).sum(-1)
    return hidden / mine.flatten(2).sum(-1)
