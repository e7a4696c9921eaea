import sys

import pytest

from marey.core import MissingDependencyError
from marey.viz.rerun_viewer import write_rerun
from viz.figure import small_estimate


def test_write__makes_a_recording(tmp_path):
    pytest.importorskip("rerun")
    write_rerun(tmp_path / "walk.rrd", small_estimate(frames=6))
    assert (tmp_path / "walk.rrd").read_bytes()[:3] == b"RRF"
    assert (tmp_path / "walk.rrd").stat().st_size > 10_000


def test_write__without_the_extra_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'marey\[viewer\]'"):
        write_rerun(tmp_path / "walk.rrd", small_estimate(frames=6))
    assert not list(tmp_path.iterdir())
