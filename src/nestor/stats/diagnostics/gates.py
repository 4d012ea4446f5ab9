"""The convergence gates that a run must pass before its numbers are compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.errors import DataError
from nestor.stats.diagnostics.chain_checks import (
    energy_slope,
    out_of_order,
    repeated_draws,
    step_sizes,
)
from nestor.stats.diagnostics.estimators import as_draws, bfmi
from nestor.stats.diagnostics.summaries import Summaries, summaries
from nestor.stats.plain import as_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nestor.stats.arrays import BoolArray, FloatArray


RHAT_BOUND = 1.01
# With thousands of coefficients the largest R-hat of perfect chains passes 1.01 by chance.
NODE_RHAT_BOUND = 1.05
NODE_RHAT_PROB = 0.99
ESS_BOUND = 400.0
EBFMI_BOUND = 0.3
# The estimator's cap is met to rounding, or not at all.
_CAP_ROUNDING = 1e-9

#: Names of all gates, in the order in which they are checked.
GATES = (
    "identical chains",
    "repeats",
    "order",
    "step size",
    "undefined",
    "rhat",
    "ess",
    "ess cap",
    "ebfmi",
)


@dataclass(frozen=True)
class Gates:
    """Whether a run converged well enough to be compared.

    Parameters
    ----------
    passed
        True if there are no failures.
    failures
        One sentence per failed gate, naming the worst scalar or chain.
    notes
        Checks that were not possible, and facts that are no failure.
    rhat_max
        Largest R-hat of population, scale and family scalars.
    rhat_node_max, rhat_node_p99
        Largest R-hat and 99th percentile of R-hat of node coefficients.
    ess_bulk_min, ess_tail_min
        Smallest effective sample sizes, in draws.
    ebfmi_min
        Smallest E-BFMI of a chain.
    n_divergent, n_saturated
        Draws that diverged or reached the largest tree depth.
    energy_slope
        Slope of each draw's energy on minus the log density of the draw before: about 1 for Hamiltonian
        trajectories, 0 for draws in another order.
    failed
        The gate of each failure, one of `GATES`.

    Notes
    -----
    A number that is not available (no such scalar, no energies, ...) is None; one that cannot
    be computed from the draws is nan, and is a failure.
    """

    passed: bool
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    rhat_max: float | None
    rhat_node_max: float | None
    rhat_node_p99: float | None
    ess_bulk_min: float | None
    ess_tail_min: float | None
    ebfmi_min: float | None
    n_divergent: int | None
    n_saturated: int | None
    energy_slope: float | None = None
    failed: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if self.passed:
            found = [
                f"{name} {value:{form}}"
                for name, value, form in (
                    ("R-hat", self.rhat_max, ".3f"),
                    ("bulk ESS", self.ess_bulk_min, ",.0f"),
                    ("tail ESS", self.ess_tail_min, ",.0f"),
                )
                if value is not None
            ]
            return f"Gates(passed: {', '.join(found)})"
        more = f"; and {len(self.failures) - 2} more" if len(self.failures) > 2 else ""
        return f"Gates(failed: {'; '.join(self.failures[:2])}{more})"

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data; numbers that are not finite become None."""
        plain: dict[str, Any] = as_plain(self)
        return plain


