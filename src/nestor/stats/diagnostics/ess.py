"""Effective sample size from autocovariances, for many scalars at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

if TYPE_CHECKING:
    from nestor.stats.arrays import FloatArray


#: Lags computed from products before a transform computes them all, which costs as much as forty.
_FIRST_LAGS = (8, 24)
_RESOLUTION = float(np.finfo(np.float64).resolution)


def mean_autocovariance(centred: FloatArray) -> FloatArray:
    """Autocovariance at every lag (divisor n), averaged over the chains.

    Parameters
    ----------
    centred
        Chains minus their means, shape (scalar, chain, draw).

    Returns
    -------
    array
        Shape (scalar, draw): lag 0 first.
    """
    n_chain, n_draw = centred.shape[1:]
    length = fft.next_fast_len(2 * n_draw, real=True)
    # Copied straight into the padded array: padding by the transform copies everything twice more.
    padded = np.empty((*centred.shape[:2], length))
    padded[:, :, n_draw:] = 0.0
    padded[:, :, :n_draw] = centred
    spectrum = fft.rfft(padded, axis=2)
    # the inverse transform is linear: averaging first saves one transform per chain
    parts = spectrum.view(np.float64)
    squares = np.einsum("sck,sck->sk", parts, parts)
    power = squares[:, 0::2] + squares[:, 1::2]
    covariance: FloatArray = fft.irfft(power, n=length, axis=1)[:, :n_draw] / (n_chain * n_draw)
    return covariance


def first_autocovariances(centred: FloatArray, n_lag: int) -> FloatArray:
    """Autocovariance at the first lags, as in `mean_autocovariance`, from direct products.

    Parameters
    ----------
    centred
        Chains minus their means, shape (scalar, chain, draw).
    n_lag
        How many lags, at most the number of draws.

    Returns
    -------
    array
        Shape (scalar, n_lag): lag 0 first.
    """
    n_scalar, n_chain, n_draw = centred.shape
    covariance = np.empty((n_scalar, n_lag))
    for lag in range(n_lag):
        early, late = centred[:, :, : n_draw - lag], centred[:, :, lag:]
        covariance[:, lag] = np.vecdot(early, late).sum(axis=1)
    covariance /= n_chain * n_draw
    return covariance


def autocorrelation_time(rho: FloatArray) -> FloatArray:
    """Integrated autocorrelation time by Geyer's initial monotone sequence.

    Pairs of neighbouring lags are summed until the first pair that is not positive, each pair
    no larger than the one before it; the even lag of the pair that ends the sum is added where
    it is positive (Vehtari et al. 2021, section 3.2, in ArviZ's reading of its edges).

    Parameters
    ----------
    rho
        Autocorrelations, shape (scalar, lag), lag 0 first, at least two lags.

    Returns
    -------
    array
        Shape (scalar,).
    """
    even, pairs = _pairs(rho)
    last_pair = pairs.shape[1] - 1
    ended = ~(pairs > 0.0)
    end = np.where(ended.any(axis=1), ended.argmax(axis=1), last_pair)

    used = int(end.max(initial=0))
    monotone = np.minimum.accumulate(pairs[:, :used], axis=1)
    monotone[np.arange(used) >= end[:, None]] = 0.0

    row = np.arange(rho.shape[0])
    even_end = even[row, end]
    kept = (even_end > 0.0) | (pairs[row, end] >= 0.0)
    time: FloatArray = -1.0 + 2.0 * monotone.sum(axis=1) + np.where(kept, even_end, 0.0)
    return time


def _pairs(rho: FloatArray) -> tuple[FloatArray, FloatArray]:
    last_pair = max((rho.shape[1] - 3) // 2, 0)
    even = rho[:, 0 : 2 * last_pair + 1 : 2]
    return even, even + rho[:, 1 : 2 * last_pair + 2 : 2]


def effective_size(chains: FloatArray) -> FloatArray:
    """Effective sample size of the mean of (already split) chains.

    Parameters
    ----------
    chains
        Shape (scalar, chain, draw), at least two draws.

    Returns
    -------
    array
        Shape (scalar,); the number of draws where all draws are the same number.
    """
    n_chain, n_draw = chains.shape[1:]
    size = n_chain * n_draw
    means = chains.mean(axis=2, keepdims=True)
    centred = chains - means
    between = means[:, :, 0].var(axis=1, ddof=1) if n_chain > 1 else np.zeros(len(chains))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        time, variance = _times(centred, between)
        time = np.maximum(time, 1.0 / np.log10(size))
        known = np.isfinite(variance) & (variance + between > 0.0)
        ess: FloatArray = np.where(known, size / time, np.nan)
    # A variance is at most a quarter of the squared range: few scalars need their range at all.
    flat = np.flatnonzero(~(variance >= _RESOLUTION**2))
    spread = chains[flat].max(axis=(1, 2)) - chains[flat].min(axis=(1, 2))
    ess[flat[spread < _RESOLUTION]] = size
    return ess


def _times(centred: FloatArray, between: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the autocorrelation time and the variance within chains, each of shape (scalar,).

    In chains that mix the sum ends within a few lags: all lags are computed for the other scalars only.
    """
    n_scalar, _, n_draw = centred.shape
    time, variance = np.empty(n_scalar), np.empty(n_scalar)
    left = np.arange(n_scalar)
    for n_lag in (*_FIRST_LAGS, n_draw):
        part = centred if left.size == n_scalar else centred[left]
        every = n_lag >= n_draw
        covariance = mean_autocovariance(part) if every else first_autocovariances(part, n_lag)
        rho = _correlation(covariance, between[left], n_draw)
        time[left], variance[left] = autocorrelation_time(rho), covariance[:, 0]
        left = left[(_pairs(rho)[1] > 0.0).all(axis=1)]
        if every or not left.size:
            break
    return time, variance


def _correlation(covariance: FloatArray, between: FloatArray, n_draw: int) -> FloatArray:
    """Autocorrelation of several chains (Vehtari et al. 2021, eq. 10), shape (scalar, lag)."""
    variance = covariance[:, :1]
    within = variance * n_draw / (n_draw - 1.0)
    rho: FloatArray = 1.0 - (within - covariance) / (variance + between[:, None])
    rho[:, 0] = 1.0
    return rho
