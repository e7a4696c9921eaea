"""The report's own scripts: their projection is the package's, their decoder the layout's, and a browser runs them."""

import json
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from marey.core import Cameras, Estimate
from marey.geometry.projection import project_from_camera
from marey.viz.payload import build_payload
from marey.viz.report import SCRIPTS, write_report
from viz.figure import small_estimate

NODE = shutil.which("node")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

LENSES = {
    "none": [],
    "4": [-0.2, 0.05, 0.001, -0.002],
    "5": [-0.2, 0.05, 0.001, -0.002, 0.01],
    "8": [0.1, -0.05, 0.001, -0.002, 0.01, 0.2, 0.01, 0.002],
    "12": [0.1, -0.05, 0.001, -0.002, 0.01, 0.2, 0.01, 0.002, 0.003, -0.001, 0.002, 0.004],
    "14": [0.1, -0.05, 0.001, -0.002, 0.01, 0.2, 0.01, 0.002, 0.003, -0.001, 0.002, 0.004, 0.02, -0.03],
    "fisheye": [0.02, -0.01, 0.004, -0.001],
}


def run_scripts(tmp_path: Path, program: str, values: object) -> object:
    """The answer of a JavaScript expression that uses the report's scripts and `given`."""
    if NODE is None:
        pytest.skip("node is not installed")
    scripts = "\n".join((resources.files("marey.viz") / "assets" / name).read_text() for name in SCRIPTS)
    (tmp_path / "given.json").write_text(json.dumps(values))
    (tmp_path / "program.cjs").write_text(
        f'"use strict";\n{scripts}\nconst given = JSON.parse(require("fs").readFileSync(process.argv[2]));\n'
        f"console.log(JSON.stringify({program}));\n"
    )
    done = subprocess.run([NODE, "program.cjs", "given.json"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("lens", LENSES)
def test_projection__equals_the_packages(tmp_path, lens):
    distortion = torch.tensor([LENSES[lens]], dtype=torch.float64)
    cameras = Cameras(
        intrinsics=torch.tensor([[[800.0, 2, 640], [0, 810, 360], [0, 0, 1]]], dtype=torch.float64),
        distortion=distortion,
        image_size=torch.tensor([[1280.0, 720.0]], dtype=torch.float64),
        fisheye=torch.tensor([lens == "fisheye"]) if lens == "fisheye" else None,
    )
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(40, 3, generator=generator, dtype=torch.float64) * 2 + torch.tensor([-1.0, -1, 2])
    camera = {
        "intrinsics": cameras.intrinsics[0].tolist(),
        "distortion": LENSES[lens],
        "fisheye": lens == "fisheye",
        "rotation": np.eye(3).tolist(),
        "translation": [0, 0, 0],
        "fold": None,
    }
    given = {"camera": camera, "points": points.tolist()}
    found = run_scripts(tmp_path, "given.points.map((point) => projectThroughLens(given.camera, point))", given)
    true = project_from_camera(points[None], cameras)[0].numpy()
    np.testing.assert_allclose(np.array(found)[:, :2], true, atol=1e-8)
    np.testing.assert_allclose(np.array(found)[:, 2], points[:, 2].numpy())


def test_decoder__reads_every_array(tmp_path):
    estimate = small_estimate()
    payload = build_payload(estimate, estimate.cameras.names)
    given = {
        "manifest": payload.manifest,
        "texts": {name: "".join(block.base64()) for name, block in payload.blocks.items()},
    }
    program = """(() => {
        const data = new Data(given.manifest, (name) => given.texts[name]);
        return { joint: data.joint(4, 1, 7), unknown: data.joint(5, 0, 9), filled: data.filled(3, 0, 9),
            deviations: data.deviations(4, 1, 7), keypoint: data.keypoint(2, 4, 1, 7), weight: data.weight(2, 4, 1, 7),
            seconds: data.seconds(6), missing: data.spread(5, 0, 9) };
    })()"""
    found = run_scripts(tmp_path, program, given)
    joints = estimate.joints
    np.testing.assert_allclose(found["joint"], joints.positions[4, 1, 7].numpy(), atol=3e-4)
    np.testing.assert_allclose(
        found["deviations"], joints.covariance[4, 1, 7].diagonal().sqrt().numpy(), rtol=2e-3, atol=1e-5
    )
    np.testing.assert_allclose(found["keypoint"], estimate.keypoints.positions[2, 4, 1, 7].numpy(), atol=0.1)
    assert found["weight"] == pytest.approx(float(estimate.diagnostics.weights[2, 4, 1, 7]), abs=0.002)
    assert found["seconds"] == pytest.approx(0.1)
    assert found["filled"] is True
    assert found["unknown"] is None
    assert found["missing"] is None


def test_decoder__half_precision_equals_numpys(tmp_path):
    bits = [*range(0, 0x7C00, 97), 0x0001, 0x03FF, 0x7BFF, 0x8001, 0xC3FF]
    found = run_scripts(tmp_path, "given.map(halfToNumber)", bits)
    np.testing.assert_array_equal(found, np.array(bits, np.uint16).view(np.float16).astype(float))


def test_ellipse__equals_the_eigenvalues(tmp_path):
    offsets = np.array([[3.0, 1.0], [-2.0, 2.0], [0.5, -1.0]])
    found = run_scripts(tmp_path, "ellipseOf(given)", offsets.tolist())
    values, vectors = np.linalg.eigh(offsets.T @ offsets)
    np.testing.assert_allclose([found["minor"], found["major"]], np.sqrt(values))
    direction = np.array([np.cos(found["angle"]), np.sin(found["angle"])])
    assert abs(direction @ vectors[:, 1]) == pytest.approx(1)


USE = """<script>
const problems = [];
window.addEventListener("error", (event) => problems.push(event.message));
const at = (id) => document.getElementById(id);
const change = (select) => [...select.options].forEach((option) => {
  select.value = option.value;
  select.dispatchEvent(new Event("change"));
});
window.addEventListener("load", () => {
  document.querySelectorAll("input[type=checkbox]").forEach((box) => box.click());
  document.querySelectorAll("input[type=checkbox]").forEach((box) => box.click());
  document.querySelectorAll("select").forEach(change);
  const pointer = (canvas, type, x, y, more = {}) => canvas.dispatchEvent(
    new PointerEvent(type, { pointerId: 1, clientX: x, clientY: y, buttons: 1, bubbles: true, ...more }));
  at("scene").setPointerCapture = () => {};
  for (const view of ["-1", "2"]) {
    at("viewpoint").value = view;
    at("viewpoint").dispatchEvent(new Event("change"));
    pointer(at("scene"), "pointerdown", 200, 500);
    pointer(at("scene"), "pointerdown", 260, 500, { pointerId: 2 });
    pointer(at("scene"), "pointermove", 290, 520, { pointerId: 2 });
    pointer(at("scene"), "pointerup", 290, 520, { pointerId: 2 });
    pointer(at("scene"), "pointermove", 240, 520);
    pointer(at("scene"), "pointermove", 250, 530, { shiftKey: true });
    pointer(at("scene"), "pointerup", 250, 530);
    at("scene").dispatchEvent(new WheelEvent("wheel", { deltaY: 120, bubbles: true, cancelable: true }));
    at("fit").click();
    at("fit-cameras").click();
    for (let x = 0; x < 800; x += 5) pointer(at("scene"), "pointermove", x, 600, { pointerId: 3, buttons: 0 });
  }
  for (const id of ["bands", "heat"]) pointer(at(id), "pointerdown", 400, at(id).getBoundingClientRect().y + 20);
  for (const key of ["e", "t", "g", "c", "r", "0", "1", "9", "Home", "End", "ArrowLeft", "ArrowRight", " ", " "]) {
    document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  }
  window.dispatchEvent(new Event("beforeprint"));
  window.dispatchEvent(new Event("afterprint"));
  window.dispatchEvent(new Event("resize"));
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
  const begin = at("clock").textContent;
  at("play").click();
  const wait = setInterval(() => {
    if (at("clock").textContent === begin) return;
    clearInterval(wait);
    at("play").click();
    document.title = `played; problems ${JSON.stringify(problems)}`;
  }, 20);
});
</script></body>"""
"""Turns every knob, and puts what went wrong into the title."""


def browse(tmp_path: Path, page: str) -> tuple[str, list[str]]:
    """The page after three seconds in a browser, and what its console says."""
    if CHROMIUM is None:
        pytest.skip("no browser is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += ["--enable-logging=stderr", "--virtual-time-budget=3000", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run([CHROMIUM, *options, "--dump-dom", page], capture_output=True, text=True, timeout=120)
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "clock"), [("", "frame 100 \u00b7 0.00 s"), ("#frame=103&view=cam_2", "frame 103 \u00b7 0.05 s")]
)
def test_browser__shows_the_report_without_a_complaint(tmp_path, address, clock):
    write_report(tmp_path / "report.html", small_estimate())
    page, console = browse(tmp_path, (tmp_path / "report.html").as_uri() + address)
    assert not console
    assert f">{clock}</output>" in page
    assert "through cam_4" in page


@pytest.mark.slow
def test_browser__says_that_nobody_was_found(tmp_path):
    estimate = small_estimate()
    write_report(tmp_path / "report.html", Estimate(joints=estimate.joints[:, :0], cameras=estimate.cameras))
    page, console = browse(tmp_path, (tmp_path / "report.html").as_uri())
    assert not console
    assert ">nobody was found</output>" in page


@pytest.mark.slow
@pytest.mark.parametrize("bare", [False, True])
def test_browser__every_control_works(tmp_path, bare):
    estimate = small_estimate(frames=120)
    write_report(tmp_path / "report.html", Estimate(joints=estimate.joints) if bare else estimate)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    use = USE.replace('["bands", "heat"]', '["bands"]').replace('["-1", "2"]', '["-1"]') if bare else USE
    (tmp_path / "used.html").write_text(text.replace("</body>", use), encoding="utf-8")
    page, console = browse(tmp_path, (tmp_path / "used.html").as_uri())
    assert not console
    assert "<title>played; problems []</title>" in page, page[:400]
