"""Diagnostics of draws of shape (chain, draw, scalar), one number per scalar."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from nestor.errors import DataError
from nestor.stats.diagnostics.block import MIN_DRAWS, Block

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from nestor.stats.arrays import FloatArray


# Small enough that the dozen work arrays of a block stay near the processor's cache.
_BLOCK_BYTES = 1_000_000
_MAX_WORKERS = 4


def as_draws(draws: ArrayLike) -> FloatArray:
    """Check the shape of draws.

    Raises
    ------
    DataError
        If there are not exactly the three axes (chain, draw, scalar).
    """
    array = np.asarray(draws)
    if array.ndim != 3:
        raise DataError(
            f"draws have shape {array.shape}; expected three axes (chain, draw, scalar)"
        )
    return array


def over_scalars(
    draws: ArrayLike, estimate: Callable[[Block], FloatArray], n_row: int = 1
) -> FloatArray:
    """Apply an estimate block by block, so that memory does not grow with the scalars.

    Sorting and transforms release the interpreter's lock, so blocks run in threads.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    estimate
        Takes a block of scalars, returns shape (n_row, scalar), or (scalar,) if n_row is 1.
    n_row
        How many numbers `estimate` returns per scalar.

    Returns
    -------
    array
        Shape (n_row, scalar); nan for fewer than four draws per chain or no chain.

    Raises
    ------
    DataError
        If `draws` has not three axes.
    """
    array = as_draws(draws)
    n_chain, n_draw, n_scalar = array.shape
    result = np.full((n_row, n_scalar), np.nan)
    if n_draw < MIN_DRAWS or n_chain < 1 or n_scalar == 0:
        return result
    step = max(1, _BLOCK_BYTES // (8 * n_chain * n_draw))

    def fill(start: int) -> None:
        part = array[:, :, start : start + step].transpose(2, 0, 1)
        block = Block(np.array(part, dtype=np.float64, order="C"))
        with np.errstate(all="ignore"):  # the state is each thread's own
            result[:, start : start + step] = estimate(block)

    workers = min(_MAX_WORKERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(fill, range(0, n_scalar, step)))
    return result


def _one_per_scalar(draws: ArrayLike, estimate: Callable[[Block], FloatArray]) -> FloatArray:
    values: FloatArray = over_scalars(draws, estimate)[0]
    return values


def rhat_rank(draws: ArrayLike) -> FloatArray:
    """Rank-normalized split R-hat: the larger of the bulk and the folded one.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,); nan for one chain, fewer than four draws, constant or non-finite draws.
    """
    return _one_per_scalar(draws, lambda block: block.rhat)


def ess_bulk(draws: ArrayLike) -> FloatArray:
    """Bulk effective sample size: that of the mean of the rank-normalized draws.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,), in draws; the number of draws for a constant, nan for non-finite draws.
    """
    return _one_per_scalar(draws, lambda block: block.ess_bulk)


def ess_tail(draws: ArrayLike) -> FloatArray:
    """Tail effective sample size: the smaller of those of the 5% and the 95% quantile.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,), in draws.
    """
    return _one_per_scalar(draws, lambda block: block.ess_tail)


def ess_mean(draws: ArrayLike) -> FloatArray:
    """Effective sample size for the mean, from split chains; shape (scalar,), in draws."""
    return _one_per_scalar(draws, lambda block: block.ess_mean)


def ess_sd(draws: ArrayLike) -> FloatArray:
    """Effective sample size for the standard deviation; shape (scalar,), in draws."""
    return _one_per_scalar(draws, lambda block: block.ess_sd)


def ess_quantile(draws: ArrayLike, prob: float) -> FloatArray:
    """Effective sample size for the quantile at `prob`; shape (scalar,), in draws."""
    _check_prob(prob)
    return _one_per_scalar(draws, lambda block: block.ess_quantile(prob))


def mcse_mean(draws: ArrayLike) -> FloatArray:
    """Monte Carlo standard error of the mean; shape (scalar,), in the scalar's units."""
    return _one_per_scalar(draws, lambda block: block.mcse_mean)


def mcse_sd(draws: ArrayLike) -> FloatArray:
    """Monte Carlo standard error of the standard deviation.

    The delta method from the variance of the squared deviations, with the effective sample
    size of these (as ArviZ does); in the scalar's units, nan for constant draws.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).

    Returns
    -------
    array
        Shape (scalar,).
    """
    return _one_per_scalar(draws, lambda block: block.mcse_sd)


def mcse_quantile(draws: ArrayLike, prob: float) -> FloatArray:
    """Monte Carlo standard error of the quantile at `prob`.

    Half the distance of the draws at the 16% and 84% points of the Beta distribution of the
    quantile's rank (Vehtari et al. 2021, section 4.4); in the scalar's units.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    prob
        Between 0 and 1.

    Returns
    -------
    array
        Shape (scalar,).
    """
    _check_prob(prob)
    return _one_per_scalar(draws, lambda block: block.mcse_quantile(prob))


def bfmi(energy: ArrayLike) -> FloatArray:
    """Estimated Bayesian fraction of missing information of each chain (Betancourt 2016).

    Parameters
    ----------
    energy
        The sampler's energy at each draw, shape (chain, draw).

    Returns
    -------
    array
        Shape (chain,); nan for fewer than two draws, constant or non-finite energies.

    Raises
    ------
    DataError
        If `energy` has not two axes.
    """
    array = np.asarray(energy, dtype=np.float64)
    if array.ndim != 2:
        raise DataError(f"energy has shape {array.shape}; expected two axes (chain, draw)")
    if array.shape[1] < 2:
        return np.full(array.shape[0], np.nan)
    with np.errstate(all="ignore"):
        ratio: FloatArray = np.square(np.diff(array, axis=1)).mean(axis=1) / array.var(
            axis=1, ddof=1
        )
    ratio[~np.isfinite(array).all(axis=1)] = np.nan
    return ratio


def _check_prob(prob: float) -> None:
    if not 0.0 <= prob <= 1.0:
        raise DataError(f"a quantile's probability must lie in [0, 1], found {prob}")