def gates(
    draws: ArrayLike,
    labels: Sequence[str],
    is_node: ArrayLike,
    energy: ArrayLike | None = None,
    diverging: ArrayLike | None = None,
    saturated: ArrayLike | None = None,
    summary: Summaries | None = None,
    *,
    is_scale: ArrayLike | None = None,
    lp: ArrayLike | None = None,
    step_size: ArrayLike | None = None,
    settings: Mapping[str, Any] | None = None,
    dtype: str = "float64",
) -> Gates:
    """Check one run: R-hat, effective sample sizes, E-BFMI, and whether its draws are chains at all.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    labels
        Name of each scalar, shape (scalar,).
    is_node
        True where the scalar is a node's coefficient, shape (scalar,). For these R-hat must
        stay below 1.05 and its 99th percentile below 1.01; for all others below 1.01.
    energy
        The sampler's energies, shape (chain, draw), or None if it reports none.
    diverging, saturated
        Whether a draw diverged, or reached the largest tree depth, shape (chain, draw), or
        None if the sampler does not report it. Both are counted, neither is a failure.
    summary
        Summaries of these draws, where they have been computed already.
    is_scale
        True where the scalar is a scale or of the family, shape (scalar,); None if that is not known.
    lp
        The log density that was sampled, shape (chain, draw), or None if the sampler does not report it.
    step_size
        Of each trajectory, shape (chain, draw), or None if the sampler does not report it.
    settings
        The sampler's; see `nestor.stats.diagnostics.chain_checks.step_sizes`.
    dtype
        In which the sampler computed: "float64" or "float32".

    Returns
    -------
    Gates

    Raises
    ------
    DataError
        If the shapes do not fit together.
    """
    array = as_draws(draws)
    known = summaries(array) if summary is None else summary
    for values, what in ((lp, "lp"), (step_size, "step_size")):
        if values is not None:
            _per_draw(values, what, known)
    result = gates_of(known, labels, is_node, energy, diverging, saturated)
    reported = {"energy": energy, "lp": lp, "step_size": step_size, "diverging": diverging}
    stats = {name: np.asarray(values) for name, values in reported.items() if values is not None}
    own = zip(result.failed, result.failures, strict=True)
    found = [*chain_failures(array, stats, settings or {}, is_scale, dtype), *own]
    slope = _slope(stats)
    return replace(
        result,
        passed=not found,
        failures=tuple(sentence for _, sentence in found),
        failed=tuple(name for name, _ in found),
        notes=(*result.notes, *_missing_notes(stats)),
        energy_slope=None if slope is None else slope[0],
    )


def chain_failures(
    draws: NDArray[Any],
    stats: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
    is_scale: ArrayLike | None,
    dtype: str,
) -> list[tuple[str, str]]:
    """Say why draws are not genuine chains; see `nestor.stats.diagnostics.chain_checks`.

    Parameters
    ----------
    draws
        Shape (chain, draw, scalar).
    stats
        The ones of energy, lp, diverging and step_size that the sampler reports, shape (chain, draw).
    settings, is_scale, dtype
        As in `gates`.

    Returns
    -------
    list of (str, str)
        The gate, one of `GATES`, and a sentence, for each failure.
    """
    same = list(_identical_chains(draws))
    # Of two chains that are the same every draw repeats: that is said already.
    copied = [] if same else repeated_draws(draws, is_scale, dtype)
    sized = step_sizes(stats["step_size"], settings) if "step_size" in stats else ()
    return [
        *_named_gate("identical chains", same),
        *_named_gate("repeats", copied),
        *_named_gate("order", out_of_order(_slope(stats))),
        *_named_gate("step size", sized),
    ]


def _slope(stats: Mapping[str, NDArray[Any]]) -> tuple[float, float] | None:
    if not {"energy", "lp"} <= set(stats):
        return None
    return energy_slope(stats["energy"], stats["lp"], stats.get("diverging"))


