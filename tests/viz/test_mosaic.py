import pytest

from marey.core import InputError
from marey.viz.mosaic import lay_out


def test_four_wide_views__make_two_rows():
    mosaic = lay_out([(1920, 1080)] * 4, limit=(1600, 900), gap=4)
    assert (mosaic.width, mosaic.height) == (1596, 900)
    assert [(tile.left, tile.top) for tile in mosaic.tiles] == [(0, 0), (800, 0), (0, 452), (800, 452)]


def test_four_upright_views__stand_side_by_side():
    mosaic = lay_out([(1088, 1920)] * 4, limit=(1600, 900), gap=0)
    assert len({tile.top for tile in mosaic.tiles}) == 1
    assert mosaic.height > 700


@pytest.mark.parametrize("views", [1, 2, 3, 5, 8, 13])
def test_tiles__lie_within_the_frame_and_apart(views):
    sizes = [(640 + 40 * view, 480) for view in range(views)]
    mosaic = lay_out(sizes, limit=(1280, 720))
    assert mosaic.width <= 1280
    assert mosaic.height <= 720
    for place, tile in enumerate(mosaic.tiles):
        assert tile.left >= 0
        assert tile.left + tile.width <= mosaic.width
        assert tile.top + tile.height <= mosaic.height
        assert tile.width / tile.height == pytest.approx(sizes[place][0] / sizes[place][1], rel=0.03)
        for other in mosaic.tiles[:place]:
            apart = tile.left >= other.left + other.width or tile.top >= other.top + other.height
            assert apart or other.left >= tile.left + tile.width


def test_small_views__are_not_blown_up():
    mosaic = lay_out([(100, 80)], limit=(1600, 900))
    assert (mosaic.width, mosaic.height, mosaic.tiles[0].scale) == (100, 80, 1.0)


def test_no_view__is_an_error():
    with pytest.raises(InputError, match="at least one view"):
        lay_out([], limit=(1600, 900))
