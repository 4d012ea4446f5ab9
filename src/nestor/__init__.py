"""nestor: one description of a nested hierarchical model, several backends; do they agree?

Everything below is loaded when it is first used, so that importing nestor is quick and loads no sampler.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nestor.errors.display import render_with

if TYPE_CHECKING:
    from nestor.agreement.comparison import Comparison
    from nestor.agreement.verdict import Verdict
    from nestor.api import (
        calibrate,
        compare,
        fit,
        leave_one_leaf_out,
        leave_one_row_out,
        loo,
        with_log_likelihood,
    )
    from nestor.calibration import Calibration
    from nestor.data.index import build_index
    from nestor.data.problem import Problem
    from nestor.data.tables import read_table
    from nestor.engines.protocol import SamplerConfig
    from nestor.errors import (
        ConvergenceWarning,
        DataError,
        EngineFailed,
        NestorError,
        NestorWarning,
        SpecError,
        Unsupported,
    )
    from nestor.model.priors import Prior
    from nestor.model.spec import Level, ModelSpec
    from nestor.posterior.hierarchy import deviations, population, with_labels
    from nestor.posterior.leave_one_out import LeaveOneOut
    from nestor.posterior.log_likelihood import log_likelihood
    from nestor.posterior.summary import summary

render_with("nestor.views.render")

_HOME = {
    "Calibration": "calibration",
    "Comparison": "agreement.comparison",
    "ConvergenceWarning": "errors",
    "DataError": "errors",
    "EngineFailed": "errors",
    "LeaveOneOut": "posterior.leave_one_out",
    "Level": "model.spec",
    "ModelSpec": "model.spec",
    "NestorError": "errors",
    "NestorWarning": "errors",
    "Prior": "model.priors",
    "Problem": "data.problem",
    "SamplerConfig": "engines.protocol",
    "SpecError": "errors",
    "Unsupported": "errors",
    "Verdict": "agreement.verdict",
    "build_index": "data.index",
    "calibrate": "api",
    "compare": "api",
    "conditional_moments": "posterior.conditional_moments",
    "deviations": "posterior.hierarchy",
    "fit": "api",
    "leave_one_leaf_out": "api",
    "leave_one_row_out": "api",
    "log_likelihood": "posterior.log_likelihood",
    "loo": "api",
    "population": "posterior.hierarchy",
    "read_table": "data.tables",
    "summary": "posterior.summary",
    "with_labels": "posterior.hierarchy",
    "with_log_likelihood": "api",
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
