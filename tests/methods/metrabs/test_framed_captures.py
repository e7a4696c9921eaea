"""Captures framed anew: what a joint shows stays what it shows, and cuts leave the share that was asked for."""

import pytest
import torch

from marey.engine.captures import Captures, CaptureStream
from marey.methods.metrabs.framed_captures import FramedCaptures, Framing, draw_cuts, framed

SIDE, JOINTS = 128, 8


def captures(count=6):
    """Pictures whose red says the column and green the row, of joints around (0, 0, 4) before the camera."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    picture = torch.stack((columns + 64, rows + 64, torch.full_like(rows, 128))).to(torch.uint8)
    generator = torch.Generator().manual_seed(4)
    joints = (torch.rand(count, JOINTS, 3, generator=generator) - 0.5) * torch.tensor([1.0, 1.6, 0.6])
    intrinsics = torch.tensor([[220.0, 0.0, 63.5], [0.0, 220.0, 63.5], [0.0, 0.0, 1.0]])
    projection = intrinsics @ torch.cat((torch.eye(3), torch.tensor([[0.0], [0.0], [4.0]])), dim=1)
    return Captures(
        images=picture.expand(count, 1, 3, SIDE, SIDE).clone(),
        projections=projection.expand(count, 1, 3, 4).clone(),
        seen=torch.ones(count, 1, JOINTS, dtype=torch.bool),
        joints=joints,
        centers=joints.mean(1),
    )


def pixels_of(samples):
    moved = samples.projections[:, 0, :, :3] @ samples.joints.mT + samples.projections[:, 0, :, 3:]
    return (moved[:, :2] / moved[:, 2:]).mT


def random(count, *, which):
    draws = torch.rand(count, 1, 6, generator=torch.Generator().manual_seed(1))
    draws[..., 0] = which
    return draws


def test_framed__nothing_changes_where_nothing_is_asked():
    before = captures()
    after = framed(before, random(6, which=0.5), Framing(cut=0.0, close=0.0))
    assert torch.equal(after.images, before.images)
    assert torch.equal(after.projections, before.projections)
    assert after.seen.all()


@pytest.mark.parametrize("framing", [Framing(cut=0.0, close=1.0), Framing(cut=1.0, close=0.0)])
def test_framed__joints_show_what_they_showed(framing):
    before = captures()
    after = framed(before, random(6, which=0.5), framing)
    places, shown = pixels_of(before), after.images[:, 0].float()
    at = pixels_of(after).round().long()
    checked = 0
    for person in range(6):
        for joint in range(JOINTS):
            x, y = at[person, joint].tolist()
            inside = 2 <= x < SIDE - 2 and 2 <= y < SIDE - 2
            if inside and shown[person, 2, y, x] > 126:  # not where the picture has ended
                expected = places[person, joint] + 64
                assert (shown[person, :2, y, x] - expected).abs().max() < 2.5
                checked += 1
    assert checked > 15


def test_framed__close_ones_are_seen_whole():
    after = framed(captures(), random(6, which=0.5), Framing(cut=0.0, close=1.0))
    at = pixels_of(after)
    size = (at.amax(1) - at.amin(1)).amax(1)
    assert ((at > 0) & (at < SIDE - 1)).all()
    assert ((size > 0.5 * SIDE) & (size < SIDE)).all()
    assert after.seen.all()


def test_framed__what_is_cut_off_is_black_and_not_seen():
    before = captures(32)
    after = framed(before, random(32, which=0.5), Framing(cut=1.0, close=0.0))
    share = after.seen[:, 0].double().mean(1)
    assert (share >= 0.1).all()
    assert (share < 1).all()
    at = pixels_of(after).round().long().clamp(0, SIDE - 1)
    blue = after.images[:, 0, 2]
    gone = blue[torch.arange(32)[:, None], at[..., 1], at[..., 0]][~after.seen[:, 0]]
    assert (gone < 100).double().mean() > 0.9  # but for those that a crop's edge was clamped to


def test_cuts__leave_the_share_that_was_drawn():
    pixels = torch.stack((torch.linspace(10, 100, 10), torch.full((10,), 60.0)), dim=-1)[None].expand(2, -1, -1)
    across, below, above = 0.6, 0.1, 0.9
    draws = torch.tensor([[across, below, 0.5, 0.0], [across, above, 0.5, 0.0]])  # 0.3 + 0.5 * 0.6 of ten: six
    found = draw_cuts(pixels, SIDE, draws, cut=torch.tensor([True, True]))
    torch.testing.assert_close(found.kept[0], torch.tensor([-0.5, -0.5, 60.5, 127.5]))
    torch.testing.assert_close(found.kept[1], torch.tensor([49.5, -0.5, 127.5, 127.5]))
    assert found.possible.all()


def test_cuts__of_people_hardly_in_the_picture_are_not_possible():
    pixels = torch.full((1, 10, 2), 500.0)
    pixels[0, :3] = 50.0
    found = draw_cuts(pixels, SIDE, torch.rand(1, 4), cut=torch.tensor([True]))
    assert not found.possible.any()


def test_shards__are_parts_of_the_same_batch():
    stream = {
        "tiers": (("easy", 2), ("medium", 2)),
        "views": (1.0,),
        "side": 64,
        "skeleton": "halpe_26",
        "seed": 3,
        "mirrored": True,
        "device": torch.device("cpu"),
    }
    framing = Framing(cut=0.5, close=0.5)
    whole, *halves = (
        FramedCaptures(stream=CaptureStream(**stream, rank=rank, world=world), framing=framing).maker()(4)
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    for rows, half in (([0, 2], halves[0]), ([1, 3], halves[1])):
        apart = whole.images[rows].int() - half.images.int()
        assert (apart != 0).double().mean() < 0.01  # other sizes of a batch round otherwise
    torch.testing.assert_close(whole.projections[[1, 3]], halves[1].projections)
