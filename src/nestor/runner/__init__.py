"""One engine in its own process; the run directory with what is finished."""

from nestor.runner.engine import evaluate, sample
from nestor.runner.job import Job, Outcome, Status

__all__ = ["Job", "Outcome", "Status", "evaluate", "sample"]
