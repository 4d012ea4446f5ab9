"""Leave-one-out cross-validation of rows and of leaves."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError
from nestor.errors.arguments import number
from nestor.posterior.draws import read_draws, read_family_draws
from nestor.posterior.log_likelihood import log_likelihood
from nestor.posterior.message_passing import Predictive
from nestor.posterior.progress import no_progress
from nestor.posterior.provenance import check_same_posterior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import xarray as xr
    from arviz_stats.utils import ELPDDataLOO

    from nestor.data.problem import Problem
    from nestor.posterior.progress import Progress
    from nestor.stats.arrays import FloatArray

#: Smoothing fits a tail of a fifth of the draws, at least five of them.
_MIN_DRAWS = 25


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Expected log predictive densities of units (rows or leaves), each predicted from all the others.

    Parameters
    ----------
    elpd_i : DataArray, (unit,)
        Log predictive density of each unit given all others, in nats.
    p_i : DataArray, (unit,)
        How much higher its log density is under the fit to all data.
    pareto_k : DataArray, (unit,)
        Shape of the importance weights' tail: above `good_k` the estimate is unreliable. Minus infinity
        where all weights are equal.
    n_samples : int
        Draws in all.
    """

    elpd_i: xr.DataArray
    p_i: xr.DataArray
    pareto_k: xr.DataArray
    n_samples: int

    @property
    def elpd(self) -> float:
        """Sum over units."""
        return float(self.elpd_i.sum())

    @property
    def se(self) -> float:
        """Standard error of `elpd` over units, sqrt(n var); 0 where there is one unit."""
        n = self.elpd_i.size
        return float(np.sqrt(n * self.elpd_i.var(ddof=1))) if n > 1 else 0.0

    @property
    def p(self) -> float:
        """Effective number of parameters: the sum of `p_i`."""
        return float(self.p_i.sum())

    @property
    def good_k(self) -> float:
        """Bound on Pareto k for so many draws, min(1 - 1 / log10(S), 0.7) (Vehtari et al. 2024)."""
        return min(1 - 1 / float(np.log10(self.n_samples)), 0.7)

    @property
    def unreliable(self) -> xr.DataArray:
        """Pareto k of the units whose `elpd_i` is not to be trusted, with their labels."""
        return self.pareto_k[(self.pareto_k.values > self.good_k) | np.isnan(self.pareto_k.values)]

    def to_arviz(self) -> ELPDDataLOO:
        """Return the object that `arviz_stats.compare` and ArviZ's plots take."""
        from arviz_stats.utils import ELPDDataLOO

        return ELPDDataLOO(
            elpd=self.elpd,
            se=self.se,
            p=self.p,
            n_samples=self.n_samples,
            n_data_points=self.elpd_i.size,
            scale="log",
            warning=bool(self.unreliable.size),
            good_k=self.good_k,
            elpd_i=self.elpd_i,
            pareto_k=self.pareto_k,
        )

    def __repr__(self) -> str:
        unit = self.elpd_i.dims[0]
        return (
            f"LeaveOneOut({self.elpd_i.size} of {unit!r}, {self.n_samples} draws: elpd {self.elpd:.2f}, "
            f"se {self.se:.2f}, p {self.p:.2f}; Pareto k above {self.good_k:.2f}: {self.unreliable.size})"
        )


def loo(
    problem: Problem,
    fit: xr.DataTree,
    *,
    chunk: int | None = None,
    reff: float | None = None,
    progress: Progress = no_progress,
) -> LeaveOneOut:
    """Leave rows out by Pareto-smoothed importance sampling.

    Parameters
    ----------
    problem, fit, chunk, reff
        See `nestor.loo`, as for errors.
    progress : Progress
        Shows how many rows are done.
    """
    check_same_posterior(problem, fit)
    if reff is not None:
        reff = number("reff", reff, above=0.0)
    parts = log_likelihood(problem, fit, chunk=chunk)
    # Scales are not needed for the density of rows, but reading them recognizes another model's draws.
    read_draws(problem, fit, problem.variables)
    if reff is None:
        reff = relative_efficiency(fit, [str(name) for name in fit["posterior"].data_vars])
    with progress("leaving out rows", problem.n_rows) as advance:
        done, found = 0, []
        for part in parts:
            found.append(psis_loo(part, reff))
            done += part.sizes["row"]
            advance(done)
    return concatenate(found)


