"""Reference posteriors that come with nestor, and the check of an engine against all of them."""

from nestor.references.posterior import REQUIREMENTS, Posterior, load
from nestor.references.problems import NAMES, describe, problem

__all__ = ["NAMES", "REQUIREMENTS", "Posterior", "describe", "load", "problem"]
