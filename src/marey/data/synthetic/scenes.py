"""Scenes as drawn and not yet rendered: people, clothes, cameras, light, what is behind and before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.core import Cameras
from marey.data.synthetic.backgrounds import Backgrounds, draw_backgrounds
from marey.data.synthetic.bodies import People, draw_people, grounded
from marey.data.synthetic.cameras import crop_to_people, first_azimuth, image_of, place_cameras
from marey.data.synthetic.config import SyntheticConfig
from marey.data.synthetic.degrade import Flaws, draw_flaws
from marey.data.synthetic.dressing import dress
from marey.data.synthetic.flesh import flesh_before, neighbours, rings
from marey.data.synthetic.labels import PeopleLabels, ViewLabels
from marey.data.synthetic.lights import Lights, draw_lights
from marey.data.synthetic.occluders import Occluders, draw_occluders
from marey.data.synthetic.outfits import Landmarks, Wardrobe, draw_wardrobe
from marey.data.synthetic.random import Draws
from marey.data.synthetic.rows import Rows
from marey.data.synthetic.staging import Staging
from marey.data.synthetic.views import ray_nodes
from marey.render import vertex_normals

_CHEST = 0.9
"""Metres above the ground that the cameras of a whole scene look at."""
_TOUCHING = ("left_foot", "right_foot", "pelvis", "spine3", "head")
"""Joints under which the ground is in shadow where they are near it."""
_BEFORE_SCENES = 0.4
"""Of the share of a person that occluders hide: the share of the picture of a scene."""
_NOWHERE = 1e3
"""Metres: where the feet of nobody are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cast:
    """What all scenes of a generator share."""

    config: SyntheticConfig
    people: People
    marks: Landmarks
    rest: Tensor
    """(N, 3) float32 vertices of the mean body at rest."""
    rings: Tensor
    """(J, R) vertices around the joints."""
    near: Tensor
    """(J, J) boolean: the parts around the joints."""
    parts: Tensor
    """(F,) int16 part of every face."""
    faces: Tensor
    """(P F, 3) of P bodies joined."""
    staging: Staging | None = None
    """Who moves how, and where the cameras are; None: drawn."""

    @classmethod
    def of(cls, config: SyntheticConfig, people: People, staging: Staging | None = None) -> Cast:
        """Prepare what does not change."""
        model = people.model
        shift = len(model.template) * torch.arange(config.slots, device=model.faces.device)
        return cls(
            config=config,
            people=people,
            marks=Landmarks.of(model),
            rest=model.template.to(torch.float32),
            rings=rings(model),
            near=neighbours(model.tree).to(model.faces.device),
            parts=model.face_parts("joints24").to(torch.int16),
            faces=(model.faces + shift[:, None, None]).flatten(0, 1),
            staging=staging,
        )

    @property
    def model(self) -> BodyModel:
        """The body, double precision."""
        return self.people.model


@dataclass(frozen=True, kw_only=True, eq=False)
class Paints(Rows):
    """What the colours of M pictures are made from."""

    origins: Tensor
    """(M, 3) float32 optical centres."""
    nodes: Tensor
    """(M, 3, nodes, nodes) of `ray_nodes`."""
    feet: Tensor
    """(M, F, 3) float32 points that touch the ground or nearly do."""
    lights: Lights
    occluders: Occluders
    flaws: Flaws


@dataclass(frozen=True, kw_only=True, eq=False)
class Dressed(Rows):
    """What people look like, G = B P."""

    normals: Tensor
    """(G, N, 3) float32 of the surfaces."""
    wardrobe: Wardrobe


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenes:
    """B scenes with V cameras each and P places for people; M = B V pictures."""

    people: PeopleLabels
    """(B, P)"""
    cameras: Cameras
    """(B, V) float64 with the values of float32."""
    views: ViewLabels
    """(B, V, P); nothing is visible yet."""
    flesh: Tensor
    """(B, P, J) metres of `flesh_before`."""
    skeletons: Mapping[str, Tensor]
    """(B, P, J', 3) float32"""
    skeletons_2d: Mapping[str, Tensor]
    """(B, V, P, J', 2) float32"""
    surface: Tensor
    """(M, P N, 3) float32: pixels and depth of the vertices."""
    dressed: Dressed
    paints: Paints
    backgrounds: Backgrounds
    """(M,)"""
    pictures: Draws
    """(M,)"""
    grain: Draws
    """(M,), of the frames."""

    def seen_by(self, cameras: Sequence[int]) -> Scenes:
        """The same scenes with some of their cameras, in this order."""
        count, views = self.cameras.batch_shape
        some = torch.as_tensor(cameras, device=self.surface.device)
        pictures = (torch.arange(count, device=some.device)[:, None] * views + some).flatten()
        return replace(
            self,
            cameras=self.cameras[:, some],
            views=self.views[:, some],
            skeletons_2d={name: points[:, some] for name, points in self.skeletons_2d.items()},
            surface=self.surface[pictures],
            paints=self.paints[pictures],
            backgrounds=self.backgrounds[pictures],
            pictures=self.pictures[pictures],
            grain=self.grain[pictures],
        )


