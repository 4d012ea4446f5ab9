"""Which view shows which object: the module that `nestor.errors.display` loads."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

from nestor.agreement.comparison import Comparison
from nestor.agreement.verdict import PairResult
from nestor.calibration.result import Calibration
from nestor.data.index import TreeIndex
from nestor.data.problem import Problem
from nestor.data.resolved_priors import ResolvedPriors
from nestor.model.spec import ModelSpec
from nestor.views import notebook
from nestor.views.terminal.calibration import calibration_view
from nestor.views.terminal.comparison import comparison_view

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["html", "terminal"]


@singledispatch
def html(shown: Any) -> str:
    """Return an object as HTML for a notebook."""
    raise TypeError(f"nothing shows a {type(shown).__name__} as HTML.")


@singledispatch
def terminal(shown: Any) -> RenderableType:
    """Return an object as what rich prints."""
    raise TypeError(f"nothing shows a {type(shown).__name__} in a terminal.")


html.register(ModelSpec, notebook.spec_html)
html.register(Problem, notebook.problem_html)
html.register(TreeIndex, notebook.index_html)
html.register(ResolvedPriors, notebook.priors_html)
html.register(Comparison, notebook.comparison_html)
html.register(PairResult, notebook.pair_html)
html.register(Calibration, notebook.calibration_html)

terminal.register(Comparison, comparison_view)
terminal.register(Calibration, calibration_view)
