"""Meshes: joined, and their normals."""

import pytest
import torch
from torch.autograd import gradcheck

from marey.core import InputError, ShapeError
from marey.render import join_meshes, mesh_edges, rasterize, subdivide, vertex_normals
from marey.render.meshes import face_normals, unit
from render.scenes import sphere


def square(depth, *, left=2.0, side=10.0):
    corners = torch.tensor([[0.0, 0], [0, side], [side, side], [side, 0]]) + torch.tensor([left, 2.0])
    return torch.cat((corners, torch.full((4, 1), depth)), -1), torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_joined_meshes__hide_one_another():
    near, far = square(1.0), square(2.0, left=7.0)
    vertices, faces, owner = join_meshes([near[0], far[0]], [near[1], far[1]])
    assert owner.tolist() == [0, 0, 1, 1]
    assert faces.tolist() == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    seen = rasterize(vertices, faces, (16, 24)).face
    assert seen[6, [1, 3, 9, 14, 20]].tolist() != []
    who = torch.where(seen >= 0, owner[seen], -1)[6]
    assert who[2:12].eq(0).all()
    assert who[12:17].eq(1).all()
    assert who[17:].eq(-1).all()
    assert who[:2].eq(-1).all()


def test_joined_people__keep_their_batch():
    vertices, faces = sphere(rings=4, sectors=5)
    people = vertices.expand(2, 3, -1, -1)
    joined, table, owner = join_meshes(people.unbind(-3), [faces] * 3)
    assert joined.shape == (2, 3 * len(vertices), 3)
    assert torch.equal(table[owner == 2], faces + 2 * len(vertices))
    assert torch.equal(torch.arange(len(table)) // len(faces), owner)


@pytest.mark.parametrize(("vertices", "faces"), [([], []), ([torch.zeros(3, 3)], [])])
def test_meshes_without_partners__are_refused(vertices, faces):
    with pytest.raises(ShapeError, match="as many tables of faces as of vertices"):
        join_meshes(vertices, faces)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_subdivision__keeps_the_surface_and_its_sides(batch):
    vertices, faces = sphere(rings=5, sectors=7)
    finer, table = subdivide(vertices.expand(*batch, -1, -1), faces, 2)
    assert finer.shape[:-2] == batch
    assert len(table) == 16 * len(faces)
    torch.testing.assert_close(finer[..., : len(vertices), :], vertices.expand(*batch, -1, -1))
    before, after = face_normals(vertices, faces), face_normals(finer, table)
    torch.testing.assert_close(after * 16, before.repeat_interleave(16, 0).expand_as(after))
    # still closed, no vertex twice: vertices - edges + faces = 2
    edges = mesh_edges(table)
    assert (edges.face >= 0).all()
    assert finer.shape[-2] - len(edges.vertex) + len(table) == 2


def test_subdivision__of_one_face_is_four():
    vertices, faces = subdivide(torch.tensor([[0.0, 0], [4, 0], [0, 4]]), torch.tensor([[0, 1, 2]]))
    assert vertices.tolist() == [[0, 0], [4, 0], [0, 4], [2, 0], [0, 2], [2, 2]]
    assert faces.tolist() == [[0, 3, 4], [3, 1, 5], [4, 5, 2], [3, 5, 4]]
    assert subdivide(vertices, faces, 0)[1] is faces
    with pytest.raises(InputError, match="times"):
        subdivide(vertices, faces, -1)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_normals__of_a_sphere_point_outwards(batch):
    vertices, faces = sphere(rings=40, sectors=80)
    normals = vertex_normals(vertices.expand(*batch, -1, -1), faces)
    assert normals.shape == (*batch, *vertices.shape)
    torch.testing.assert_close(normals, vertices.expand_as(normals), atol=0.02, rtol=0)
    # as long as twice the area
    assert face_normals(vertices, faces).norm(dim=-1).sum() / 2 == pytest.approx(4 * torch.pi, rel=5e-3)


def test_normals__weigh_faces_by_area():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    normals = vertex_normals(vertices, faces)
    torch.testing.assert_close(normals[1], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(normals[0], torch.tensor([3.0, 0, 1]) / 10**0.5)


def test_normals__of_a_vertex_without_a_face_are_zero_and_have_a_derivative():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], dtype=torch.float64, requires_grad=True)
    faces = torch.tensor([[0, 1, 2]])
    normals = vertex_normals(vertices, faces)
    assert normals[3].tolist() == [0, 0, 0]
    assert torch.autograd.grad(normals.sum(), vertices)[0].isfinite().all()
    assert gradcheck(lambda points: vertex_normals(torch.cat((points, vertices[3:])), faces), (vertices[:3],))


def test_unit__keeps_zero():
    vectors = torch.tensor([[3.0, 0, 4], [0, 0, 0]])
    torch.testing.assert_close(unit(vectors), torch.tensor([[0.6, 0, 0.8], [0, 0, 0]]))
