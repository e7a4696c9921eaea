"""`marey info` lists what exists."""

from importlib import import_module

import pytest

from marey.cli.info import FORMATS
from marey.cli.main import main
from marey.core import skeleton_names


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


def test_info_methods__says_what_they_need(capsys):
    assert main(["info", "methods"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("classical"))
    assert "2 or more" in line
    assert "keypoints" in line


def test_info__unknown_topic_is_refused():
    with pytest.raises(SystemExit):
        main(["info", "weather"])
