"""Step 3: are the differences between two contenders shown to be small, or to be large?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from nestor.agreement.difference import POWER, check_pair
from nestor.agreement.holm import holm
from nestor.agreement.tost import COMPARED, TostStatistics, tost_statistics
from nestor.errors.text import short_repr
from nestor.stats.diagnostics.summaries import Summaries
from nestor.stats.plain import as_plain

type FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Deviation:
    """How far the two contenders are apart in one quantity of one scalar.

    Parameters
    ----------
    label, quantity
        The scalar, and "mean" or "sd".
    size
        For a mean d in posterior sd, with its sign; for an sd the ratio sd_a / sd_b less one.
    p_value
        Of the test that the result belongs to; nan if it could not be done.
    """

    label: str
    quantity: str
    size: float
    p_value: float

    def __str__(self) -> str:
        if not np.isfinite(self.size):
            return f"the {self.quantity} of {self.label} cannot be compared"
        if self.quantity == "mean":
            return f"the means of {self.label} differ by {self.size:+.3f} posterior sd"
        return f"the sds of {self.label} differ by {self.size:+.1%}"


@dataclass(frozen=True, eq=False)
class EquivalenceResult:
    """Two one-sided tests (Schuirmann 1987) of every mean and sd.

    What is measured against the margins is explained in `nestor.agreement.tost`.

    Parameters
    ----------
    equivalent
        Whether every mean and sd is shown to be within the margins.
    margin, sd_margin
        Margins: in posterior sd, and as a fraction.
    level
        Level of each test. All have to succeed, so no correction is due (Berger 1982).
    not_equivalent
        What was not shown to be within the margin, largest p-value first.
    worst
        The mean or sd that needs the largest margin; None if there are no scalars.
    smallest_margin
        Smallest margin, the same for means and sds, at which all would be equivalent; None if
        some quantity cannot be compared, or an sd is so uncertain that no margin would do.
    draw_factor
        By how much the effective sample sizes have to grow for equivalence to be shown if the
        differences stay as they are (1 if it is shown); None if a difference as estimated
        exceeds its margin or cannot be compared.
    shown, size, needed
        Whether each is equivalent; its difference as estimated (see `TostStatistics`); the margin at
        which it would be shown equivalent. Shape (2, scalar): means, sds.
    """

    equivalent: bool
    margin: float
    sd_margin: float
    level: float
    not_equivalent: tuple[Deviation, ...]
    worst: Deviation | None
    smallest_margin: float | None
    draw_factor: float | None
    shown: NDArray[np.bool_] = field(repr=False, metadata={"plain": False})
    size: FloatArray = field(repr=False, metadata={"plain": False})
    needed: FloatArray = field(repr=False, metadata={"plain": False})

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, without the arrays per scalar."""
        plain: dict[str, Any] = as_plain(self)
        return plain


@dataclass(frozen=True)
class BeyondResult:
    """The family of one-sided tests that a deviation exceeds its margin.

    Parameters
    ----------
    level
        Family-wise level (Holm).
    n_tests
        Number of tests in the family.
    beyond
        Deviations shown to exceed the margin, smallest adjusted p-value first.
    p_min
        Smallest adjusted p-value; None if no test could be done.
    """

    level: float
    n_tests: int
    beyond: tuple[Deviation, ...]
    p_min: float | None

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        plain: dict[str, Any] = as_plain(self)
        return plain


