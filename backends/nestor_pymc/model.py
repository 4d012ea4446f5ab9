"""The nested hierarchical model in PyMC: one vectorized model, no loop over rows or nodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.data.statistics import MergedRows
from nestor_pymc.marginal import log_marginal
from nestor_pymc.variables import OUTCOME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pymc as pm
    from numpy.typing import NDArray

    from nestor.data.problem import LevelDesign, Problem
    from nestor.data.rows import Rows
    from nestor_pymc.data import LeafRows
    from nestor_pymc.variables import Variables, Vector


@dataclass(frozen=True)
class _Coefficient:
    """One effect's coefficients on some level: `values` at `index`, or one scalar for all nodes.

    An effect that a level inherits only composes its index: nothing is gathered until the rows need it.
    """

    values: Any
    index: NDArray[np.intp] | None = None

    def down(self, parent: NDArray[np.intp]) -> _Coefficient:
        """The same coefficients seen from the children, `parent` being each child's parent."""
        return self if self.index is None else replace(self, index=self.index[parent])

    def gathered(self) -> Any:
        """The coefficient of every node: (n,), or a scalar."""
        return self.values if self.index is None else self.values[self.index]


def build_model(variables: Variables, *, transformed: bool) -> tuple[pm.Model, tuple[Any, ...]]:
    """Build the PyMC model, and the shared variables that hold its outcome: `Variables.observed`.

    Compiled functions read the outcome when they run, so that models which differ in it only share them.
    Everything else is constant: PyTensor and LLVM know the design when they optimize.

    Parameters
    ----------
    variables : Variables
        The free random variables, which know the problem and the formulation.
    transformed : bool
        Whether bounded variables are sampled on the unconstrained space; False gives the density on the
        natural scale.
    """
    import pymc as pm
    import pytensor

    # Its shape is part of its type, as a constant's is: nothing about it is found out at run time.
    observed = {
        name: pytensor.shared(value, name=name, shape=value.shape)
        for name, value in variables.observed.items()
    }
    # Scales are positive by construction, so PyMC's run-time checks of parameters can never fail.
    with pm.Model(check_bounds=False) as model:
        if variables.formulation.is_marginalized:
            _marginalized(variables, observed, transformed)
        else:
            _sampled(variables, observed, transformed)
    return model, tuple(observed.values())


def _marginalized(variables: Variables, observed: dict[str, Any], transformed: bool) -> None:
    """Declare scales, and the density of the outcome given them."""
    import pymc as pm

    problem = variables.problem
    scales = {
        f"tau_{level.name}": _declare_tau(variables, level, transformed)
        for level in problem.levels
        if level.name in variables.tau
    }
    scales |= _family_parameters(problem, transformed)
    pm.Potential("y", log_marginal(problem, variables.rows, observed, scales))


def _sampled(variables: Variables, observed: dict[str, Any], transformed: bool) -> None:
    """Declare coefficients and scales, and the density of the outcome given them all."""
    import pymc as pm

    problem = variables.problem
    coefficients = _population(variables, transformed)
    for level in problem.levels:
        coefficients = _descend(variables, level, coefficients, transformed)
    gamma = _declare_vector(variables.gamma, (), transformed)
    family = _family_parameters(problem, transformed)
    if variables.formulation.likelihood == "statistics" and variables.merged is None:
        density = _by_statistics(variables.rows, observed, coefficients, gamma, family["sigma"])
        pm.Potential("y", density)
    else:
        rows = problem.rows if variables.merged is None else variables.merged
        eta = _linear_predictor(rows, coefficients, gamma)
        _declare_outcome(problem, rows, eta, family, observed[OUTCOME])


def _declare_tau(variables: Variables, level: LevelDesign, transformed: bool) -> Any:
    """Standard deviations of a level, (q,) or (q, n_parents)."""
    lead = (level.n_parents,) if level.per_parent else ()
    return _declare_vector(variables.tau[level.name], lead, transformed)


def _declare_vector(vector: Vector | None, lead: tuple[int, ...], transformed: bool) -> Any:
    """Declare a vector's blocks; return the whole, entries along the first axis, `lead` after it."""
    import pytensor.tensor as pt

    if vector is None:
        return None
    found = []
    for name, block in zip(vector.names, vector.blocks, strict=True):
        args = [np.reshape(a, (-1, *(1 for _ in lead))) for a in block.args]
        shape = (len(block.positions), *lead)
        found.append(declare(block.family, name, args, shape=shape, transformed=transformed))
    return found[0] if len(found) == 1 else pt.concatenate(found)[vector.order]


def _population(variables: Variables, transformed: bool) -> list[_Coefficient]:
    """The root's coefficients, one for each effect; zero where the population's is fixed there."""
    beta = _declare_vector(variables.beta, (), transformed)
    mask = variables.problem.population_mask
    position = np.cumsum(mask) - 1
    return [
        _Coefficient(beta[position[j]]) if mask[j] else _Coefficient(np.zeros(()))
        for j in range(len(mask))
    ]


def _descend(
    variables: Variables, level: LevelDesign, above: list[_Coefficient], transformed: bool
) -> list[_Coefficient]:
    """Return the coefficients of a level's nodes, given their parents'."""
    import pymc as pm
    import pytensor.tensor as pt

    below = [coefficient.down(level.parent) for coefficient in above]
    if level.name not in variables.node:
        return below
    tau = _declare_tau(variables, level, transformed)
    name, shape = variables.node[level.name], (len(level.varying), level.n)
    nodes = np.arange(level.n)
    if variables.is_centered(level):
        means = [below[j].gathered() + np.zeros(level.n) for j in level.varying]
        scale = tau[:, level.parent] if level.per_parent else tau[:, None]
        beta = pm.Normal(name, mu=pt.stack(means), sigma=scale, shape=shape)
        varying = [beta[i] for i in range(len(level.varying))]
    else:
        z = pm.Normal(name, mu=np.zeros(()), sigma=np.ones(()), shape=shape)
        varying = [
            below[j].gathered() + (tau[i][level.parent] if level.per_parent else tau[i]) * z[i]
            for i, j in enumerate(level.varying)
        ]
    for values, j in zip(varying, level.varying, strict=True):
        below[j] = _Coefficient(values, nodes)
    return below


