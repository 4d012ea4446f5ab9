"""Engines for the one-level model ``y ~ 1 + (1 || g)`` with known sigma: exact, wrong, and failing ones.

The exact one draws independently from the posterior, by arithmetic that shares nothing with nestor:
tau from its marginal posterior on a fine grid, and all coefficients given tau from their joint normal
distribution by its precision matrix.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import numpy as np

from nestor.backend import Capabilities, Draws, Timings
from nestor.errors import Unsupported

_GRID = 800


class Conjugate:
    name = "conjugate"
    requires: tuple[str, ...] = ()
    samplers: tuple[str, ...] = ("iid",)
    implementation = "conjugate"

    def capabilities(self):
        return Capabilities(
            families=frozenset({"gaussian"}),
            centering=frozenset({"centered", "noncentered"}),
            devices=frozenset({"cpu"}),
            dtypes=frozenset({"float64"}),
            chain_methods=frozenset({"parallel", "sequential"}),
        )

    def versions(self):
        return {"conjugate": "1"}

    def compile(self, problem, formulation, *, sampler, device, dtype):
        return self.model(problem, problem.y)

    def model(self, problem, y):
        return Model(problem, y)


class Model:
    def __init__(self, problem, y):
        self.problem, self.y = problem, y
        priors = problem.priors
        self.m0, self.s0 = priors.beta["Intercept"].args
        (self.scale,) = priors.tau["g"]["Intercept"].args
        self.sigma = priors.family["sigma"].value
        weights = np.ones(problem.n_rows) if problem.weights is None else problem.weights
        self.n = np.bincount(problem.leaf, weights)
        self.total = np.bincount(problem.leaf, weights * y)

    def with_outcome(self, y):
        return type(self)(self.problem, y)

    def log_density(self, point):
        raise NotImplementedError

    def sample(self, config, on_progress=None):
        rng = np.random.default_rng(config.seed)
        size = config.chains * config.draws
        tau = self._tau(rng, size)
        coefficients = self._coefficients(rng, tau)
        lead = (config.chains, config.draws)
        values = {
            "beta": coefficients[:, :1].reshape(*lead, 1),
            "tau_g": tau.reshape(*lead, 1),
            "beta_g": coefficients[:, 1:].reshape(*lead, -1, 1),
        }
        return Draws(values, {"diverging": np.zeros(lead, bool)}, Timings(), {})

    def _tau(self, rng, size):
        """Inverse of the distribution function, linear between the points of a grid."""
        grid = np.linspace(1e-4, 6.0 * self.scale, _GRID)
        mean = self.total / self.n - self.m0
        covariance = self.s0**2 + np.diag(self.sigma**2 / self.n) * np.ones((_GRID, 1, 1))
        covariance += grid[:, None, None] ** 2 * np.eye(len(self.n))
        solved = np.linalg.solve(covariance, np.broadcast_to(mean[:, None], (_GRID, len(mean), 1)))
        log_p = -0.5 * (grid / self.scale) ** 2 - 0.5 * (solved[..., 0] @ mean)
        log_p -= 0.5 * np.linalg.slogdet(covariance)[1]
        p = np.exp(log_p - log_p.max())
        cumulative = np.concatenate([[0.0], np.cumsum((p[1:] + p[:-1]) / 2)])
        return np.interp(rng.random(size) * cumulative[-1], cumulative, grid)

    def _coefficients(self, rng, tau):
        """Draw (beta, beta_g) given tau, (draw, 1 + groups)."""
        groups = len(self.n)
        precision = np.zeros((len(tau), 1 + groups, 1 + groups))
        inverse = tau**-2.0
        precision[:, 0, 0] = self.s0**-2.0 + groups * inverse
        precision[:, 0, 1:] = precision[:, 1:, 0] = -inverse[:, None]
        own = np.arange(1, 1 + groups)
        precision[:, own, own] = inverse[:, None] + self.n / self.sigma**2
        information = np.concatenate([[self.m0 / self.s0**2], self.total / self.sigma**2])
        factor = np.linalg.cholesky(precision)
        mean = np.linalg.solve(
            precision, np.broadcast_to(information[:, None], (len(tau), 1 + groups, 1))
        )
        noise = rng.standard_normal((len(tau), 1 + groups, 1))
        return (mean + np.linalg.solve(np.swapaxes(factor, 1, 2), noise))[..., 0]


class Compiling(Conjugate):
    """Has to be compiled for every outcome."""

    name = "compiling"

    def model(self, problem, y):
        return OnlyOnce(problem, y)


class OnlyOnce:
    def __init__(self, problem, y):
        self._model = Model(problem, y)
        self.log_density = self._model.log_density

    def sample(self, config, on_progress=None):
        return self._model.sample(config, on_progress)


class _Wrong(Model):
    def sample(self, config, on_progress=None):
        draws = super().sample(config, on_progress)
        return replace(draws, values={n: self.spoil(n, v, config) for n, v in draws.values.items()})


class Narrow(Conjugate):
    """All draws closer to their mean, by 20% unless told."""

    name = "narrow"

    def model(self, problem, y):
        return NarrowModel(problem, y)


class NarrowModel(_Wrong):
    def spoil(self, name, values, config):
        mean = values.mean(axis=(0, 1))
        return mean + float(os.environ.get("NESTOR_FAKE_WIDTH", "0.8")) * (values - mean)


class Moved(Conjugate):
    """The population's draws half a posterior standard deviation too high."""

    name = "moved"

    def model(self, problem, y):
        return MovedModel(problem, y)


