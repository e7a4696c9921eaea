"""The command `marey`: finds the sub-command, parses its options, words its errors.

Every sub-command is one module with a frozen dataclass `Options`, whose fields and docstrings are the command line, and
a function `run(options: Options) -> None`. A name may have two words (`calibrate check`); it goes before the name of
one word, so that a folder called `check` is given as `./check`. What loads torch or tyro is imported when a command is
called for, so that `marey --help` is immediate.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple, TextIO, get_type_hints

from marey._version import __version__


class Command(NamedTuple):
    """Where a sub-command lives, and its line in `marey --help`."""

    target: str
    """`module:function`; the function takes one frozen dataclass, named `options`."""
    summary: str


COMMANDS = {
    "estimate": Command(
        "marey.cli.estimate:run", "3D joints from videos, images or keypoints of one camera or several"
    ),
    "calibrate": Command("marey.cli.calibrate:run", "calibrate cameras from films of a board, refine them with people"),
    "calibrate check": Command("marey.cli.calibrate:check", "say what an existing calibration is worth"),
    "calibrate board": Command("marey.cli.calibrate:board", "write a calibration board to print"),
    "synchronize": Command(
        "marey.cli.synchronize:run", "find how the clocks of the cameras are set from people's motion"
    ),
    "synth": Command("marey.cli.synth:run", "render a synthetic recording: videos, calibration and truth"),
    "demo": Command("marey.cli.demo:run", "make a synthetic recording, estimate it and compare with the truth"),
    "train": Command("marey.cli.train:run", "train a method, go on with a run, or look at what it learns from"),
    "evaluate": Command(
        "marey.cli.evaluate:run", "measure a method on a benchmark, score predictions by a protocol, compare two"
    ),
    "track": Command("marey.cli.track:run", "follow the people in the films of 3DPW and write the challenge's files"),
    "export": Command("marey.cli.export:run", "write a method as a file that runs without Marey: ONNX, torch.export"),
    "data list": Command("marey.cli.data:list_data", "list the public data sets that can be prepared"),
    "data prepare": Command("marey.cli.data_prepare:run", "turn the official download of a data set into labels"),
    "data folder": Command("marey.cli.data_folder:run", "turn your own recordings into a data set"),
    "data show": Command("marey.cli.data:show", "say what labels hold, and draw some of their images"),
    "view": Command("marey.cli.view:run", "write the report of an existing result and say where it lies"),
    "convert": Command("marey.cli.convert:run", "convert files of cameras, joints or motion to another format"),
    "info": Command("marey.cli.info:run", "list the skeletons, file formats or methods that Marey knows"),
}

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C: 128 + SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 2 a typed error, 130 interrupted.

    Args:
        arguments: What follows `marey`; the process's own when None.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    words = [word for word in given if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"marey {__version__}")
        return 0
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _run(words[0], words[1:], debug)


def _run(name: str, words: list[str], debug: bool) -> int:
    from marey.core.errors import MareyError

    try:
        function, options = _parse(name, words)
        function(options)
    except (MareyError, OSError) as error:
        if debug:
            traceback.print_exc()
        print(f"marey: error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt as interrupt:
        # A command that keeps partial work raises the interrupt again with a sentence that says where.
        print(f"\nmarey: interrupted; {str(interrupt) or 'nothing was kept'}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _parse(name: str, words: list[str]) -> tuple[Callable[[Any], None], Any]:
    """Load a sub-command and build its options from the words of the command line."""
    import tyro

    from marey.core.errors import InputError

    if words and f"{name} {words[0]}" in COMMANDS:
        name, words = f"{name} {words[0]}", words[1:]
    if name not in COMMANDS:
        longer = [command for command in COMMANDS if command.startswith(f"{name} ")]
        if longer:
            raise InputError(f"'{name}' is followed by another word: {', '.join(longer)}")
        near = get_close_matches(name, COMMANDS, n=1)
        guess = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(COMMANDS)}"
        raise InputError(f"no command '{name}'; {guess}")
    module, _, attribute = COMMANDS[name].target.partition(":")
    function = getattr(import_module(module), attribute)
    options = tyro.cli(get_type_hints(function)["options"], prog=f"marey {name}", args=words)
    return function, options


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line for a person, without the place in the source."""
    print(f"marey: warning: {message}", file=sys.stderr if file is None else file)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"Marey {__version__}: 3D human pose from one or many cameras, with uncertainty.",
            "",
            "usage: marey COMMAND [OPTIONS]",
            "",
            *lines,
            "",
            "  marey COMMAND --help   the options of a command",
            "  marey --version        the version",
            "  --debug                with any command: show where an error comes from",
            "",
            "Start with: marey demo",
        ]
    )