def gates_of(
    summary: Summaries,
    labels: Sequence[str],
    is_node: ArrayLike,
    energy: ArrayLike | None = None,
    diverging: ArrayLike | None = None,
    saturated: ArrayLike | None = None,
) -> Gates:
    """Check one run as `gates` does, from existing summaries.

    Draws that repeat, energies out of order and step sizes cannot be seen in summaries; only `gates`
    finds them.

    Parameters
    ----------
    summary
        The run's summaries.
    labels, is_node, energy, diverging, saturated
        As in `gates`.

    Returns
    -------
    Gates

    Raises
    ------
    DataError
        If the shapes do not fit together.
    """
    names, nodes = _checked(summary, labels, is_node)
    divergent = _count(diverging, "divergences", summary)
    deep = _count(saturated, "tree depth saturation", summary)
    ebfmi = None if energy is None else bfmi(_per_draw(energy, "energy", summary))
    n_total = summary.n_chain * summary.n_draw
    failures = (
        *_named_gate("undefined", _undefined(summary, names)),
        *_named_gate("rhat", _rhat_failures(summary.rhat, names, nodes)),
        *_named_gate("ess", _ess_failures("bulk", summary.ess_bulk, names)),
        *_named_gate("ess", _ess_failures("tail", summary.ess_tail, names)),
        *_named_gate("ess cap", _capped(summary)),
        *_named_gate("ebfmi", [] if ebfmi is None else _ebfmi_failures(ebfmi)),
    )
    notes = (
        *(["E-BFMI: not available, the run has no energies"] if ebfmi is None else []),
        *_count_notes("divergences", divergent, n_total),
        *_count_notes("draws at the largest tree depth", deep, n_total),
    )
    node_rhat = summary.rhat[nodes]
    return Gates(
        passed=not failures,
        failures=tuple(sentence for _, sentence in failures),
        notes=notes,
        rhat_max=_largest(summary.rhat[~nodes]),
        rhat_node_max=_largest(node_rhat),
        rhat_node_p99=_percentile(node_rhat) if node_rhat.size else None,
        ess_bulk_min=_smallest(summary.ess_bulk),
        ess_tail_min=_smallest(summary.ess_tail),
        ebfmi_min=None if ebfmi is None else _smallest(ebfmi),
        n_divergent=divergent,
        n_saturated=deep,
        failed=tuple(name for name, _ in failures),
    )


def _named_gate(name: str, sentences: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, sentence) for sentence in sentences]


