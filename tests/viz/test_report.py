import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from marey.core import Estimate, InputError, ShapeError
from marey.viz.payload import build_payload
from marey.viz.report import write_report
from viz.figure import small_estimate

ADDRESS = re.compile(r"(?:src|href|url|import|fetch|srcset|action)\s*[=(]\s*[\"']?\s*(?:https?:)?//", re.IGNORECASE)


class Page(HTMLParser):
    """The elements, the texts of scripts by id, and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.scripts, self.seen, self._inside = [], {}, [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = dict(attrs).get("id", tag)
            self.scripts[self._inside] = ""

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._inside = None

    def handle_data(self, data):
        if self._inside is None:
            self.seen.append(data)
        else:
            self.scripts[self._inside] += data


@pytest.fixture(scope="module")
def estimate() -> Estimate:
    return small_estimate()


def written(tmp_path, estimate, **options) -> str:
    write_report(tmp_path / "report.html", estimate, **options)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def test_report__is_one_file_that_needs_no_network(tmp_path, estimate):
    text = written(tmp_path, estimate)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert not ADDRESS.search(text)
    assert "http" not in text.replace("http-equiv", "")
    page = Page(text)
    assert not [attrs for tag, attrs in page.elements if tag in ("script", "img", "iframe") and "src" in attrs]
    assert [attrs.get("rel") for tag, attrs in page.elements if tag == "link"] == ["icon"]
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_report__holds_the_payload(tmp_path, estimate):
    page = Page(written(tmp_path, estimate))
    payload = build_payload(estimate, estimate.cameras.names)
    for name, block in payload.blocks.items():
        assert page.scripts[f"marey-{name}"] == "".join(block.base64())


def test_report__says_the_numbers_in_words(tmp_path, estimate):
    page = Page(written(tmp_path, estimate))
    seen = " ".join(" ".join(page.seen).split())
    assert "25 joints of 2 people in 12 frames (0.2 s) from 4 views" in seen
    assert "cam_2 was turned round." in seen
    assert "walk/cam_1, walk/cam_2" in seen
    assert "thigh" in seen
    assert "1920 \u00d7 1080" in seen
    assert "$" not in seen
    assert page.elements.count(("h1", {})) == 1


def test_report__every_control_and_picture_has_a_label(tmp_path, estimate):
    text = written(tmp_path, estimate, overlay=tmp_path / "overlay.mp4")
    page = Page(text)
    for tag, attrs in page.elements:
        if tag in ("canvas", "video"):
            assert attrs.get("aria-label"), attrs
        if tag in ("input", "select"):
            identity = attrs["id"]
            assert "aria-label" in attrs or re.search(rf"<label>[^/]*id=\"{identity}\"", text), attrs
    names = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(names) == len(set(names))


def test_report__every_element_that_the_scripts_want_is_there(tmp_path, estimate):
    page = Page(written(tmp_path, estimate))
    names = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    wanted = set(re.findall(r"(?:byId|this\.element|getElementById)\(\"([\w-]+)\"\)", page.scripts["script"]))
    assert len(wanted) > 15
    assert wanted <= names


def test_report__hostile_texts_stay_texts(tmp_path, estimate):
    evil = "</script><script>alert('$title')</script>\0&amp;"
    names = (evil, "b", "c", "d")
    nasty = replace(estimate, notes=(evil,), provenance={"inputs": [evil], "method": evil})
    page = Page(written(tmp_path, nasty, title=evil, recording_names=names))
    plain = Page(written(tmp_path, estimate))
    assert [tag for tag, _ in page.elements].count("script") == [tag for tag, _ in plain.elements].count("script")
    assert "alert('$title')" in " ".join(page.seen)


def test_report__of_bare_joints_has_no_views(tmp_path, estimate):
    page = Page(written(tmp_path, Estimate(joints=estimate.joints)))
    assert "heat" not in {attrs.get("id") for _, attrs in page.elements}
    assert "Nothing is on record." in " ".join(page.seen)


def test_report__of_nothing_known_is_written(tmp_path, estimate):
    nothing = torch.full_like(estimate.joints.positions, torch.nan)
    unknown = replace(estimate, joints=replace(estimate.joints, positions=nothing), diagnostics=None, keypoints=None)
    assert "No link has both of its ends measured" in written(tmp_path, unknown)


def test_report__of_nobody_is_written(tmp_path, estimate):
    nobody = replace(
        estimate,
        joints=estimate.joints[:, :0],
        keypoints=estimate.keypoints[:, :, :0],
        diagnostics=estimate.diagnostics[:, :, :0],
    )
    assert "25 joints of 0 people" in written(tmp_path, nobody)


def test_report__overlay_is_found_by_its_relative_path(tmp_path, estimate):
    (tmp_path / "my videos").mkdir()
    text = written(tmp_path, estimate, overlay=tmp_path / "my videos" / "overlay.mp4")
    assert 'src="my%20videos/overlay.mp4"' in text


def test_report__title_is_given_or_the_inputs_folder(tmp_path, estimate):
    assert "<h1>walk</h1>" in written(tmp_path, estimate)
    assert "<h1>A &lt;walk&gt;</h1>" in written(tmp_path, estimate, title="A <walk>")
    one = replace(estimate, provenance={"inputs": ["some/long/way/run.mp4"]})
    assert "<h1>way / run</h1>" in written(tmp_path, one)
    assert "<h1>3D pose estimate</h1>" in written(tmp_path, replace(estimate, provenance={}))


def test_report__names_must_fit_the_views(tmp_path, estimate):
    with pytest.raises(ShapeError, match="expected one for each of the 4 views, got 2"):
        write_report(tmp_path / "report.html", estimate, recording_names=("a", "b"))


def test_report__folder_that_is_not_there(tmp_path, estimate):
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path / "none" / "report.html", estimate)


def test_report__of_a_long_recording_stays_small_and_says_what_it_leaves_out(tmp_path):
    text = written(tmp_path, small_estimate(frames=10_000))
    assert len(text) < 15e6
    assert "one frame in 2 (5,000 of 10,000)" in text
    assert "10,000 frames (166.7 s)" in text
