"""Step 5, optional: can a classifier tell the draws of two runs apart?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.joint_features import Features, features
from nestor.errors import DataError, Unsupported
from nestor.errors.text import short_repr
from nestor.stats.diagnostics.estimators import as_draws, rhat_rank
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    type FloatArray = NDArray[np.float64]

MIN_CHAINS = 8
DRAWS_PER_CHAIN = 200
_MAX_PERMUTATIONS = 9_999
_N_WEIGHTS = 5
_BATCH = 250  # labelings scored together


@dataclass(frozen=True)
class Weight:
    """What the classifier leans on.

    Parameters
    ----------
    feature
        A scalar, a square, a product of two, a component or a summary of nodes.
    weight
        Its coefficient, positive where larger values speak for a, as a share of the largest.
    """

    feature: str
    weight: float


@dataclass(frozen=True, eq=False)
class JointResult:
    """The classifier two-sample test of a pair.

    Parameters
    ----------
    level
        Of the test.
    rejected
        Whether the two joint distributions differ at that level.
    accuracy
        Share of draws of chains that it had not seen that the classifier gives to the right run,
        mean of the two runs' shares.
    chance
        The same if chains are labelled at random, mean over the permutations.
    p_value
        Share of labelings at least as accurate, the true one included.
    n_permutations
        Random labelings of the chains.
    smallest_p
        Smallest p-value that there can be, ``1 / (1 + n_permutations)``.
    n_chains
        Chains of a and of b.
    n_draws
        Draws of each chain, after thinning.
    n_features
        Features of each draw.
    rhat
        Largest R-hat of a scalar over both runs' chains together. It is no test: below 1.01 it can
        hide a shift of a quarter of a posterior sd.
    weights
        The features with the largest weights; none where no feature stands out.
    """

    level: float
    rejected: bool
    accuracy: float
    chance: float
    p_value: float
    n_permutations: int
    smallest_p: float
    n_chains: tuple[int, int]
    n_draws: int
    n_features: int
    rhat: float
    weights: tuple[Weight, ...]

    __repr__ = short_repr

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data."""
        plain: dict[str, Any] = as_plain(self)
        return plain


def joint_test(
    draws_a: ArrayLike,
    draws_b: ArrayLike,
    labels: Sequence[str],
    is_node: ArrayLike,
    level: float = 0.01,
    seed: int = 0,
) -> JointResult:
    """Test two joint distributions for equality by a classifier (Lopez-Paz and Oquab 2017).

    Nearest shrunken centroids (Tibshirani et al. 2002, PNAS 99), on features of the draws
    (`nestor.agreement.joint_features.features`), are fitted to all chains but one and tried on the
    one left out, for each chain in turn; whole chains, as draws of one chain resemble each other.
    The p-value is the share of random labelings of the chains with at least the accuracy of the true
    one: chains of equal runs are exchangeable, whatever the autocorrelation inside them. There are
    10 / level of these permutations (9,999 at most), each with all its fits: centroids are means of
    chains' means, so that a fit costs microseconds.

    Parameters
    ----------
    draws_a, draws_b
        Shape (chain, draw, scalar), at least eight chains each.
    labels
        Name of each scalar, shape (scalar,).
    is_node
        Which scalars are node coefficients, shape (scalar,): thousands of these are reduced to
        principal components and summaries, all others are kept.
    level
        Of the test.
    seed
        Of the permutations.

    Returns
    -------
    JointResult

    Raises
    ------
    Unsupported
        If scikit-learn is not installed.
    DataError
        If there are fewer than eight chains on a side, the scalars differ, draws are not finite, or
        every scalar is constant.
    """
    require_sklearn()
    one, other = as_draws(draws_a), as_draws(draws_b)
    nodes = np.asarray(is_node, dtype=bool)
    _check(one, other, labels, nodes)
    n_chains = one.shape[0], other.shape[0]
    n_draws = min(DRAWS_PER_CHAIN, one.shape[1], other.shape[1])
    pooled = np.concatenate([_spread(one, n_draws), _spread(other, n_draws)])
    found = _features(pooled, labels, nodes)
    by_chain = found.values.reshape(sum(n_chains), n_draws, -1)
    n_permutations = min(_MAX_PERMUTATIONS, math.ceil(10 / level) - 1)
    labelings = _labelings(n_chains, n_permutations, seed)
    accuracies = _accuracies(by_chain, labelings)
    # A sum of counts: labelings that are equally accurate must count as such.
    as_good = accuracies[1:] >= accuracies[0] - 1e-9
    p_value = (1 + int(as_good.sum())) / (1 + n_permutations)
    return JointResult(
        level=level,
        rejected=p_value <= level,
        accuracy=float(accuracies[0]),
        chance=float(accuracies[1:].mean()),
        p_value=p_value,
        n_permutations=n_permutations,
        smallest_p=1 / (1 + n_permutations),
        n_chains=n_chains,
        n_draws=n_draws,
        n_features=len(found.names),
        rhat=_rhat_of_both(one, other),
        weights=_weights(by_chain, labelings[0], found.names),
    )


def _rhat_of_both(one: NDArray[Any], other: NDArray[Any]) -> float:
    n = min(one.shape[1], other.shape[1])
    # A scalar that is constant has none; that every scalar is has been refused.
    return float(np.nanmax(rhat_rank(np.concatenate([one[:, :n], other[:, :n]]))))