def _linear_predictor(rows: Rows | MergedRows, coefficients: list[_Coefficient], gamma: Any) -> Any:
    """eta_i = offset_i + x_i' beta_leaf(i) + z_i' gamma, (N,)."""
    eta = np.zeros(()) if rows.offset is None else rows.offset
    for j, coefficient in enumerate(coefficients):
        term = coefficient.down(rows.leaf).gathered()
        column = np.ascontiguousarray(rows.X[:, j])
        eta = eta + (term if np.all(column == 1.0) else column * term)
    return eta if gamma is None else eta + rows.Z @ gamma


def _by_statistics(
    rows: LeafRows,
    observed: dict[str, Any],
    coefficients: list[_Coefficient],
    gamma: Any,
    sigma: Any,
) -> Any:
    """Log density of all rows by what the leaves say of their coefficients; see `LeafRows`."""
    import pytensor.tensor as pt

    beta = [coefficients[effect].gathered() for effect in rows.order]
    away = np.ones(1)
    delta = None
    if gamma is not None:
        delta = gamma - observed["outcome_pivot"]
        away = pt.concatenate([np.ones(1), -delta])
    squares = away @ observed["outcome_residual"] @ away
    for j, weight in enumerate(rows.weights):
        left = observed["outcome_fit"][j] - beta[j]
        for k in range(j + 1, len(beta)):
            left = left - rows.slopes[j, k] * beta[k]
        if delta is not None:
            left = left - delta @ rows.covariates[j]
        squares = squares + (weight * left**2.0).sum()
    n = np.array(float(rows.n_rows))
    constant = np.array(0.5 * (rows.sum_log_weights - rows.n_rows * np.log(2.0 * np.pi)))
    return constant - n * pt.log(sigma) - 0.5 * squares / sigma**2.0


def _family_parameters(problem: Problem, transformed: bool) -> dict[str, Any]:
    """The outcome family's parameters: random variables, or constants where they are known."""
    return {
        name: np.array(prior.value)
        if prior.is_fixed
        else declare(
            prior.family,
            name,
            [np.array(a) for a in prior.args],
            shape=(),
            transformed=transformed,
        )
        for name, prior in problem.priors.family.items()
    }


def _declare_outcome(
    problem: Problem, rows: Rows | MergedRows, eta: Any, family: dict[str, Any], outcome: Any
) -> None:
    import pymc as pm

    sigma = family["sigma"]
    if rows.weights is not None:
        # A product, since PyTensor 3.3 stumbles (and prints) over the sign of such a quotient.
        sigma = sigma * (1.0 / np.sqrt(rows.weights))
    if problem.spec.family == "gaussian":
        pm.Normal("y", mu=eta, sigma=sigma, observed=outcome)
    elif isinstance(rows, MergedRows):
        each = pm.logp(pm.StudentT.dist(nu=family["nu"], mu=eta, sigma=sigma), outcome)
        pm.Potential("y", (rows.count.astype(np.float64) * each).sum())
    else:
        pm.StudentT("y", nu=family["nu"], mu=eta, sigma=sigma, observed=outcome)


# The name of PyMC's distribution and of its parameters, in the order of nestor's. PyMC's Exponential and
# Gamma take rates, its InverseGamma a scale, and it calls the scale of the Cauchy distributions beta.
_DISTRIBUTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Normal": ("Normal", ("mu", "sigma")),
    "StudentT": ("StudentT", ("nu", "mu", "sigma")),
    "Cauchy": ("Cauchy", ("alpha", "beta")),
    "HalfNormal": ("HalfNormal", ("sigma",)),
    "HalfStudentT": ("HalfStudentT", ("nu", "sigma")),
    "HalfCauchy": ("HalfCauchy", ("beta",)),
    "Exponential": ("Exponential", ("lam",)),
    "Gamma": ("Gamma", ("alpha", "beta")),
    "InverseGamma": ("InverseGamma", ("alpha", "beta")),
    "LogNormal": ("LogNormal", ("mu", "sigma")),
    "Uniform": ("Uniform", ("lower", "upper")),
}


def declare(
    family: str,
    name: str,
    args: Sequence[NDArray[np.float64]],
    *,
    shape: tuple[int, ...],
    transformed: bool,
) -> Any:
    """Declare a random variable with a prior of `family` in the current PyMC model.

    Parameters
    ----------
    family : str
        A name from `nestor.model.priors.PRIOR_FAMILIES`.
    name : str
        The random variable's name.
    args : sequence of ndarray
        The family's parameters in its order, broadcastable to `shape`. They must be float64 arrays: PyMC
        folds Python numbers in float32.
    shape : tuple of int
        Its shape.
    transformed : bool
        Whether it is sampled on the unconstrained space, or its density is wanted on the natural scale.
    """
    import pymc as pm

    distribution, parameters = _DISTRIBUTIONS[family]
    options = {} if transformed else {"default_transform": None}
    named = dict(zip(parameters, args, strict=True))
    return getattr(pm, distribution)(name, **named, shape=shape, **options)
