"""The documentation as a whole. Slow: it takes minutes."""

import sys

import pytest

from house.newcomer import run
from house.source import ROOT


@pytest.mark.slow
def test_documentation__builds_without_warnings(tmp_path):
    sphinx = (sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html")
    run(*sphinx, "docs", tmp_path / "html", cwd=ROOT)
    assert (tmp_path / "html" / "index.html").is_file()
