"""What the joint test's classifier sees of the draws: few columns, and how they go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.stats.diagnostics.estimators import normal_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    type FloatArray = NDArray[np.float64]

MAX_PARAMETERS = 16  # beyond, their principal components: products grow with the square
N_NODE_COMPONENTS = 4
N_KERNELS = 50
_SEED = 20_170_424  # of the projections, which are the same for every labeling of the chains


@dataclass(frozen=True, eq=False)
class Features:
    """Features of each draw, and their names.

    Parameters
    ----------
    values
        Mean 0 and sd 1 each, shape (draw, feature).
    names
        Shape (feature,).
    """

    values: FloatArray
    names: tuple[str, ...]


def features(draws: FloatArray, labels: Sequence[str], is_node: NDArray[np.bool_]) -> Features:
    """Describe draws by what could tell two joint distributions apart.

    Columns are the scalars that are no node coefficients, and leading principal components of those
    that are, all as normal scores of their ranks, so that heavy tails make no outliers. Features are

    - the columns, their squares and the products of pairs, which see scales and correlations;
    - Gaussian kernels at some of the draws (Nystroem's approximation), for what these do not see;
    - for each variable and effect of the nodes, mean and mean square of the standardized
      coefficients.

    Nothing depends on which run a draw is from, so that permuted labels leave all as it is.

    Parameters
    ----------
    draws
        Of both runs, shape (draw, scalar), no scalar constant.
    labels
        Name of each scalar, shape (scalar,).
    is_node
        Which are node coefficients, shape (scalar,).
    """
    standard = (draws - draws.mean(axis=0)) / draws.std(axis=0)
    columns, names = _columns(standard, labels, is_node)
    parts = [
        _products(columns, names),
        _kernels(columns),
        _node_summaries(standard, labels, is_node),
    ]
    values = np.hstack([part for part, _ in parts])
    found = np.array([name for _, named in parts for name in named], dtype=object)
    spread = values.std(axis=0)
    kept = spread > 1e-9 * np.abs(values).max(axis=0)
    values = (values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept]
    return Features(values, tuple(found[kept]))


def _columns(
    standard: FloatArray, labels: Sequence[str], is_node: NDArray[np.bool_]
) -> tuple[FloatArray, list[str]]:
    own = [labels[i] for i in np.flatnonzero(~is_node).tolist()]
    nodes = [labels[i] for i in np.flatnonzero(is_node).tolist()]
    parts = [
        _reduced(standard[:, ~is_node], own, MAX_PARAMETERS, "parameters"),
        _reduced(standard[:, is_node], nodes, N_NODE_COMPONENTS, "nodes"),
    ]
    columns = np.hstack([part for part, _ in parts]).T
    order = np.argsort(columns, axis=1, kind="stable")
    scores = normal_scores(np.take_along_axis(columns, order, axis=1), order)
    return scores.T, [name for _, names in parts for name in names]


def _reduced(
    standard: FloatArray, names: Sequence[str], most: int, what: str
) -> tuple[FloatArray, Sequence[str]]:
    """Leave so many columns as they are, or replace more of them by leading principal components."""
    if standard.shape[1] <= most:
        return standard, names
    from sklearn.decomposition import PCA

    n_components = min(most, len(standard) - 1)
    found = PCA(n_components, svd_solver="randomized", random_state=_SEED).fit_transform(standard)
    return found, [f"component {i + 1} of the {what}" for i in range(n_components)]


def _products(columns: FloatArray, names: Sequence[str]) -> tuple[FloatArray, list[str]]:
    from sklearn.preprocessing import PolynomialFeatures

    maker = PolynomialFeatures(degree=2, include_bias=False)
    values = np.asarray(maker.fit_transform(columns), dtype=np.float64)
    found = []
    for powers in maker.powers_:
        factors = [names[i] for i in np.flatnonzero(powers).tolist()]
        squared = len(factors) == 1 and powers.max() == 2
        found.append(f"{factors[0]} squared" if squared else " times ".join(factors))
    return values, found


def _kernels(columns: FloatArray) -> tuple[FloatArray, list[str]]:
    from sklearn.kernel_approximation import Nystroem

    n_kernels = min(N_KERNELS, len(columns))
    maker = Nystroem(gamma=0.5 / columns.shape[1], n_components=n_kernels, random_state=_SEED)
    values = np.asarray(maker.fit_transform(columns), dtype=np.float64)
    return values, [f"kernel {i + 1}" for i in range(n_kernels)]


def _node_summaries(
    standard: FloatArray, labels: Sequence[str], is_node: NDArray[np.bool_]
) -> tuple[FloatArray, list[str]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for i in np.flatnonzero(is_node).tolist():
        variable, _, rest = labels[i].partition("[")
        effect = rest.removesuffix("]").rpartition(", ")[2]
        groups.setdefault((variable, effect), []).append(i)
    values, names = np.empty((len(standard), 2 * len(groups))), []
    for j, ((variable, effect), members) in enumerate(groups.items()):
        values[:, 2 * j] = standard[:, members].mean(axis=1)
        values[:, 2 * j + 1] = np.square(standard[:, members]).mean(axis=1)
        names += [f"mean of {variable}[{effect}]", f"mean square of {variable}[{effect}]"]
    return values, names
