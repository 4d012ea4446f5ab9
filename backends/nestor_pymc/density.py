"""The log density of the canonical variables, evaluated from the PyMC model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nestor_pymc.model import OUTCOME, build_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor_pymc.variables import Variables


class LogDensity:
    """Log joint density with respect to the canonical variables, natural scale, all constants included.

    Parameters
    ----------
    variables : Variables
        The free random variables.
    """

    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._positive = [
            v.name for v in variables.problem.variables.values() if v.role in ("scale", "family")
        ]
        self._function: Any = None

    def compile(self) -> None:
        """Compile the density function, unless that is done."""
        if self._function is None:
            from pytensor.compile.mode import Mode

            # PyTensor's Python linker calls NumPy and compiles nothing: the quickest way to a few
            # evaluations. The graph is evaluated as it was written, without rewrites.
            mode = Mode(linker="py", optimizer=None)
            model, outcome = build_model(self._variables, transformed=False)
            # The outcome becomes an argument, so that models which differ in it share the function.
            y = outcome.type(outcome.name)
            self._function = model.compile_fn(
                model.logp(jacobian=False),
                inputs=[*model.value_vars, y],
                givens={outcome: y},
                on_unused_input="ignore",
                mode=mode,
            )

    def __call__(self, point: Mapping[str, NDArray[np.float64]], y: NDArray[np.float64]) -> float:
        """Evaluate at a point of the canonical variables, given the outcome `y`, (N,).

        Minus infinity outside the support.
        """
        values = {
            name: np.asarray(point[name], dtype=np.float64)
            for name in self._variables.problem.variables
        }
        # Every parameter of these roles is a standard deviation or a degree of freedom. The change of
        # variables needs them positive; where they are not, the density is zero whatever the prior.
        if any(np.any(values[name] <= 0.0) for name in self._positive):
            return -np.inf
        self.compile()
        free, log_jacobian = self._variables.to_free(values)
        with np.errstate(all="ignore"):
            return float(self._function({**free, OUTCOME: y})) + log_jacobian
