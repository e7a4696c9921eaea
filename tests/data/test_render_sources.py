"""Archives to render people from, written by NumPy from literal arrays."""

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.data.render_sources import open_body_textures, read_render_poses

NAMES = ["h36m_S1_1", "CMU/01/01_01", "3dpw_x", "up3d_2", "amass_h36m"]


def test_read_render_poses__by_source(tmp_path):
    poses = np.arange(5 * 72.0).reshape(5, 72)
    np.savez(tmp_path / "p.npz", fnames=np.array(NAMES), poses=poses)
    found = read_render_poses(tmp_path / "p.npz")
    assert found.names.tolist() == ["h36m_S1_1", "3dpw_x", "up3d_2"]
    assert (found.poses.dtype, found.poses[1, 0]) == (np.float32, 144)
    assert len(read_render_poses(tmp_path / "p.npz", sources=None)) == 5
    assert read_render_poses(tmp_path / "p.npz", sources=["CMU"]).names.tolist() == ["CMU/01/01_01"]
    with pytest.raises(InputError, match="none of its 5 poses is of KIT"):
        read_render_poses(tmp_path / "p.npz", sources=["KIT"])


def test_read_render_poses__stored_as_objects(tmp_path):
    poses = np.empty(2, dtype=object)
    poses[:] = [np.zeros(72), np.ones(72)]
    np.savez(tmp_path / "p.npz", fnames=np.array(["h36m_1", "h36m_2"], dtype=object), poses=poses)
    assert read_render_poses(tmp_path / "p.npz").poses[:, 71].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"fnames": np.array(["h36m"])}, "'poses' is missing"),
        ({"fnames": np.array([1]), "poses": np.zeros((1, 72))}, "'fnames'"),
        ({"fnames": np.array("h36m"), "poses": np.zeros((1, 72))}, "'fnames'"),
        ({"fnames": np.array(["h36m"]), "poses": np.zeros((2, 72))}, r"expected \(1, 72\)"),
        ({"fnames": np.array(["h36m"]), "poses": np.full((1, 72), np.nan)}, "finite"),
        ({"fnames": np.array(["h36m"]), "poses": np.array([["a"] * 72])}, "no numbers"),
    ],
)
def test_read_render_poses__damaged(tmp_path, arrays, message):
    np.savez(tmp_path / "p.npz", **arrays)
    with pytest.raises(FormatError, match=message):
        read_render_poses(tmp_path / "p.npz")


def test_open_body_textures__drawn_by_kind(tmp_path):
    grey = np.zeros((2, 12, 8, 3), dtype=np.uint8)
    coloured = np.full((3, 12, 8, 3), 10, dtype=np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None]
    np.savez(tmp_path / "t.npz", grey=grey, nongrey=coloured)
    found = open_body_textures(tmp_path / "t.npz")
    assert isinstance(found.coloured, np.memmap)
    source = np.random.default_rng(0)
    drawn = [int(found.draw(source)[0, 0, 0]) for _ in range(2000)]
    assert set(drawn) == {0, 10, 11, 12}
    assert drawn.count(0) / 2000 == pytest.approx(0.05, abs=0.02)
    assert found.draw(source, grey_share=1.0).max() == 0
    np.savez(tmp_path / "e.npz", grey=grey[:0], nongrey=coloured)
    with pytest.raises(InputError, match="none of the kind"):
        open_body_textures(tmp_path / "e.npz").draw(source, grey_share=1.0)


def test_open_body_textures__compressed(tmp_path):
    np.savez_compressed(
        tmp_path / "t.npz", grey=np.zeros((1, 6, 4, 3), np.uint8), nongrey=np.ones((1, 6, 4, 3), np.uint8)
    )
    with pytest.raises(InputError, match="is compressed"):
        open_body_textures(tmp_path / "t.npz")
    assert open_body_textures(tmp_path / "t.npz", unpack_to=tmp_path / "u").coloured[0, 5, 3, 2] == 1


@pytest.mark.parametrize("shape", [(1, 6, 6, 3), (1, 6, 4, 4), (6, 4, 3)])
def test_open_body_textures__no_atlas(tmp_path, shape):
    np.savez(tmp_path / "t.npz", grey=np.zeros(shape, np.uint8), nongrey=np.zeros(shape, np.uint8))
    with pytest.raises(FormatError, match="1200, 800, 3"):
        open_body_textures(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", grey=np.zeros((1, 6, 4, 3), np.uint8), nongrey=np.zeros((1, 12, 8, 3), np.uint8))
    with pytest.raises(FormatError, match="two sizes"):
        open_body_textures(tmp_path / "t.npz")
