"""Checkpoints: tensors come out, code does not run."""

import os
import pickle

import pytest
import torch

from marey.core import FormatError
from marey.io.torch_checkpoints import read_state_dict


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "network"])
def test_state_dict__is_found_and_its_prefix_taken_away(tmp_path, wrapper):
    state = {"module.weight": torch.tensor([1.0, 2.0]), "module.steps": torch.tensor(3)}
    torch.save(state if wrapper is None else {"epoch": 7, wrapper: state}, tmp_path / "a.pth")
    found = read_state_dict(tmp_path / "a.pth")
    assert {name: value.tolist() for name, value in found.items()} == {"weight": [1.0, 2.0], "steps": 3}


class Evil:
    def __reduce__(self):
        return os.mkdir, ("harm",)


def test_checkpoint__with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(FormatError, match="objects of other programs are not opened"):
        read_state_dict(tmp_path / "evil.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FormatError, match="cannot be read"):
        read_state_dict(tmp_path / "old.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_checkpoint__that_is_none(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.pth: expected a checkpoint of tensors"):
        read_state_dict(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"epoch": 3}, {"state_dict": {}}, {"state_dict": {"a": 1}}, 5])
def test_checkpoint__without_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(FormatError, match=r"a\.pth: (expected a dictionary|the checkpoint holds no tensors)"):
        read_state_dict(tmp_path / "a.pth")


def test_checkpoint__too_large(tmp_path):
    with (tmp_path / "a.pth").open("wb") as file:
        file.truncate((4 << 30) + 1)
    with pytest.raises(FormatError, match="at most 4 GiB"):
        read_state_dict(tmp_path / "a.pth")
