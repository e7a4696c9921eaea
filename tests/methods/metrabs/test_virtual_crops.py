"""Crops by virtual cameras: where they look, what they show, and that nothing aliases."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import Cameras, InputError, ShapeError
from marey.geometry.projection import project_from_camera
from marey.methods.metrabs.augmented import augmentation_table
from marey.methods.metrabs.quirks import Quirks
from marey.methods.metrabs.virtual_cameras import CropRule, look_at_people
from marey.methods.metrabs.virtual_crops import crop_views, draw_sheet

LENS = [-0.2, 0.1, 0.001, -0.001, 0.02]
SMALL = CropRule(side=32)


def cameras(count, *, focal=400.0, size=(200, 160), lens=()):
    middle = ((size[0] - 1) / 2, (size[1] - 1) / 2)
    matrix = torch.tensor([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1]], dtype=torch.float64)
    return Cameras(
        intrinsics=matrix.expand(count, 3, 3),
        distortion=torch.tensor(lens, dtype=torch.float64).expand(count, len(lens)),
        image_size=torch.tensor(size, dtype=torch.float64).expand(count, 2),
    )


def ramp(size=(200, 160)):
    """Red is the column and green the row, as shares of 255; in stored values."""
    width, height = size
    picture = torch.zeros(1, 3, height, width)
    picture[0, 0], picture[0, 1] = torch.arange(width) / 255, torch.arange(height)[:, None] / 255
    return picture


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)


BOXES = boxes((60, 40, 50, 70), (20, 90, 80, 40), (120, 10, 60, 60))


@pytest.mark.parametrize("lens", [(), LENS])
@given(st.floats(-50, 250), st.floats(-50, 200), st.floats(5, 200), st.floats(5, 200))
@settings(max_examples=30, deadline=None)
def test_virtual_camera__sees_the_middle_of_the_box_in_the_middle_of_the_crop(lens, left, top, width, height):
    seen_by = cameras(1, lens=lens)
    found = look_at_people(boxes((left, top, width, height)), seen_by, rule=SMALL)
    ahead = (found.rotation[0].T @ torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64))[None]
    middle = torch.tensor([[left + width / 2, top + height / 2]], dtype=torch.float64)
    torch.testing.assert_close(project_from_camera(ahead, seen_by), middle, rtol=0, atol=1e-6)
    assert found.intrinsics[0, :2, 2].tolist() == [16.0, 16.0]
    torch.testing.assert_close(found.rotation @ found.rotation.mT, torch.eye(3).double()[None])


def test_virtual_camera__the_longer_side_fills_the_crop():
    seen_by = cameras(3, focal=4000.0)  # next to no perspective
    found = look_at_people(BOXES, seen_by, rule=SMALL)
    torch.testing.assert_close(found.scale, 32 / torch.tensor([70.0, 80, 60]).double(), rtol=1e-3, atol=0)


def test_virtual_camera__is_upright_as_told():
    up = torch.tensor([[1.0, 0, 0]]).double()
    found = look_at_people(BOXES[:1], cameras(1), up=up, rule=SMALL)
    seen = (found.rotation[0] @ up[0])[:2]
    assert seen[0].abs() < 1e-9
    assert seen[1] < 0


def test_virtual_camera__up_along_the_ray_keeps_the_pictures_own_upright():
    seen_by = cameras(1)
    middle = boxes((99.5 - 10, 79.5 - 10, 20, 20))
    found = look_at_people(middle, seen_by, up=torch.tensor([[0.0, 0, 1]]).double(), rule=SMALL)
    torch.testing.assert_close(found.rotation[0], torch.eye(3).double(), rtol=0, atol=1e-9)


def test_virtual_camera__a_box_that_is_nan_or_beyond_the_lens_is_nan():
    bent = cameras(2, lens=(-0.5, 0.0, 0.0, 0.0, 0.0))
    found = look_at_people(boxes((math.nan, 0, 10, 10), (5000, 0, 10, 10)), bent, rule=SMALL)
    assert found.scale.isnan().all()


@pytest.mark.parametrize("lens", [(), LENS])
@pytest.mark.parametrize("views", [1, 5])
def test_crop__shows_each_pixel_of_the_picture_where_its_camera_sees_it(lens, views):
    seen_by, table = cameras(3, lens=lens), augmentation_table(views)
    rule = CropRule(side=32, gamma=1.0, pyramid=False)
    found = crop_views(ramp(), BOXES, seen_by, augmentations=table, rule=rule)
    v, u = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    pixels = torch.stack((u, v, torch.ones_like(u)), -1).reshape(-1, 3).double()
    rays = pixels @ torch.linalg.inv(found.intrinsics @ found.rotation).mT
    places = project_from_camera(rays, seen_by.map(lambda values: values[found.boxes])).reshape(-1, 32, 32, 2)
    inside = ((places > 0) & (places < torch.tensor([199.0, 159.0]))).all(-1)
    shown = (255 * found.images[:, :2].double() ** (1 / table.gammas.repeat(3)[:, None, None, None])).permute(
        0, 2, 3, 1
    )
    assert inside.double().mean() > 0.8
    assert (shown - places)[inside].abs().max() < 0.02


def test_crop__beyond_the_picture_is_black():
    white = torch.full((1, 3, 160, 200), 255, dtype=torch.uint8)
    seen = crop_views(white, boxes((-300, 20, 60, 60), (-30, 50, 60, 60), (60, 50, 40, 40)), cameras(3), rule=SMALL)
    assert seen.images[0].max() == 0
    assert seen.images[1, :, :, :14].max() == 0
    assert seen.images[1, :, :, 19:].min() > 0.99
    assert seen.images[2].min() > 0.99


def test_virtual_camera__does_not_see_a_box_from_side_to_side_of_the_world():
    wide = cameras(2, focal=20.0)
    found = look_at_people(boxes((60, 70, 80, 20), (60, 70, 400, 20)), wide, rule=SMALL)
    assert found.scale.isfinite().tolist() == [True, False]


def test_crop__behind_the_camera_is_black():
    wide = cameras(1, focal=20.0)
    zoomed_out = augmentation_table(1).map(lambda v: v * 0.01 if v.is_floating_point() else v)
    white = torch.ones(1, 3, 160, 200)
    seen = crop_views(white, boxes((190, 70, 20, 20)), wide, augmentations=zoomed_out, rule=SMALL)
    turned = seen.rotation[0].T @ torch.linalg.inv(seen.intrinsics[0])
    behind = torch.stack([turned[2] @ torch.tensor([u, 16.0, 1.0]).double() for u in (0.0, 31.0)]) < 0
    assert behind.any()
    assert seen.images[0, :, 16, [0, 31]][:, behind].max() == 0


@pytest.mark.parametrize("kind", ["8 bits", "floats"])
def test_crop__fine_stripes_become_the_mean_of_their_light(kind):
    stripes = torch.zeros(1, 3, 640, 640, dtype=torch.uint8)
    stripes[..., ::2] = 255
    stripes = stripes if kind == "8 bits" else stripes.float() / 255
    seen = crop_views(
        stripes, boxes((60, 60, 520, 520)), cameras(1, focal=4000.0, size=(640, 640)), rule=CropRule(side=128)
    )
    inner = seen.images[0, :, 8:-8, 8:-8]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5 ** (1 / 2.2)), rtol=0, atol=1e-3)
    plain = crop_views(
        stripes,
        boxes((60, 60, 520, 520)),
        cameras(1, focal=4000.0, size=(640, 640)),
        rule=CropRule(side=128, pyramid=False),
    )
    assert plain.images[0].std() > 0.2


def test_crop__rendered_larger_is_less_noisy():
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 160, 200), dtype=np.uint8))
    once, more = (
        crop_views(noise, boxes((20, 20, 110, 110)), cameras(1), rule=CropRule(side=64, antialias=times))
        for times in (1, 4)
    )
    assert more.images.std() < 0.85 * once.images.std()


@pytest.mark.parametrize("size", [(200, 160), (201, 163), (8, 9), (33, 8)])
def test_sheet__drawn_equals_computed(size):
    width, height = size
    values = np.random.default_rng(1).integers(0, 256, (2, 3, height, width), dtype=np.uint8)
    floats = torch.from_numpy(values.astype(np.float32) / 255)
    computed = draw_sheet(floats.clone().requires_grad_(), SMALL).light.detach()
    for pictures in (torch.from_numpy(values), torch.from_numpy(values.astype(np.uint16) * 257), floats):
        drawn = draw_sheet(pictures, SMALL)
        assert drawn.light.shape == computed.shape
        torch.testing.assert_close(drawn.light, computed, rtol=0, atol=2e-6)


def test_crops__of_many_boxes_and_pictures_are_those_of_each_alone():
    values = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (2, 3, 160, 200), dtype=np.uint8))
    many = boxes(*[(10 + 7 * place, 5 + 4 * place, 20 + 9 * place, 90 - 3 * place) for place in range(12)])
    pictures = torch.arange(12) % 2
    together = crop_views(values, many, cameras(12, lens=LENS), pictures=pictures, rule=SMALL)
    for place in range(12):
        picture = values[pictures[place]][None]
        alone = crop_views(picture, many[place][None], cameras(1, lens=LENS), rule=SMALL)
        torch.testing.assert_close(together.images[place], alone.images[0], rtol=0, atol=2e-4)


def test_crop__of_16_bits_is_that_of_8():
    values = np.random.default_rng(3).integers(0, 256, (1, 3, 160, 200), dtype=np.uint8)
    fine = torch.from_numpy(values.astype(np.uint16) * 257)
    seen = [crop_views(picture, BOXES, cameras(3), rule=SMALL).images for picture in (torch.from_numpy(values), fine)]
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-5)


def test_sheet__of_floats_leaves_them_as_they_are():
    floats = torch.rand(1, 3, 16, 24)
    before = floats.clone()
    draw_sheet(floats, SMALL)
    assert torch.equal(floats, before)


def test_crops__of_no_boxes_are_none():
    seen = crop_views(ramp(), boxes(), cameras(0), augmentations=augmentation_table(5), rule=SMALL)
    assert seen.images.shape == (0, 3, 32, 32)
    assert seen.rotation.shape == (0, 3, 3)


def test_crop__by_the_rule_of_2020_has_whole_values():
    seen = crop_views(ramp(), BOXES, cameras(3), rule=CropRule.of(Quirks.published(), side=32))
    values = 255 * seen.images
    torch.testing.assert_close(values, values.round(), rtol=0, atol=1e-3)


def test_bad_arguments__are_refused():
    with pytest.raises(ShapeError, match=r"expected \(I, 3, H, W\)"):
        crop_views(ramp()[0], BOXES, cameras(3))
    with pytest.raises(ShapeError, match=r"8 or 16 bits"):
        crop_views(ramp().int(), BOXES, cameras(3))
    with pytest.raises(InputError, match="8 x 8 pixels"):
        crop_views(ramp((200, 7)), BOXES, cameras(3))
    with pytest.raises(ShapeError, match="one for each camera"):
        crop_views(ramp(), BOXES, cameras(2))
    with pytest.raises(InputError, match="side"):
        CropRule(side=0)
    with pytest.raises(InputError, match="antialias"):
        CropRule(antialias=0)


class _Views(torch.nn.Module):
    def __init__(self, lens):
        super().__init__()
        self.lens = lens

    def forward(self, images, boxes, intrinsics, distortion, pictures):
        seen_by = Cameras(
            intrinsics=intrinsics[pictures],
            distortion=distortion[pictures] if self.lens else distortion[pictures][:, :0],
            image_size=torch.full((boxes.shape[0], 2), torch.nan, dtype=intrinsics.dtype),
        )
        found = crop_views(
            images, boxes, seen_by, pictures=pictures, augmentations=augmentation_table(2), rule=CropRule(side=32)
        )
        return found.images, found.intrinsics, found.rotation


def _arguments(pictures, people, height, width):
    values = np.random.default_rng(4).integers(0, 256, (pictures, 3, height, width), dtype=np.uint8)
    places = torch.arange(float(people))[:, None] * 4 + torch.tensor([5.0, 4.0, 40.0, 70.0])
    matrix = torch.tensor([[300.0, 0, width / 2], [0, 300, height / 2], [0, 0, 1]])
    lens = torch.tensor(LENS)
    which = torch.arange(people) % pictures
    return (
        torch.from_numpy(values),
        places,
        matrix.expand(pictures, 3, 3).clone(),
        lens.expand(pictures, 5).clone(),
        which,
    )


@pytest.mark.slow
@pytest.mark.parametrize("lens", [False, True])
def test_graph__of_any_pictures_and_boxes_gives_the_same(lens):
    module = _Views(lens)
    picture, box, height, width = (
        torch.export.Dim(name, min=least, max=4096)
        for name, least in (("pictures", 1), ("boxes", 1), ("height", 16), ("width", 16))
    )
    shapes = ({0: picture, 2: height, 3: width}, {0: box}, {0: picture}, {0: picture}, {0: box})
    graph = torch.export.export(module, _arguments(2, 5, 120, 160), dynamic_shapes=shapes).module()
    for arguments in (_arguments(1, 1, 90, 101), _arguments(3, 8, 131, 77)):
        for found, expected in zip(graph(*arguments), module(*arguments), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_crops__by_opencv_are_those_by_tensors():
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 3, 20, 25, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, size=(160, 200), mode="bilinear").clamp(0, 1)
    wide = boxes((60, 40, 50, 70), (-20, 90, 80, 40), (20, 10, 170, 140), (150, 120, 80, 60))
    given = {
        "pictures": torch.tensor([0, 1, 1, 0]),
        "augmentations": augmentation_table(3),
        "rule": CropRule(side=64),
    }
    warped = crop_views(pictures, wide, cameras(4), **given).images
    sampled = crop_views(pictures.requires_grad_(), wide, cameras(4), **given).images.detach()
    assert (warped - sampled).abs().mean() < 1e-4
    assert (warped - sampled).abs().max() < 0.05  # where the picture ends
