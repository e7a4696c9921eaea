"""How many processes train together, signals, and the journal of the first."""

import json
import signal
import threading

import pytest
import torch

from marey.core import InputError
from marey.engine.interruption import Interruption
from marey.engine.journal import Journal, read_metrics
from marey.engine.processes import deterministic_kernels, process_counts
from marey.engine.settings import TrainingSettings


@pytest.fixture
def launched(monkeypatch):
    """As in one of torchrun's processes: two machines with four devices each."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setenv("WORLD_SIZE", "8")


def test_process_counts__are_the_launchers(launched):
    assert process_counts(TrainingSettings()) == (4, 2)
    assert process_counts(TrainingSettings(devices=4, nodes=2)) == (4, 2)


@pytest.mark.parametrize(("wish", "message"), [("devices", "the settings say 3, torchrun started 4"), ("nodes", "3")])
def test_process_counts__settings_that_disagree(launched, wish, message):
    with pytest.raises(InputError, match=message):
        process_counts(TrainingSettings(**{wish: 3}))


def test_process_counts__without_a_launcher(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert process_counts(TrainingSettings()) == (1, 1)
    assert process_counts(TrainingSettings(devices=2)) == (2, 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption__is_noted_then_insists(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.asked
        signal.raise_signal(number)
        assert interruption.asked
        with pytest.raises(KeyboardInterrupt, match="what was written before is whole"):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_interruption__in_another_thread_signals_stay():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with Interruption():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_deterministic_kernels__are_asked_for_and_given_back():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic_kernels(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_journal__goes_on_after_the_checkpoint(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    with Journal(tmp_path, step=1) as journal:
        journal.numbers(2, "train", {"loss": 1.5, "strange": float("nan")})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "loss": 3},
        {"step": 2, "kind": "train", "loss": 1.5, "strange": None},
    ]


def test_journal__of_other_processes_writes_nothing(tmp_path):
    with Journal(tmp_path, enabled=False) as journal:
        journal.numbers(2, "train", {"loss": 1.5})
    assert list(tmp_path.iterdir()) == []
    assert read_metrics(tmp_path) == []
