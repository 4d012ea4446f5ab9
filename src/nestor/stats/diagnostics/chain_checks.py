"""Checks that draws are genuine chains: no copied draws, in the order sampled, one step size per chain.

R-hat and effective sample sizes take draws at face value: copied or reordered draws look like better chains
than they are. Each check here asks for a property that every honest chain has, whatever the posterior, and
has a false-alarm rate of at most 1e-9 (`FALSE_ALARM`).

**Repeats.** A chain stays where it is when a proposal is rejected: equal draws next to each other are one
visit. It never comes back to a visited point: two visits to one point have probability zero for real
numbers, and for floating-point numbers one that follows from their spacing (see `chance_repeats`).

**Order.** A Hamiltonian trajectory that ends in draw n + 1 begins in draw n with a fresh momentum, and keeps
its energy but for the integrator's error: E[n + 1] = -lp[n] + K, K independent of all that was before (Neal
2011, "MCMC using Hamiltonian dynamics"). So the slope of E[n + 1] on -lp[n] is 1 for an exact integrator,
in any dimension and for any posterior; 0.73 to 1.23 was found over the reference problems, all samplers and
formulations, even where the integrator is at its coarsest (target acceptance 0.5). In draws that were
shuffled it is 0. Momenta are independent, so that the slope has the standard error of a plain regression,
however autocorrelated the chain is.

**Step size.** A chain that is not adapting has one step size, or varies it at random by a share that the
sampler knows and declares. Chains that adapted each for itself have different ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtri, pdtrc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import FloatArray


#: Probability that a check objects to an honest run.
FALSE_ALARM = 1e-9
#: Scalars by which a draw is recognized: so many equal floating-point numbers are no chance.
_KEY = 8
#: By how much a scalar's spacing may be coarser than its type's at its largest value, and two scalars more
#: often equal together than if they were independent.
_COARSER = 100.0
#: Slope of the energy on the previous draw's -lp that lies in the middle between order and none.
_MIDDLE = 0.5
#: Relative difference of step sizes that is rounding.
_ROUNDING = 1e-5


def chance_repeats(columns: FloatArray, dtype: str) -> float:
    """Bound the number of pairs of draws that are equal by chance.

    Two independent draws of a scalar with spacing h fall on the same number with probability
    h * integral of the squared density, h / (2 sqrt(pi) sd) for a normal one.

    Parameters
    ----------
    columns : ndarray, (draw, scalar)
        Distinct visits.
    dtype : {"float64", "float32"}
        In which the sampler computes.
    """
    n = len(columns)
    sd = columns.std(axis=0)
    spacing = np.finfo(dtype).eps * np.abs(columns).max(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(sd > 0, _COARSER * spacing / (2.0 * np.sqrt(np.pi) * sd), 1.0)
    return float(0.5 * n * (n - 1) * np.prod(np.minimum(one, 1.0)))


def repeats(draws: FloatArray, dtype: str) -> tuple[int, str]:
    """Count returns to points that this chain or another visited before.

    Parameters
    ----------
    draws : ndarray, (chain, draw, scalar)
        A few scalars that a sampler moves together.
    dtype : {"float64", "float32"}
        In which the sampler computes.

    Returns
    -------
    count : int
        Zero where so many could be chance.
    where : str
        The first of them; empty where there are none.
    """
    if 0 in draws.shape:
        return 0, ""
    # Zero added, since 0.0 and -0.0 are equal and have other bytes.
    rows = np.ascontiguousarray(draws, dtype=np.float64) + 0.0
    moved = np.ones(rows.shape[:2], dtype=bool)
    moved[:, 1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=2)
    moved &= np.isfinite(rows).all(axis=2)
    chain, draw = np.nonzero(moved)
    visits = rows[chain, draw]
    if len(visits) < 2:
        return 0, ""
    keys = visits.view(np.dtype((np.void, visits.itemsize * visits.shape[1]))).ravel()
    _, first, same = np.unique(keys, return_index=True, return_inverse=True)
    count = len(visits) - len(first)
    if not count or pdtrc(count - 1, chance_repeats(visits[first], dtype)) > FALSE_ALARM:
        return 0, ""
    again = int(np.flatnonzero(first[same] != np.arange(len(visits)))[0])
    one = int(first[same[again]])
    where = f"draw {draw[again]} of chain {chain[again]} is draw {draw[one]} of chain {chain[one]}"
    return count, where


def repeated_draws(draws: FloatArray, is_scale: ArrayLike | None, dtype: str) -> Iterator[str]:
    """Report draws that occur again, not directly after themselves.

    Scales and family parameters are looked at by themselves: where coefficients are marginalized a copied
    draw of the scales may have fresh coefficients.

    Parameters
    ----------
    draws : ndarray, (chain, draw, scalar)
        One run.
    is_scale : array or None
        True where the scalar is a scale or of the family, (scalar,); None if that is not known.
    dtype : {"float64", "float32"}
        In which the sampler computes.
    """
    n = draws.shape[2]
    scales = np.zeros(n, dtype=bool) if is_scale is None else np.asarray(is_scale, dtype=bool)
    for what, mask in (("scales", scales), ("coefficients", ~scales)):
        columns = np.flatnonzero(mask)
        if len(columns) > _KEY:
            columns = columns[np.linspace(0, len(columns) - 1, _KEY).round().astype(int)]
        count, where = repeats(draws[:, :, columns], dtype)
        if count:
            kind = "" if is_scale is None else f" of the {what}"
            draw = "draw comes" if count == 1 else "draws come"
            yield (
                f"{count} {draw} again{kind}, to the last bit and not next to themselves ({where}): copies, "
                "or draws with replacement, are no chain"
            )


def energy_slope(
    energy: FloatArray, lp: FloatArray, diverging: NDArray[np.bool_] | None = None
) -> tuple[float, float] | None:
    """Slope of each draw's energy on minus the log density of the draw before it, and its standard error.

    Parameters
    ----------
    energy, lp : ndarray, (chain, draw)
        As the sampler reports them.
    diverging : ndarray or None, (chain, draw)
        Trajectories that are left out: their energy was not kept.

    Returns
    -------
    tuple of float or None
        None where there is nothing to go by: too few numbers, or a log density that does not vary.
    """
    potential = -np.asarray(lp, dtype=np.float64)[:, :-1]
    after = np.asarray(energy, dtype=np.float64)[:, 1:]
    kept = np.isfinite(potential) & np.isfinite(after)
    if diverging is not None:
        kept &= ~np.asarray(diverging, dtype=bool)[:, 1:]
    x, y = (np.concatenate([_centred(v[k]) for v, k in zip(a, kept, strict=True)])
            for a in (potential, after))  # fmt: skip
    squares = float(x @ x)
    free = len(x) - 2 * len(potential)
    if free < 1 or not squares > 0:
        return None
    slope = float(x @ y) / squares
    residual = y - slope * x
    return slope, float(np.sqrt(residual @ residual / free / squares))


def _centred(values: FloatArray) -> FloatArray:
    return values - values.mean() if len(values) else values


def out_of_order(slope: tuple[float, float] | None) -> Iterator[str]:
    """Report energies that do not follow from the draws before them.

    Parameters
    ----------
    slope : tuple of float or None
        Of `energy_slope`.
    """
    if slope is None:
        return
    value, error = slope
    if value - float(ndtri(FALSE_ALARM)) * error < _MIDDLE:
        yield (
            f"energies do not go with the draws before them: the slope of energy[n + 1] on -lp[n] is "
            f"{value:.2f} (standard error {error:.2f}), and 1 for Hamiltonian trajectories; either the draws "
            "are not in the order in which they were made, or energy or lp are not what the names say"
        )


def step_sizes(step_size: FloatArray, settings: Mapping[str, Any]) -> Iterator[str]:
    """Report chains whose step size still changes, although adaptation should have ended.

    Parameters
    ----------
    step_size : ndarray, (chain, draw)
        Of the kept draws.
    settings : mapping
        The sampler's: ``step_size_jitter``, the largest relative deviation by which it varies the step size
        at random; ``shared_adaptation``, true where all chains have one step size.
    """
    sizes = np.asarray(step_size, dtype=np.float64)
    if 0 in sizes.shape:
        return
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        yield "step sizes are not all finite and positive"
        return
    jitter = _jitter(settings)
    smallest, largest = sizes.min(axis=1), sizes.max(axis=1)
    bound = (1.0 + jitter) / (1.0 - jitter) * (1.0 + _ROUNDING) if jitter < 1.0 else np.inf
    worst = int(np.argmax(largest / smallest))
    if largest[worst] > bound * smallest[worst]:
        declared = (
            f"by more than the declared step_size_jitter of {jitter:g} allows"
            if jitter
            else "and the sampler's settings declare no step_size_jitter"
        )
        yield (
            f"the step size of chain {worst} varies from {smallest[worst]:.3g} to {largest[worst]:.3g} "
            f"within the kept draws, {declared}: were they drawn while it was still adapting?"
        )
    elif (
        len(sizes) > 1
        and not jitter
        and not settings.get("shared_adaptation")
        and (sizes == sizes[0, 0]).all()
    ):
        yield (
            f"all chains have the step size {sizes[0, 0]:.6g} to the last bit, which chains that adapt each "
            "for itself do not: is it one chain cut into pieces? (Where it is right, settings have "
            "shared_adaptation = true.)"
        )


def _jitter(settings: Mapping[str, Any]) -> float:
    """The declared relative jitter of step sizes; zero if it is not a number in [0, 1]."""
    declared = settings.get("step_size_jitter")
    if isinstance(declared, bool) or not isinstance(declared, int | float):
        return 0.0
    return float(declared) if 0.0 <= declared <= 1.0 else 0.0
