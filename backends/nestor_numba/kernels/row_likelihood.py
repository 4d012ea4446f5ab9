"""The likelihood over rows: value and all derivatives in one pass, leaf by leaf, eight rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nestor_numba.kernels import joint_places as at
from nestor_numba.kernels.emit import Variable
from nestor_numba.kernels.logarithms import SumOfLogs, log1p
from nestor_numba.kernels.student_t import log_normalizer

if TYPE_CHECKING:
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.joint_places import Kind
    from nestor_numba.kernels.levels import Memory
    from nestor_numba.kernels.values import Doubles, Number, Whole


@dataclass(frozen=True)
class Family:
    """The outcome's parameters, known or sampled.

    Parameters
    ----------
    rows, constant : Number
        N, and the constant of the log density.
    sigma, nu : Number
        Their values; nu is that of nobody where the outcome is gaussian.
    """

    rows: Number
    constant: Number
    sigma: Number
    nu: Number


@dataclass(frozen=True)
class Likelihood:
    """A log-likelihood, and its derivatives by sigma and nu; the others are in the scratch."""

    value: Number
    by_sigma: Number
    by_nu: Number


@dataclass(frozen=True)
class _Columns:
    """The columns of the rows."""

    kind: Kind
    first: Doubles
    stride: Whole

    def _at(self, number: int, row: Whole) -> Number:
        return (self.first + self.stride * number).vector(row)

    def y(self, row: Whole) -> Number:
        """Outcome less offset."""
        return self._at(0, row)

    def predictors(self, row: Whole) -> list[Number | None]:
        """Effects and covariates; None for an intercept."""
        found: list[Number | None] = []
        number = 1
        for j in range(self.kind.p + self.kind.c):
            if j == self.kind.ones:
                found.append(None)
            else:
                found.append(self._at(number, row))
                number += 1
        return found

    @property
    def _after(self) -> int:
        return 1 + self.kind.p + self.kind.c - (self.kind.ones >= 0)

    def weighted(self, residual: Number, row: Whole) -> Number:
        """Residuals times weights, if there are any."""
        return self._at(self._after, row) * residual if self.kind.weighted else residual

    def counts(self, row: Whole) -> Number:
        """How many rows are like it."""
        return self._at(self._after + self.kind.weighted, row)


class _Gaussian:
    """Adds up the weighted squares."""

    def __init__(self, code: Code, columns: _Columns, family: Family) -> None:
        self._columns, self._family = columns, family
        self._squares = Variable(code, code.splat(0.0))
        self.factor = 1.0 / (family.sigma * family.sigma)

    def score(self, residual: Number, row: Whole) -> Number:
        """Derivative by the linear predictor, over `factor`."""
        own = self._columns.weighted(residual, row)
        self._squares.add(own * residual)
        return own

    def total(self) -> Likelihood:
        """What it comes to."""
        f = self._family
        squares = self._squares.get().total() * self.factor
        value = f.constant - f.rows * f.sigma.call("log") - 0.5 * squares
        return Likelihood(value, (squares - f.rows) / f.sigma, f.nu * 0.0)


class _Student:
    """Adds up log(1 + u) and u / (1 + u), u = w r^2 / (nu sigma^2)."""

    def __init__(self, code: Code, columns: _Columns, family: Family) -> None:
        self._columns, self._family = columns, family
        zero = code.splat(0.0)
        self._shares, self._logs = Variable(code, zero), SumOfLogs(code)
        # A logarithm with a count of its own is added alone.
        self._counted = Variable(code, zero)
        self._inverse = 1.0 / (family.nu * family.sigma * family.sigma)
        self.factor = (family.nu + 1.0) * self._inverse

    def score(self, residual: Number, row: Whole) -> Number:
        """Derivative by the linear predictor, over `factor`."""
        own = self._columns.weighted(residual, row)
        u = own * residual * self._inverse
        reciprocal = 1.0 / (1.0 + u)
        share, score = u * reciprocal, own * reciprocal
        if self._columns.kind.counted:
            count = self._columns.counts(row)
            share, score = count * share, count * score
            self._counted.add(count * log1p(u))
        else:
            self._logs.add(u)
        self._shares.add(share)
        return score

    def total(self) -> Likelihood:
        """What it comes to."""
        f = self._family
        logs = self._logs.total() + self._counted.get().total()
        shares = self._shares.get().total()
        normalizer, slope = log_normalizer(f.nu)
        more = f.nu + 1.0
        value = f.constant + f.rows * (normalizer - f.sigma.call("log")) - 0.5 * more * logs
        by_nu = f.rows * slope - 0.5 * logs + 0.5 * more / f.nu * shares
        return Likelihood(value, (more * shares - f.rows) / f.sigma, by_nu)


def rows(code: Code, kind: Kind, memory: Memory, family: Family) -> Likelihood:
    """Write the likelihood; derivatives by the leaves' coefficients and gamma go to the scratch."""
    header, scratch = memory.integers, memory.scratch
    columns = _Columns(kind, memory.constants + header[at.COLUMNS], header[at.ROW_STRIDE])
    outcome = (_Student if kind.student else _Gaussian)(code, columns, family)
    gamma = [code.splat(scratch[header[at.GAMMA] + j]) for j in range(kind.c)]
    by_gamma = [Variable(code, code.splat(0.0)) for _ in gamma]
    starts, stride = memory.integers + header[at.STARTS], header[at.LEAF_STRIDE]
    b, g = scratch + header[at.LEAF_B], scratch + header[at.LEAF_G]
    with code.loop(header[at.LEAVES]) as leaf:
        beta = [code.splat(b[stride * j + leaf]) for j in range(kind.p)]
        sums = [Variable(code, code.splat(0.0)) for _ in beta]
        begin = starts[leaf]
        count = starts[leaf + 1] - begin
        with code.loop(count, at.LANES) as i:
            inside = code.lanes_below(count - i)
            _eight(code, outcome, columns, begin + i, inside, (beta + gamma, sums + by_gamma))
        for j, total in enumerate(sums):
            g[stride * j + leaf] = total.get().total() * outcome.factor
    for j, total in enumerate(by_gamma):
        scratch[header[at.GAMMA_SLOPES] + j] = total.get().total() * outcome.factor
    return outcome.total()


def _eight(
    code: Code,
    outcome: _Gaussian | _Student,
    columns: _Columns,
    row: Whole,
    inside: Any,
    coefficients: tuple[list[Number], list[Variable]],
) -> None:
    """Add eight rows; rows of other leaves count with a residual of zero."""
    residual = columns.y(row)
    predictors = columns.predictors(row)
    for x, coefficient in zip(predictors, coefficients[0], strict=True):
        residual = residual - (coefficient if x is None else x * coefficient)
    residual = code.blend(inside, residual, 0.0)
    score = outcome.score(residual, row)
    for x, total in zip(predictors, coefficients[1], strict=True):
        total.add(score if x is None else score * x)
