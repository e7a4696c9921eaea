"""Everything together: people before cameras, dressed and lit, as a user would draw them."""

import pytest
import torch

from marey.core import Cameras
from marey.geometry.rotations import euler_to_matrix
from marey.render import (
    Lights,
    antialias,
    iuv_map,
    join_meshes,
    label_map,
    normal_map,
    project_mesh,
    rasterize_cameras,
    sample_texture,
    shade,
    vertex_normals,
)
from marey.render.meshes import unit
from render.scenes import camera, sphere

SIZE = (60, 72)
BALL, FACES = sphere(rings=20, sectors=33, radius=0.5, dtype=torch.float32)
UV = torch.stack((BALL[:, 0] + 0.5, BALL[:, 2] + 0.5), -1)


def cameras_around(count):
    angles = torch.stack((torch.zeros(count), torch.arange(count) * 2 * torch.pi / count, torch.zeros(count)), -1)
    lens = (-0.15, 0.03, 0.001, -0.001)
    return Cameras.stack(
        [
            camera(size=SIZE, focal=60.0, distortion=lens, rotation=turn, translation=(0, 0, 3.0), dtype=torch.float32)
            for turn in euler_to_matrix(angles, "xyz")
        ]
    )


def people(count):
    """Scenes of two balls each, moving: (count, 2, N, 3)."""
    time = torch.arange(count)[:, None, None, None] * 0.37
    place = torch.tensor([[-0.35, 0.0, 0.2], [0.3, 0.1, -0.25]])[:, None]
    return BALL + place * torch.cat((time.cos(), time.sin(), (2 * time).cos()), -1)


def painted(scenes, cameras):
    """Colours, depth, people, normals and IUV of scenes (S, 2, N, 3) in all cameras (V,)."""
    vertices, faces, owner = join_meshes(scenes.unbind(-3), [FACES] * 2)
    vertices = vertices.expand(len(cameras.intrinsics), *vertices.shape)
    fragments = rasterize_cameras(vertices, faces, cameras)
    hits = fragments.hits
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(8, 8, 3, generator=generator)
    lights = Lights(
        ambient=torch.tensor([0.2, 0.2, 0.25]),
        place=torch.tensor([[1.0, -2, -1, 0], [2, 0, 3, 1], [-1, -1, 0, 1]]),
        color=torch.tensor([[0.6, 0.6, 0.5], [0.3, 0.2, 0.2], [0.0, 0.1, 0.2]]),
        specular=torch.tensor([[0.4, 0.4, 0.4], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]]),
        shininess=torch.tensor(17.3),
    )
    uv_faces = FACES.repeat(2, 1)
    eye = cameras.centers[:, None].expand(*fragments.batch_shape, 3)
    color = shade(
        hits,
        lights,
        albedo=sample_texture(hits, texture, hits.interpolate(UV, uv_faces)),
        points=hits.interpolate(vertices, faces),
        normals=unit(hits.interpolate(vertex_normals(vertices, faces), faces)),
        eye=eye,
    )
    image = antialias(hits.paint(color, 0.5), fragments, (project_mesh(vertices, cameras), faces))
    return {
        "image": image,
        "depth": fragments.depth,
        "people": label_map(fragments, owner),
        "normals": normal_map(fragments, vertices, faces),
        "iuv": iuv_map(fragments, owner, UV, uv_faces),
    }


def test_pictures__are_the_same_bit_for_bit_in_any_split_and_with_any_threads():
    scenes, cameras = people(14), cameras_around(4)  # enough pixels that several threads share them
    threads = torch.get_num_threads()
    try:
        whole = painted(scenes, cameras)
        torch.set_num_threads(3)
        parts = [painted(some, cameras) for some in scenes.split((1, 8, 5))]
        one = painted(scenes[5:6], cameras[1:2])
    finally:
        torch.set_num_threads(threads)
    for name, picture in whole.items():
        assert torch.equal(picture, torch.cat([part[name] for part in parts], 1)), name
        assert torch.equal(picture[1, 5], one[name][0, 0]), name


def test_people__hide_one_another():
    found = painted(people(7), cameras_around(4))
    assert found["image"].shape == (4, 7, *SIZE, 3)
    assert (found["iuv"][..., 0] == found["people"] + 1).all()
    assert set(found["people"].unique().tolist()) == {-1, 0, 1}
    alone = rasterize_cameras(people(7)[None, :, 0].expand(4, -1, -1, -1), FACES, cameras_around(4))
    hidden = alone.mask & (found["people"] != 0)
    assert hidden.any()
    assert (found["people"][hidden] == 1).all()
    assert (found["depth"][hidden] < alone.depth[hidden]).all()


def test_colours__lie_between_dark_and_bright():
    found = painted(people(2), cameras_around(2))
    seen = found["people"] >= 0
    assert found["image"].min() >= 0
    assert found["image"][seen].std() > 0.05
    assert (found["image"][~seen] - 0.5).abs().max() < 0.5
    assert found["normals"][seen].norm(dim=-1).sub(1).abs().max() < 1e-5


@pytest.mark.gpu
def test_pictures__on_an_accelerator_see_the_same_faces():
    device = torch.accelerator.current_accelerator()
    if device is None:
        pytest.skip("no accelerator")
    scenes, cameras = people(3), cameras_around(2)
    vertices, faces, _ = join_meshes(scenes.unbind(-3), [FACES] * 2)
    pixels = project_mesh(vertices[None], cameras)
    from marey.render import rasterize

    here = rasterize(pixels, faces, SIZE)
    there = rasterize(pixels.to(device), faces.to(device), SIZE)
    assert torch.equal(there.face.cpu(), here.face)
    torch.testing.assert_close(there.barycentric.cpu(), here.barycentric)
