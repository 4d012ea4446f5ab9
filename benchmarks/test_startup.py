"""How long a user waits for the command line to answer."""

import subprocess
import sys


def _run(*code):
    subprocess.run([sys.executable, *code], check=True, stdout=subprocess.DEVNULL)


def test_help(benchmark):
    """``nestor --help``, warm; the goal is below 0.5 s. Beside it, an interpreter that does nothing."""
    benchmark.pedantic(_run, args=("-m", "nestor", "--help"), rounds=7, warmup_rounds=1)


def test_interpreter_alone(benchmark):
    benchmark.pedantic(_run, args=("-c", "pass"), rounds=7, warmup_rounds=1)
