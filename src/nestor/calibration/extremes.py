"""Priors so wide that what they generate cannot be computed with: found before anything is sampled."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from nestor.calibration.simulate import draw_outcome, draw_parameters, entries, linear_predictor
from nestor.calibration.streams import DATA, stream
from nestor.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nestor.calibration.simulate import Entry
    from nestor.data.problem import Problem
    from nestor.engines.protocol import DType

#: Every engine sums squares of outcomes; up to here those of a billion rows are finite.
LARGEST: Mapping[DType, float] = {"float64": 1e145, "float32": 1e14}


def check_simulations(problem: Problem, seed: int, simulations: int, dtype: DType) -> None:
    """Refuse priors that generate what cannot be computed with in one simulation or more.

    Leaving such simulations out would bias the check: calibration holds over the whole prior.

    Raises
    ------
    SpecError
        Saying how many, and which prior to tighten.
    """
    blamed: Counter[str] = Counter()
    for s in range(simulations):
        if (entry := blame(problem, seed, s, LARGEST[dtype])) is not None:
            blamed[f"{entry.address} ~ {entry.prior}"] += 1
    if blamed:
        worst, _ = blamed.most_common(1)[0]
        raise SpecError(
            f"the priors generate numbers too extreme to compute with in {blamed.total()} of "
            f"{simulations} simulations (infinite, zero scales, or beyond {LARGEST[dtype]:g}). "
            f"Calibration holds over the whole prior, so none can be left out. Tighten {worst}, by a "
            "prior of your own, or calibrate around the data (around='posterior')."
        )


def blame(problem: Problem, seed: int, simulation: int, largest: float) -> Entry | None:
    """Return the entry whose prior spoils a simulation, or None if it can be computed with."""
    rng = stream(seed, simulation, DATA)
    values = draw_parameters(problem, rng)
    known = list(entries(problem))
    for entry in known:
        if _unusable(entry, _value(entry, values), largest):
            return entry
    eta = linear_predictor(problem, values)
    location = [e for e in known if e.variable not in problem.priors.family]
    if not _within(eta, largest):
        return _largest(location, values)
    if _within(draw_outcome(problem, values, rng), largest):
        return None
    family = [e for e in known if e.variable in problem.priors.family]
    heavy = [e for e in family if e.variable == "nu" and _value(e, values) < 1]
    return heavy[0] if heavy else _largest(family or location, values)


def _value(entry: Entry, values: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    array = values[entry.variable]
    return array if entry.position is None else array[..., entry.position]


def _unusable(entry: Entry, value: NDArray[np.float64], largest: float) -> bool:
    zero = entry.prior.is_positive and bool((value <= 0).any())
    # A density with infinitely many degrees of freedom is the normal one: large ones do no harm.
    bound = np.inf if entry.variable == "nu" else largest
    return zero or not _within(value, bound) or not bool(np.isfinite(value).all())


def _within(values: NDArray[np.float64], largest: float) -> bool:
    return bool((np.abs(values) <= largest).all())


def _largest(known: list[Entry], values: Mapping[str, NDArray[np.float64]]) -> Entry:
    return max(known, key=lambda entry: float(np.abs(_value(entry, values)).max()))
