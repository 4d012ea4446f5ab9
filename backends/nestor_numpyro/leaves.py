"""Messages of leaves to their parents, computed without differences of large numbers.

With r = U (m - m0) the leaf's own fit as its rows see it from the parent's pivot m0, w = 1 / sigma^2 and
Sigma = diag(x_1, x_2, ...) the variances of its coefficients about the parent's, a leaf's message is

    Q = w U'K U,    q = w U'K r,    squares = w r'K r,    K = (I + w U Sigma U')^-1.

For two effects all three are sums of positive terms, or of one sign, once multiplied out: with a, b, c the
entries of U'U, det its determinant, and d = adj(U) r, which is m - m0 times the determinant of U,

    s = 1 + w x_1 a + w x_2 c + w^2 x_1 x_2 det        (determinant of K's inverse)
    Q = w [a + w x_2 det, b; b, c + w x_1 det] / s
    q = w (U'r + w det(U) (x_2 d_1, x_1 d_2)) / s
    squares = w (r'r + w (x_2 d_1^2 + x_1 d_2^2)) / s.

What depends on the rows alone is computed once. For more effects the columns of U and r are multiplied by
K^1/2 effect after effect (Potter's form: Bierman 1977, Factorization Methods for Discrete Sequential
Estimation, chapter V). On the way down, to a leaf's coefficients, digits of rounding are no matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from nestor_numpyro.precision import Left, One, Stage, Two, inner, integrate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nestor.stats.arrays import FloatArray
    from nestor_numpyro.precision import Entries


def leaf_arrays(root: FloatArray, right: FloatArray) -> dict[str, FloatArray]:
    """Compute what the messages of leaves need of their rows, on the host.

    Parameters
    ----------
    root : ndarray, (n, p, p)
        U.
    right : ndarray, (n, p, m)
        r, a column for the outcome and one for each covariate.

    Returns
    -------
    dict of str to ndarray, (n, ...)
        For one and two effects ``precision``, the entries of U'U and for two its determinant, ``linear``,
        U'r, and ``squares``, r'r; for two ``turned``, det(U) d, and ``crossed``, d_j d_j'. For more effects
        ``root`` and ``right``.
    """
    p = root.shape[1]
    if p > 2:
        return {"root": root, "right": right}
    gram = np.swapaxes(root, 1, 2) @ root
    found = {
        "precision": gram[:, :1, 0],
        "linear": np.swapaxes(root, 1, 2) @ right,
        "squares": np.swapaxes(right, 1, 2) @ right,
    }
    if p == 2:
        # U is triangular but for the order of its rows: one of the products is zero.
        det = root[:, 0, 0] * root[:, 1, 1] - root[:, 0, 1] * root[:, 1, 0]
        d = np.stack(
            [
                root[:, 1, 1, None] * right[:, 0] - root[:, 0, 1, None] * right[:, 1],
                root[:, 0, 0, None] * right[:, 1] - root[:, 1, 0, None] * right[:, 0],
            ],
            axis=1,
        )
        entries = [gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1], det**2]
        found |= {
            "precision": np.stack(entries, axis=1),
            "turned": det[:, None, None] * d,
            "crossed": d[..., :, None] * d[..., None, :],
        }
    return found


def leaf_left(leaf: Mapping[str, Any], weight: Any, variances: Mapping[int, Any]) -> Left:
    """Integrate out the coefficients of all leaves; returns their messages, about their parents' pivots.

    Parameters
    ----------
    leaf : mapping of str to Array, (..., slots)
        Of `leaf_arrays`, the leaves along the last axis.
    weight : Array, ()
        1 / sigma^2.
    variances : mapping of int to Array
        Squares of tau of the effects that vary.
    """
    if "root" in leaf:
        return _many(leaf, weight, variances)
    return (_one if len(leaf["precision"]) == 1 else _two)(leaf, weight, variances)


def _one(leaf: Mapping[str, Any], w: Any, variances: Mapping[int, Any]) -> Left:
    (a,) = leaf["precision"]
    stages = integrate(One(w * a), _scaled(leaf["linear"], w), variances).stages
    s = 1.0 + variances[0] * (w * a) if 0 in variances else jnp.ones_like(a)
    r = w / s
    return Left(
        [[a * r]],
        _scaled(leaf["linear"], r),
        jnp.log(s),
        _scaled(leaf["squares"], r),
        stages,
    )


def _two(leaf: Mapping[str, Any], w: Any, variances: Mapping[int, Any]) -> Left:
    a, b, c, det = leaf["precision"]
    given = Two(w * a, w * b, w * c, w * (w * det))
    stages = integrate(given, _scaled(leaf["linear"], w), variances).stages
    x, y = (w * variances.get(j, jnp.zeros(())) for j in range(2))
    s = 1.0 + x * a + y * (c + x * det)
    r = w / s
    turned, crossed, m = leaf["turned"], leaf["crossed"], leaf["linear"].shape[1]
    return Left(
        [[(a + y * det) * r, b * r], [b * r, (c + x * det) * r]],
        [
            [(leaf["linear"][j, i] + z * turned[j, i]) * r for i in range(m)]
            for j, z in enumerate((y, x))
        ],
        jnp.log(s),
        [
            [
                (leaf["squares"][i, k] + (y * crossed[0, i, k] + x * crossed[1, i, k])) * r
                for k in range(m)
            ]
            for i in range(m)
        ],
        stages,
    )


def _many(leaf: Mapping[str, Any], w: Any, variances: Mapping[int, Any]) -> Left:
    p, half = leaf["root"].shape[0], jnp.sqrt(w)
    # U and r side by side, by columns.
    columns = [[leaf["root"][i, j] * half for i in range(p)] for j in range(p)]
    columns += [
        [leaf["right"][i, k] * half for i in range(p)] for k in range(leaf["right"].shape[1])
    ]
    stages, log_det = [], jnp.zeros_like(columns[0][0])
    for j, x in variances.items():
        own = columns[j]
        products = [sum(u * v for u, v in zip(own, column, strict=True)) for column in columns]
        s = 1.0 + x * products[j]
        stages.append(Stage(j, products[:p], products[p:], x / s))
        log_det = log_det + jnp.log(s)
        root = jnp.sqrt(s)
        gain = x / (s + root)
        columns = [
            [
                u / root if k == j else u - (gain * product) * v
                for u, v in zip(column, own, strict=True)
            ]
            for k, (column, product) in enumerate(zip(columns, products, strict=True))
        ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    every = inner(rows, rows)
    return Left(
        [row[:p] for row in every[:p]],
        [row[p:] for row in every[:p]],
        log_det,
        [row[p:] for row in every[p:]],
        stages,
    )


def _scaled(array: Any, factor: Any) -> Entries:
    """Arrays (rows, columns, slots) as rows of arrays (slots,), each times a factor."""
    return [[array[j, i] * factor for i in range(array.shape[1])] for j in range(array.shape[0])]
