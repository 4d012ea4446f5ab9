"""The command line in this process."""

import sys

import pytest


@pytest.fixture
def call(capsys):
    """Run a command in this process, which is quicker; the entry point is the same."""
    from nestor.__main__ import main

    def call(*arguments):
        old = sys.argv
        sys.argv = ["nestor", *map(str, arguments)]
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.argv = old
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