def _features(pooled: FloatArray, labels: Sequence[str], is_node: NDArray[np.bool_]) -> Features:
    flat = pooled.reshape(-1, pooled.shape[2])
    varies = flat.min(axis=0) < flat.max(axis=0)
    if not varies.any():
        raise DataError("the draws of every scalar are all the same: nothing to tell runs apart by")
    kept = [label for label, one in zip(labels, varies, strict=True) if one]
    return features(flat[:, varies], kept, is_node[varies])


def _spread(draws: NDArray[Any], n: int) -> FloatArray:
    """Take n draws of each chain, evenly spread."""
    places = ((np.arange(n) + 0.5) * draws.shape[1] / n).astype(np.intp)
    return np.asarray(draws[:, places], dtype=np.float64)


def _labelings(n_chains: tuple[int, int], n_permutations: int, seed: int) -> NDArray[np.bool_]:
    """Say which chains are a's, shape (1 + permutation, chain), the true labeling first."""
    true = np.repeat([True, False], n_chains)
    rng = np.random.default_rng([seed, 20_160_331])
    return np.vstack([true, rng.permuted(np.tile(true, (n_permutations, 1)), axis=1)])


def _accuracies(by_chain: FloatArray, labelings: NDArray[np.bool_]) -> FloatArray:
    """Balanced accuracy on chains left out, of each labeling, shape (labeling,)."""
    n_chain = len(by_chain)
    means = by_chain.mean(axis=1)
    right = np.empty((len(labelings), n_chain))
    for out in range(n_chain):
        rest = np.delete(np.arange(n_chain), out)
        for start in range(0, len(labelings), _BATCH):
            batch = labelings[start : start + _BATCH]
            weight, middle = _centroids(means[rest], batch[:, rest])
            found = _right(by_chain[out] @ weight.T - middle, batch[:, out])
            right[start : start + _BATCH, out] = found
    n_a, n_b = labelings[0].sum(), (~labelings[0]).sum()
    accuracy: FloatArray = (right * np.where(labelings, 0.5 / n_a, 0.5 / n_b)).sum(axis=1)
    return accuracy


def _centroids(means: FloatArray, is_a: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Weights of the features, and the score halfway between the runs, of each labeling.

    Nearest shrunken centroids: a difference of the runs' means that is less than `_threshold`
    standard errors is none, a larger one is diminished by that much. Errors are those of chains'
    means, (chain, feature); `is_a` (labeling, chain). Weights (labeling, feature), scores
    (labeling,).
    """
    n_chain, n_feature = means.shape
    n_a = is_a.sum(axis=1, keepdims=True)
    n_b = n_chain - n_a
    mean_a, mean_b = is_a @ means / n_a, ~is_a @ means / n_b
    within = np.square(means).sum(axis=0) - n_a * mean_a**2 - n_b * mean_b**2
    error = np.sqrt(np.maximum(within, 0.0) / (n_chain - 2) * (1 / n_a + 1 / n_b))
    apart = mean_a - mean_b
    weight = np.sign(apart) * np.maximum(np.abs(apart) - _threshold(n_chain, n_feature) * error, 0)
    return weight, (weight * (mean_a + mean_b) / 2).sum(axis=1)


@lru_cache(maxsize=8)
def _threshold(n_chain: int, n_feature: int) -> float:
    """Standard errors that one feature in all exceeds by chance."""
    from scipy.special import stdtrit

    return float(stdtrit(n_chain - 2, 1 - 0.5 / n_feature))


def _right(scores: FloatArray, truth: NDArray[np.bool_]) -> FloatArray:
    """Share of draws on the right side, (labeling,), of scores (draw, labeling); zero counts half."""
    says_a = (scores > 0).mean(axis=0) + 0.5 * (scores == 0).mean(axis=0)
    share: FloatArray = np.where(truth, says_a, 1 - says_a)
    return share


def _weights(
    by_chain: FloatArray, is_a: NDArray[np.bool_], names: Sequence[str]
) -> tuple[Weight, ...]:
    weight = _centroids(by_chain.mean(axis=1), is_a[None])[0][0]
    order = np.argsort(-np.abs(weight))[:_N_WEIGHTS]
    largest = float(np.abs(weight).max())
    return tuple(Weight(names[i], float(weight[i]) / largest) for i in order if weight[i] != 0.0)


def _check(
    a: NDArray[Any], b: NDArray[Any], labels: Sequence[str], is_node: NDArray[np.bool_]
) -> None:
    if not a.shape[2] == b.shape[2] == len(labels) == len(is_node):
        raise DataError(
            f"cannot compare: {a.shape[2]} scalars against {b.shape[2]}, with {len(labels)} labels "
            f"and {len(is_node)} marks of nodes"
        )
    fewest = min(a.shape[0], b.shape[0])
    if fewest < MIN_CHAINS:
        raise DataError(
            f"the joint test permutes whole chains and needs at least {MIN_CHAINS} of each run, "
            f"found {a.shape[0]} and {b.shape[0]}: {fewest} against {fewest} allow only "
            f"{math.comb(2 * fewest, fewest):,} labelings. Sample more chains."
        )
    if min(a.shape[1], b.shape[1]) < 1:
        raise DataError("there are no draws to compare")
    finite = np.isfinite(a).all(axis=(0, 1)) & np.isfinite(b).all(axis=(0, 1))
    if not finite.all():
        raise DataError(f"the draws of {labels[int(finite.argmin())]} are not finite")


def require_sklearn() -> None:
    """Refuse the test where scikit-learn is missing.

    Raises
    ------
    Unsupported
        If it is not installed.
    """
    try:
        import sklearn  # noqa: F401 - only asked whether it is there
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        raise Unsupported(
            "the joint test needs scikit-learn, which is not installed: pip install 'nestor[joint]'."
        ) from None
