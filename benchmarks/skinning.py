"""Posing bodies: how many a second without and with pose blend shapes, beside smplx on the same arrays.

    python benchmarks/skinning.py --out FILE [--batch 32] [--runs 30] [--smoke]

One thread on one core, single precision; smplx in an environment of its own, in the same run, given rotation matrices.
Every call is timed by the clock on the wall and, in further runs, by the processor's seconds that the thread took
(`cpu`), which say more when other programs run beside.
The bodies are of random numbers in the shapes of SMPL (6,890 vertices, 10 shape coefficients, 4 weights a vertex) and
of the open body (6,900 vertices, 16 coefficients, 6 weights, no pose blend shapes); the time does not depend on the
numbers. Written files of SMPL, SMPL-H and SMPL-X are read by `read_smpl` and posed in double precision; the largest
distance to smplx is under `difference_m`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marey.body.model import BodyModel
from marey.body.smpl import read_smpl
from marey.body.smpl_arrays import FAMILIES
from marey.core import BodyState
from marey.geometry.rotations import rotvec_to_matrix
from measure import Timing, describe, pin_to_one_core, run_peer, write_json

Arrays = dict[str, np.ndarray]

VERTICES = {"smpl": 6890, "smplh": 6890, "smplx": 10475}
OPEN_BODY = 6900
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
SMOKE_VERTICES = 200
"""Of the larger families and the open body; smplx wants those of SMPL to be there."""


def main() -> None:
    """Measure both and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--smoke", action="store_true", help="smaller bodies, three runs: does it work?")
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    if options.smoke:
        options.runs = 3
    sizes = VERTICES | ({"smplh": SMOKE_VERTICES, "smplx": SMOKE_VERTICES} if options.smoke else {})
    work = {
        family: family_arrays(family, vertices) | poses(family, options.batch) for family, vertices in sizes.items()
    }
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        ours = _ours(work, folder, options)
        peer, peer_meta, found = _peer(work, folder, options.runs)
        difference = {family: _difference(work[family], folder / f"{family}.npz", found, family) for family in work}
    write_json(
        options.out,
        {clock: _rates(ours[clock] | {"smplx": peer[clock]}, options.batch) for clock in CLOCKS}
        | {
            "difference_m": difference | {"worst": max(difference.values())},
            "batch": options.batch,
            "meta": describe("torch", "numpy") | {"peer": peer_meta},
        },
    )


def _rates(timings: Mapping[str, Timing], batch: int) -> dict[str, Any]:
    rate = {name: timing.per_second(batch) for name, timing in timings.items()}
    return {
        "bodies_per_second": rate,
        "with_pose_shapes_over_smplx": rate["with_pose_shapes"] / rate["smplx"],
        "seconds": {name: timing.asdict() for name, timing in timings.items()},
    }


