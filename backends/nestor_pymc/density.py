"""The log density of the canonical variables, evaluated from the PyMC model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nestor_pymc.model import build_model

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
        entries = variables.problem.variables.values()
        self._positive = [v.name for v in entries if v.role in ("scale", "family")]
        self._needed = [
            v.name
            for v in entries
            if v.name in self._positive or not variables.formulation.is_marginalized
        ]
        self._function: Any = None

    def compile(self) -> None:
        """Compile the density function, unless that is done."""
        if self._function is None:
            from pytensor.compile.mode import Mode

            # PyTensor's Python linker calls NumPy and compiles nothing: the quickest way to a few
            # evaluations. The graph is evaluated as it was written, without rewrites.
            mode = Mode(linker="py", optimizer=None)
            model, shared = build_model(self._variables, transformed=False)
            # The outcome becomes an argument, so that models which differ in it share the function.
            arguments = [variable.type(variable.name) for variable in shared]
            self._function = model.compile_fn(
                model.logp(jacobian=False),
                inputs=[*model.value_vars, *arguments],
                givens=dict(zip(shared, arguments, strict=True)),
                on_unused_input="ignore",
                mode=mode,
            )

    def __call__(
        self,
        point: Mapping[str, NDArray[np.float64]],
        observed: Mapping[str, NDArray[np.float64]],
    ) -> float:
        """Evaluate at a point of the canonical variables, given `Variables.observed` of the outcome.

        Minus infinity outside the support.
        """
        values = {name: np.asarray(point[name], dtype=np.float64) for name in self._needed}
        # Every parameter of these roles is a standard deviation or a degree of freedom. The change of
        # variables needs them positive; where they are not, the density is zero whatever the prior.
        if any(np.any(values[name] <= 0.0) for name in self._positive):
            return -np.inf
        self.compile()
        free, log_jacobian = self._variables.to_free(values)
        with np.errstate(all="ignore"):
            return float(self._function({**free, **observed})) + log_jacobian
