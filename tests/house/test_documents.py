"""README and documentation: their Python runs, their links lead somewhere."""

import re
import shlex
import warnings
from pathlib import Path

import pytest

from house.source import ROOT
from marey.cli.main import main
from marey.data.keypoint_capture import KeypointCaptureConfig, make_keypoint_capture
from marey.data.keypoint_capture_files import write_keypoint_capture

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("README.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
ANY_BLOCK = re.compile(r"^```(python|toml|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
WALKED = [ROOT / "docs" / "howto" / f"train_on_own_{what}.md" for what in ("cameras", "pictures")]
"""Pages that are followed from top to bottom, commands and files included."""
WITH_CODE = [page for page in PAGES if page not in WALKED and BLOCK.search(page.read_text(encoding="utf-8"))]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the documents speak of: `recording_folder` and `cameras.toml`."""
    place = tmp_path_factory.mktemp("documents")
    capture = make_keypoint_capture(KeypointCaptureConfig(frames=40))
    folder = write_keypoint_capture(capture, place / "recording_folder")
    (folder / "cameras.toml").rename(place / "cameras.toml")
    return place


EXTRAS = {"docs/howto/export.md": ("onnx", "onnxruntime")}
"""Pages whose code needs packages that not everybody has."""


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_page__its_python_runs(page, recording, tmp_path, monkeypatch):
    for package in EXTRAS.get(name(page), ()):
        pytest.importorskip(package)
    for item in recording.iterdir():
        (tmp_path / item.name).symlink_to(item)
    monkeypatch.chdir(tmp_path)
    code = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the recording, which is faulty on purpose
        exec(compile(code, str(page), "exec"), {"__name__": "document"})


@pytest.mark.slow
@pytest.mark.parametrize("page", WALKED, ids=name)
def test_page__can_be_followed_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    for kind, text in ANY_BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(text, str(page), "exec"), {"__name__": "document"})
        elif kind == "toml":
            Path(re.match(r"# (\S+\.toml)$", text, re.MULTILINE)[1]).write_text(text, encoding="utf-8")
        else:
            for line in text.splitlines():
                prompt, program, *words = shlex.split(line)
                assert (prompt, program) == ("$", "marey")
                assert main(words) == 0, f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_page__its_links_lead_somewhere(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


def test_readme__shows_ten_lines_of_code():
    block = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block.group(1).count("\n") <= 12