def family_arrays(family: str, vertices: int, *, shapes: int = 10, influences: int = 4) -> Arrays:
    """Random arrays with the names, shapes and types of a body file, human in size."""
    source = np.random.default_rng(0)
    tree = FAMILIES[family]
    joints = len(tree)
    weights = source.random((vertices, joints)) * (source.random((vertices, joints)).argsort(1) < influences)
    regressor = source.random((joints, vertices)) * (source.random((joints, vertices)) < 10 / vertices)
    regressor[:, 0] += 1e-3
    return {
        "v_template": source.normal(size=(vertices, 3)) * (0.4, 0.6, 0.1),
        "f": source.integers(0, vertices, (2 * vertices - 4, 3)).astype(np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([tree.parents, range(joints)]).astype(np.uint32),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "shapedirs": 0.01 * source.normal(size=(vertices, 3, shapes + 10 * (family == "smplx"))),
        "posedirs": 1e-3 * source.normal(size=(vertices, 3, 9 * (joints - 1))),
    }


def poses(family: str, count: int) -> Arrays:
    """Random parameters for `count` bodies."""
    source = np.random.default_rng(1)
    vectors = torch.from_numpy(0.5 * source.normal(size=(count, len(FAMILIES[family]), 3)))
    return {
        "rotations": rotvec_to_matrix(vectors).numpy(),
        "betas": source.normal(size=(count, 10)),
        "translation": source.normal(size=(count, 3)),
    }


def _ours(work: Mapping[str, Arrays], folder: Path, options: argparse.Namespace) -> dict[str, dict[str, Timing]]:
    for family, arrays in work.items():
        parts = {name: value for name, value in arrays.items() if name not in ("rotations", "betas", "translation")}
        np.savez(folder / f"{family}.npz", **parts)
    smpl = read_smpl(folder / "smpl.npz")
    plain = _open_body(SMOKE_VERTICES if options.smoke else OPEN_BODY)
    bodies = {
        "without_pose_shapes": (plain, _state(work["smpl"], plain)),
        "with_pose_shapes": (smpl, _state(work["smpl"], smpl)),
    }
    return {name: _timed(bodies, clock, options.runs) for name, clock in CLOCKS.items()}


def _timed(
    bodies: Mapping[str, tuple[BodyModel, BodyState]], clock: Callable[[], float], runs: int
) -> dict[str, Timing]:
    return {
        name: Timing.of(partial(model, body), warmup=5, runs=runs, clock=clock)[0]
        for name, (model, body) in bodies.items()
    }


def _open_body(vertices: int) -> BodyModel:
    """A body in the shape of the open one."""
    arrays = family_arrays("smpl", vertices, shapes=16, influences=6)
    weights = torch.from_numpy(arrays["weights"]).float().topk(6)
    regressor, basis = arrays["J_regressor"], arrays["shapedirs"]
    return BodyModel(
        name="open",
        tree=FAMILIES["smpl"],
        template=torch.from_numpy(arrays["v_template"]).float(),
        faces=torch.from_numpy(arrays["f"].astype(np.int64)),
        shape_basis=torch.from_numpy(basis).float(),
        joint_template=torch.from_numpy(regressor @ arrays["v_template"]).float(),
        joint_basis=torch.from_numpy(np.tensordot(regressor, basis, 1)).float(),
        skin_joints=weights.indices,
        skin_weights=weights.values,
    )


def _state(arrays: Arrays, model: BodyModel) -> BodyState:
    rotations = torch.from_numpy(arrays["rotations"])
    betas = np.resize(arrays["betas"], (len(rotations), model.shape_basis.shape[-1]))
    return BodyState(
        orientation=rotations[:, 0],
        pose=rotations[:, 1:],
        shape=torch.from_numpy(betas),
        translation=torch.from_numpy(arrays["translation"]),
    ).to(model.template.dtype)


def _peer(work: Mapping[str, Arrays], folder: Path, runs: int) -> tuple[dict[str, Timing], dict[str, Any], Arrays]:
    given, got = folder / "work.npz", folder / "peer.npz"
    np.savez(given, **{f"{family}.{name}": value for family in work for name, value in _for_peer(work[family]).items()})
    run_peer("smplx_skinning.py", given, got, "--runs", str(runs))
    report = json.loads(got.with_suffix(".json").read_text(encoding="utf-8"))
    with np.load(got, allow_pickle=False) as arrays:
        timings = {clock: Timing(**report[clock]) for clock in CLOCKS}
        return timings, report["meta"], {name: arrays[name] for name in arrays.files}


def _for_peer(arrays: Arrays) -> Arrays:
    """The arrays without the face's expressions, which nothing here moves."""
    return arrays | {"shapedirs": arrays["shapedirs"][..., :10]}


def _difference(arrays: Arrays, path: Path, found: Arrays, family: str) -> float:
    """Largest distance in metres of a vertex or joint to smplx's, double precision."""
    model = read_smpl(path, dtype=torch.float64)
    posed = model(_state(arrays, model))
    return max(
        float(np.linalg.norm(ours.numpy() - found[f"{family}.{name}"], axis=-1).max())
        for name, ours in (("vertices", posed.vertices), ("joints", posed.joints))
    )


if __name__ == "__main__":
    main()
