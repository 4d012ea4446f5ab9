"""Simulation-based calibration: does an engine find again what was simulated, as often as it should?

Parameters are drawn from the priors and outcomes from the family by an independent NumPy simulator; the
engine samples the posterior of each outcome; if model and sampler are right, the rank of the true
parameter among near-independent posterior draws is uniform, for every quantity.

Talts, Betancourt, Simpson, Vehtari and Gelman (2018), arXiv:1804.06788; Modrák et al. (2023), Bayesian
Analysis, for the log-likelihood among the quantities; Säilynoja, Bürkner and Vehtari (2022), Statistics
and Computing 32:32, for the test; Säilynoja, Schmitt, Bürkner and Vehtari (2025), arXiv:2502.03279, for
calibration around a posterior.

What is named here is loaded when it is first used: every worker process imports this package, and needs
only a part of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nestor.calibration.judge import Calibrated
    from nestor.calibration.result import Calibration

_HOME = {"Calibrated": "judge", "Calibration": "result"}

__all__ = ["Calibrated", "Calibration"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"nestor.calibration.{_HOME[name]}"), name)
    raise AttributeError(f"module 'nestor.calibration' has no attribute {name!r}")
