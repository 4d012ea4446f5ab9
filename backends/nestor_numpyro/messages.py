"""The coefficients of a gaussian outcome integrated out, by one pass up the tree.

Given the scales, a leaf's rows put the potential -|U (m - b)|^2 / (2 sigma^2) on its coefficients b, with no
linear term about its own fit m. Nodes are integrated out level by level (`nestor_numpyro.precision`); what
they leave, -1/2 x'Q x + x'q with x the parent's coefficients less the node's pivot, is written about the
parent's pivot, d further up,

    Q,   q + Q d,   -1/2 (d'Q d + 2 d'q),

and summed over children. The root's parent is its prior mean. A second column of everything stands for each
covariate: the coefficients' terms are bilinear in (1, -gamma), and what is left of them, added to the
residual cross-products, is the potential of gamma, integrated out last.

Source: belief propagation on a Gaussian tree is exact (Pearl 1988, chapter 7); for nested models
Papaspiliopoulos and Zanella 2017, arXiv 1704.06064.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import jax.scipy.linalg as jsl

from nestor_numpyro.children import place, spread, sum_children
from nestor_numpyro.leaves import leaf_left
from nestor_numpyro.precision import Left, inner, integrate, multiply, of_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nestor_numpyro.children import Where
    from nestor_numpyro.layout import Layout
    from nestor_numpyro.precision import Entries, Precision
    from nestor_numpyro.tree import Tree, TreeData

_LOG_TWO_PI = math.log(2.0 * math.pi)

#: Variances of the effects that vary on one level: scalars, or one for each parent.
type Variances = Mapping[int, Any]


@dataclass(frozen=True)
class Gamma:
    """The potential of gamma about its pivot, in units of its prior's standard deviations.

    Parameters
    ----------
    factor : Array, (c, c)
        Lower Cholesky factor of the precision.
    half : Array, (c,)
        The factor's inverse times the linear term.
    """

    factor: Any
    half: Any


@dataclass(frozen=True)
class Up:
    """The marginal density, and what drawing the coefficients needs.

    Parameters
    ----------
    log_marginal : Array, ()
        log p(y | scales), all constants included.
    levels : list of Left
        From the top; their entries are (slots,).
    root : Left
        The population's; scalars.
    gamma : Gamma or None
        None without covariates.
    """

    log_marginal: Any
    levels: list[Left]
    root: Left
    gamma: Gamma | None


def pass_up(tree: Tree, data: TreeData, sigma: Any, variances: Sequence[Variances]) -> Up:
    """Integrate all coefficients out.

    Parameters
    ----------
    tree, data
        The problem.
    sigma : Array, ()
        Residual scale.
    variances : sequence of mapping of int to Array
        For each level, from the top, squares of tau by effect: scalars, or (n_parents,).
    """
    weight = jnp.asarray(sigma) ** -2.0
    left, log_det = data.residual * weight, jnp.zeros(())
    last = len(tree.layouts) - 1
    moved = found = leaf_left(data.leaf, weight, _in_slots(tree, data, last, variances[last]))
    levels = [found]
    for k in range(last, 0, -1):
        message = _to_parents(tree.layouts[k], data.where[k], moved)
        left, log_det = left + message.squares, log_det + message.log_det
        P, h = _read(place(data.where[k - 1], message.own), tree.p)
        found = integrate(P, h, _in_slots(tree, data, k - 1, variances[k - 1]))
        levels.insert(0, found)
        moved = _moved(found, _entries(data.shift[k - 1]))
    message = _to_parents(tree.layouts[0], data.where[0], moved)
    at_root = {j: data.root_variance[j] for j in tree.population}
    root = integrate(*_read(message.own, tree.p), at_root)
    top = _moved(root, _entries(data.root_shift[..., None]))
    left = left + message.squares + jnp.stack([jnp.concatenate(row) for row in top.squares])
    log_det = log_det + message.log_det
    log_det = log_det + jnp.sum(root.log_det)
    gamma, log_left = _gamma(data, left)
    constant = data.sum_log_weights - data.n_rows * (_LOG_TWO_PI + 2.0 * jnp.log(sigma))
    return Up(0.5 * (constant - log_det) + log_left, levels, root, gamma)


def _in_slots(tree: Tree, data: TreeData, k: int, values: Variances) -> Variances:
    """Give every slot of level k its values: scalars as they are."""
    if not (tree.per_parent[k] and values):
        return values
    in_slots = spread(tree.layouts[k], data.where[k], jnp.stack(list(values.values())))
    return dict(zip(values, in_slots, strict=True))


@dataclass(frozen=True)
class _Message:
    """What nodes tell their parents: entries of P and h, (k, n_parents); sums over all nodes."""

    own: Any
    squares: Any
    log_det: Any


def _moved(found: Left, d: Entries) -> Left:
    """Move the quadratic forms of nodes, each about its own pivot, to a pivot that lies d below.

    The squares become those that are taken from the log density: they are counted with the other sign.
    """
    there, columns = multiply(found.P, d), range(len(d[0]))
    own, crossed = inner(d, there), inner(d, found.h)
    return replace(
        found,
        h=[[a + b for a, b in zip(r, q, strict=True)] for r, q in zip(there, found.h, strict=True)],
        squares=[
            [own[m][i] + crossed[m][i] + crossed[i][m] - found.squares[m][i] for i in columns]
            for m in columns
        ],
    )


def _to_parents(layout: Layout, where: Where, moved: Left) -> _Message:
    """Sum over the children of each parent; squares and determinants over all."""
    m = len(moved.squares)
    own = _lower(moved.P) + [value for row in moved.h for value in row]
    sums = sum_children(layout, where, jnp.stack([*own, *_lower(moved.squares), moved.log_det]))
    totals = sums[len(own) :].sum(axis=1)
    squares = jnp.stack([jnp.stack(row) for row in _symmetric(totals[:-1], m)])
    return _Message(sums[: len(own)], squares, totals[-1])


def _read(own: Any, p: int) -> tuple[Precision, Entries]:
    """Precision and linear term of nodes from the entries of a message, (k, n)."""
    lower = p * (p + 1) // 2
    m = (len(own) - lower) // p
    return of_entries(_symmetric(own[:lower], p)), [
        [own[lower + j * m + i] for i in range(m)] for j in range(p)
    ]


def _lower(entries: Entries) -> list[Any]:
    """Return one of each two equal entries, row by row."""
    return [entries[j][k] for j in range(len(entries)) for k in range(j + 1)]


def _symmetric(lower: Any, p: int) -> Entries:
    """Return the matrix of which `_lower` gives these."""
    return [
        [lower[max(j, k) * (max(j, k) + 1) // 2 + min(j, k)] for k in range(p)] for j in range(p)
    ]


def _entries(array: Any) -> Entries:
    """Arrays (rows, columns, slots) as rows of arrays (slots,)."""
    return [[array[j, m] for m in range(array.shape[1])] for j in range(array.shape[0])]


def _gamma(data: TreeData, left: Any) -> tuple[Gamma | None, Any]:
    """Integrate out gamma; returns the log integral of all that is left, less its prior's constants."""
    if left.shape[0] == 1:
        return None, -0.5 * left[0, 0]
    sd, mean = data.gamma_sd, data.gamma_mean / data.gamma_sd
    factor = jnp.linalg.cholesky(jnp.eye(len(sd)) + sd[:, None] * left[1:, 1:] * sd)
    half = jsl.solve_triangular(factor, sd * left[1:, 0] + mean, lower=True)
    squares = left[0, 0] + jnp.sum(mean**2) - jnp.sum(half**2)
    # Not by diag, whose gradient is a scatter.
    diagonal = jnp.sum(factor * jnp.eye(len(sd)), axis=1)
    return Gamma(factor, half), -jnp.sum(jnp.log(diagonal)) - 0.5 * squares