class MovedModel(_Wrong):
    def spoil(self, name, values, config):
        return values + 0.5 * values.std() if name == "beta" else values


class Ignorant(Conjugate):
    """Draws from the prior: every parameter's marginal rank is uniform, the log-likelihood's is not."""

    name = "ignorant"

    def model(self, problem, y):
        return IgnorantModel(problem, y)


class IgnorantModel(Model):
    def sample(self, config, on_progress=None):
        rng = np.random.default_rng(config.seed)
        lead = (config.chains, config.draws)
        beta = self.m0 + self.s0 * rng.standard_normal((*lead, 1))
        tau = self.scale * np.abs(rng.standard_normal((*lead, 1)))
        nodes = beta[..., None] + tau[..., None] * rng.standard_normal((*lead, len(self.n), 1))
        values = {"beta": beta, "tau_g": tau, "beta_g": nodes}
        return Draws(values, {"diverging": np.zeros(lead, bool)}, Timings(), {})


class Sticky(Conjugate):
    """Stays at each draw for 50 iterations: the right distribution, a small effective size."""

    name = "sticky"

    def model(self, problem, y):
        return StickyModel(problem, y)


class StickyModel(_Wrong):
    def spoil(self, name, values, config):
        stay = int(os.environ.get("NESTOR_FAKE_STAY", "50"))
        return np.repeat(values, stay, axis=1)[:, : config.draws]


class Extending(Conjugate):
    """As sticky, but its chains go on from where they stand, and do nothing else."""

    name = "extending"

    def model(self, problem, y):
        return ExtendingModel(problem, y)


class ExtendingModel(StickyModel):
    def sample(self, config, on_progress=None):
        raise NotImplementedError

    def sample_until(self, config, looks, on_progress=None):
        whole = super().sample(replace(config, draws=looks[-1]))
        for start, stop in zip([0, *looks], looks, strict=False):
            values = {name: v[:, start:stop] for name, v in whole.values.items()}
            stats = {name: v[:, start:stop] for name, v in whole.stats.items()}
            yield replace(whole, values=values, stats=stats)


class Refusing(Conjugate):
    """As sticky; has chains that go on, but not chains that run one after another."""

    name = "refusing"

    def model(self, problem, y):
        return RefusingModel(problem, y)


class RefusingModel(StickyModel):
    def sample_until(self, config, looks, on_progress=None):
        raise Unsupported("only parallel chains can go on.")
        yield


class Sometimes(Conjugate):
    """By the outcome's digits: raises, dies, hangs, or returns nan, each in about one of 20."""

    name = "sometimes"

    def model(self, problem, y):
        return SometimesModel(problem, y)


class SometimesModel(_Wrong):
    def sample(self, config, on_progress=None):
        digit = self.digit = int(abs(self.y[0]) * 1e6) % 20
        if digit == 0:
            raise ZeroDivisionError("the sampler divided by zero")
        if digit == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if digit == 2:
            time.sleep(600)
        print("noise on standard output")
        return super().sample(config, on_progress)

    def spoil(self, name, values, config):
        return values * np.nan if self.digit == 3 else values


class Always(Conjugate):
    """Always fails."""

    name = "always"

    def model(self, problem, y):
        return AlwaysModel(problem, y)


class AlwaysModel(Model):
    def sample(self, config, on_progress=None):
        raise ZeroDivisionError("the sampler divided by zero")


class Uncompiled(Conjugate):
    """Cannot be compiled."""

    name = "uncompiled"

    def model(self, problem, y):
        raise RuntimeError("this compiler is broken")


class Dawdling(Conjugate):
    """Takes its time, so that it can be interrupted."""

    name = "dawdling"

    def model(self, problem, y):
        return DawdlingModel(problem, y)


class DawdlingModel(Model):
    def sample(self, config, on_progress=None):
        time.sleep(float(os.environ.get("NESTOR_FAKE_SECONDS", "0.15")))
        return super().sample(config, on_progress)


class Rubbish(Compiling):
    """Returns what it should not: what ``NESTOR_FAKE_RUBBISH`` names."""

    name = "rubbish"

    def versions(self):
        return None if os.environ["NESTOR_FAKE_RUBBISH"] == "versions" else {"fake": "1"}

    def compile(self, problem, formulation, *, sampler, device, dtype):
        model = super().compile(problem, formulation, sampler=sampler, device=device, dtype=dtype)
        return RubbishModel(model)


class RubbishModel:
    def __init__(self, model):
        self.model = model

    def log_density(self, point):
        raise NotImplementedError

    def sample(self, config, on_progress=None):
        draws = self.model.sample(config, on_progress)
        if os.environ["NESTOR_FAKE_RUBBISH"] == "stats":
            return replace(draws, stats={"diverging": draws.stats["diverging"] * 1j})
        values = dict(draws.values)
        values["tau_g"] = np.full_like(values["tau_g"], -0.5)
        return replace(draws, values=values)
