"""Clothes are where people wear them, on every body of the generator."""

import pytest
import torch

from marey.body.open_body import open_body
from marey.data.synthetic.dressing import dress
from marey.data.synthetic.outfits import (
    HAIR,
    LAYERS,
    SHOES,
    SKIN,
    SOCKS,
    TOP,
    Landmarks,
    albedo,
    draw_wardrobe,
    layer_of,
)
from marey.data.synthetic.random import Draws
from marey.render import vertex_normals

PEOPLE = 80


@pytest.fixture(scope="module")
def model():
    return open_body("small")


@pytest.fixture(scope="module")
def worn(model):
    """The layer (G, N) of every vertex, and what is worn."""
    marks = Landmarks.of(model)
    wardrobe = draw_wardrobe(Draws(seed=0, split="training", indices=torch.arange(PEOPLE)), marks)
    layers = [layer_of(model.template.mT, wardrobe.outfits[k : k + 1], marks) for k in range(PEOPLE)]
    return torch.stack(layers), wardrobe, marks


def _near(model, joint: str, offset: tuple[float, float, float] = (0, 0, 0)) -> int:
    place = model.joint_template[model.tree.joints.index(joint)] + torch.tensor(offset)
    return int((model.template - place).norm(dim=-1).argmin())


def test_landmarks__are_in_the_order_of_a_standing_person(model):
    marks = Landmarks.of(model)
    assert marks.ground < marks.ankle < marks.knee < marks.hip < marks.waist < marks.neck < marks.head[0] < marks.crown
    assert 0 < marks.shoulder < marks.elbow < marks.wrist
    assert 0.05 < marks.head[2] < 0.15


def test_layers__cover_what_they_should(model, worn):
    layers, _, _ = worn
    assert (layers[:, _near(model, "spine3", (0, 0, 0.1))] == TOP).all()
    assert set(layers[:, _near(model, "left_foot")].tolist()) <= {SKIN, SOCKS, SHOES}
    nose = int(model.template[:, 2].where(model.template[:, 1] > 0.6, -1.0).argmax())
    assert (layers[:, nose] == SKIN).all()
    crown = int(model.template[:, 1].argmax())
    assert 0.8 < (layers[:, crown] == HAIR).float().mean() < 1
    sleeves = (layers[:, _near(model, "left_elbow")] == TOP).float().mean()
    assert 0.3 < sleeves < 0.9
    assert len(set(layers.flatten().tolist())) == len(LAYERS)


def test_layers__are_the_same_on_both_sides(model, worn):
    layers, _, _ = worn
    mirror = torch.cdist(model.template * torch.tensor((-1.0, 1, 1)), model.template).argmin(1)
    assert (layers == layers[:, mirror]).float().mean() > 0.99


def test_albedo__is_a_colour(model, worn):
    layers, wardrobe, marks = worn
    rest = model.template.mT.repeat(1, PEOPLE)
    owner = torch.arange(PEOPLE).repeat_interleave(len(model.template))
    color, gloss = albedo(rest, layers.flatten(), owner, wardrobe=wardrobe, marks=marks)
    assert color.shape == rest.shape
    assert (color >= 0).all()
    assert color.max() < 1.6
    assert ((gloss >= 0) & (gloss < 1)).all()
    alone = albedo(model.template.mT, layers[3], torch.zeros_like(layers[3]), wardrobe=wardrobe[3:4], marks=marks)[0]
    count = len(model.template)
    assert torch.allclose(alone, color[:, 3 * count : 4 * count], atol=1e-5)


def test_dress__moves_outwards_by_centimetres(model, worn):
    layers, wardrobe, marks = worn
    bare = model.template.expand(PEOPLE, -1, -1)
    normals = vertex_normals(bare, model.faces)
    moved = ((dress(bare, normals, model.template, wardrobe.outfits, marks) - bare) * normals).sum(-1)
    assert (moved > -1e-6).all()
    assert (moved[layers == SKIN] == 0).all()
    assert moved.max() < 0.12
    assert moved[layers == TOP].mean() > 0.003
