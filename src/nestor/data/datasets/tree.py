"""The shape of a simulated tree: parents, rows of each leaf, labels; no loop over nodes or rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """Nodes of a tree, in path order.

    Parameters
    ----------
    parents : tuple of ndarray of intp, one per level, each (n_nodes,)
        Each node's parent on the level above; zeros on the first level. Non-decreasing.
    rows : ndarray of intp, (n_leaves,)
        Rows of each leaf, at least 1.
    """

    parents: tuple[NDArray[np.intp], ...]
    rows: NDArray[np.intp]


def grow(
    branching: tuple[int, ...], rows: int, imbalance: float, random: np.random.Generator
) -> Shape:
    """Grow a tree with ``prod(branching[:k])`` nodes on level k and `rows` rows in all.

    Children and rows are shared out by `apportion`.
    """
    parents = []
    n_parents = 1
    for children in branching:
        counts = apportion(n_parents * children, n_parents, imbalance, random)
        parents.append(np.repeat(np.arange(n_parents), counts))
        n_parents *= children
    return Shape(tuple(parents), apportion(rows, n_parents, imbalance, random))


def apportion(
    total: int, n: int, imbalance: float, random: np.random.Generator
) -> NDArray[np.intp]:
    """Share `total` things out to `n` takers: one each, the rest by Zipf's law.

    The taker of rank r gets a share proportional to r ** -imbalance of the rest, rounded by largest
    remainder; ranks are a random permutation. With imbalance 0 no two takers differ by more than
    one.

    Returns
    -------
    ndarray of intp, (n,)
        All >= 1, with sum `total`.
    """
    share = np.arange(1, n + 1, dtype=np.float64) ** -imbalance
    exact = (total - n) * (share / share.sum())
    counts = np.floor(exact).astype(np.intp)
    left = total - n - int(counts.sum())
    largest_first = np.argsort(counts - exact, kind="stable")
    counts[largest_first[:left]] += 1
    return np.asarray(1 + counts[random.permutation(n)], dtype=np.intp)


def ancestors(
    parents: tuple[NDArray[np.intp], ...], leaf: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """Return the node of each row on every level, from the top down, given its leaf."""
    nodes = [leaf]
    for parent in reversed(parents[1:]):
        nodes.append(parent[nodes[-1]])
    return nodes[::-1]


def labels(parent: NDArray[np.intp], prefix: str, *, reused: bool) -> pd.Series:
    """Label the nodes of one level so that path order is the nodes' own order.

    Parameters
    ----------
    parent : ndarray of intp, (n_nodes,)
        Non-decreasing.
    prefix : str
        What each label starts with; a number padded with zeros follows.
    reused : bool
        Whether numbers start again under every parent, or are unique on the level.

    Returns
    -------
    pandas.Series of str, (n_nodes,)
    """
    numbers = np.arange(len(parent))
    if reused:
        numbers -= np.searchsorted(parent, parent)
    width = len(str(numbers.max() + 1))
    padded = np.strings.zfill(np.arange(1, numbers.max() + 2).astype(str), width)
    return pd.Series(np.strings.add(prefix, padded).tolist()).take(numbers)
