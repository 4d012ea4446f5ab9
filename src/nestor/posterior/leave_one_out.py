"""Leave-one-out cross-validation: from log densities at draws to expected log predictive densities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError
from nestor.errors.arguments import number
from nestor.posterior.draws import drawn
from nestor.posterior.pointwise import log_likelihood
from nestor.posterior.same_posterior import check_same_posterior
from nestor.views.terminal.working import working_bar

if TYPE_CHECKING:
    from collections.abc import Iterable

    import xarray as xr
    from arviz_stats.utils import ELPDDataLOO

    from nestor.data.problem import Problem


#: Smoothing fits a tail of a fifth of the draws, at least five of them.
_FEWEST = 25


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Expected log predictive densities of what was left out, one unit (row or leaf) at a time.

    Parameters
    ----------
    elpd_i : DataArray, (unit,)
        Log predictive density of each unit given all others, in nats.
    p_i : DataArray, (unit,)
        By how much the fit to all data says more of it.
    pareto_k : DataArray, (unit,)
        Shape of the importance weights' tail: above `good_k` they do not suffice. Minus infinity where
        all weights are the same.
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
        """Return what `arviz_stats.compare` and ArviZ's plots take."""
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
    progress: bool = False,
) -> LeaveOneOut:
    """Leave-one-out cross-validation of rows by Pareto-smoothed importance sampling.

    The numbers are those of `arviz_stats.loo`, whose smoothing it uses, but rows come in chunks, so that
    memory does not grow with rows times draws. The predictive density of a row is given its own leaf's
    coefficients, which the leaf's other rows inform: for new leaves see `leave_one_leaf_out`.

    Parameters
    ----------
    problem : Problem
        Model and data of the fit, with rows.
    fit : DataTree
        As `nestor.fit` returns it, of at least 25 draws.
    chunk : int, optional
        Rows at a time; by default as many as 64 MB hold.
    reff : float, optional
        Effective draws over draws; by default, as in ArviZ, its mean over all entries of the posterior.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    LeaveOneOut
        Of rows, labelled as in the fit's observed_data.

    Raises
    ------
    SpecError
        If `problem` is none, `chunk` is no positive whole number, or `reff` no positive number.
    DataError
        If draws are missing, too few, of another posterior (other data or another model, which is
        compared with what the fit stored), or give a row no finite density, or if the rows are not in
        memory.

    Notes
    -----
    Vehtari, Gelman and Gabry (2017), Statistics and Computing 27; Vehtari, Simpson, Gelman, Yao and Gabry
    (2024), JMLR 25.
    """
    check_same_posterior(problem, fit)
    if reff is not None:
        reff = number("reff", reff, above=0.0)
    parts = log_likelihood(problem, fit, chunk=chunk)
    # Scales have no part in the density of rows, but tell another model's draws.
    drawn(problem, fit, problem.variables)
    if reff is None:
        reff = relative_efficiency(fit, [str(name) for name in fit["posterior"].data_vars])
    with working_bar("leaving out rows", problem.n_rows, show=progress) as advance:
        done, found = 0, []
        for part in parts:
            found.append(smoothed(part, reff))
            done += part.sizes["row"]
            advance(done)
    return joined(found)


def smoothed(log_density: xr.DataArray, reff: float) -> LeaveOneOut:
    """Leave-one-out of units whose log density given the other units is known at draws given all units.

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


def joined(parts: Iterable[LeaveOneOut]) -> LeaveOneOut:
    """Put chunks of units together, of the same draws."""
    import xarray as xr

    parts = list(parts)
    unit = parts[0].elpd_i.dims[0]
    elpd_i, p_i, pareto_k = (
        xr.concat([getattr(part, name) for part in parts], dim=unit)
        for name in ("elpd_i", "p_i", "pareto_k")
    )
    return LeaveOneOut(elpd_i, p_i, pareto_k, parts[0].n_samples)


def relative_efficiency(fit: xr.DataTree, names: list[str]) -> float:
    """Effective draws over draws, its mean over all entries of some variables; 1 for a single chain."""
    import arviz_stats  # noqa: F401 - gives datasets the accessor

    posterior = fit["posterior"].dataset
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    if chains == 1 or not names:
        return 1.0
    ess = posterior[names].azstats.ess(method="mean")
    entries = np.concatenate([ess[name].values.ravel() for name in names])
    return float(entries.mean() / (chains * draws))


def _check(log_density: xr.DataArray, samples: int) -> None:
    if samples < _FEWEST:
        raise DataError(
            f"smoothing importance weights takes at least {_FEWEST} draws; there are {samples}."
        )
    bad = ~np.isfinite(log_density.values).all(axis=(0, 1))
    if bad.any():
        unit = log_density.dims[-1]
        first = log_density[unit].values[np.argmax(bad)]
        raise DataError(
            f"{int(bad.sum())} of {unit!r} have draws without a finite log density, the first of them "
            f"{first}: the draws are not of this posterior, or an engine failed."
        )