def draw_scenes(cast: Cast, seed: int, indices: Tensor, times: Tensor) -> Scenes:
    """Draw the scenes of indices (B,) int64 at times (B,) seconds."""
    config, tier = cast.config, cast.config.difficulty
    draws = Draws(seed=seed, split=config.split, indices=indices)
    pictures = draws.fork(torch.arange(config.views, device=indices.device).expand(len(indices), -1), "picture")
    people, dressed = _people(cast, draws, times)
    cameras = _cameras(config, draws, people) if cast.staging is None else cast.staging.cameras_of(len(indices))
    pixels, depth = image_of(people.surface.double()[:, None], cameras)
    moment = (times * 1e6).round().long().repeat_interleave(config.views)[:, None]
    centers = cameras.centers
    flat = cameras.map(lambda tensor: tensor.flatten(0, 1))
    low, high = tier.occlusion
    before = 1.0 if config.framing == "person" else _BEFORE_SCENES
    touching = [cast.model.tree.joints.index(joint) for joint in _TOUCHING]
    feet = people.joints[:, :, touching].flatten(1, 2).nan_to_num(_NOWHERE)
    skeletons = {
        name: cast.model.regress(people.vertices.double(), name).to(torch.float32) for name in config.skeletons
    }
    return Scenes(
        people=people,
        cameras=cameras,
        views=_views(config, people, cameras, pixels),
        flesh=flesh_before(people.vertices, people.joints, cast.rings),
        skeletons=skeletons,
        skeletons_2d={
            name: image_of(joints.double()[:, None], cameras)[0].to(torch.float32) for name, joints in skeletons.items()
        },
        surface=torch.cat((pixels, depth[..., None]), -1).to(torch.float32).flatten(2, 3).flatten(0, 1),
        dressed=dressed,
        paints=Paints(
            origins=centers.flatten(0, 1).to(torch.float32),
            nodes=ray_nodes(flat, config.image_size[::-1]),
            feet=feet.repeat_interleave(config.views, 0),
            lights=draw_lights(draws).map(lambda tensor: tensor.repeat_interleave(config.views, 0)),
            occluders=draw_occluders(pictures, share=(low * before, high * before), chance=tier.occluded),
            flaws=draw_flaws(pictures, tier.degradation),
        ),
        backgrounds=draw_backgrounds(draws, pictures, centers, places=cast.staging is not None),
        pictures=pictures,
        grain=pictures.fork(moment, "moment"),
    )


def _people(cast: Cast, draws: Draws, times: Tensor) -> tuple[PeopleLabels, Dressed]:
    """People on the ground, and what they wear."""
    config, slots = cast.config, cast.config.slots
    persons = draws.fork(torch.arange(slots, device=times.device).expand(len(times), -1), "person")
    if cast.staging is None:
        state, present = draw_people(draws, config, cast.people, first_azimuth(draws), times)
    else:
        state = cast.staging.people_at(times)
        present = torch.ones(state.batch_shape, dtype=torch.bool, device=times.device)
    wardrobe = draw_wardrobe(persons, cast.marks)
    posed = cast.model(state)
    surface = bare = posed.vertices.flatten(0, 1)
    if config.surface_detail:
        normals = vertex_normals(bare.to(torch.float32), cast.model.faces)
        surface = dress(bare, normals, cast.rest, wardrobe.outfits, cast.marks)
    placed = grounded(state, posed.joints, surface.reshape(posed.vertices.shape))
    moved = (placed.translation - state.translation)[:, :, None]
    people = PeopleLabels(
        present=present,
        body=placed,
        joints=posed.joints + moved,
        vertices=posed.vertices + moved,
        surface=surface.reshape(posed.vertices.shape) + moved,
    )
    normals = vertex_normals(surface.to(torch.float32), cast.model.faces)
    return _absent_are_nan(people).to(torch.float32), Dressed(normals=normals, wardrobe=wardrobe)


def _cameras(config: SyntheticConfig, draws: Draws, people: PeopleLabels) -> Cameras:
    target = people.joints[:, 0].double().mean(1)
    if config.framing == "scene":
        target = torch.tensor((0.0, 0.0, _CHEST), dtype=torch.float64, device=target.device).expand_as(target)
    cameras = place_cameras(draws, config, target)
    if config.framing == "person":
        first, _ = image_of(people.surface[:, None, 0].double(), cameras)
        cameras = crop_to_people(draws, config, cameras, first)
    # rounded first, so that what is projected agrees with the cameras that are handed out
    return cameras.to(torch.float32).to(torch.float64)


def _views(config: SyntheticConfig, people: PeopleLabels, cameras: Cameras, pixels: Tensor) -> ViewLabels:
    """What geometry alone tells; `pixels` (B, V, P, N, 2) of the surfaces."""
    joints, depth = image_of(people.joints.double()[:, None], cameras)
    width, height = config.image_size
    edge = pixels.new_tensor((width - 0.5, height - 0.5))
    inside = ((pixels >= -0.5) & (pixels <= edge)).all(-1)
    present = people.present[:, None].expand(depth.shape[:3])
    outside = 1 - inside.sum(-1, dtype=torch.float64) / inside.shape[-1]
    return ViewLabels(
        joints=joints,
        depth=depth,
        visible=torch.zeros_like(depth, dtype=torch.bool),
        box=_boxes(pixels),
        truncated=torch.where(present, outside, torch.nan),
        occluded=torch.full_like(outside, torch.nan),
    ).to(torch.float32)


def _boxes(points: Tensor) -> Tensor:
    """(..., 4) of points (..., N, 2)."""
    missing = points.isnan()
    low, high = points.masked_fill(missing, torch.inf).amin(-2), points.masked_fill(missing, -torch.inf).amax(-2)
    box = torch.cat((low, high), -1)
    return torch.where(box.isfinite(), box, torch.nan)


def _absent_are_nan(people: PeopleLabels) -> PeopleLabels:
    def masked(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        absent = ~people.present.reshape(*people.present.shape, *(1,) * (tensor.ndim - 2))
        return tensor.masked_fill(absent, torch.nan)

    return people.map(masked)
