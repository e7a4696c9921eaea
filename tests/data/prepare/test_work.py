import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import read_labels
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import DATA_SETS, DataSource, data_source
from marey.data.prepare.work import Work, file_digest

SOURCE = DataSource(
    name="toy",
    title="The Toy Set",
    home="https://toy.example",
    licence="for play only",
    files=("numbers.txt: one number a line",),
    writes="squares",
    target="toy_preparation:prepare",
)

MODULE = '''
"""Writes the square of each number of numbers.txt into a file of its own."""
import os, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from marey.core import Skeleton
from marey.data.labels import Images, Labels
from marey.io.atomic import atomic_write_text


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """Toy."""
    power: int = 2
    slow: bool = False


def prepare(root, out, options: ToyOptions, work):
    path = work.require(root / "numbers.txt", what="numbers")
    numbers = [int(line) for line in work.record(path).read_text().split()]
    for number in work.progress(numbers, what="squares"):
        key = f"number {number}"
        if not work.done(key):
            if options.slow and number == 3:
                (out / "ready").touch()
                time.sleep(60)
            atomic_write_text(out / f"{number}.txt", str(number**options.power))
            with (out / "made.txt").open("a") as file:
                file.write(f"{number}\\n")
            work.finish(key)
    squares = work.part("squares", lambda: made(numbers, options.power, out))["squares"]
    work.note("Zero has no square worth keeping.")
    count = len(numbers)
    return Labels(
        name="toy", version="1", skeleton=Skeleton("none", (), ()),
        images=Images(path=np.array([f"{n}.txt" for n in numbers]), size=np.zeros((count, 2), int),
                      camera=np.full(count, -1), sequence=np.array(["s"] * count), frame=np.arange(count),
                      moment=np.arange(count)),
        split=np.array(["train"] * count), image=np.arange(count), person=np.zeros(count, int),
        values={"square": squares},
    )


def made(numbers, power, out):
    with (out / "made.txt").open("a") as file:
        file.write("part\\n")
    return {"squares": np.array(numbers) ** power}
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The folder of a download, with the module that prepares it."""
    (tmp_path / "toy_preparation.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_preparation", raising=False)
    root = tmp_path / "toy"
    root.mkdir()
    (root / "numbers.txt").write_text("1\n2\n3\n4\n")
    return root


def prepared(root, *, fresh=False, **options):
    return prepare_data_set(SOURCE, root, root.parent / "out", SOURCE.options()(**options), fresh=fresh, show=False)


def made(root):
    return (root.parent / "out" / "made.txt").read_text().split()


def test_prepare__writes_labels_and_a_card_that_says_from_what(toy):
    labels = prepared(toy)
    out = toy.parent / "out"
    assert labels.values["square"].tolist() == [1, 4, 9, 16]
    assert read_labels(out / "labels.npz").values["square"].tolist() == [1, 4, 9, 16]
    card = json.loads((out / "card.json").read_text("utf-8"))
    assert card["data_set"] == "toy"
    assert card["licence"] == "for play only"
    assert card["source"] == "https://toy.example"
    assert card["options"] == {"power": 2, "slow": False}
    assert card["labels"]["images"] == 4
    assert card["labels"]["splits"] == {"train": {"images": 4, "people": 4}}
    assert card["notes"] == ["Zero has no square worth keeping."]
    digest = hashlib.sha256(b"1\n2\n3\n4\n").hexdigest()
    assert card["inputs"] == [{"path": "numbers.txt", "bytes": 8, "sha256": digest}]
    assert card["seconds_of_last_run"] >= 0
    assert not (out / "parts").exists()


def test_prepare__a_second_run_reads_what_the_first_gave(toy):
    prepared(toy)
    assert prepared(toy).values["square"].tolist() == [1, 4, 9, 16]
    assert made(toy) == ["1", "2", "3", "4", "part"]


def test_prepare__a_touched_input_is_no_changed_input(toy):
    prepared(toy)
    os.utime(toy / "numbers.txt", (1, 1))
    assert prepared(toy).values["square"].tolist() == [1, 4, 9, 16]


def test_prepare__the_download_may_be_removed_afterwards(toy):
    prepared(toy)
    (toy / "numbers.txt").unlink()
    assert prepared(toy).values["square"].tolist() == [1, 4, 9, 16]


def test_prepare__changed_inputs_are_refused_until_it_starts_over(toy):
    prepared(toy)
    (toy / "numbers.txt").write_text("5\n")
    with pytest.raises(InputError, match=r"numbers\.txt: has changed since .* --fresh"):
        prepared(toy)
    assert prepared(toy, fresh=True).values["square"].tolist() == [25]
    assert made(toy)[-2:] == ["5", "part"]


def test_prepare__other_options_are_refused_until_it_starts_over(toy):
    prepared(toy)
    with pytest.raises(InputError, match=r'was begun with toy with \{"power": 2.*now asked for .*"power": 3.*--fresh'):
        prepared(toy, power=3)
    assert prepared(toy, power=3, fresh=True).values["square"].tolist() == [1, 8, 27, 64]


def test_prepare__another_version_does_not_go_on_with_what_is_half_done(toy):
    out = toy.parent / "out"
    out.mkdir()
    head = {"data_set": "toy", "options": {"power": 2, "slow": False}, "marey": "0.0.1"}
    (out / "preparation.jsonl").write_text(json.dumps(head) + "\n" + json.dumps({"done": "number 1"}) + "\n")
    with pytest.raises(InputError, match=r"was begun by Marey 0\.0\.1, this is .*--fresh"):
        prepared(toy)
    assert prepared(toy, fresh=True).values["square"].tolist() == [1, 4, 9, 16]
    lines = (out / "preparation.jsonl").read_text().splitlines()
    (out / "preparation.jsonl").write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    assert prepared(toy).values["square"].tolist() == [1, 4, 9, 16]  # what is complete stays so


def test_prepare__a_run_that_found_nothing_binds_nobody_to_its_options(toy):
    (toy / "numbers.txt").rename(toy / "later.txt")
    with pytest.raises(MissingAssetError):
        prepared(toy)
    (toy / "later.txt").rename(toy / "numbers.txt")
    assert prepared(toy, power=3).values["square"].tolist() == [1, 8, 27, 64]


def test_prepare__a_missing_file_names_itself_its_source_and_licence(toy):
    (toy / "numbers.txt").unlink()
    with pytest.raises(MissingAssetError) as raised:
        prepared(toy)
    for words in ("numbers.txt", "the numbers of The Toy Set", "https://toy.example", "for play only"):
        assert words in str(raised.value)


def test_prepare__goes_on_after_a_kill(toy):
    out = toy.parent / "out"
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        sys.path[:0] = [{str(toy.parent)!r}]
        from marey.data.prepare.run import prepare_data_set
        from marey.data.prepare.sources import DataSource
        source = DataSource(**{vars(SOURCE)!r})
        options = source.options()(slow=True)
        prepare_data_set(source, Path({str(toy)!r}), Path({str(out)!r}), options, show=False)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        for _ in range(600):
            if (out / "ready").exists():
                break
            time.sleep(0.1)
        with pytest.raises(InputError, match="another preparation is writing there"):
            prepared(toy, slow=True)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert made(toy) == ["1", "2"]
    with (out / "preparation.jsonl").open("ab") as file:
        file.write(b'{"done": "numb')  # what a crash in the middle of a line leaves
    (toy.parent / "toy_preparation.py").write_text(MODULE.replace("time.sleep(60)", "pass"))
    sys.modules.pop("toy_preparation", None)
    assert prepared(toy, slow=True).values["square"].tolist() == [1, 4, 9, 16]
    assert made(toy) == ["1", "2", "3", "4", "part"]
    assert all(json.loads(line) for line in (out / "preparation.jsonl").read_text().splitlines())


def test_prepare__an_interrupt_says_how_to_go_on(toy, monkeypatch):
    import toy_preparation

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(toy_preparation, "made", interrupted)
    with pytest.raises(KeyboardInterrupt, match="run the same command again to go on"):
        prepared(toy)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(toy.parent)
    assert prepared(toy).values["square"].tolist() == [1, 4, 9, 16]
    assert made(toy) == ["1", "2", "3", "4", "part"]


def test_prepare__a_full_disk_is_a_typed_error(toy, monkeypatch):
    import toy_preparation

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "made.txt")

    monkeypatch.setattr(toy_preparation, "made", full)
    with pytest.raises(InputError, match=r"toy: No space left on device: made\.txt; .*run the same command again"):
        prepared(toy)


def test_work__an_output_that_is_a_file_is_a_typed_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="cannot write into"):
        Work(SOURCE, tmp_path, tmp_path / "out", options={})


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")  # noqa: PTH110
def test_journal__without_space_is_a_typed_error(tmp_path):
    work = Work(SOURCE, tmp_path, tmp_path / "out", options={})
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        work.journal._file.close()
        work.journal._file = full
        with pytest.raises(InputError, match=r"cannot write .*preparation\.jsonl: No space left"):
            work.finish("step")
    assert not work.done("step")


@pytest.mark.parametrize("content", [b"nonsense\n", b"[1]\n"])
def test_journal__of_something_else_is_refused(tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "preparation.jsonl").write_bytes(content)
    with pytest.raises(FormatError, match="pass --fresh to start over"):
        Work(SOURCE, tmp_path, tmp_path / "out", options={})
    with Work(SOURCE, tmp_path, tmp_path / "out", options={}, fresh=True) as work:
        assert not work.done("anything")


def test_part__is_made_once_and_may_hold_text(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"names": np.array(["ä", "b"]), "numbers": np.arange(3.0)}

    for _ in range(2):
        with Work(SOURCE, tmp_path, tmp_path / "out", options={}) as work:
            part = work.part("S1/walk", make)
            assert part["names"].tolist() == ["ä", "b"]
            assert part["numbers"].tolist() == [0, 1, 2]
    assert len(calls) == 1


@pytest.mark.parametrize("workers", [1, 3])
def test_map__keeps_the_order(tmp_path, workers):
    with Work(SOURCE, tmp_path, tmp_path / "out", options={}, workers=workers, show=False) as work:
        assert list(work.map(lambda number: number**2, range(50), total=50)) == [number**2 for number in range(50)]


def test_map__raises_what_the_function_raises(tmp_path):
    def refused(number):
        raise InputError(f"no {number}")

    with (
        Work(SOURCE, tmp_path, tmp_path / "out", options={}, workers=2, show=False) as work,
        pytest.raises(InputError, match="no 0"),
    ):
        list(work.map(refused, range(5)))


def test_file_digest__is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_data_source__unknown_lists_all():
    with pytest.raises(InputError, match=r"no data set 'h37m'; did you mean 'h36m'\? there are: h36m, 3dhp, muco, .*"):
        data_source("h37m")
    assert {"h36m", "3dhp", "muco", "mupots", "mpii", "3dpw", "cmu", "ssp3d", "skipose", "coco"} < DATA_SETS.keys()
    assert {"voc-occluders", "inria", "dtd", "lsun", "synthetic", "3doh50k"} < DATA_SETS.keys()


def test_options__are_a_dataclass(toy):
    @dataclass(frozen=True)
    class Loose:
        power: int = 2

    assert SOURCE.options()().power == 2
    assert prepare_data_set(SOURCE, toy, toy.parent / "out", replace(SOURCE.options()(), power=1), show=False)
    with pytest.raises(InputError, match="expected a dataclass"):
        prepare_data_set(SOURCE, toy, toy.parent / "out", {"power": 2}, show=False)
