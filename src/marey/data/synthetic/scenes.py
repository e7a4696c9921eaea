"""Scenes as drawn and not yet rendered: people, clothes, cameras, light, what is behind and before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.core import Cameras
from marey.data.synthetic.backgrounds import Backgrounds, draw_backgrounds
from marey.data.synthetic.bodies import People, draw_people, grounded
from marey.data.synthetic.cameras import crop_to_people, first_azimuth, image_of, place_cameras
from marey.data.synthetic.config import SyntheticConfig
from marey.data.synthetic.degrade import Flaws, draw_flaws
from marey.data.synthetic.dressing import dress, joint_rings, vertex_normals
from marey.data.synthetic.labels import PeopleLabels
from marey.data.synthetic.lights import Lights, draw_lights
from marey.data.synthetic.occluders import Occluders, draw_occluders
from marey.data.synthetic.outfits import Landmarks, Wardrobe, draw_wardrobe
from marey.data.synthetic.random import Draws
from marey.data.synthetic.views import ray_nodes

_CHEST = 0.9
"""Metres above the ground that the cameras of a whole scene look at."""


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
    parts: Tensor
    """(F,) int16 part of every face."""
    faces: Tensor
    """(P F, 3) of P bodies joined."""

    @classmethod
    def of(cls, config: SyntheticConfig, people: People) -> Cast:
        """Prepare what does not change."""
        model = people.model
        shift = len(model.template) * torch.arange(config.slots, device=model.faces.device)
        return cls(
            config=config,
            people=people,
            marks=Landmarks.of(model),
            rest=model.template.to(torch.float32),
            rings=joint_rings(model.template, model.joint_template),
            parts=model.face_parts("joints24").to(torch.int16),
            faces=(model.faces + shift[:, None, None]).flatten(0, 1),
        )

    @property
    def model(self) -> BodyModel:
        """The body, double precision."""
        return self.people.model


@dataclass(frozen=True, kw_only=True, eq=False)
class Scenes:
    """B scenes with V cameras each and P places for people."""

    people: PeopleLabels
    """(B, P)"""
    normals: Tensor
    """(B, P, N, 3) float32 of the surfaces."""
    wardrobe: Wardrobe
    """(B P,)"""
    cameras: Cameras
    """(B, V) float64 with the values of float32."""
    points: Tensor
    """(B, V, P, N, 3) float64: pixels and depth of the surfaces."""
    rays: Tensor
    """(B V, 3, nodes, nodes): see `ray_nodes`."""
    lights: Lights
    """(B,)"""
    backgrounds: Backgrounds
    """(B V,)"""
    occluders: Occluders
    """(B V,)"""
    flaws: Flaws
    """(B V,)"""
    pictures: Draws
    """(B V,)"""
    grain: Draws
    """Of the frames, (B V,)."""

    def __getitem__(self, scenes: slice) -> Scenes:
        """Some of the scenes."""
        views, people = self.points.shape[1:3]
        start, stop, _ = scenes.indices(len(self.points))
        pictures, persons = slice(start * views, stop * views), slice(start * people, stop * people)
        per_scene: tuple[str, ...] = ("people", "normals", "cameras", "points", "lights")
        changes: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in per_scene}
        for name in ("rays", "backgrounds", "occluders", "flaws", "pictures", "grain"):
            changes[name] = getattr(self, name)[pictures]
        return Scenes(wardrobe=self.wardrobe[persons], **changes)


def draw_scenes(cast: Cast, seed: int, indices: Tensor, times: Tensor) -> Scenes:
    """Draw the scenes of indices (B,) int64 at times (B,) seconds."""
    config, tier = cast.config, cast.config.difficulty
    draws = Draws(seed=seed, split=config.split, indices=indices)
    pictures = draws.fork(torch.arange(config.views, device=indices.device).expand(len(indices), -1), "picture")
    people, normals, wardrobe = _people(cast, draws, times)
    cameras = _cameras(config, draws, people)
    pixels, depth = image_of(people.surface.double()[:, None], cameras)
    flat = cameras.map(lambda tensor: tensor.flatten(0, 1))
    moment = (times * 1e6).round().long().repeat_interleave(config.views)[:, None]
    return Scenes(
        people=people,
        normals=normals,
        wardrobe=wardrobe,
        cameras=cameras,
        points=torch.cat((pixels, depth[..., None]), -1),
        rays=ray_nodes(flat, config.image_size[::-1]),
        lights=draw_lights(draws),
        backgrounds=draw_backgrounds(draws, pictures, cameras.centers),
        occluders=draw_occluders(pictures, share=tier.occlusion, chance=tier.occluded),
        flaws=draw_flaws(pictures, tier.degradation),
        pictures=pictures,
        grain=pictures.fork(moment, "moment"),
    )


def _people(cast: Cast, draws: Draws, times: Tensor) -> tuple[PeopleLabels, Tensor, Wardrobe]:
    """People on the ground, the normals of what they wear, and their clothes."""
    config, slots = cast.config, cast.config.slots
    persons = draws.fork(torch.arange(slots, device=times.device).expand(len(times), -1), "person")
    state, present = draw_people(draws, config, cast.people, first_azimuth(draws), times)
    wardrobe = draw_wardrobe(persons, cast.marks)
    posed = cast.model(state)
    surface = bare = posed.vertices.flatten(0, 1)
    if config.surface_detail:
        normals = vertex_normals(bare, cast.model.faces)
        surface = dress(bare, normals, cast.rest, wardrobe.outfits, cast.marks)
    surface = surface.reshape(posed.vertices.shape)
    placed = grounded(state, posed.joints, surface)
    moved = (placed.translation - state.translation)[:, :, None]
    people = PeopleLabels(
        present=present,
        body=placed,
        joints=posed.joints + moved,
        vertices=posed.vertices + moved,
        surface=surface + moved,
    )
    shown = _absent_are_nan(people).to(torch.float32)
    dressed = vertex_normals(surface.flatten(0, 1).float(), cast.model.faces)
    return shown, dressed.reshape(surface.shape), wardrobe


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


def _absent_are_nan(people: PeopleLabels) -> PeopleLabels:
    def masked(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        absent = ~people.present.reshape(*people.present.shape, *(1,) * (tensor.ndim - 2))
        return tensor.masked_fill(absent, torch.nan)

    return people.map(masked)