def psis_loo(log_density: xr.DataArray, reff: float) -> LeaveOneOut:
    """Leave units out by Pareto-smoothed importance sampling of draws given all units.

    As p(theta | y_-i) is proportional to p(theta | y) / p(y_i | y_-i, theta), the weights are
    exp(-log_density), smoothed.

    Parameters
    ----------
    log_density : DataArray, (chain, draw, unit)
        In memory.
    reff : float
        Effective draws over draws.

    Raises
    ------
    DataError
        If there are fewer than 25 draws, or a density is no finite number.
    """
    import xarray as xr
    from arviz_stats.base import array_stats

    unit = log_density.dims[-1]
    values = np.moveaxis(log_density.values, -1, 0)
    samples = values[0].size
    _check(log_density, samples)
    elpd = values[:, 0, 0].copy()
    p, k = np.zeros_like(elpd), np.full_like(elpd, -np.inf)
    # Weights that are all the same have no tail; ArviZ refuses them.
    varies = np.ptp(values, axis=(1, 2)) > 0
    if varies.any():
        elpd[varies], k[varies], p[varies] = array_stats.loo(values[varies], r_eff=reff)
    coords = {n: c for n, c in log_density.coords.items() if c.dims == (unit,)}
    elpd_i, p_i, pareto_k = (xr.DataArray(a, dims=(unit,), coords=coords) for a in (elpd, p, k))
    return LeaveOneOut(elpd_i, p_i, pareto_k, samples)


def concatenate(parts: Iterable[LeaveOneOut]) -> LeaveOneOut:
    """Join the results of several chunks of units, computed from the same draws."""
    import xarray as xr

    parts = list(parts)
    unit = parts[0].elpd_i.dims[0]
    elpd_i, p_i, pareto_k = (
        xr.concat([getattr(part, name) for part in parts], dim=unit)
        for name in ("elpd_i", "p_i", "pareto_k")
    )
    return LeaveOneOut(elpd_i, p_i, pareto_k, parts[0].n_samples)


def relative_efficiency(fit: xr.DataTree, names: list[str]) -> float:
    """Mean ratio of effective draws to draws, over all entries of some variables; 1 for a single chain."""
    import arviz_stats  # noqa: F401 - gives datasets the accessor

    posterior = fit["posterior"].dataset
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    if chains == 1 or not names:
        return 1.0
    ess = posterior[names].azstats.ess(method="mean")
    entries = np.concatenate([ess[name].values.ravel() for name in names])
    return float(entries.mean() / (chains * draws))


def _check(log_density: xr.DataArray, samples: int) -> None:
    if samples < _MIN_DRAWS:
        raise DataError(
            f"smoothing importance weights takes at least {_MIN_DRAWS} draws; there are {samples}."
        )
    bad = ~np.isfinite(log_density.values).all(axis=(0, 1))
    if bad.any():
        unit = log_density.dims[-1]
        first = log_density[unit].values[np.argmax(bad)]
        raise DataError(
            f"{int(bad.sum())} of {unit!r} have draws without a finite log density, the first of them "
            f"{first}: the draws are not of this posterior, or an engine failed."
        )


#: Numbers that are held in memory, 256 MB; more of them go to a temporary file.
_IN_MEMORY = 2**25
#: Numbers that are smoothed at a time, 32 MB.
_PSIS_CHUNK = 2**22


