"""nestor: one description of a nested hierarchical model, several backends; do they agree?

Everything below is loaded when it is first used, so that importing nestor is quick and loads no sampler.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nestor.agreement.verdict import Verdict
    from nestor.api import compare, fit
    from nestor.backend import SamplerConfig
    from nestor.calibration import Calibration, calibrate
    from nestor.comparison import Comparison
    from nestor.errors import (
        ConvergenceWarning,
        DataError,
        EngineFailed,
        NestorError,
        NestorWarning,
        SpecError,
        Unsupported,
    )
    from nestor.hierarchy import deviations, population, with_labels
    from nestor.index import build_index
    from nestor.leave_one_out import LeaveOneOut, loo
    from nestor.leave_out import leave_one_leaf_out, leave_one_row_out
    from nestor.pointwise import log_likelihood, with_log_likelihood
    from nestor.priors import Prior
    from nestor.problem import Problem
    from nestor.spec import Level, ModelSpec
    from nestor.summarizing import summary
    from nestor.tables import read_table

_HOME = {
    "Calibration": "calibration",
    "Comparison": "comparison",
    "ConvergenceWarning": "errors",
    "DataError": "errors",
    "EngineFailed": "errors",
    "LeaveOneOut": "leave_one_out",
    "Level": "spec",
    "ModelSpec": "spec",
    "NestorError": "errors",
    "NestorWarning": "errors",
    "Prior": "priors",
    "Problem": "problem",
    "SamplerConfig": "backend",
    "SpecError": "errors",
    "Unsupported": "errors",
    "Verdict": "agreement.verdict",
    "build_index": "index",
    "calibrate": "calibration",
    "compare": "api",
    "conditional_moments": "conditional",
    "deviations": "hierarchy",
    "fit": "api",
    "leave_one_leaf_out": "leave_out",
    "leave_one_row_out": "leave_out",
    "log_likelihood": "pointwise",
    "loo": "leave_one_out",
    "population": "hierarchy",
    "read_table": "tables",
    "summary": "summarizing",
    "with_labels": "hierarchy",
    "with_log_likelihood": "pointwise",
}

__all__ = [
    "Calibration",
    "Comparison",
    "ConvergenceWarning",
    "DataError",
    "EngineFailed",
    "LeaveOneOut",
    "Level",
    "ModelSpec",
    "NestorError",
    "NestorWarning",
    "Prior",
    "Problem",
    "SamplerConfig",
    "SpecError",
    "Unsupported",
    "Verdict",
    "build_index",
    "calibrate",
    "compare",
    "conditional_moments",
    "deviations",
    "fit",
    "leave_one_leaf_out",
    "leave_one_row_out",
    "log_likelihood",
    "loo",
    "population",
    "read_table",
    "summary",
    "with_labels",
    "with_log_likelihood",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("nestor")
    if name in _HOME:
        return getattr(import_module(f"nestor.{_HOME[name]}"), name)
    raise AttributeError(f"module 'nestor' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
