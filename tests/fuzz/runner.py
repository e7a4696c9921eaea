"""Give a reader many damaged files, in a process of its own, and note what it must never do.

A reader may return, or raise an error of the family `MareyError`. Anything else is a finding: another exception, more
than `TIME_LIMIT` seconds, more memory than `MEMORY_LIMIT`, or the end of the process.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

TIME_LIMIT = 5.0
"""Seconds for one input; the machine may be busy."""
MEMORY_LIMIT = 2 << 30
"""Bytes of address space beyond what the process has before it starts."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader and good files for it."""

    name: str
    read: Callable[[Path], object]
    """Given the path of the file or folder."""
    files: dict[str, bytes]
    """Relative path -> content: a set that can be read."""
    argument: str = ""
    """What of it the reader is given; empty: the only file. `.`: the folder."""
    variants: tuple[bytes, ...] = ()
    """Other good contents of the first file."""
    damage: Callable[..., bytes] | None = None
    """None: `mutations.mutate`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a reader must not do."""

    target: str
    kind: str
    """crash, hang, memory, or the name of an exception."""
    detail: str
    input_file: str


def run_target(target: Target, *, inputs: int, seed: int, keep: Path) -> tuple[int, int, list[Finding]]:
    """Run a target in a child process, which is started again after a crash.

    Args:
        target: What to run.
        inputs: How many damaged inputs.
        seed: Of the damages: the same seed makes the same inputs.
        keep: Folder for inputs of findings.

    Returns:
        How many inputs ran, how many of them the reader accepted, and the findings (at most one of each place).
    """
    keep.mkdir(parents=True, exist_ok=True)
    done, accepted, findings = 0, 0, []
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as folder:
        work = Path(folder)
        while done < inputs:
            child = context.Process(target=_live, args=(target, work, done, inputs, seed, keep))
            child.start()
            child.join()
            report = work / "report.json"
            if child.exitcode == 0 and report.exists():
                content = json.loads(report.read_text())
                findings += [Finding(**entry) for entry in content["findings"]]
                return inputs, accepted + content["accepted"], _distinct(findings)
            at = int((work / "progress").read_text() or done)
            findings.append(_keep(target, work, keep, at, "crash", f"the process ended with {child.exitcode}"))
            done = at + 1
            if len(findings) > 20:
                break
    return done, accepted, _distinct(findings)


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _live(*arguments: object) -> None:
    """Work, then end at once: what runs at the end of a process needs memory and threads that this one lacks."""
    try:
        _work(*arguments)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
        os._exit(1)
    os._exit(0)


def _work(target: Target, work: Path, first: int, inputs: int, seed: int, keep: Path) -> None:
    """The child's life: the inputs `first`..`inputs`."""
    import roma  # noqa: F401 - takes seconds on a busy machine, and not every good file needs it
    import torch

    from fuzz.mutations import mutate

    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders written in C tell the terminal of every damaged file
    warnings.simplefilter("ignore")
    damage = target.damage or mutate
    folder = work / "input"
    _write_all(target, folder)
    target.read(_path(target, folder))  # loads what is loaded lazily, and proves that the good files are read
    _limit_memory()
    names = list(target.files)
    signal.signal(signal.SIGALRM, _on_alarm)
    findings: list[Finding] = []
    accepted = 0
    others = [*target.files.values(), *target.variants]
    for number in range(first, inputs):
        random = Random(f"{seed} {target.name} {number}")
        name = random.choice(names)
        good = random.choice((target.files[name], *target.variants)) if name == names[0] else target.files[name]
        (folder / name).write_bytes(damage(good, others, random))
        (work / "progress").write_text(str(number))
        problem = _try(target, _path(target, folder))
        accepted += problem is None
        if problem is not None and problem[0]:
            findings.append(_keep(target, work, keep, number, *problem))
            if len(findings) > 200:
                break
        (folder / name).write_bytes(target.files[name])
    report = {"accepted": accepted, "findings": [asdict(finding) for finding in findings]}
    (work / "report.json").write_text(json.dumps(report))


def _write_all(target: Target, folder: Path) -> None:
    for name, content in target.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _path(target: Target, folder: Path) -> Path:
    return folder / (target.argument or next(iter(target.files)))


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if pages:
        limit = pages * resource.getpagesize() + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class _HangError(BaseException):
    pass


def _on_alarm(*_: object) -> None:
    raise _HangError


def _try(target: Target, path: Path) -> tuple[str, str] | None:
    """None: read. An empty kind: refused as it should be. Else what went wrong."""
    from marey.core.errors import MareyError

    started = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    try:
        target.read(path)
    except MareyError as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return ("", "") if str(error).strip() else ("silent", "an error without words")
    except _HangError:
        return "hang", f"more than {TIME_LIMIT:g} s: {_where()}"
    except MemoryError:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return "memory", _where()
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return type(error).__name__, f"{error} | {_where()}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None if time.perf_counter() - started < TIME_LIMIT else ("hang", "took too long")


def _where() -> str:
    """The innermost line of ours, which is how findings are told apart."""
    lines = [line for line in traceback.format_exc().splitlines() if "/marey/" in line and "File" in line]
    return lines[-1].strip() if lines else traceback.format_exc()[-200:]


def _keep(target: Target, work: Path, keep: Path, number: int, kind: str, detail: str) -> Finding:
    place = keep / f"{target.name.replace(' ', '_')}_{number}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(work / "input", place)
    return Finding(target=target.name, kind=kind, detail=detail[:500], input_file=str(place))


def _distinct(findings: list[Finding]) -> list[Finding]:
    """One finding for each place in the code."""
    seen: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        seen.setdefault((finding.kind, finding.detail.rpartition("|")[2]), finding)
    return list(seen.values())