def equivalence_test(
    a: Summaries,
    b: Summaries,
    labels: Sequence[str],
    margin: float = 0.2,
    sd_margin: float = 0.2,
    level: float = 0.05,
) -> EquivalenceResult:
    """Test whether every mean and sd agrees within a margin.

    Parameters
    ----------
    a, b
        Summaries of two independent runs over the same scalars.
    labels
        Name of each scalar, shape (scalar,).
    margin
        For means, in posterior sd.
    sd_margin
        For sds, as a fraction: 0.2 allows a ratio of 1.2.
    level
        Level of each one-sided test.

    Returns
    -------
    EquivalenceResult

    Raises
    ------
    DataError
        If the numbers of scalars and labels differ or a margin is not positive.
    """
    check_pair(a, b, labels)
    placed = tost_statistics(a, b, margin, sd_margin)
    threshold = -float(ndtri(level))
    p_values = ndtr(-placed.inside)
    shown = placed.inside >= threshold
    needed = placed.margin_needed(threshold)
    not_equivalent = [_deviation(placed, p_values, labels, *at) for at in np.argwhere(~shown)]
    worst = _argworst(needed)
    return EquivalenceResult(
        equivalent=bool(shown.all()) and shown.size > 0,
        margin=margin,
        sd_margin=sd_margin,
        level=level,
        not_equivalent=tuple(sorted(not_equivalent, key=_by_p_value, reverse=True)),
        worst=None if worst is None else _deviation(placed, p_values, labels, *worst),
        smallest_margin=_maximum(needed),
        draw_factor=_maximum(placed.ess_factor(threshold)),
        shown=shown,
        size=placed.size,
        needed=needed,
    )


def beyond_margin_test(
    a: Summaries,
    b: Summaries,
    labels: Sequence[str],
    margin: float = 0.2,
    sd_margin: float = 0.2,
    level: float = 0.01,
) -> BeyondResult:
    """Test whether some mean or sd is *shown* to differ by more than the margin.

    The p-value is the largest that a difference inside the margin could give, both tails
    counted: it holds its level for any ratio of the margin to the error, and becomes that of
    the two-sided test of equality as the margin goes to zero.

    Parameters
    ----------
    a, b, labels, margin, sd_margin
        As in `equivalence_test`.
    level
        Family-wise level, kept by Holm's correction over all means and sds.

    Returns
    -------
    BeyondResult

    Raises
    ------
    DataError
        If the numbers of scalars and labels differ or a margin is not positive.
    """
    check_pair(a, b, labels)
    placed = tost_statistics(a, b, margin, sd_margin)
    adjusted = holm(placed.p_outside())
    beyond = [_deviation(placed, adjusted, labels, *at) for at in np.argwhere(adjusted <= level)]
    n_tests = int(np.count_nonzero(~np.isnan(adjusted)))
    return BeyondResult(
        level=level,
        n_tests=n_tests,
        beyond=tuple(sorted(beyond, key=lambda one: (one.p_value, -abs(one.size)))),
        p_min=float(np.nanmin(adjusted)) if n_tests else None,
    )


def ess_for_equivalence(
    n_means: int, margin: float = 0.2, level: float = 0.05, power: float = POWER
) -> float:
    """Effective sample size per contender that shows equivalence of means that are equal.

    All of `n_means` independent means have to pass both one-sided tests: the standard error
    sqrt(2 / ess) has to be ``margin / (z[1 - level] + z[(1 + power^(1/n)) / 2])``. About 1,000
    for 20 means and 1,700 for 3,500 at the usual margin, level and power.

    Parameters
    ----------
    n_means
        Number of means.
    margin
        In posterior sd.
    level
        Level of each one-sided test.
    power
        Probability that all are shown to be equivalent.

    Returns
    -------
    float
        In draws, for the mean.
    """
    quantiles = -ndtri(level) + ndtri((1 + power ** (1 / n_means)) / 2)
    return float(2 * (quantiles / margin) ** 2)


def _deviation(
    placed: TostStatistics, p_values: FloatArray, labels: Sequence[str], row: int, column: int
) -> Deviation:
    return Deviation(
        label=labels[column],
        quantity=COMPARED[row],
        size=float(placed.size[row, column]),
        p_value=float(p_values[row, column]),
    )


def _by_p_value(deviation: Deviation) -> float:
    """Sort key that puts what could not be compared before all p-values."""
    return np.inf if np.isnan(deviation.p_value) else deviation.p_value


def _argworst(needed: FloatArray) -> tuple[int, int] | None:
    if needed.size == 0:
        return None
    filled = np.where(np.isnan(needed), np.inf, needed)
    row, column = np.unravel_index(int(np.argmax(filled)), filled.shape)
    return int(row), int(column)


def _maximum(values: FloatArray) -> float | None:
    """Largest value; None if there is none or one of them is not a number."""
    return float(values.max()) if values.size and not np.isnan(values).any() else None
