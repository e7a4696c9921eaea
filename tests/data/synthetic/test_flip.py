"""Mirror images: left is left again, and every label still fits every other."""

from dataclasses import replace

import pytest
import torch

from marey.body.open_body import open_body
from marey.core import InputError
from marey.data.synthetic import flipped, mirror_vertices
from marey.geometry.projection import project


@pytest.fixture(scope="module")
def mirror():
    return mirror_vertices(open_body("small"))


def test_flipped__joints_are_projected_by_the_flipped_cameras(batch, mirror):
    turned = flipped(batch, mirror)
    for sample in (batch, turned):
        views = sample.cameras.batch_shape[1]
        points = sample.people.joints.double()[:, None].expand(-1, views, -1, -1, -1)
        error = (project(points, sample.cameras.to(torch.float64)) - sample.views.joints).norm(dim=-1)
        near = sample.views.joints.abs().amax(-1) < 1000
        assert error[near].max() < 1e-3


def test_flipped__body_parameters_give_the_flipped_vertices(batch, mirror):
    people = flipped(batch, mirror).people
    posed = open_body("small").to(torch.float64)(people.body.to(torch.float64))
    # the mesh is symmetric to a fraction of a millimetre
    assert (posed.vertices - people.vertices)[people.present].abs().max() < 2e-3
    assert (posed.joints - people.joints)[people.present].abs().max() < 2e-3


def test_flipped__pixels_and_sides_change_places(batch, mirror):
    turned = flipped(batch, mirror)
    width = batch.images.shape[-1]
    names = open_body("small").tree.joints
    left, right = names.index("left_wrist"), names.index("right_wrist")
    assert torch.equal(turned.images, batch.images.flip(-1))
    assert torch.equal(turned.views.joints[..., left, 0], width - 1 - batch.views.joints[..., right, 0]) or (
        (turned.views.joints[..., left, 0] - (width - 1 - batch.views.joints[..., right, 0])).abs().nan_to_num().max()
        == 0
    )
    assert torch.equal(turned.views.visible[..., left], batch.views.visible[..., right])
    assert torch.equal(turned.pixels.part == left, batch.pixels.part.flip(-1) == right)
    assert torch.equal(turned.pixels.part == -1, batch.pixels.part.flip(-1) == -1)
    assert torch.equal(turned.pixels.depth, batch.pixels.depth.flip(-1))
    sample, person, joint = turned.views.visible[:, 0].nonzero(as_tuple=True)
    x, y = turned.views.joints[sample, 0, person, joint].round().long().unbind(-1)
    part = turned.pixels.part[sample, 0, y, x].long()
    sides = torch.tensor([name.startswith("left") - name.startswith("right") for name in names])
    assert (sides[joint] * sides[part] >= 0).all()


def test_flipped__twice_is_what_was_there(batch, mirror):
    twice = flipped(flipped(batch, mirror), mirror)
    for name, tensor in batch.tensors().items():
        found = twice.tensors()[name]
        assert torch.equal(found.isnan(), tensor.isnan())
        assert (found.double() - tensor.double()).nan_to_num(posinf=0, neginf=0).abs().max() < 1e-3


def test_mirror_vertices__a_body_that_is_not_symmetric_is_told():
    model = open_body("small")
    bent = model.template + torch.tensor((0.05, 0.0, 0.0))
    with pytest.raises(InputError, match="expected a symmetric mesh"):
        mirror_vertices(replace(model, template=bent))
