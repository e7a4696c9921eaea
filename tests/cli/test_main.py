"""The command line's shell: help, version, errors, interrupts. The commands that are run here are written for it."""

import subprocess
import sys
import warnings
from dataclasses import dataclass

import pytest

from marey._version import __version__
from marey.cli import main as shell
from marey.core.errors import CalibrationError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Greet."""

    times: int = 1
    """How often."""


def greet(options: Options) -> None:
    print("hello " * options.times)


def fail(options: Options) -> None:
    raise CalibrationError("camera 'a': expected 3 intrinsics, got 2; calibrate again")


def fail_writing(options: Options) -> None:
    raise PermissionError(13, "Permission denied", "result.npz")


def break_down(options: Options) -> None:
    raise ZeroDivisionError


def interrupt(options: Options) -> None:
    raise KeyboardInterrupt


def interrupt_with_work_done(options: Options) -> None:
    raise KeyboardInterrupt("frames 0-255 are kept in out; the same command goes on from there")


def warn(options: Options) -> None:
    warnings.warn("view 2 is scaled", stacklevel=1)


@pytest.fixture(autouse=True)
def _commands(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = (greet, fail, fail_writing, break_down, interrupt, interrupt_with_work_done, warn)
    commands = {function.__name__: shell.Command(f"{__name__}:{function.__name__}", "") for function in functions}
    monkeypatch.setattr(shell, "COMMANDS", commands)


def test_main__no_arguments_or_help_lists_every_command(capsys):
    for words in ([], ["--help"], ["-h"]):
        assert shell.main(words) == 0
        printed = capsys.readouterr().out
        assert all(name in printed for name in shell.COMMANDS)


def test_main__version(capsys):
    assert shell.main(["--version"]) == 0
    assert capsys.readouterr().out == f"marey {__version__}\n"


def test_main__options_reach_the_command(capsys):
    assert shell.main(["greet", "--times", "2"]) == 0
    assert capsys.readouterr().out.split() == ["hello", "hello"]


def test_main__unknown_command_names_the_nearest(capsys):
    assert shell.main(["gret"]) == 2
    assert "did you mean 'greet'?" in capsys.readouterr().err


def test_main__unknown_option_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        shell.main(["greet", "--volume", "11"])
    assert caught.value.code == 2
    assert "--volume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "text"), [("fail", "calibrate again"), ("fail_writing", "Permission denied: 'result.npz'")]
)
def test_main__error_is_one_line(capsys, command, text):
    assert shell.main([command]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("marey: error: ")
    assert text in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_main__debug_shows_the_traceback(capsys, words):
    assert shell.main(words) == 2
    assert "Traceback" in capsys.readouterr().err


def test_main__interrupt_says_what_was_kept(capsys):
    assert shell.main(["interrupt"]) == 130
    assert "interrupted; nothing was kept" in capsys.readouterr().err
    assert shell.main(["interrupt_with_work_done"]) == 130
    assert "frames 0-255 are kept in out" in capsys.readouterr().err


def test_main__warning_is_one_line_without_the_source(capsys):
    assert shell.main(["warn"]) == 0
    assert capsys.readouterr().err == "marey: warning: view 2 is scaled\n"


def test_main__a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        shell.main(["break_down"])


def test_help__loads_neither_torch_nor_tyro():
    check = (
        "import sys; from marey.cli.main import main; main(['--help']); "
        "assert not {'tyro'} & set(sys.modules), 'tyro'; assert 'marey.core' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)


def test_module__runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "marey", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"marey {__version__}\n"
