"""Pose bodies with smplx, timed on one thread. Runs in the peers' environment.

    python smplx_skinning.py WORK.npz OUT.npz [--runs 30]

WORK.npz: `<family>.<array>` for the arrays of a body file of each family and for `rotations` (B, J, 3, 3), `betas`
(B, S) and `translation` (B, 3). OUT.npz: `<family>.vertices` and `<family>.joints` in double precision. OUT.json:
{"meta": {...}, "wall": {median, low, high, runs}, "cpu": {...}} in seconds, of the module for SMPL in single precision,
given rotation matrices, which is the quickest way to call it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import smplx
import torch
from smplx.lbs import lbs
from smplx.utils import Struct

from measure import Timing, describe, pin_to_one_core, write_json

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    with np.load(options.work, allow_pickle=False) as archive:
        work = {name: archive[name] for name in archive.files}
    families = sorted({name.split(".")[0] for name in work})
    results: Arrays = {}
    with torch.inference_mode():
        for family in families:
            posed = _posed({name.split(".")[1]: work[name] for name in work if name.startswith(f"{family}.")})
            results |= {f"{family}.{name}": value for name, value in zip(("vertices", "joints"), posed, strict=True)}
        timings = _timed({name.split(".")[1]: work[name] for name in work if name.startswith("smpl.")}, options.runs)
    np.savez(options.out, **results)
    seconds = {clock: timing.asdict() for clock, timing in timings.items()}
    write_json(options.out.with_suffix(".json"), {"meta": describe("smplx", "torch", "numpy")} | seconds)


def _posed(work: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints by the function that all of the package's models call, double precision."""
    tensors = {name: torch.from_numpy(value) for name, value in work.items() if value.dtype == np.float64}
    parents = torch.from_numpy(work["kintree_table"][0].astype(np.int64))
    parents[0] = -1
    vertices, joints = lbs(
        tensors["betas"],
        tensors["rotations"],
        tensors["v_template"],
        tensors["shapedirs"],
        tensors["posedirs"].reshape(-1, tensors["posedirs"].shape[-1]).T,
        tensors["J_regressor"],
        parents,
        tensors["weights"],
        pose2rot=False,
    )
    shift = tensors["translation"][:, None]
    return (vertices + shift).numpy(), (joints + shift).numpy()


def _timed(work: Arrays, runs: int) -> dict[str, Timing]:
    bodies = len(work["betas"])
    model = smplx.SMPL("", data_struct=Struct(**work), batch_size=bodies, num_betas=work["betas"].shape[1])
    rotations, betas, translation = (
        torch.from_numpy(work[name]).float() for name in ("rotations", "betas", "translation")
    )

    def run() -> object:
        return model(
            betas=betas,
            global_orient=rotations[:, :1],
            body_pose=rotations[:, 1:],
            transl=translation,
            pose2rot=False,
        )

    clocks = {"wall": time.perf_counter, "cpu": time.thread_time}
    return {name: Timing.of(run, warmup=5, runs=runs, clock=clock)[0] for name, clock in clocks.items()}


if __name__ == "__main__":
    main()
