"""Damaged body files give a model or an error of the house, in bounded time and memory."""

import io
import json
import pickle
import struct

import numpy as np
import pytest

from body.smpl_files import family_arrays, python2_pickle
from fuzz.mutations import mutate_archive
from fuzz.runner import Target, run_target
from marey.body.smpl import read_smpl
from marey.io.body_files import read_joint_regressor

ARRAYS = family_arrays(vertices=9, shapes=10)


def archive(**arrays):
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def safetensors():
    header, content = {}, b""
    for name, value in ARRAYS.items():
        value = value.astype(np.float32 if value.dtype.kind == "f" else np.int64)
        ends = [len(content), len(content) + value.nbytes]
        kind = "F32" if value.dtype.kind == "f" else "I64"
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": ends}
        content += value.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def matrix():
    packed = io.BytesIO()
    np.save(packed, np.eye(3, 9))
    return packed.getvalue()


TARGETS = (
    Target(
        name="SMPL pickle",
        read=read_smpl,
        files={"m.pkl": python2_pickle(ARRAYS)},
        variants=tuple(pickle.dumps(ARRAYS, protocol) for protocol in (0, 2, 4)),
    ),
    Target(name="SMPL npz", read=read_smpl, files={"m.npz": archive(**ARRAYS)}, damage=mutate_archive),
    Target(name="SMPL safetensors", read=read_smpl, files={"m.safetensors": safetensors()}),
    Target(name="joint regressor", read=read_joint_regressor, files={"J.npy": matrix()}),
)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_read__a_hundred_damaged_files(target, tmp_path):
    ran, accepted, findings = run_target(target, inputs=100, seed=1, keep=tmp_path)
    assert (ran, findings) == (100, [])
    assert accepted < 100


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_read__many_damaged_files(target, tmp_path):
    ran, _, findings = run_target(target, inputs=15_000, seed=2, keep=tmp_path)
    assert (ran, findings) == (15_000, [])
