"""One contender's side of a comparison, and whether it can be compared at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from nestor.errors import DataError
from nestor.errors.text import short_repr
from nestor.stats.diagnostics.gates import Gates
from nestor.stats.diagnostics.summaries import Summaries

MIN_DRAWS = 100  # per chain; also what a swap of the chain and draw axes runs into


@dataclass(frozen=True, eq=False)
class Run:
    """One contender's side of a comparison.

    Parameters
    ----------
    name
        The contender, as messages name it.
    labels
        Name of each scalar, shape (scalar,).
    summaries
        Its summaries, or None if the run is missing (refused, crashed, stopped).
    gates
        Its gates, or None if they were not checked, which rules out agreement.
    density_ok
        Whether its densities equal the reference's; None if they were not compared.
    sampled_ok
        Whether the density that it sampled, as it reports it with its draws, equals the reference's;
        None if it does not report it.
    missing
        Why there are no summaries.
    recovered_ok
        Whether its coefficients, if they were marginalized, are exact draws given its scales; None if
        they were sampled or that was not checked.
    """

    name: str
    labels: Sequence[str]
    summaries: Summaries | None
    gates: Gates | None
    density_ok: bool | None = None
    sampled_ok: bool | None = None
    missing: str = ""
    recovered_ok: bool | None = None

    __repr__ = short_repr


def check_labels(a: Run, b: Run) -> None:
    """Refuse two runs whose scalars differ in name or order.

    Raises
    ------
    DataError
        If they differ.
    """
    if a.summaries is None or b.summaries is None or list(a.labels) == list(b.labels):
        return
    in_a, in_b = set(a.labels), set(b.labels)
    only_a = [label for label in a.labels if label not in in_b]
    only_b = [label for label in b.labels if label not in in_a]
    if only_a or only_b:
        found = "; ".join(
            f"only {run.name} has {', '.join(only[:5])}" + (", ..." if len(only) > 5 else "")
            for run, only in ((a, only_a), (b, only_b))
            if only
        )
    else:
        pairs = zip_longest(a.labels, b.labels, fillvalue="nothing")
        first, second = next((one, other) for one, other in pairs if one != other)
        found = f"where {a.name} has {first}, {b.name} has {second}: their order differs"
    raise DataError(f"{a.name} and {b.name} have different scalars: {found}")


def unfit(run: Run) -> Iterator[str]:
    """Say why a run cannot be compared: its draws are unusable, or it did not pass its gates."""
    if run.summaries is None:
        yield from _unusable(run)
        return
    if run.gates is not None and not run.gates.passed:
        # The gates say what is wrong with single scalars; what is wrong with the whole goes first.
        yield from _too_small(run, run.summaries)
        yield from (f"{run.name}: {failure}" for failure in run.gates.failures)
        return
    if run.gates is None:
        yield f"{run.name}: its gates were not checked"
    yield from _unusable(run)


def _too_small(run: Run, summary: Summaries) -> Iterator[str]:
    if summary.n_scalar == 0:
        yield f"{run.name}: there are no scalars to compare"
    if summary.n_draw < MIN_DRAWS:
        swapped = (
            f" (there are {summary.n_chain} chains: are the axes swapped?)"
            if summary.n_chain > summary.n_draw
            else ""
        )
        yield (
            f"{run.name}: {summary.n_draw} draws per chain; at least {MIN_DRAWS} are needed{swapped}"
        )


def _unusable(run: Run) -> Iterator[str]:
    """Say why a run's draws cannot be compared, whatever its gates say."""
    summary = run.summaries
    if summary is None:
        yield f"{run.name}: no draws" + (f" ({run.missing})" if run.missing else "")
        return
    yield from _too_small(run, summary)
    if summary.n_chain < 2:
        yield f"{run.name}: a single chain, so that its convergence cannot be seen"
    for mask, what in ((~summary.finite, "not finite"), (summary.constant, "all the same")):
        if summary.n_draw >= 4 and mask.any():
            first = run.labels[int(np.flatnonzero(mask)[0])]
            more = f" and {mask.sum() - 1} more" if mask.sum() > 1 else ""
            yield f"{run.name}: the draws of {first}{more} are {what}"


def comparable(a: Run, b: Run) -> bool:
    """Whether the draws of two runs, whatever their gates say, are such that tests mean something."""
    return not any(same_draws(a, b)) and not any(any(_unusable(run)) for run in (a, b))


def same_draws(a: Run, b: Run) -> Iterator[str]:
    """Say when two runs are not independent: to the last bit the same."""
    if a.summaries is None or b.summaries is None or a.summaries.n_scalar == 0:
        return
    if np.array_equal(a.summaries.estimate, b.summaries.estimate):
        yield (
            f"{a.name} and {b.name} have exactly the same estimates: they are copies of one run, "
            "not two independent ones; use different seeds"
        )
