"""`marey info` lists what exists."""

from importlib import import_module

import pytest

from marey.cli.info import FORMATS
from marey.cli.main import main
from marey.core import skeleton_names
from marey.pipeline.conversion import KINDS


@pytest.mark.parametrize("target", [name for form in FORMATS for name in (form.reader, form.writer) if name])
def test_formats__readers_and_writers_exist(target):
    module, _, name = target.partition(":")
    assert callable(getattr(import_module(module), name))


def test_info_skeletons__lists_every_skeleton(capsys):
    assert main(["info", "skeletons"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}: " in printed for name in skeleton_names())
    assert "left_big_toe" in printed


def test_info_formats__lists_every_format(capsys):
    assert main(["info", "formats"]) == 0
    printed = capsys.readouterr().out
    assert all(form.name in printed for form in FORMATS)
    assert "read and write" in printed


def test_info_formats__names_everything_that_convert_knows(capsys):
    assert main(["info", "formats"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    listed = {tuple(row[:2]) for row in rows}
    assert {(name, kind) for kind, table in KINDS.items() for name in table.formats} <= listed
    can = {tuple(row[:2]): " ".join(row[2:5]) for row in rows}
    assert can["amass", "motion"] == "read and write"
    assert can["usda", "motion"].startswith("write USD")
    assert can["coco-annotations", "keypoints"].startswith("read COCO")


@pytest.mark.parametrize(
    "words",
    [
        *("BVH", "glTF", "C3D", "MOT", "STO", "USD", "COCO annotations", "COCO results", "HumanData", "AMASS", "TRC"),
        *("VideoPose3D data_2d_*.npz", "VideoPose3D data_3d_*.npz", "Caliscope board points", "synchronisation.json"),
        *("Caliscope timestamps.csv", "OpenPose JSON", "joints.csv", "estimate.npz", "Qualisys", "COLMAP"),
    ],
)
def test_formats__names_that_users_look_for(words):
    assert any(words.casefold() in form.files.casefold() for form in FORMATS)


def test_formats__one_row_a_name_and_kind():
    names = [(form.name, form.holds) for form in FORMATS]
    assert len(set(names)) == len(names)


def test_info_methods__says_what_they_need(capsys):
    assert main(["info", "methods"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("classical"))
    assert "2 or more" in line
    assert "keypoints" in line


def test_info__unknown_topic_is_refused():
    with pytest.raises(SystemExit):
        main(["info", "weather"])
