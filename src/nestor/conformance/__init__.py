"""The conformance kit: what every backend must do, as checks that anyone can run.

`run_conformance` checks a backend and returns a table of results; `parametrize` makes one pytest test
of every check; `run_isolated` survives engines that crash or hang, and ``nestor conformance NAME`` is
the same from the command line. See ``docs/adding-a-backend.md``.
"""

from nestor.conformance.check import TIERS, Check, ConformanceFailure
from nestor.conformance.isolated import run_isolated
from nestor.conformance.kit import Progress, run_conformance
from nestor.conformance.parametrizing import parametrize
from nestor.conformance.report import ConformanceReport, Result

__all__ = [
    "TIERS",
    "Check",
    "ConformanceFailure",
    "ConformanceReport",
    "Progress",
    "Result",
    "parametrize",
    "run_conformance",
    "run_isolated",
]