def leave_one_leaf_out(
    problem: Problem, fit: xr.DataTree, *, progress: Progress = no_progress
) -> LeaveOneOut:
    """Leave leaves out, exactly given the scales.

    Parameters
    ----------
    problem, fit
        See `nestor.leave_one_leaf_out`, as for errors.
    progress : Progress
        Shows how many draws, then leaves, are done.
    """
    check_same_posterior(problem, fit)
    leaf = problem.index.levels[-1]
    predictive = Predictive.of_leaves(problem)
    coords = {leaf.name: (leaf.name, leaf.paths)}
    density = _log_density(problem, fit, predictive, coords, progress=progress)
    return _psis_loo_in_chunks(problem, fit, density, progress=progress)


def leave_one_row_out(
    problem: Problem, fit: xr.DataTree, *, progress: Progress = no_progress
) -> LeaveOneOut:
    """Leave rows out, exactly given the scales.

    Parameters
    ----------
    problem, fit
        See `nestor.leave_one_row_out`, as for errors.
    progress : Progress
        Shows how many draws, then rows, are done.
    """
    from nestor.runner.datatree import row_coords

    check_same_posterior(problem, fit)
    predictive = Predictive.of_rows(problem)
    density = _log_density(problem, fit, predictive, row_coords(problem), progress=progress)
    return _psis_loo_in_chunks(problem, fit, density, progress=progress)


def _log_density(
    problem: Problem,
    fit: xr.DataTree,
    predictive: Predictive,
    coords: Mapping[str, tuple[str, object]],
    *,
    progress: Progress,
) -> xr.DataArray:
    """Log density of each unit given all others at each draw of the scales, (chain, draw, unit).

    It is in memory up to 256 MB, else in a temporary file that goes with the array.
    """
    import xarray as xr

    names = [v.name for v in problem.variables.values() if v.role == "scale"]
    scales = read_draws(problem, fit, names) | read_family_draws(problem, fit)
    lead = scales["sigma"].shape
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in scales.items()}
    unit = next(iter(coords))
    what = f"densities of each {unit} given the others"
    with progress(what, lead[0] * lead[1]) as advance:
        found = _evaluate_in_batches(predictive, flat, advance)
    sampled = {name: fit["posterior"][name].values for name in ("chain", "draw")}
    array = found.reshape(*lead, found.shape[1])
    return xr.DataArray(array, dims=("chain", "draw", unit), coords=sampled | dict(coords))


def _psis_loo_in_chunks(
    problem: Problem, fit: xr.DataTree, density: xr.DataArray, *, progress: Progress
) -> LeaveOneOut:
    names = [v.name for v in problem.variables.values() if v.role in ("scale", "family")]
    reff = relative_efficiency(fit, names)
    width = max(1, _PSIS_CHUNK // (density.shape[0] * density.shape[1]))
    total, found = density.shape[2], []
    what = f"importance weights of each {density.dims[2]}"
    with progress(what, total) as advance:
        for start in range(0, total, width):
            found.append(psis_loo(density[:, :, start : start + width], reff))
            advance(min(start + width, total))
    return concatenate(found)


def _evaluate_in_batches(
    predictive: Predictive, scales: dict[str, FloatArray], advance: Callable[[int], None]
) -> FloatArray:
    """Log densities of all units at each of S sets of scales, in batches: (S, units)."""
    total = len(scales["sigma"])
    found = _allocate(total, predictive.n_units)
    for start in range(0, total, predictive.batch):
        part = slice(start, start + predictive.batch)
        found[part] = predictive.log_density({n: a[part] for n, a in scales.items()}).T
        advance(min(part.stop, total))
    return found


def _allocate(rows: int, columns: int) -> FloatArray:
    if rows * columns <= _IN_MEMORY:
        return np.empty((rows, columns))
    # The file has no name and goes when the array does.
    with tempfile.TemporaryFile(prefix="nestor-") as stream:
        return np.memmap(stream, dtype=np.float64, mode="w+", shape=(rows, columns))
