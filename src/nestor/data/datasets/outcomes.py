"""Draws of the outcome, family by family, in NumPy; the parametrizations are fixed here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nestor.stats.arrays import FloatArray

Link = Literal["identity", "logit", "log"]

#: NumPy's Poisson draws fail beyond a mean of about 2 ** 63; this stays well inside
_LARGEST_LOG_MEAN = 30.0


@dataclass(frozen=True)
class OutcomeInputs:
    """Inputs of an outcome's distribution; arrays are (n_rows,).

    Parameters
    ----------
    eta : ndarray
        Linear predictor, offset included.
    size : ndarray
        Trials (binomial), exposure (poisson and negative_binomial) or weight (gaussian and
        student_t); ones where it is not used.
    parameters : mapping of str to float
        The family's parameters.
    """

    eta: FloatArray
    size: FloatArray
    parameters: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """A family's link, parameters, row-wise extra column and sampler."""

    link: Link
    parameters: tuple[str, ...]
    extra: Literal["weight", "trials", "exposure"] | None
    draw: Callable[[OutcomeInputs, np.random.Generator], FloatArray]


def draw_outcome(family: str, given: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    """Draw y of `family`, (n_rows,).

    Raises
    ------
    DataError
        If a log link's means are too large to draw.
    """
    outcome = OUTCOMES[family]
    if outcome.link == "log":
        largest = float(np.max(np.abs(given.eta)))
        if largest > _LARGEST_LOG_MEAN:
            raise DataError(
                f"the linear predictor reaches {largest:.3g} in size, too large for the log link "
                f"of {family}: make beta, tau or gamma smaller."
            )
    return outcome.draw(given, random)


def _gaussian(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    scale = g.parameters["sigma"] / np.sqrt(g.size)
    return g.eta + scale * random.standard_normal(g.eta.shape)


def _student_t(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    scale = g.parameters["sigma"] / np.sqrt(g.size)
    return g.eta + scale * random.standard_t(g.parameters["nu"], g.eta.shape)


def _bernoulli(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    return (random.random(g.eta.shape) < _expit(g.eta)).astype(np.float64)


def _binomial(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    return random.binomial(g.size.astype(np.int64), _expit(g.eta)).astype(np.float64)


def _poisson(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    return random.poisson(g.size * np.exp(g.eta)).astype(np.float64)


def _negative_binomial(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    """Poisson, its mean times a Gamma(alpha, rate alpha): variance m + m^2 / alpha."""
    alpha = g.parameters["alpha"]
    multiplier = random.gamma(alpha, 1.0 / alpha, g.eta.shape)
    return random.poisson(g.size * np.exp(g.eta) * multiplier).astype(np.float64)


def _gamma(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    alpha = g.parameters["alpha"]
    y = random.gamma(alpha, np.exp(g.eta) / alpha)
    # a small shape underflows to 0, which is outside the support
    return np.maximum(y, np.finfo(np.float64).tiny)


def _beta(g: OutcomeInputs, random: np.random.Generator) -> FloatArray:
    mean, phi = _expit(g.eta), g.parameters["phi"]
    y = random.beta(np.maximum(mean * phi, 1e-300), np.maximum((1.0 - mean) * phi, 1e-300))
    # the open interval: floating point rounds values near its ends onto them
    return np.clip(y, np.finfo(np.float64).tiny, 1.0 - np.finfo(np.float64).epsneg)


def _expit(eta: FloatArray) -> FloatArray:
    return 0.5 * (1.0 + np.tanh(0.5 * eta))


OUTCOMES: Mapping[str, Outcome] = {
    "gaussian": Outcome("identity", ("sigma",), "weight", _gaussian),
    "student_t": Outcome("identity", ("nu", "sigma"), "weight", _student_t),
    "bernoulli": Outcome("logit", (), None, _bernoulli),
    "binomial": Outcome("logit", (), "trials", _binomial),
    "poisson": Outcome("log", (), "exposure", _poisson),
    "negative_binomial": Outcome("log", ("alpha",), "exposure", _negative_binomial),
    "gamma": Outcome("log", ("alpha",), None, _gamma),
    "beta": Outcome("logit", ("phi",), None, _beta),
}
#: families whose outcome is a count
COUNTS = ("bernoulli", "binomial", "poisson", "negative_binomial")
