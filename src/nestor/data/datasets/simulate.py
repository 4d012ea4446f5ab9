"""Simulated trees of any depth, branching, imbalance and size, with known truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nestor.data.datasets.outcomes import COUNTS, OUTCOMES, OutcomeInputs, draw_outcome
from nestor.data.datasets.tree_design import TreeDesign, check_simulation, generator
from nestor.errors import DataError
from nestor.errors.text import short_repr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nestor.data.datasets.tree_design import TreeDesign
    from nestor.stats.arrays import FloatArray

#: sd of the logarithm of a parent's scales about the level's, where ``scale="parent"``
PARENT_LOG_SD = 0.5


@dataclass(frozen=True, eq=False)
class Simulated:
    """A simulated table and what it was drawn from.

    Parameters
    ----------
    table : pandas.DataFrame
        N rows. Columns: the levels (text), x1.. (effects), z1.. (covariates), then weight, trials,
        exposure and offset where used, and y (integer for counts, else float).
    truth : dict of str to ndarray
        The canonical variables: ``beta`` (p,), ``beta_<level>`` (n_nodes, p), ``tau_<level>`` (q,)
        or (n_parents, q), ``corr_<level>`` (q, q), ``gamma`` (c,) and the family's parameters,
        shape (). The q effects are those that vary on the level; nodes stand in path order, sorted
        by label within a parent.
    formula : str
        The lme4-style formula of the model that the table was drawn from.
    arguments : dict of str to str
        What goes with the formula: ``family``, and ``scale``, ``weights``, ``trials``, ``exposure``
        and ``offset`` where they are used (all but family and scale name columns).
    effects : tuple of str
        The p effects; the first is Intercept, if there is one.
    parents : dict of str to ndarray of intp, (n_nodes,)
        By level: each node's parent on the level above; zeros on the first.
    leaf : ndarray of intp, (N,)
        The node of each row on the last level.
    """

    table: pd.DataFrame
    truth: dict[str, FloatArray]
    formula: str
    arguments: dict[str, str]
    effects: tuple[str, ...]
    parents: dict[str, NDArray[np.intp]]
    leaf: NDArray[np.intp]

    __repr__ = short_repr


def simulate_tree(
    depth: int | None = None,
    *,
    branching: int | Sequence[int] = 10,
    rows_per_leaf: int | None = None,
    rows: int | None = None,
    imbalance: float = 0.0,
    slopes: int = 1,
    intercept: bool = True,
    covariates: int = 0,
    varying: ArrayLike | None = None,
    family: str = "gaussian",
    scale: Literal["level", "parent"] = "level",
    correlation: float = 0.0,
    beta: ArrayLike = 0.5,
    tau: ArrayLike = 0.5,
    gamma: ArrayLike | None = None,
    sigma: float | None = None,
    nu: float | None = None,
    alpha: float | None = None,
    phi: float | None = None,
    trials: int | None = None,
    weights: bool = False,
    exposure: bool = False,
    offset: bool = False,
    levels: Sequence[str] | None = None,
    reuse_labels: bool = True,
    shuffle: bool = True,
    seed: int = 0,
) -> Simulated:
    r"""Simulate a nested hierarchical model.

    Parameters
    ----------
    depth : int, optional
        Number of levels, at least 1; 2 unless `levels` or `branching` says otherwise.
    branching : int or sequence of int
        Children of a node (the mean number, if imbalanced): for all levels or for each, the root's
        first.
    rows_per_leaf : int, optional
        Mean number of rows of a leaf; 10 by default. Excludes `rows`.
    rows : int, optional
        Number of rows in all, exactly; at least the number of leaves.
    imbalance : float
        Exponent of Zipf's law by which children are shared out to the nodes of a level and rows to
        the leaves: 0 is balanced, 1 strongly skewed. Every node keeps at least one child and every
        leaf one row.
    slopes : int
        Number of predictors x1.. ~ Normal(0, 1) whose coefficients vary by group.
    intercept : bool
        Whether the intercept is an effect. With the slopes this makes p effects, at least one.
    covariates : int
        Number of predictors z1.. ~ Normal(0, 1) whose coefficients gamma do not vary.
    varying : array_like of bool, (depth, p), optional
        Which effects vary on which level; all by default. Others inherit the parent's value. Each
        level and each effect needs at least one.
    family : str
        gaussian, student_t, bernoulli, binomial, poisson, negative_binomial, gamma or beta: see
        Notes.
    scale : {"level", "parent"}
        Whether tau belongs to the level or to each parent node. For "parent", below the first
        level, each parent's tau is the given one times exp(Normal(0, 0.5)).
    correlation : float
        Correlation of each pair of effects on every level; 0 means independent effects.
    beta : float or array_like, (p,)
        Population coefficients.
    tau : float or array_like, (depth,) or (depth, p)
        Group-level standard deviations, > 0; entries of effects that do not vary are unused.
    gamma : float or array_like, (covariates,), optional
        Coefficients of the covariates; 0.5 by default.
    sigma, nu, alpha, phi : float, optional
        The family's parameters, > 0; 1, 4, 2 and 10 by default. Refused where the family has no
        such parameter.
    trials : int, optional
        For binomial: each row's number of trials is uniform on 1 to `trials`; 10 by default.
    weights : bool
        For gaussian and student_t: whether rows have weights, uniform on 0.5 to 2.
    exposure : bool
        For poisson and negative_binomial: whether rows have exposures, exp(Normal(0, 0.5)).
    offset : bool
        Whether rows have an offset, Normal(0, 0.5), added to the linear predictor.
    levels : sequence of str, optional
        Names of the levels; level1, level2, ... by default.
    reuse_labels : bool
        Whether labels start again under every parent, as county names do, or are unique on their
        level.
    shuffle : bool
        Whether rows stand in random order, or sorted by leaf.
    seed : int
        The same arguments and seed give the same result.

    Returns
    -------
    Simulated

    Raises
    ------
    DataError
        If an argument is wrong; the message names it.

    Notes
    -----
    With eta = offset + x' beta_leaf + z' gamma and mu the inverse link of eta:

    ================== ======== ==================================================================
    family             link     y
    ================== ======== ==================================================================
    gaussian           identity Normal(mu, sd sigma / sqrt(weight))
    student_t          identity mu + sigma / sqrt(weight) * t, t Student-t with nu degrees
    bernoulli          logit    1 with probability mu, else 0
    binomial           logit    successes among `trials`, each with probability mu
    poisson            log      mean exposure * mu
    negative_binomial  log      mean m = exposure * mu, variance m + m^2 / alpha
    gamma              log      mean mu, shape alpha (rate alpha / mu), variance mu^2 / alpha
    beta               logit    Beta(mu phi, (1 - mu) phi): variance mu (1 - mu) / (1 + phi)
    ================== ======== ==================================================================
    """
    made = check_simulation(dict(locals()))  # the arguments: nothing else is there yet
    plan = made.plan
    random = generator(seed)
    shape = grow(plan.branching, made.rows, made.imbalance, random)
    truth = _coefficients(plan, shape, random)
    leaf = np.repeat(np.arange(len(shape.rows)), shape.rows)
    if shuffle:
        random.shuffle(leaf)
    columns = _labels(plan, shape, leaf, reused=bool(reuse_labels))
    coefficients = truth[f"beta_{plan.levels[-1]}"]
    columns |= draw_rows(plan, coefficients, leaf, made.extras, family, made.parameters, random)
    return Simulated(
        table=pd.DataFrame(columns),
        truth=truth | {name: np.array(value) for name, value in made.parameters.items()},
        formula=plan.formula(offset="offset" in made.extras),
        arguments=_arguments(family, plan.scale, made.extras),
        effects=plan.effects,
        parents=dict(zip(plan.levels, shape.parents, strict=True)),
        leaf=leaf,
    )


def _coefficients(
    plan: TreeDesign, shape: Shape, random: np.random.Generator
) -> dict[str, FloatArray]:
    """Draw every node's coefficients from the root down."""
    truth: dict[str, FloatArray] = {"beta": plan.beta}
    above = plan.beta[None, :]
    for k, (name, parent) in enumerate(zip(plan.levels, shape.parents, strict=True)):
        varying = plan.varying[k]
        q = int(varying.sum())
        tau = plan.tau[k, varying]
        spread = np.broadcast_to(tau, (len(parent), q))
        if plan.scale == "parent" and k > 0:
            tau = tau * np.exp(PARENT_LOG_SD * random.standard_normal((len(above), q)))
            spread = tau[parent]
        z = random.standard_normal((len(parent), q))
        if plan.is_correlated(k):
            corr = np.full((q, q), plan.correlation) + (1.0 - plan.correlation) * np.eye(q)
            truth[f"corr_{name}"] = corr
            z = z @ np.linalg.cholesky(corr).T
        nodes = above[parent]
        nodes[:, varying] += spread * z
        truth[f"beta_{name}"], truth[f"tau_{name}"] = nodes, tau
        above = nodes
    return truth | ({"gamma": plan.gamma} if len(plan.gamma) else {})


