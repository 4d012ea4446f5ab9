"""The ``nestor`` command: runs the command line and turns errors into exit codes."""

from __future__ import annotations

import sys
import traceback

from nestor.errors import EngineFailed, NestorError

BAD_INPUT, FAILED, INTERNAL, INTERRUPTED = 2, 4, 70, 130


def main() -> None:
    """Run the command line; exit codes are in ``nestor --help``."""
    from nestor.cli import app

    try:
        app(prog_name="nestor")
    except EngineFailed as error:
        _leave(f"error: {error}", FAILED)
    except NestorError as error:
        _leave(f"error: {error}", BAD_INPUT)
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except Exception:  # noqa: BLE001 - the last resort: say that it is our fault, and how to report it
        traceback.print_exc()
        _leave("internal error: please report it with the lines above.", INTERNAL)


def _leave(message: str, code: int) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
