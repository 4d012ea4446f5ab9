"""Leave-one-leaf-out, and leave-one-row-out, cross-validation, exact given the scales."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np

from nestor.posterior.cavity import Predictive
from nestor.posterior.draws import drawn, family_drawn
from nestor.posterior.leave_one_out import LeaveOneOut, joined, relative_efficiency, smoothed
from nestor.posterior.same_posterior import check_same_posterior
from nestor.views.terminal.working import working_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.stats.arrays import FloatArray


#: Numbers that are held in memory, 256 MB; more of them go to a temporary file.
_HELD = 2**25
#: Numbers that are smoothed at a time, 32 MB.
_SMOOTHED = 2**22


def leave_one_leaf_out(
    problem: Problem, fit: xr.DataTree, *, progress: bool = False
) -> LeaveOneOut:
    """Leave-one-leaf-out cross-validation: how well is a leaf predicted from all others?

    At each draw theta of the scales, log p(y_v | y_-v, theta) is exact for every leaf v: all coefficients,
    those of the leaf and of its ancestors included, are integrated out given the other leaves' rows, by one
    pass up the tree and one down (see `nestor.posterior.cavity.passes`). The draws of theta are given all
    leaves, v included, so that the expectation over p(theta | y_-v) takes importance sampling with weights
    proportional to 1 / p(y_v | y_-v, theta), which are smoothed. It is the density of all rows of a leaf
    together; weights stay tame, as only the few scales are drawn again, where those of the conditional
    likelihood of a leaf's rows, given coefficients that have seen them, would not be.

    Parameters
    ----------
    problem : Problem
        Model and data of the fit: a gaussian outcome, Normal priors of population coefficients. Rows need
        not be in memory.
    fit : DataTree
        As `nestor.fit` returns it, of any engine and formulation: scales are all that is read.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    LeaveOneOut
        Of leaves, labelled by their paths.

    Raises
    ------
    Unsupported
        If the problem is not of that kind.
    DataError
        If draws of scales are missing, too few (25) or of another posterior: other data or another
        model, which is compared with what the fit stored.

    Notes
    -----
    Merkle, Furr and Rabe-Hesketh (2019), Psychometrika 84, on conditional and marginal likelihoods and
    leaving out clusters; Vehtari, Gelman and Gabry (2017), Statistics and Computing 27, on smoothed
    importance sampling.
    """
    check_same_posterior(problem, fit)
    leaf = problem.index.levels[-1]
    predictive = Predictive.of_leaves(problem)
    coords = {leaf.name: (leaf.name, leaf.paths)}
    density = _log_density(problem, fit, predictive, coords, progress=progress)
    return _left_out(problem, fit, density, progress=progress)


def leave_one_row_out(problem: Problem, fit: xr.DataTree, *, progress: bool = False) -> LeaveOneOut:
    """Leave-one-out cross-validation of rows, exact given the scales.

    It estimates what `nestor.loo` does, the density of a row given all others, those of its own leaf
    included. But all coefficients are integrated out given the other rows, as in `leave_one_leaf_out`, so
    that importance weights correct the few scales only, where those of `loo` correct coefficients that
    have seen the row: they hold for rows that are far off or alone in their leaf.

    Parameters
    ----------
    problem, fit, progress
        See `leave_one_leaf_out`; rows must be in memory.

    Returns
    -------
    LeaveOneOut
        Of rows, labelled as in the fit's observed_data.

    Raises
    ------
    Unsupported, DataError
        As there.
    """
    from nestor.runner.datatree import row_coords

    check_same_posterior(problem, fit)
    predictive = Predictive.of_rows(problem)
    density = _log_density(problem, fit, predictive, row_coords(problem), progress=progress)
    return _left_out(problem, fit, density, progress=progress)


def _log_density(
    problem: Problem,
    fit: xr.DataTree,
    predictive: Predictive,
    coords: Mapping[str, tuple[str, object]],
    *,
    progress: bool,
) -> xr.DataArray:
    """Log density of each unit given all others at each draw of the scales, (chain, draw, unit).

    It is in memory up to 256 MB, else in a temporary file that goes with the array.
    """
    import xarray as xr

    names = [v.name for v in problem.variables.values() if v.role == "scale"]
    scales = drawn(problem, fit, names) | family_drawn(problem, fit)
    lead = scales["sigma"].shape
    flat = {name: array.reshape(-1, *array.shape[2:]) for name, array in scales.items()}
    unit = next(iter(coords))
    what = f"densities of each {unit} given the others"
    with working_bar(what, lead[0] * lead[1], show=progress) as advance:
        found = _evaluated(predictive, flat, advance)
    sampled = {name: fit["posterior"][name].values for name in ("chain", "draw")}
    array = found.reshape(*lead, found.shape[1])
    return xr.DataArray(array, dims=("chain", "draw", unit), coords=sampled | dict(coords))


def _left_out(
    problem: Problem, fit: xr.DataTree, density: xr.DataArray, *, progress: bool
) -> LeaveOneOut:
    names = [v.name for v in problem.variables.values() if v.role in ("scale", "family")]
    reff = relative_efficiency(fit, names)
    width = max(1, _SMOOTHED // (density.shape[0] * density.shape[1]))
    total, found = density.shape[2], []
    what = f"importance weights of each {density.dims[2]}"
    with working_bar(what, total, show=progress) as advance:
        for start in range(0, total, width):
            found.append(smoothed(density[:, :, start : start + width], reff))
            advance(min(start + width, total))
    return joined(found)


def _evaluated(
    predictive: Predictive, scales: dict[str, FloatArray], advance: Callable[[int], None]
) -> FloatArray:
    """Log densities of all units at sets of scales, batch after batch: (S, units)."""
    total = len(scales["sigma"])
    found = _room(total, predictive.n_units)
    for start in range(0, total, predictive.batch):
        part = slice(start, start + predictive.batch)
        found[part] = predictive.log_density({n: a[part] for n, a in scales.items()}).T
        advance(min(part.stop, total))
    return found


def _room(rows: int, columns: int) -> FloatArray:
    if rows * columns <= _HELD:
        return np.empty((rows, columns))
    # The file has no name and goes when the array does.
    with tempfile.TemporaryFile(prefix="nestor-") as stream:
        return np.memmap(stream, dtype=np.float64, mode="w+", shape=(rows, columns))
