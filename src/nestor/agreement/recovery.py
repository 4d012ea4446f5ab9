"""Marginalized coefficients, after sampling: are they exact draws given the scales?

The density that such an engine samples says nothing of its coefficients, which are drawn afterwards. The
reference tells from each draw the noise that would have drawn it (for exact draws independent standard
normal numbers, however autocorrelated the scales are), and three kinds of numbers are tested, whose
distributions are known: of each coefficient's noise the mean, Normal(0, 1/n), and the mean square,
chi-squared with n degrees of freedom over n; and of each pair of them the correlation, whose t has n - 2
degrees of freedom (Anderson 2003, "An Introduction to Multivariate Statistical Analysis", section 4.2.1).
Noise that siblings share leaves every coefficient's own distribution as it is, and is seen here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.sampled_density import usable_scales
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


#: False-alarm rate of the check of one run: a wrong engine is found by far smaller p-values.
LEVEL = 1e-6
#: Draws, evenly spread over the chains, that are looked at; fewer where there are more than so many numbers.
N_DRAWS, LEAST_DRAWS, LARGEST = 1000, 100, 20_000_000
#: Coefficients, evenly spread, siblings side by side, that are looked at.
N_COEFFICIENTS = 400
#: Draws without which there is no correlation to test.
_FEWEST = 3


@dataclass(frozen=True)
class RecoveryCheck:
    """Whether an engine's coefficients are exact draws given its scales.

    Parameters
    ----------
    contender : str
        The engine's name.
    level : float
        Of the whole check.
    n_draws, n_tests : int
        Draws looked at, and numbers tested.
    smallest_p : float
        Over all of them, times their number (Bonferroni).
    detectable : float
        Correlation of two coefficients' noise that is found with probability one half.
    message : str
        What is wrong; empty if nothing is.
    """

    contender: str
    level: float
    n_draws: int
    n_tests: int
    smallest_p: float
    detectable: float
    message: str

    __repr__ = short_repr

    @property
    def exact(self) -> bool:
        """Whether nothing speaks against it."""
        return self.smallest_p > self.level

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON document."""
        return {
            "contender": self.contender,
            "exact": self.exact,
            "draws": self.n_draws,
            "tests": self.n_tests,
            "level": self.level,
            "smallest_p": self.smallest_p,
            "detectable_correlation": self.detectable,
            "message": self.message,
        }


def check_recovery(
    problem: Problem,
    contender: str,
    values: Mapping[str, FloatArray],
    whitened: Callable[[Mapping[str, FloatArray]], Mapping[str, FloatArray]],
    level: float = LEVEL,
) -> RecoveryCheck | None:
    """Test coefficients that were drawn, given the scales, after these had been sampled.

    Parameters
    ----------
    problem : Problem
        Model and data.
    contender : str
        The engine's name.
    values : mapping of str to ndarray, (chain, draw, *shape)
        Draws of the canonical variables.
    whitened : callable
        From draws to the noise of their coefficients: a method of the reference's model, compiled with
        marginalized coefficients.
    level : float
        False-alarm rate of the whole check.

    Returns
    -------
    RecoveryCheck or None
        None where fewer than three draws have scales that coefficients can be drawn given.
    """
    usable = np.flatnonzero(usable_scales(problem, values))
    if len(usable) < _FEWEST:
        return None
    noise, labels = _noise(problem, values, whitened, usable)
    n, n_coefficients = noise.shape
    n_tests = n_coefficients * (n_coefficients + 3) // 2
    detectable = _detectable(n, level / n_tests)
    if not np.isfinite(noise).all():
        at = labels[int(np.flatnonzero(~np.isfinite(noise).all(axis=0))[0])]
        message = f"the noise of {at} is not finite"
        return RecoveryCheck(contender, level, n, n_tests, 0.0, detectable, message)
    p_value, message = min(_means(noise, labels), _variances(noise, labels), _pairs(noise, labels))
    smallest = min(1.0, n_tests * p_value)
    said = "" if smallest > level else message
    return RecoveryCheck(contender, level, n, n_tests, smallest, detectable, said)


def _means(noise: FloatArray, labels: Sequence[str]) -> tuple[float, str]:
    """Smallest p-value of a mean, and what it says."""
    from scipy.special import ndtr

    means = noise.mean(axis=0)
    worst = int(np.abs(means).argmax())
    p_value = 2.0 * ndtr(-np.sqrt(len(noise)) * abs(means[worst]))
    return float(p_value), f"the noise of {labels[worst]} has mean {means[worst]:.3f}, not 0"


def _variances(noise: FloatArray, labels: Sequence[str]) -> tuple[float, str]:
    from scipy.special import chdtr, chdtrc

    squares = np.square(noise).sum(axis=0)
    p_values = 2.0 * np.minimum(chdtr(len(noise), squares), chdtrc(len(noise), squares))
    worst = int(p_values.argmin())
    variance = squares[worst] / len(noise)
    return float(
        p_values[worst]
    ), f"the noise of {labels[worst]} has variance {variance:.3f}, not 1"


def _pairs(noise: FloatArray, labels: Sequence[str]) -> tuple[float, str]:
    from scipy.special import stdtr

    if len(labels) < 2:
        return 1.0, ""
    centred = noise - noise.mean(axis=0)
    length = np.sqrt(np.square(centred).sum(axis=0))
    # Noise that never changes has no correlation; its variance is wrong.
    centred /= np.where(length > 0, length, 1.0)
    correlation = np.triu(centred.T @ centred, 1)
    i, j = (int(k) for k in np.unravel_index(np.abs(correlation).argmax(), correlation.shape))
    r = min(abs(float(correlation[i, j])), 1.0)
    df = len(noise) - 2
    p_value = 0.0 if r == 1.0 else 2.0 * float(stdtr(df, -r * np.sqrt(df / (1.0 - r * r))))
    return p_value, (
        f"the noise of {labels[i]} and that of {labels[j]} have correlation {correlation[i, j]:.3f}, not 0"
    )


def _detectable(n: int, level: float) -> float:
    from scipy.special import stdtrit

    t = float(stdtrit(n - 2, 1.0 - 0.5 * level))
    return t / math.sqrt(n - 2 + t * t)


def _noise(
    problem: Problem,
    values: Mapping[str, FloatArray],
    whitened: Callable[[Mapping[str, FloatArray]], Mapping[str, FloatArray]],
    usable: NDArray[np.intp],
) -> tuple[FloatArray, list[str]]:
    """Noise of some coefficients in some of the usable draws, (draw, coefficient), and their names."""
    scalars = problem.scalars
    draws = values["beta"].shape[1]
    most = min(N_DRAWS, max(LEAST_DRAWS, LARGEST // len(scalars)))
    at = np.divmod(usable[_evenly(len(usable), most)], draws)
    some = {name: np.asarray(array)[at][None] for name, array in values.items()}
    noise = scalars.flatten({**some, **whitened(some)})[0]
    coefficients = np.array([v.role in ("population", "node") for v in scalars.variables])
    own = np.flatnonzero(coefficients[scalars.variable])
    if len(own) > N_COEFFICIENTS:
        # In runs of ten, since siblings are neighbours.
        starts = _evenly(len(own) - 9, N_COEFFICIENTS // 10)
        own = own[np.unique(starts[:, None] + np.arange(10))]
    return noise[:, own], [scalars.labels[i] for i in own.tolist()]


def _evenly(n: int, most: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.intp))
