import pytest

from marey.core.errors import InputError
from marey.io.atomic import atomic_path, atomic_write_text, check_writable


def test_atomic_path__replaces_whole_file_and_keeps_suffix(tmp_path):
    target = tmp_path / "a.npz"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npz"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_path__interrupted_keeps_old_file_and_leaves_nothing(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted():
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_write_text__missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*gone.a\.txt"):
        atomic_write_text(tmp_path / "gone" / "a.txt", "text")


def test_check_writable__makes_the_folder_and_leaves_it_empty(tmp_path):
    folder = check_writable(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())


def test_check_writable__a_file_in_the_way_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another output folder"):
        check_writable(tmp_path / "file" / "out")
