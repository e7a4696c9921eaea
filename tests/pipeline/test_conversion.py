"""From format to format, found by name and content."""

import tomllib

import pytest

from marey.core import FormatError, InputError
from marey.io.formats import FileFormat
from marey.pipeline import conversion
from marey.pipeline.conversion import KINDS, Kind, convert

PANOPTIC = """{"cameras": [
{"name": "00_00", "type": "hd", "resolution": [640, 480], "K": [[700, 0, 320], [0, 710, 240], [0, 0, 1]],
 "distCoef": [0.1, 0, 0, 0, 0], "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [[100], [0], [300]]},
{"name": "00_01", "type": "hd", "resolution": [640, 480], "K": [[700, 0, 320], [0, 710, 240], [0, 0, 1]],
 "distCoef": [0, 0, 0, 0, 0], "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [[0], [0], [300]]}]}
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(PANOPTIC)
    return path


def test_convert__panoptic_to_toml(source):
    target = source.with_name("cameras.toml")
    done = convert(source, target)
    assert (done.kind, done.source, done.target) == ("cameras", "panoptic", "toml")
    assert done.content == "2 cameras (00_00, 00_01)"
    table = tomllib.loads(target.read_text())["00_00"]
    assert table["translation"] == [1, 0, 3]
    assert table["matrix"] == [[700, 0, 320], [0, 710, 240], [0, 0, 1]]


def test_convert__formats_and_unit_by_name(source):
    convert(source, source.with_name("rig"), from_format="panoptic", to_format="biocv", unit=0.02)
    text = (source.parent / "rig" / "00_00.calib").read_text()
    assert text.split("\n")[6] == "1.0 0.0 0.0 2000.0"


def test_convert__unknown_formats_list_what_is_known(source, tmp_path):
    with pytest.raises(InputError, match="no format is called 'fbx'; known: cameras: toml, "):
        convert(source, tmp_path / "x", to_format="fbx")
    with pytest.raises(InputError, match="no format is called 'fbx'"):
        convert(source, tmp_path / "x.toml", from_format="fbx")
    with pytest.raises(FormatError, match="its name does not say the format; say --to with one of toml, "):
        convert(source, tmp_path / "x")
    with pytest.raises(InputError, match="does not exist"):
        convert(tmp_path / "absent.toml", tmp_path / "x.toml")
    source.write_text("{}")
    with pytest.raises(FormatError, match="is in no format that is known"):
        convert(source, tmp_path / "x.toml")
    source.write_text('{"cameras": [{"K": 1, "matrix_world": 2}]}')
    with pytest.raises(FormatError, match=r"may be blender \(cameras\) and panoptic \(cameras\); say which"):
        convert(source, tmp_path / "x.toml")


def write_words(path, words):
    path.write_text(" ".join(words))


def read_words(path):
    return path.read_text().split()


def meant_words(path):
    if path.suffix != ".words":
        raise FormatError("not words")
    return "words"


@pytest.fixture
def words(monkeypatch):
    """A second kind, of which the first can be made."""
    format_ = FileFormat(".words", f"{__name__}:read_words", f"{__name__}:write_words", (".words",))
    closed = FileFormat(".closed", f"{__name__}:read_words", "", (".closed",))
    kind = Kind(
        formats={"words": format_, "closed": closed},
        found=lambda path: ["words"] if path.suffix == ".words" else [],
        meant=meant_words,
        read=lambda entry, path, stated: entry.read(path),
        told=lambda content: f"{len(content)} words",
    )
    monkeypatch.setitem(conversion.KINDS, "texts", kind)
    return kind


def test_convert__kinds_that_do_not_go_together_say_what_does(source, words, tmp_path):
    (tmp_path / "a.words").write_text("one two")
    with pytest.raises(InputError, match="texts cannot become 'toml'; from texts one can write words"):
        convert(tmp_path / "a.words", tmp_path / "x", to_format="toml")
    with pytest.raises(InputError, match="cameras cannot become 'words'; from cameras one can write toml, "):
        convert(source, tmp_path / "x", to_format="words")
    with pytest.raises(InputError, match="closed can be read, not written; from texts one can write words"):
        convert(tmp_path / "a.words", tmp_path / "x", to_format="closed")
    with pytest.raises(InputError, match="texts cannot become 'toml'; from texts one can write words"):
        convert(tmp_path / "a.words", tmp_path / "x.toml")
    with pytest.raises(FormatError, match="say --to with one of words"):
        convert(tmp_path / "a.words", tmp_path / "x")


def test_convert__kind_that_becomes_another(source, words, tmp_path, monkeypatch):
    cameras = KINDS["cameras"]
    bridged = Kind(**{**vars(cameras), "becomes": {"texts": lambda rig: rig.names}})
    monkeypatch.setitem(conversion.KINDS, "cameras", bridged)
    done = convert(source, tmp_path / "x.words")
    assert (done.source, done.target) == ("panoptic", "words")
    assert (tmp_path / "x.words").read_text() == "00_00 00_01"
