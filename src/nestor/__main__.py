"""The ``nestor`` command: runs the command line and turns errors into exit codes."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `python -m` looks first into the folder where it is started: a user's random.py or pymc.py beside the
    # data would take the place of the library. The command `nestor` does not, and this one shall not.
    del sys.path[0]

import contextlib
import errno
import signal
import traceback
import warnings
from typing import TextIO

from nestor.errors import EngineFailed, NestorError, NestorWarning

BAD_INPUT, FAILED, INTERNAL, INTERRUPTED = 2, 4, 70, 130


def main() -> None:
    """Run the command line; exit codes are in ``nestor --help``."""
    from nestor.cli import app
    from nestor.cli.command import Interrupted
    from nestor.cli.wording import at_the_command_line

    warnings.showwarning = _show_warning
    # What ends a job from outside is treated like Ctrl-C: engines end, finished ones are kept.
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    try:
        app(prog_name="nestor")
    except EngineFailed as error:
        _leave(f"error: {at_the_command_line(str(error), sys.argv[1:])}", FAILED)
    except NestorError as error:
        _leave(f"error: {at_the_command_line(str(error), sys.argv[1:])}", BAD_INPUT)
    except (Interrupted, KeyboardInterrupt) as interrupt:
        _leave(f"interrupted. {interrupt}".removesuffix(". "), INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: say that it is our fault, and how to report it
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EPIPE):
            _leave(f"error: cannot write the output: {error.strerror}.", BAD_INPUT)
        traceback.print_exc()
        _leave("internal error: please report it with the lines above.", INTERNAL)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a handler
    raise KeyboardInterrupt


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our own warnings as sentences, others as Python does."""
    if issubclass(category, NestorWarning):
        from nestor.cli.wording import at_the_command_line

        said = at_the_command_line(str(message), sys.argv[1:])
        sys.stderr.write(f"warning: {_printable(said)}\n")
    else:
        (file or sys.stderr).write(
            warnings.formatwarning(message, category, filename, lineno, line)
        )


def _leave(message: str, code: int) -> None:
    with contextlib.suppress(OSError):  # the terminal may have gone
        sys.stderr.write(_printable(message) + "\n")
        sys.stderr.flush()
    sys.exit(code)


def _printable(message: str) -> str:
    """Keep lines, and escape what labels and names from users' tables would do to a terminal."""
    from nestor.errors.text import printable

    return "\n".join(printable(line) for line in message.split("\n"))


if __name__ == "__main__":
    main()
