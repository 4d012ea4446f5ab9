"""The gaussian likelihood by leaf statistics, value and all derivatives, eight leaves at a time.

With s = (1, -gamma), t_v = U_v (m_v - M_v gamma - beta_v), and the notation of `nestor.data.statistics.leaf`,

    log p(y) = constant - N log sigma - (sum_v |t_v|^2 + s'S s) / (2 sigma^2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor_numba.kernels import joint_places as at
from nestor_numba.kernels.emit import Variable
from nestor_numba.kernels.row_likelihood import Family, Likelihood

if TYPE_CHECKING:
    from nestor_numba.kernels.emit import Code
    from nestor_numba.kernels.joint_places import Kind
    from nestor_numba.kernels.levels import Memory
    from nestor_numba.kernels.values import Doubles, Number, Whole


def leaf_sums(code: Code, kind: Kind, memory: Memory, family: Family) -> Likelihood:
    """Write the likelihood; derivatives by the leaves' coefficients and gamma go to the scratch."""
    header, scratch, constants = memory.integers, memory.scratch, memory.constants
    stride, precision = header[at.LEAF_STRIDE], 1.0 / (family.sigma * family.sigma)
    b, g = scratch + header[at.LEAF_B], scratch + header[at.LEAF_G]
    root, fit = constants + header[at.ROOT], constants + header[at.FIT]
    # Both are about the pivot, which the statistics' outcome is about, too.
    gamma = [
        scratch[header[at.GAMMA] + j] - constants[header[at.GAMMA_PIVOT] + j] for j in range(kind.c)
    ]
    squares = Variable(code, code.splat(0.0))
    by_gamma = [Variable(code, code.splat(0.0)) for _ in gamma]
    width = 1 + kind.c
    with code.loop(header[at.LEAVES], at.LANES) as i:
        fits = [
            [fit.vector(stride * (j * width + k) + i) for k in range(width)] for j in range(kind.p)
        ]
        away = [_away(fitted, gamma, b.vector(stride * j + i)) for j, fitted in enumerate(fits)]
        norm, back = _through_root(code, kind, root, (stride, i), away)
        squares.add(norm)
        for j, value in enumerate(back):
            g.put(stride * j + i, precision * value)
            for total, fitted in zip(by_gamma, fits[j][1:], strict=True):
                total.add(value * fitted)
    rest, slopes = _remainders(code, kind, memory, gamma)
    for j, (total, slope) in enumerate(zip(by_gamma, slopes, strict=True)):
        scratch[header[at.GAMMA_SLOPES] + j] = precision * (total.get().total() + slope)
    scaled = precision * (squares.get().total() + rest)
    value = family.constant - family.rows * family.sigma.call("log") - 0.5 * scaled
    return Likelihood(value, (scaled - family.rows) / family.sigma, family.nu * 0.0)


def _away(fitted: list[Number], gamma: list[Number], beta: Number) -> Number:
    """An entry of m - M gamma - beta."""
    value = fitted[0] - beta
    for coefficient, of_covariate in zip(gamma, fitted[1:], strict=True):
        value = value - coefficient * of_covariate
    return value


def _through_root(
    code: Code, kind: Kind, root: Doubles, place: tuple[Whole, Whole], away: list[Number]
) -> tuple[Number, list[Number]]:
    """Squared norm of U e, and U'U e."""
    stride, i = place
    t = [code.splat(0.0) for _ in away]
    entries = [
        (row, column, root.vector(stride * number + i))
        for number, (row, column) in enumerate(kind.root_entries)
    ]
    for row, column, value in entries:
        t[row] = t[row] + value * away[column]
    back = [code.splat(0.0) for _ in away]
    for row, column, value in entries:
        back[column] = back[column] + value * t[row]
    norm = code.splat(0.0)
    for value in t:
        norm = norm + value * value
    return norm, back


def _remainders(
    code: Code, kind: Kind, memory: Memory, gamma: list[Number]
) -> tuple[Number, list[Number]]:
    """The quadratic form s'S s, and the last entries of S s."""
    S = memory.constants + memory.integers[at.RESIDUAL]
    s = [code.real(1.0), *(0.0 - value for value in gamma)]
    width = 1 + kind.c
    products = []
    for row in range(width):
        total = code.real(0.0)
        for column, value in enumerate(s):
            total = total + S[row * width + column] * value
        products.append(total)
    rest = code.real(0.0)
    for value, product in zip(s, products, strict=True):
        rest = rest + value * product
    return rest, products[1:]