def _missing_notes(stats: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Notes on checks that were skipped because a Hamiltonian sampler does not report lp or step sizes."""
    if "energy" not in stats:
        return
    if "lp" not in stats:
        yield "order of the draws: not checked, the run does not report lp"
    if "step_size" not in stats:
        yield "step sizes: not checked, the run does not report them"


def _checked(
    summary: Summaries, labels: Sequence[str], is_node: ArrayLike
) -> tuple[list[str], BoolArray]:
    names, nodes = list(labels), np.asarray(is_node, dtype=bool)
    if len(names) != summary.n_scalar or nodes.shape != (summary.n_scalar,):
        raise DataError(
            f"{summary.n_scalar} scalars were drawn, but there are {len(names)} labels and "
            f"is_node has shape {nodes.shape}"
        )
    return names, nodes


def _per_draw(values: ArrayLike, what: str, summary: Summaries) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != (summary.n_chain, summary.n_draw):
        raise DataError(
            f"{what} has shape {array.shape}; the draws have {summary.n_chain} chains of "
            f"{summary.n_draw} draws"
        )
    return array


def _count(values: ArrayLike | None, what: str, summary: Summaries) -> int | None:
    if values is None:
        return None
    return int(np.count_nonzero(_per_draw(values, what, summary)))


def _count_notes(what: str, count: int | None, n_total: int) -> list[str]:
    if count is None:
        return [f"{what}: not available, the run does not report them"]
    return [f"{what}: {count} of {n_total} draws"] if count else []


def _undefined(summary: Summaries, labels: list[str]) -> Iterator[str]:
    if summary.n_scalar == 0:
        yield "there are no scalars to check"
        return
    if summary.n_chain < 2:
        yield f"R-hat needs at least two chains, found {summary.n_chain}"
    if summary.n_draw < 4:
        yield f"R-hat and ESS need at least four draws per chain, found {summary.n_draw}"
        return
    yield from _named(~summary.finite, labels, "draws that are not finite")
    yield from _named(summary.constant, labels, "one and the same value in all draws")


def _named(mask: BoolArray, labels: list[str], what: str) -> Iterator[str]:
    found = np.flatnonzero(mask)
    if found.size == 1:
        yield f"{labels[found[0]]} has {what}"
    elif found.size:
        yield f"{labels[found[0]]} and {found.size - 1} more have {what}"


def _rhat_failures(rhat: FloatArray, labels: list[str], nodes: BoolArray) -> Iterator[str]:
    for mask, bound in ((~nodes, RHAT_BOUND), (nodes, NODE_RHAT_BOUND)):
        worst = _worst(np.where(mask, rhat, np.nan))
        if worst is not None and not rhat[worst] < bound:
            yield f"R-hat {rhat[worst]:.3f} of {labels[worst]} is not below {bound}"
    if nodes.any():
        percentile = _percentile(rhat[nodes])
        if percentile >= RHAT_BOUND:
            yield (
                f"the 99th percentile of the node coefficients' R-hat, {percentile:.3f}, "
                f"is not below {RHAT_BOUND}"
            )


def _ess_failures(kind: str, ess: FloatArray, labels: list[str]) -> Iterator[str]:
    worst = _worst(-ess)
    if worst is not None and ess[worst] < ESS_BOUND:
        yield f"{kind} ESS {ess[worst]:.0f} of {labels[worst]} is below {ESS_BOUND:.0f}"


def _capped(summary: Summaries) -> Iterator[str]:
    """Note that even the smallest bulk ESS is at its estimator's upper bound, n log10 n."""
    # Chains are split into halves, without a middle draw.
    size = 2 * summary.n_chain * (summary.n_draw // 2)
    if size < 2 or not summary.ess_bulk.size:
        return
    cap = size * np.log10(size)
    if summary.ess_bulk.min() >= cap * (1.0 - _CAP_ROUNDING):
        yield (
            f"the bulk ESS of every quantity is at its estimator's largest value, {cap:.0f} from {size} "
            "draws: draws that cancel each other to the last (antithetic copies?) are no chain"
        )


def _ebfmi_failures(ebfmi: FloatArray) -> Iterator[str]:
    for chain in np.flatnonzero(~np.isfinite(ebfmi)):
        yield f"E-BFMI of chain {chain} is undefined: its energies are constant or not finite"
    worst = _worst(-ebfmi)
    if worst is not None and not ebfmi[worst] > EBFMI_BOUND:
        yield f"E-BFMI {ebfmi[worst]:.2f} of chain {worst} is not above {EBFMI_BOUND}"


def _identical_chains(draws: NDArray[Any]) -> Iterator[str]:
    """Report each chain that is a copy of an earlier one, with the first such chain."""
    if 0 in draws.shape:
        return
    first: dict[bytes, int] = {}
    for chain, values in enumerate(draws):
        # Zero added, since 0.0 and -0.0 are equal and have other bytes.
        digest = hashlib.sha256(np.ascontiguousarray(values) + 0.0).digest()
        one = first.setdefault(digest, chain)
        # A chain with a draw that is not a number equals none; that is found elsewhere.
        if one != chain and np.array_equal(draws[one], values):
            yield f"chains {one} and {chain} are identical: was the seed ignored?"


def _worst(values: FloatArray) -> int | None:
    """Position of the largest value, ignoring nan; None if all are nan."""
    known = ~np.isnan(values)
    return int(np.argmax(np.where(known, values, -np.inf))) if known.any() else None


def _percentile(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return np.nan
    with np.errstate(invalid="ignore"):
        percentile = float(np.quantile(known, NODE_RHAT_PROB))
    return np.inf if np.isnan(percentile) else percentile  # numpy cannot interpolate to infinity


def _largest(values: FloatArray) -> float | None:
    return float(values.max()) if values.size else None


def _smallest(values: FloatArray) -> float | None:
    return float(values.min()) if values.size else None
