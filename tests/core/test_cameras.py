"""Cameras: what is checked, where they stand, how the names of the views follow."""

import pytest
import torch

from marey.core import CalibrationError, Cameras, ShapeError


def cameras(*batch: int, distortion: int = 5, **fields) -> Cameras:
    return Cameras(
        intrinsics=torch.eye(3).expand(*batch, 3, 3),
        distortion=torch.zeros(*batch, distortion),
        image_size=torch.full((*batch, 2), 100.0),
        **fields,
    )


@pytest.mark.parametrize("length", [0, 4, 5, 8, 12, 14])
def test_construction__every_opencv_distortion_length(length):
    assert cameras(3, distortion=length).batch_shape == (3,)


def test_construction__refuses_incomplete_calibrations():
    with pytest.raises(CalibrationError, match=r"distortion: expected \(0, 4, .* got 6; pad with zeros"):
        cameras(3, distortion=6)
    with pytest.raises(CalibrationError, match="both rotation and translation"):
        cameras(2, rotation=torch.eye(3).expand(2, 3, 3))
    with pytest.raises(CalibrationError, match="fisheye camera has 4"):
        cameras(2, distortion=0, fisheye=torch.tensor([True, False]))
    with pytest.raises(ShapeError, match="names: expected 2, got 3"):
        cameras(2, names=("a", "b", "c"))
    with pytest.raises(ShapeError, match=r"Cameras.intrinsics: expected \(\.\.\., 3, 3\)"):
        Cameras(intrinsics=torch.zeros(3, 4), distortion=torch.zeros(5), image_size=torch.zeros(2))


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_centers__project_to_the_origin_of_their_camera(batch):
    rotation = torch.linalg.qr(torch.randn(*batch, 3, 3, generator=torch.Generator().manual_seed(0))).Q
    translation = torch.randn(*batch, 3, generator=torch.Generator().manual_seed(1))
    rig = cameras(*batch, rotation=rotation, translation=translation)
    assert rig.has_extrinsics
    seen = (rotation @ rig.centers[..., None])[..., 0] + translation
    torch.testing.assert_close(seen, torch.zeros_like(seen), atol=1e-6, rtol=0)


def test_extrinsics__unknown_ones_are_an_error():
    rig = cameras(2)
    assert not rig.has_extrinsics
    with pytest.raises(CalibrationError, match="intrinsics only"):
        _ = rig.extrinsics
    with pytest.raises(CalibrationError, match="intrinsics only"):
        _ = rig.centers


@pytest.mark.parametrize(
    ("index", "names"),
    [
        (1, ("b",)),
        (slice(1, None), ("b", "c")),
        ([2, 0], ("c", "a")),
        (torch.tensor([True, False, True]), ("a", "c")),
        ((None, slice(None)), ("a", "b", "c")),
        (..., ("a", "b", "c")),
        ((slice(None), None), ()),  # the last dimension no longer counts views
        ([0, 0], ()),
        (slice(0, 0), ()),
    ],
)
def test_getitem__names_follow_the_views(index, names):
    assert cameras(3, names=("a", "b", "c"))[index].names == names


def test_getitem__names_stay_when_a_leading_dimension_is_indexed():
    rig = cameras(5, 3, names=("a", "b", "c"))
    assert rig[0].names == rig[1:3].names == ("a", "b", "c")
    assert rig[:, 0].names == ()
    assert rig[:, 1:].names == ("b", "c")


def test_getitem__beyond_the_views_is_an_error():
    with pytest.raises(ShapeError, match="batch shape"):
        cameras(3, names=("a", "b", "c"))[3]


def test_join__names_join_along_the_views_only():
    first, second = cameras(2, names=("a", "b")), cameras(1, names=("c",))
    assert Cameras.cat([first, second]).names == ("a", "b", "c")
    assert Cameras.stack([second[0], first[0]]).names == ("c", "a")
    assert Cameras.stack([first, first]).names == ("a", "b")
    assert Cameras.stack([first, cameras(2)]).names == ()
    assert Cameras.cat([first, cameras(1)]).names == ()


def test_map__names_stay_while_the_views_do():
    rig = cameras(3, names=("a", "b", "c"))
    assert rig.to(torch.float64).names == ("a", "b", "c")
    assert rig.map(lambda tensor: tensor[None]).names == ("a", "b", "c")
    assert rig.map(lambda tensor: tensor[:, None]).names == ()
