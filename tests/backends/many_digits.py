"""The densities of small gaussian problems in 50 digits: one dense covariance of all rows, in decimals.

It is written from the model's formulas alone and rounds nothing that a double would show. Arrays are NumPy's,
of Python's decimals, which are many times faster than numbers of any precision written in Python.
"""

from decimal import Decimal, localcontext

import numpy as np

DIGITS = 50
_STEP = Decimal("1e-12")
_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def log_marginal(problem, scales):
    """log p(y | scales), coefficients integrated out: y ~ Normal(mean, covariance of rows)."""
    return float(_log_marginal(problem, scales))


def slopes_of_marginal(problem, scales):
    """Derivatives of `log_marginal` by the logarithm of each scale, by name.

    Central differences, of which the step is so small that a double shows nothing of its square.
    """
    found = {}
    with localcontext(prec=DIGITS):
        exact = {name: _exact(value) for name, value in scales.items()}
        for name, value in exact.items():
            found[name] = np.zeros(value.shape)
            for at in np.ndindex(value.shape):
                ahead, behind = (
                    _log_marginal(problem, exact | {name: _stretched(value, at, sign)})
                    for sign in (1, -1)
                )
                found[name][at] = float((ahead - behind) / (2 * _STEP))
    return found


def _stretched(values, at, sign):
    """The values with one of them times exp(sign step)."""
    changed = values.copy()
    changed[at] *= (sign * _STEP).exp()
    return changed


def _log_marginal(problem, scales):
    with localcontext(prec=DIGITS):
        n = problem.n_rows
        L = _cholesky(_covariance(problem, scales))
        residual = _exact(problem.y) - _prior_mean(problem)
        whitened = np.empty(n, dtype=object)
        for i in range(n):
            whitened[i] = (residual[i] - L[i, :i] @ whitened[:i]) / L[i, i]
        log_det = np.prod(np.diag(L)).ln()
        return -n * (2 * _PI).ln() / 2 - log_det - whitened @ whitened / 2


def _covariance(problem, scales):
    """Covariance of the rows, (N, N)."""
    X, Z = _exact(problem.X), _exact(problem.Z)
    V = np.diag(_sigma(problem, scales) ** 2 / _weights(problem))
    shared = _shared_variances(problem, scales)
    for j in range(X.shape[1]):
        V = V + np.outer(X[:, j], X[:, j]) * shared[j]
    for j, prior in enumerate(problem.priors.gamma.values()):
        V = V + np.outer(Z[:, j], Z[:, j]) * _exact(prior.args[1])[()] ** 2
    return V


def _shared_variances(problem, scales):
    """Variance of each effect that two rows share: the population's, and that of every common node."""
    n, found = problem.n_rows, []
    for effect in problem.effects:
        prior = problem.priors.beta.get(effect)
        variance = Decimal(0) if prior is None else _exact(prior.args[1])[()] ** 2
        found.append(np.full((n, n), variance, dtype=object))
    node = problem.leaf
    for level in reversed(problem.levels):
        common = node[:, None] == node[None, :]
        for q, j in enumerate(level.varying):
            tau = _exact(scales[f"tau_{level.name}"])
            own = tau[level.parent[node], q] if level.per_parent else np.full(n, tau[q])
            found[j] = found[j] + np.where(common, (own**2)[:, None], Decimal(0))
        node = level.parent[node]
    return found


def _cholesky(V):
    """Lower triangular root."""
    L = np.zeros_like(V)
    for j in range(len(V)):
        left = V[j:, j] - (L[j:, :j] @ L[j, :j] if j else 0)
        L[j:, j] = left / left[0].sqrt()
    return L


