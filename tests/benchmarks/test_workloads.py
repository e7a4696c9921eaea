"""The arrays and the stopwatch of the benchmarks."""

import importlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
measure = importlib.import_module("measure")
workloads = importlib.import_module("workloads")


def clean(work):
    cameras = {name: getattr(work, name) for name in ("intrinsics", "distortion", "rotation", "translation")}
    return workloads.project(work.points, **cameras)


@pytest.mark.parametrize("views", [2, 4, 8])
def test_workload__projects_as_opencv_inside_the_images(views):
    work = workloads.triangulation(views=views, points=500, distorted=True, noise=0.0, outlier_share=0.0)
    for view in range(views):
        rvec, _ = cv2.Rodrigues(work.rotation[view])
        seen, _ = cv2.projectPoints(
            work.points, rvec, work.translation[view], work.intrinsics[view], work.distortion[view]
        )
        np.testing.assert_allclose(work.pixels[view], seen[:, 0], atol=1e-8)
    assert (work.pixels > 0).all()
    assert (work.pixels < work.image_size[:, None]).all()


def test_workload__holds_the_noise_and_the_outliers_it_names():
    work = workloads.triangulation(points=20_000)
    error = work.pixels - clean(work)
    assert work.outliers.sum() == 2000
    assert work.outliers.sum(0).max() == 1
    assert error[~work.outliers].std() == pytest.approx(2.0, rel=0.01)
    assert np.linalg.norm(error[work.outliers], axis=-1).mean() == pytest.approx(80, abs=0.5)


def test_workload__is_the_same_for_the_same_seed(tmp_path):
    work = workloads.bundle(frames=3)
    again, other = workloads.bundle(frames=3), workloads.bundle(frames=3, seed=1)
    assert (work.pixels == again.pixels).all()
    assert (work.pixels != other.pixels).any()
    assert work.pixels.shape == (4, 51, 2)
    work.save(tmp_path / "work.npz")
    loaded = workloads.Workload.load(tmp_path / "work.npz")
    for name, value in vars(work).items():
        np.testing.assert_array_equal(getattr(loaded, name), value)


def test_perturbed_extrinsics__leave_the_first_camera():
    work = workloads.bundle(frames=1)
    rotation, translation = workloads.perturbed_extrinsics(work)
    np.testing.assert_allclose(rotation[0], work.rotation[0], atol=1e-15)
    np.testing.assert_allclose(translation[0], work.translation[0], atol=1e-15)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12)
    assert (np.abs(rotation - work.rotation).max((1, 2))[1:] > 1e-3).all()


def test_timing__counts_the_runs_and_not_the_warm_up():
    calls = []
    timing, result = measure.Timing.of(lambda: calls.append(0) or len(calls), warmup=2, runs=5)
    assert result == len(calls) == 7
    assert 0 <= timing.low <= timing.median <= timing.high
    assert timing.runs == 5
    assert timing.per_second(10) == 10 / timing.median


def test_write_json__is_strict(tmp_path):
    measure.write_json(tmp_path / "new" / "a.json", {"value": np.float64(2.5), **measure.describe("numpy")})
    found = json.loads((tmp_path / "new" / "a.json").read_text(encoding="utf-8"))
    assert found["value"] == 2.5
    assert found["numpy"] == np.__version__
    assert found["threads"] == 1
    with pytest.raises(ValueError, match="not JSON compliant"):
        measure.write_json(tmp_path / "b.json", {"value": float("nan")})


def test_run_peer__says_what_is_missing(monkeypatch):
    monkeypatch.setattr(measure, "PEERS", ROOT / "nowhere" / "python")
    with pytest.raises(FileNotFoundError, match="run: make peers"):
        measure.run_peer("bundle.py")


@pytest.mark.slow
@pytest.mark.skipif(not measure.PEERS.exists(), reason="the peers' environment is missing: make peers")
def test_bundle_adjustment__small_run_beside_the_peer(tmp_path):
    out = tmp_path / "bundle.json"
    script = ROOT / "benchmarks" / "bundle_adjustment.py"
    command = [sys.executable, str(script), "--out", str(out), "--frames", "10", "--runs", "2", "--peer-runs", "1"]
    subprocess.run(command, check=True, capture_output=True)
    results = json.loads(out.read_text(encoding="utf-8"))
    assert results["converged"]
    assert results["cost_ratio"] < 1.001
    assert results["speed_over_aniposelib"] > 2
