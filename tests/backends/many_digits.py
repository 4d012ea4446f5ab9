"""The densities of small gaussian problems in 50 digits: plain loops, one dense covariance of all rows.

It is written from the model's formulas alone and rounds nothing that a double would show.
"""

import mpmath
import numpy as np

DIGITS = 50
_STEP = mpmath.mpf(10) ** -12


def log_marginal(problem, scales):
    """log p(y | scales), coefficients integrated out: y ~ Normal(mean, covariance of rows)."""
    return float(_log_marginal(problem, scales))


def slopes_of_marginal(problem, scales):
    """Derivatives of `log_marginal` by the logarithm of each scale, by name.

    Central differences, of which the step is so small that a double shows nothing of its square.
    """
    found = {}
    with mpmath.workdps(DIGITS):
        exact = {name: np.array(value, dtype=object) for name, value in scales.items()}
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
    changed[at] = _mpf(values[at]) * mpmath.exp(sign * _STEP)
    return changed


def _log_marginal(problem, scales):
    with mpmath.workdps(DIGITS):
        n = problem.n_rows
        sigma, weights = _sigma(problem, scales), _weights(problem)
        residual = mpmath.matrix([_mpf(problem.y[i]) - _prior_mean(problem, i) for i in range(n)])
        V = mpmath.matrix(n, n)
        shared = [[_shared_variances(problem, scales, i, j) for j in range(n)] for i in range(n)]
        gamma = [_mpf(prior.args[1]) ** 2 for prior in problem.priors.gamma.values()]
        for i in range(n):
            for j in range(n):
                V[i, j] = sum(
                    _mpf(a) * _mpf(b) * s
                    for a, b, s in zip(problem.X[i], problem.X[j], shared[i][j], strict=True)
                ) + sum(
                    _mpf(a) * _mpf(b) * s
                    for a, b, s in zip(problem.Z[i], problem.Z[j], gamma, strict=True)
                )
            V[i, i] += sigma**2 / weights[i]
        factor = mpmath.cholesky(V)
        whitened = []
        for i in range(n):  # mpmath's own solver checks more than it solves
            known = sum(factor[i, j] * whitened[j] for j in range(i))
            whitened.append((residual[i] - known) / factor[i, i])
        log_det = sum(mpmath.log(factor[i, i]) for i in range(n))
        squares = sum(z**2 for z in whitened)
        return -n * mpmath.log(2 * mpmath.pi) / 2 - log_det - squares / 2


def log_joint(problem, point):
    """log p(y, coefficients | scales): the sum of the rows' and the coefficients' log densities."""
    with mpmath.workdps(DIGITS):
        values = problem.with_inherited(point)
        total = mpmath.mpf(0)
        for j, effect in enumerate(problem.effects):
            if effect in problem.priors.beta:
                total += _log_normal(values["beta"][j], *problem.priors.beta[effect].args)
        for j, prior in enumerate(problem.priors.gamma.values()):
            total += _log_normal(values["gamma"][j], *prior.args)
        above = values["beta"][None]
        for level in problem.levels:
            nodes = values[f"beta_{level.name}"]
            for v in range(level.n):
                for q, j in enumerate(level.varying):
                    mean = above[level.parent[v], j]
                    total += _log_normal(nodes[v, j], mean, _tau(level, values, v)[q])
            above = nodes
        sigma, weights = _sigma(problem, values), _weights(problem)
        for i in range(problem.n_rows):
            mean = _offset(problem, i)
            mean += sum(
                _mpf(x) * _mpf(b) for x, b in zip(problem.X[i], above[problem.leaf[i]], strict=True)
            )
            if problem.spec.covariates:
                mean += sum(
                    _mpf(z) * _mpf(g) for z, g in zip(problem.Z[i], values["gamma"], strict=True)
                )
            total += _log_normal(problem.y[i], mean, sigma / mpmath.sqrt(weights[i]))
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


def _mpf(x):
    x = x.item() if isinstance(x, np.ndarray) else x
    return x if isinstance(x, mpmath.mpf) else mpmath.mpf(float(x))


def _log_normal(x, mean, sd):
    z = (_mpf(x) - _mpf(mean)) / _mpf(sd)
    return -mpmath.log(2 * mpmath.pi) / 2 - mpmath.log(_mpf(sd)) - z**2 / 2


def _sigma(problem, scales):
    sigma = problem.priors.family["sigma"]
    return _mpf(sigma.value if sigma.is_fixed else scales["sigma"])


def _weights(problem):
    ones = np.ones(problem.n_rows)
    return [_mpf(w) for w in (ones if problem.weights is None else problem.weights)]


def _offset(problem, i):
    return _mpf(0.0 if problem.offset is None else problem.offset[i])


def _prior_mean(problem, i):
    mean = _offset(problem, i)
    for j, effect in enumerate(problem.effects):
        if effect in problem.priors.beta:
            mean += _mpf(problem.X[i, j]) * _mpf(problem.priors.beta[effect].args[0])
    for j, prior in enumerate(problem.priors.gamma.values()):
        mean += _mpf(problem.Z[i, j]) * _mpf(prior.args[0])
    return mean


def _tau(level, scales, v):
    tau = scales[f"tau_{level.name}"]
    return tau[level.parent[v]] if level.per_parent else tau


def _path(problem, leaf):
    """The node of each level above a leaf, top down, the leaf last."""
    found = [leaf]
    for level in reversed(problem.levels[1:]):
        found.append(level.parent[found[-1]])
    return found[::-1]


def _shared_variances(problem, scales, i, j):
    """Variance of each effect that two rows share: the population's, and that of every common node."""
    found = []
    for effect in problem.effects:
        prior = problem.priors.beta.get(effect)
        found.append(mpmath.mpf(0) if prior is None else _mpf(prior.args[1]) ** 2)
    paths = (_path(problem, int(problem.leaf[row])) for row in (i, j))
    for level, v, other in zip(problem.levels, *paths, strict=True):
        if v != other:
            break
        if len(level.varying):
            for q, k in enumerate(level.varying):
                found[k] += _mpf(_tau(level, scales, v)[q]) ** 2
    return found
