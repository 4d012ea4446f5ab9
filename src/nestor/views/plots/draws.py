"""What a picture shows of the draws: which variables, which nodes, which numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from nestor.data.problem import Problem, Role

type Floats = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.75, 0.95)
_SINGLE_CURVE_GRID, _GRID = 512, 256


@dataclass(frozen=True)
class Entry:
    """One variable's draws of one effect: a scalar, or one scalar for each node.

    Parameters
    ----------
    variable : str
        Its canonical name.
    role : str
        Of the variable.
    dims : tuple of str
        Of the variable.
    effect : str or None
        The entry of the variable's last dimension; None for a variable without dimensions.
    column : int
        Its position.
    nodes : ndarray of intp, (n,), or None
        Positions of the random ones along the variable's first dimension; None for a scalar.
    """

    variable: str
    role: Role
    dims: tuple[str, ...]
    effect: str | None
    column: int
    nodes: NDArray[np.intp] | None

    @property
    def name(self) -> str:
        """Such as ``beta_county[month]``."""
        return self.variable if self.effect is None else f"{self.variable}[{self.effect}]"


def entries(problem: Problem) -> Iterator[Entry]:
    """Go through the random entries of all variables, from the population down."""
    for variable in problem.random_variables:
        if not variable.dims:
            yield Entry(variable.name, variable.role, (), None, 0, None)
            continue
        for j, effect in enumerate(problem.coords[variable.dims[-1]]):
            random = variable.random[..., j]
            if random.any():
                nodes = np.flatnonzero(random) if random.ndim else None
                yield Entry(variable.name, variable.role, variable.dims, str(effect), j, nodes)


def check_draws(problem: Problem, trees: Mapping[str, xr.DataTree]) -> None:
    """Refuse draws that are not of this problem.

    Raises
    ------
    DataError
        If there are none, or an engine lacks a variable or has it in another shape.
    """
    if not trees:
        raise DataError("there are no draws to picture: no engine returned any.")
    for engine, tree in trees.items():
        posterior = tree["posterior"].to_dataset()
        for variable in problem.random_variables:
            if variable.name not in posterior:
                raise DataError(
                    f"the draws of {engine} have no variable {variable.name!r}: "
                    "they are not of this problem."
                )
            found = {str(d): n for d, n in posterior[variable.name].sizes.items()}
            wanted = dict(zip(variable.dims, variable.shape, strict=True))
            if {d: n for d, n in found.items() if d not in ("chain", "draw")} != wanted:
                raise DataError(
                    f"the draws of {engine} have {variable.name!r} with {found}, but this problem "
                    f"has it with {wanted} beside chain and draw: they are not of this problem."
                )


def values(tree: xr.DataTree, entry: Entry, nodes: NDArray[np.intp] | None = None) -> Floats:
    """Return the draws of an entry, (chain, draw, n).

    With `nodes`, those of some nodes alone, given as positions in ``entry.nodes``.
    """
    array = tree["posterior"].to_dataset()[entry.variable].transpose("chain", "draw", *entry.dims)
    whole: Floats = np.asarray(array.values, dtype=np.float64)
    found: Floats = whole if entry.effect is None else whole[..., entry.column]
    if entry.nodes is None:
        found = found[..., None]
    elif nodes is not None:
        found = found[..., entry.nodes[nodes]]
    elif len(entry.nodes) < found.shape[-1]:  # all of them need no copy, which may be large
        found = found[..., entry.nodes]
    return found


def finite_mean(draws: Floats) -> Floats:
    """Mean over chains and draws of the finite ones, (chain, draw, n) to (n,); nan without any."""
    finite = np.isfinite(draws)
    count = finite.sum(axis=(0, 1))
    total = np.where(finite, draws, 0.0).sum(axis=(0, 1))
    mean: Floats = np.full(count.shape, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def intervals(draws: Floats) -> Floats:
    """Quantiles of the finite draws, (chain, draw, n) to (len(QUANTILES), n); nan without any."""
    flat = draws.reshape(-1, draws.shape[-1])
    bounds = np.full((len(QUANTILES), flat.shape[1]), np.nan)
    for i in range(flat.shape[1]):
        if len(finite := flat[np.isfinite(flat[:, i]), i]):
            bounds[:, i] = np.quantile(finite, QUANTILES)
    return bounds


def unmixed(draws: Floats) -> Floats:
    """Variance of the half-chains' means over the mean of their variances, (chain, draw, n) to (n,).

    The ratio B/W of split R-hat (Gelman et al., Bayesian Data Analysis, 3rd ed., section 11.4), for
    ranking nodes. Where it cannot be computed it is 0 (all draws equal) or infinite (non-finite draws).
    """
    half = draws.shape[1] // 2
    if half == 0:
        return np.zeros(draws.shape[-1])
    halves = np.concatenate([draws[:, :half], draws[:, -half:]])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        between = halves.mean(axis=1).var(axis=0)
        within = halves.var(axis=1).mean(axis=0)
        ratio = between / within
    ratio[between == 0] = 0.0
    return np.where(np.isnan(ratio), np.inf, ratio)


def density(draws: Floats, *, alone: bool) -> tuple[Floats, Floats] | None:
    """Kernel density of finite draws, as grid and values; None where they are all equal or none.

    `alone` says that the curve has its place to itself: then ArviZ's usual bandwidth, which keeps
    modes apart; its Silverman bandwidth costs a sixth of that, for when there are hundreds of curves.
    """
    from arviz_stats.base import array_stats

    finite = draws[np.isfinite(draws)]
    if len(finite) < 2 or np.ptp(finite) <= 1e-12 * np.abs(finite).max():
        return None
    grid, height, _ = array_stats.kde(
        finite,
        bw="experimental" if alone else "silverman",
        grid_len=_SINGLE_CURVE_GRID if alone else _GRID,
    )
    return grid, height


def spread_evenly(order_by: Floats, n: int) -> NDArray[np.intp]:
    """Positions of at most `n` values, evenly spread by rank, both extremes among them, ascending."""
    if len(order_by) <= n:
        return np.arange(len(order_by))
    ranked = np.argsort(order_by, kind="stable")
    picked = np.round(np.linspace(0, len(order_by) - 1, n)).astype(np.intp)
    return np.sort(ranked[picked])


def not_finite(problem: Problem, trees: Mapping[str, xr.DataTree]) -> dict[str, int]:
    """Number of draws with a non-finite random value, for engines that have such."""
    found = {}
    for engine, tree in trees.items():
        bad = [~np.isfinite(values(tree, entry)).all(axis=-1) for entry in entries(problem)]
        if count := int(np.logical_or.reduce(bad).sum()):
            found[engine] = count
    return found


def divergent(tree: xr.DataTree) -> NDArray[np.bool_]:
    """Whether each draw diverged, (chain, draw); all False where the sampler does not say."""
    posterior = tree["posterior"]
    if "sample_stats" in tree.children and "diverging" in tree["sample_stats"]:
        found = tree["sample_stats"]["diverging"].transpose("chain", "draw")
        return np.asarray(found.values, dtype=np.bool_)
    return np.zeros((posterior.sizes["chain"], posterior.sizes["draw"]), dtype=np.bool_)