def _labels(
    plan: TreeDesign, shape: Shape, leaf: NDArray[np.intp], *, reused: bool
) -> dict[str, pd.Series]:
    columns = {}
    nodes = ancestors(shape.parents, leaf)
    for name, parent, node in zip(plan.levels, shape.parents, nodes, strict=True):
        own = labels(parent, f"{name}-", reused=reused)
        columns[name] = own.take(node).reset_index(drop=True)
    return columns


def _arguments(family: str, scale: str, extras: Mapping[str, int]) -> dict[str, str]:
    arguments = {"family": family}
    if scale != "level":
        arguments["scale"] = scale
    names = {"weight": "weights", "trials": "trials", "exposure": "exposure"}
    return arguments | {names[e]: e for e in extras if e in names}


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
    """Distribute `total` rows over `n` leaves: one each, the rest by Zipf's law.

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


_OFFSET_SD = 0.5
_LOG_EXPOSURE_SD = 0.5
_WEIGHTS = (0.5, 2.0)


def draw_rows(
    plan: TreeDesign,
    coefficients: FloatArray,
    leaf: NDArray[np.intp],
    extras: Mapping[str, int],
    family: str,
    parameters: Mapping[str, float],
    random: np.random.Generator,
) -> dict[str, Any]:
    """Draw the table's columns other than the levels: predictors, extra columns and y, each (N,).

    Parameters
    ----------
    plan : TreeDesign
        What to simulate.
    coefficients : ndarray, (n_leaves, p)
        Of the leaves.
    leaf : ndarray of intp, (N,)
        The leaf of each row.
    extras : mapping of str to int
        Names of the extra columns: weight, trials, exposure, offset. The value for trials is their
        largest number.
    family : str
        A name from `OUTCOMES`.
    parameters : mapping of str to float
        The family's parameters.
    random : numpy.random.Generator
        Source of randomness.

    Raises
    ------
    DataError
        If the outcomes are too large to draw.
    """
    n, c = len(leaf), len(plan.gamma)
    columns: dict[str, Any] = {}
    eta = np.zeros(n)
    for j, effect in enumerate(plan.effects):
        x = np.ones(n) if effect == "Intercept" else random.standard_normal(n)
        eta += x * coefficients[leaf, j]
        columns[effect] = x
    columns.pop("Intercept", None)
    for j in range(c):
        columns[f"z{j + 1}"] = random.standard_normal(n)
        eta += plan.gamma[j] * columns[f"z{j + 1}"]
    columns |= {name: _extra(name, most, n, random) for name, most in extras.items()}
    eta += columns.get("offset", 0.0)
    size = columns.get(OUTCOMES[family].extra or "", np.ones(n))
    y = draw_outcome(
        family, OutcomeInputs(eta, np.asarray(size, dtype=np.float64), parameters), random
    )
    if not np.isfinite(y).all():
        raise DataError(f"the outcomes of {family} are not all finite: make beta or tau smaller.")
    columns["y"] = y.astype(np.int64) if family in COUNTS else y
    return columns


def _extra(name: str, most: int, n: int, random: np.random.Generator) -> NDArray[Any]:
    if name == "weight":
        return random.uniform(*_WEIGHTS, n)
    if name == "trials":
        return random.integers(1, most, n, endpoint=True)
    if name == "exposure":
        return np.exp(_LOG_EXPOSURE_SD * random.standard_normal(n))
    return _OFFSET_SD * random.standard_normal(n)
