"""The log posterior of the scales with its gradient, and draws of the coefficients: passes over all levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from nestor_numba import covariates, kernel_any, kernel_one, kernel_two
from nestor_numba import level as column
from nestor_numba.arena import (
    COLUMNS,
    EFFECTS,
    FACTOR,
    FORM,
    GAMMA,
    GAMMA_MEAN,
    GAMMA_VARIANCE,
    GRADIENTS,
    HEADER,
    LEVELS,
    NODES,
    NUMBERS,
    ORDER,
    PIVOTS,
    PRIORS,
    RESIDUAL,
    SCALARS,
    SIGMA,
    SLOPES,
    SLOTS,
    SQUARES,
    TABLE,
    TOP,
    VALUES,
    ZERO_FROM,
    ZERO_TO,
)
from nestor_numba.compiling import njit
from nestor_numba.priors import WIDTH, constrain, evaluate

if TYPE_CHECKING:
    from types import ModuleType


class Passes(NamedTuple):
    """Functions for one kernel, not compiled before they are needed.

    Parameters
    ----------
    value_and_gradient : callable
        (z, gradient, constants, integers, scratch) to the log density on the unconstrained space.
    draw : callable
        (z, noise, constants, integers, scratch): draws all coefficients given the scales; leaves the leaves'
        in the place of their noise and all others' in the scratch.
    """

    value_and_gradient: Any
    draw: Any


def kernel_for(p: int, m: int) -> ModuleType:
    """Return the kernel for so many effects and columns."""
    return {(1, 1): kernel_one, (2, 1): kernel_two}.get((p, m), kernel_any)


@njit
def _set_scales(z, gradient, constants, integers, scratch):
    """Put squares of the scales in their places; returns (log prior with Jacobian, sigma)."""
    value = 0.0
    sigma = constants[integers[NUMBERS] + 1]
    for i in range(integers[SCALARS]):
        at = integers[PRIORS] + WIDTH * i
        prior = constants[at : at + WIDTH]
        x, jacobian, slope, bend = constrain(z[i], prior[8], prior[9])
        density, derivative = evaluate(prior, x)
        value += density + jacobian
        gradient[i] = derivative * slope + bend
        scratch[integers[VALUES] + i] = x
        scratch[integers[SLOPES] + i] = slope
        square = integers[integers[SQUARES] + i]
        if square >= 0:
            scratch[square] = x * x
        else:
            sigma = x
    p = integers[EFFECTS]
    table = integers[TABLE]
    for j in range(p):
        variance = constants[integers[HEADER - 1] + j]
        scratch[integers[table + column.VARIANCE] + j] = variance
    return value, sigma


@njit
def _gamma(constants, integers, scratch):
    """Arrays of the covariates: quadratic form, prior means and variances, work, factor."""
    m = integers[COLUMNS]
    mean, variance = integers[GAMMA_MEAN], integers[GAMMA_VARIANCE]
    return (
        scratch[integers[FORM] : integers[FORM] + m * m],
        constants[mean : mean + m - 1],
        constants[variance : variance + m - 1],
        scratch[integers[GAMMA] : integers[GAMMA] + 4 * m * m + 4 * m],
        scratch[integers[FACTOR] : integers[FACTOR] + m * m],
    )


def passes(kernel: ModuleType) -> Passes:
    """Build the functions for a kernel."""
    up, down, draw = kernel.up, kernel.down, kernel.draw

    @njit
    def ascend(constants, integers, scratch, precision):
        """Integrate everything out; returns (quadratic form, log det)."""
        levels, m = integers[LEVELS], integers[COLUMNS]
        for i in range(integers[ZERO_FROM], integers[ZERO_TO]):
            scratch[i] = 0.0
        log_det = 0.0
        for back in range(levels):
            k = levels - 1 - back
            at = integers[TABLE] + column.WIDTH * k
            row = integers[at : at + column.WIDTH]
            log_det += up(k == levels - 1, row, constants, integers, scratch, precision)
        # What the population tells its imaginary parent, which is fixed.
        for i in range(integers[TOP], integers[integers[TABLE] + column.STATE]):
            scratch[i] = 0.0
        form, mean, variance, work, factors = _gamma(constants, integers, scratch)
        for i in range(m * m):
            form[i] += precision * constants[integers[RESIDUAL] + i]
        quadratic, more = covariates.integrate(form, mean, variance, work)
        return quadratic, log_det + more

    @njit
    def value_and_gradient(z, gradient, constants, integers, scratch):
        value, sigma = _set_scales(z, gradient, constants, integers, scratch)
        precision = 1.0 / (sigma * sigma)
        numbers, levels = integers[NUMBERS], integers[LEVELS]
        rows = constants[numbers]
        quadratic, log_det = ascend(constants, integers, scratch, precision)
        value += constants[numbers + 2] - rows * math.log(sigma) - 0.5 * (log_det + quadratic)
        form, mean, variance, work, factors = _gamma(constants, integers, scratch)
        weighted = covariates.factor(mean, variance, work, factors)
        for k in range(levels):
            at = integers[TABLE] + column.WIDTH * k
            row = integers[at : at + column.WIDTH]
            if row[column.PER_PARENT]:
                for i in range(integers[EFFECTS] * row[column.SCALES]):
                    scratch[row[column.SUMS] + i] = 0.0
            down(k == levels - 1, row, constants, integers, scratch, precision)
            if not row[column.PER_PARENT]:
                for j in range(integers[EFFECTS]):
                    weighted += scratch[row[column.VARIANCE] + j] * scratch[row[column.SUMS] + j]
        for i in range(integers[SCALARS]):
            sums = integers[integers[GRADIENTS] + i]
            if sums < 0:
                continue
            x, slope = scratch[integers[VALUES] + i], scratch[integers[SLOPES] + i]
            gradient[i] += slope * x * scratch[sums]
        for k in range(levels):
            at = integers[TABLE] + column.WIDTH * k
            row = integers[at : at + column.WIDTH]
            if row[column.PER_PARENT]:
                for i in range(integers[EFFECTS] * row[column.SCALES]):
                    weighted += scratch[row[column.VARIANCE] + i] * scratch[row[column.SUMS] + i]
        at = integers[SIGMA]
        if at >= 0:
            # All variances times s are the marginal's covariance times s, which is a change known in full.
            slope = scratch[integers[SLOPES] + at]
            gradient[at] += slope * (quadratic - rows - weighted) / sigma
        return value

    @njit
    def draw_all(z, noise, constants, integers, scratch):
        # The gradient of the prior goes where the noise of nobody's slots is: it is not used.
        value, sigma = _set_scales(z, scratch[integers[SLOPES] :], constants, integers, scratch)
        precision = 1.0 / (sigma * sigma)
        ascend(constants, integers, scratch, precision)
        form, mean, variance, work, factors = _gamma(constants, integers, scratch)
        m, p, levels = integers[COLUMNS], integers[EFFECTS], integers[LEVELS]
        covariates.draw(mean, variance, work, factors, noise[: m - 1])
        begin = m - 1
        for k in range(levels):
            at = integers[TABLE] + column.WIDTH * k
            row = integers[at : at + column.WIDTH]
            end = begin + p * row[column.SIZE]
            draw(k == levels - 1, row, constants, integers, scratch, precision, noise[begin:end])
            begin = end

    return Passes(value_and_gradient, draw_all)
