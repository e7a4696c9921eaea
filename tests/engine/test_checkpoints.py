"""Checkpoints: whole or absent, of this run, pruned, and never run as code."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch

from marey.core import FormatError, InputError, TrainingError
from marey.engine.checkpoints import (
    Note,
    check_same_run,
    newest_checkpoint,
    read_checkpoint,
    read_note,
    remove_checkpoints,
    steps_kept,
    write_checkpoint,
)

IDENTITY = {"method": "m", "training": {"seed": 5, "optimiser": {"betas": (0.9, 0.99)}}}


def note(step: int = 3, **more) -> Note:
    return Note(step=step, world=1, identity=IDENTITY, **more)


def test_write_checkpoint__the_note_is_readable_text(tmp_path):
    path = write_checkpoint(tmp_path / "kept", {"model": {"w": torch.ones(2)}}, note(scores={"error": 1.5}))
    assert sorted(item.name for item in path.parent.iterdir()) == ["step-00000003.json", "step-00000003.pt"]
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["step"] == 3
    assert told["scores"] == {"error": 1.5}
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    state, again = read_checkpoint(tmp_path / "kept", 3)
    assert state["model"]["w"].tolist() == [1, 1]
    assert again.identity["training"]["optimiser"]["betas"] == [0.9, 0.99]


@pytest.mark.parametrize("place", [0, 40, -30, -1])
def test_read_checkpoint__a_changed_byte_is_noticed(tmp_path, place):
    path = write_checkpoint(tmp_path, {"w": torch.ones(20)}, note())
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="damaged: its SHA-256"):
        read_checkpoint(tmp_path, 3)


def test_write_checkpoint__a_full_disk_leaves_the_older_one(tmp_path):
    resource = pytest.importorskip("resource")
    write_checkpoint(tmp_path, {"w": torch.ones(2)}, note(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # no file may become larger
    try:
        with pytest.raises(InputError, match=r"cannot write .*step-00000004\.pt: .*is the disk full"):
            write_checkpoint(tmp_path, {"w": torch.ones(100_000)}, note(4))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003.json", "step-00000003.pt"]


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("evil"),)


def test_read_checkpoint__no_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_checkpoint(tmp_path, {"w": torch.ones(1)}, note())
    torch.save({"w": Evil()}, path, pickle_module=pickle)
    values = json.loads(path.with_suffix(".json").read_text())
    values["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(values))
    with pytest.raises(FormatError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path, 3)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"step": 1}', '{"step": "1", "world": 1, "identity": {}}', "null", "[" * 10**5]
)
def test_read_note__of_something_else(tmp_path, text):
    (tmp_path / "step-00000001.json").write_text(text)
    with pytest.raises(FormatError, match="not the note of a checkpoint"):
        read_note(tmp_path / "step-00000001.json")


def test_newest_checkpoint__passes_over_all_that_is_damaged(tmp_path):
    assert newest_checkpoint(tmp_path / "absent") is None
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, {"w": torch.tensor(step)}, note(step))
    (tmp_path / "step-00000003.pt").unlink()
    (tmp_path / "step-00000002.json").write_text("{")
    (tmp_path / ".step-00000004.ab12.pt").write_text("half")
    with pytest.warns(UserWarning, match="an older checkpoint is taken") as warned:
        state, found = newest_checkpoint(tmp_path)
    assert len(warned) == 2
    assert found.step == state["w"].item() == 1


def test_remove_checkpoints__but_some(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, {"w": torch.tensor(step)}, note(step))
    (tmp_path / ".step-00000004.ab12.pt").write_text("half")
    (tmp_path / "mine.txt").write_text("not a checkpoint")
    remove_checkpoints(tmp_path, keep=(1, 3))
    assert steps_kept(tmp_path) == [1, 3]
    assert len(list(tmp_path.iterdir())) == 5
    remove_checkpoints(tmp_path / "absent")


def test_check_same_run__after_a_way_through_json(tmp_path):
    write_checkpoint(tmp_path, {}, note())
    check_same_run(read_note(tmp_path / "step-00000003.json"), IDENTITY, world=1, where=tmp_path)


@pytest.mark.parametrize(
    ("identity", "world", "message"),
    [
        (IDENTITY, 2, "processes was 1, is 2"),
        (IDENTITY | {"method": "n"}, 1, "method was 'm', is 'n'"),
        (IDENTITY | {"width": 4}, 1, "width was not there, is 4"),
        ({"method": "m"}, 1, r"training\.optimiser\.betas was \[0\.9, 0\.99\], is not there; training\.seed was 5"),
        ({f"field{number}": 0 for number in range(7)}, 1, "and 4 more. Take another output folder"),
    ],
)
def test_check_same_run__says_what_differs(identity, world, message):
    with pytest.raises(TrainingError, match=message):
        check_same_run(note(), identity, world=world, where=Path("out"))
