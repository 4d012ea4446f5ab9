"""Effective sample size from autocovariances, for many scalars at once."""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

type FloatArray = NDArray[np.float64]

_RESOLUTION = float(np.finfo(np.float64).resolution)


def mean_autocovariance(chains: FloatArray) -> FloatArray:
    """Autocovariance at every lag (divisor n), averaged over the chains.

    Parameters
    ----------
    chains
        Shape (scalar, chain, draw).

    Returns
    -------
    array
        Shape (scalar, draw): lag 0 first.
    """
    n_chain, n_draw = chains.shape[1:]
    length = fft.next_fast_len(2 * n_draw, real=True)
    # Centred straight into the padded array: padding by the transform copies everything twice more.
    padded = np.empty((*chains.shape[:2], length))
    padded[:, :, n_draw:] = 0.0
    np.subtract(chains, chains.mean(axis=2, keepdims=True), out=padded[:, :, :n_draw])
    spectrum = fft.rfft(padded, axis=2)
    # the inverse transform is linear: averaging first saves one transform per chain
    parts = spectrum.view(np.float64)
    squares = np.einsum("sck,sck->sk", parts, parts)
    power = squares[:, 0::2] + squares[:, 1::2]
    covariance: FloatArray = fft.irfft(power, n=length, axis=1)[:, :n_draw] / (n_chain * n_draw)
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
    n_lag = rho.shape[1]
    last_pair = max((n_lag - 3) // 2, 0)
    even = rho[:, 0 : 2 * last_pair + 1 : 2]
    pairs = even + rho[:, 1 : 2 * last_pair + 2 : 2]
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
    covariance = mean_autocovariance(chains)
    within = covariance[:, 0] * n_draw / (n_draw - 1.0)
    total = covariance[:, 0].copy()
    if n_chain > 1:
        total += chains.mean(axis=2).var(axis=1, ddof=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        rho = 1.0 - (within[:, None] - covariance) / total[:, None]
        rho[:, 0] = 1.0
        time = np.maximum(autocorrelation_time(rho), 1.0 / np.log10(size))
        ess: FloatArray = np.where(np.isnan(rho[:, 1]), np.nan, size / time)
    # A variance is at most a quarter of the squared range: few scalars need their range at all.
    flat = np.flatnonzero(~(covariance[:, 0] >= _RESOLUTION**2))
    spread = chains[flat].max(axis=(1, 2)) - chains[flat].min(axis=(1, 2))
    ess[flat[spread < _RESOLUTION]] = size
    return ess