def log_joint(problem, point):
    """log p(y, coefficients | scales): the sum of the rows' and the coefficients' log densities."""
    with localcontext(prec=DIGITS):
        values = {name: _exact(v) for name, v in problem.with_inherited(point).items()}
        total = Decimal(0)
        for j, effect in enumerate(problem.effects):
            if effect in problem.priors.beta:
                mean, sd = _exact(problem.priors.beta[effect].args)
                total += _log_normal(values["beta"][j], mean, sd)
        for j, prior in enumerate(problem.priors.gamma.values()):
            total += _log_normal(values["gamma"][j], *_exact(prior.args))
        above = values["beta"][None]
        for level in problem.levels:
            nodes, tau = values[f"beta_{level.name}"], values[f"tau_{level.name}"]
            for v, parent in enumerate(level.parent):
                own = tau[parent] if level.per_parent else tau
                for q, j in enumerate(level.varying):
                    total += _log_normal(nodes[v, j], above[parent, j], own[q])
            above = nodes
        mean = _offset(problem) + (_exact(problem.X) * above[problem.leaf]).sum(axis=1)
        if problem.spec.covariates:
            mean = mean + _exact(problem.Z) @ values["gamma"]
        y, sigma = _exact(problem.y), _sigma(problem, values)
        for i, weight in enumerate(_weights(problem)):
            total += _log_normal(y[i], mean[i], sigma / weight.sqrt())
        return float(total)


def log_prior_of_scales(problem, scales):
    """Log prior of every tau and of sigma, which no edge makes hard: SciPy's."""
    total = 0.0
    for level, priors in problem.priors.tau.items():
        for j, prior in enumerate(priors.values()):
            total += float(np.sum(prior.scipy().logpdf(scales[f"tau_{level}"][..., j])))
    sigma = problem.priors.family["sigma"]
    return total if sigma.is_fixed else total + float(sigma.scipy().logpdf(scales["sigma"]))


def slopes_of_priors(problem, scales):
    """Derivatives of `log_prior_of_scales` by the logarithm of each scale, by name, from their formulas."""
    sigma = problem.priors.family["sigma"]
    found = {} if sigma.is_fixed else {"sigma": _slope_of_prior(sigma, scales["sigma"])}
    for level, priors in problem.priors.tau.items():
        values = np.asarray(scales[f"tau_{level}"])
        columns = [_slope_of_prior(p, values[..., j]) for j, p in enumerate(priors.values())]
        found[f"tau_{level}"] = np.stack(columns, axis=-1) if columns else np.zeros(values.shape)
    return found


def _slope_of_prior(prior, x):
    x = np.asarray(x, dtype=float)
    if prior.family == "HalfNormal":
        return -((x / prior.args[0]) ** 2)
    assert prior.family == "HalfStudentT"
    nu, scale = prior.args
    return -(nu + 1) * x**2 / (nu * scale**2 + x**2)


def _exact(values):
    """Doubles as decimals, of the same shape; decimals as they are."""
    array = np.asarray(values)
    found = np.empty(array.shape, dtype=object)
    for at in np.ndindex(array.shape):
        found[at] = array[at] if isinstance(array[at], Decimal) else Decimal(float(array[at]))
    return found


def _log_normal(x, mean, sd):
    return -(2 * _PI).ln() / 2 - sd.ln() - ((x - mean) / sd) ** 2 / 2


def _sigma(problem, scales):
    sigma = problem.priors.family["sigma"]
    return _exact(sigma.value if sigma.is_fixed else scales["sigma"])[()]


def _weights(problem):
    return _exact(np.ones(problem.n_rows) if problem.weights is None else problem.weights)


def _offset(problem):
    return _exact(np.zeros(problem.n_rows) if problem.offset is None else problem.offset)


def _prior_mean(problem):
    """Prior means of the rows, (N,)."""
    found, X, Z = _offset(problem), _exact(problem.X), _exact(problem.Z)
    for j, effect in enumerate(problem.effects):
        if effect in problem.priors.beta:
            found = found + X[:, j] * _exact(problem.priors.beta[effect].args[0])[()]
    for j, prior in enumerate(problem.priors.gamma.values()):
        found = found + Z[:, j] * _exact(prior.args[0])[()]
    return found
