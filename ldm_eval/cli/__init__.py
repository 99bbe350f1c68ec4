"""The command line: one short file per command.

``main`` turns every way a command can end into an exit code and, where there is something to say, one line on stderr.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ldm_eval.errors import LdmEvalError

__all__ = ["main"]

USAGE, INCOMPLETE, DEFECT, INTERRUPTED = 2, 4, 5, 130
BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended
RESUMABLE = ("run", "sample", "train")
"""Commands that go on where they were interrupted."""

GLOBAL_OPTIONS = ("--debug", "--no-color")
"""Options that may stand anywhere; they are moved to the front, where the root command reads them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code that ``docs/command-line.md`` lists."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without "é" must not end a run
    if not sys.stdout.isatty() and "FORCE_COLOR" not in os.environ:
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"  # typer would colour help in the log of a GitHub action
    sys.exit(_exit_code(given))


def _exit_code(arguments: list[str]) -> int:
    debug = "--debug" in arguments or os.environ.get("LDM_EVAL_DEBUG", "").lower() in {"1", "true", "yes", "on"}
    try:
        code = _invoke(_global_options_first(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader went away (`| head`)
        _silence_stdout()
        return BROKEN_PIPE
    except SystemExit as leaving:  # typer and rich leave with 1 when the reader went away; 1 means "gate failed"
        if isinstance(leaving.__context__, BrokenPipeError):
            _silence_stdout()
            return BROKEN_PIPE
        raise
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # everything ends here: an uncaught exception would exit with 1, "gate failed"
        code = _explain(error, debug)
    if code == INTERRUPTED:
        _say(_interrupted(_command_of(arguments)))
    return code


def _command_of(arguments: Sequence[str]) -> str:
    """The first word that is no option, or nothing."""
    return next((argument for argument in arguments if not argument.startswith("-")), "")


def _interrupted(name: str) -> str:
    """What an interruption left, which differs from command to command."""
    if name in RESUMABLE:
        return "Interrupted. What was finished is kept: run the same command with the same --output to go on."
    if name == "calibrate":
        return "Interrupted. No certificate was written; the same command starts again from the first seed."
    return "Interrupted."


def _invoke(arguments: list[str]) -> int:
    import typer

    from ldm_eval.cli.app import command

    try:
        outcome = command().main(arguments, prog_name="ldm-eval", standalone_mode=False)
    except typer.Abort:  # older typer makes this of Ctrl-C
        return INTERRUPTED
    return outcome if isinstance(outcome, int) else 0


def _explain(error: Exception, debug: bool) -> int:
    """Say in one line what went wrong; return the exit code."""
    from ldm_eval.cli.usage import is_usage_error, usage_message

    if is_usage_error(error):
        message = usage_message(error)
        if message:  # "no command given" has printed the help already
            _say(message, error=True)
        return USAGE
    if debug:
        sys.stderr.write("".join(traceback.format_exception(error)))
    code, message = _known(error)
    _say(message, error=True)
    return code


def _known(error: Exception) -> tuple[int, str]:
    if isinstance(error, LdmEvalError):
        return error.exit_code, str(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            INCOMPLETE,
            "The disk is full. What was already written is kept; make room and run the same command again.",
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return INCOMPLETE, "Out of memory. Run the same command again with a smaller --batch-size or fewer --samples."
    return DEFECT, (
        f"{type(error).__name__}: {error} (at {_place(error)}). This is a defect of ldm-eval, not of your input. "
        "Run the same command again with --debug and report what it prints together with `ldm-eval doctor`."
    )


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    own = [frame for frame in frames if "ldm_eval" in frame.filename] or frames
    path = Path(own[-1].filename)
    return f"{path.parent.name}/{path.name}:{own[-1].lineno}"


def _say(message: str, *, error: bool = False) -> None:
    from ldm_eval.cli import console

    if error:
        console.error(message)
    else:
        console.note(message)


def _global_options_first(arguments: list[str]) -> list[str]:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    first = [option for option in GLOBAL_OPTIONS if option in arguments[:end]]
    rest = [argument for argument in arguments[:end] if argument not in GLOBAL_OPTIONS]
    return first + rest + arguments[end:]


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter does not complain while it shuts down."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return
