"""Sentences about a problem, its contenders and their pairs, for terminal and notebook."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from nestor.agreement.engine_result import EngineResult, estimates
from nestor.agreement.verdict import Verdict
from nestor.calibration.judge import Calibrated
from nestor.data.notes import sampling_notes
from nestor.engines import registry
from nestor.errors.text import printable
from nestor.views.format import count, duration, estimate, number, status_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nestor.agreement.comparison import Comparison
    from nestor.agreement.shape import ShapeResult
    from nestor.agreement.verdict import PairResult
    from nestor.calibration import Calibration
    from nestor.data.index import TreeIndex
    from nestor.data.index.tree import IndexSummary
    from nestor.data.problem import Problem
    from nestor.data.resolved_priors import ResolvedPriors
    from nestor.engines.contender import Contender
    from nestor.model.priors import Prior

#: Quantities of which a table shows estimates; standard deviations for each parent may be thousands.
SHOWN_QUANTITIES = 40
#: Headings of estimates; the last two are the ends of the central 90% interval.
ESTIMATES = ("mean", "sd", "5%", "95%")
_REASON = 200  # characters of a reason
_ESTIMATED = ("mean", "sd", "q05", "q95")


def estimate_rows(comparison: Comparison) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return each engine's estimates of all quantities but the nodes' coefficients, as text."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in comparison.rows:
        if isinstance(row, EngineResult):
            for one in estimates(comparison.quantities, row.summaries):
                figures = tuple(estimate(one[name], one[f"mcse_{name}"]) for name in _ESTIMATED)
                found.setdefault(one["quantity"], {})[row.name] = figures
    return found


def index_lines(index: TreeIndex) -> list[str]:
    """Describe a tree: nodes and children per level, rows per leaf, reused labels."""
    summary = index.summary()
    names = [printable(level.name) for level in summary.levels]
    width = max(len(name) for name in names)
    digits = max(len(count(level.nodes)) for level in summary.levels)
    lines = []
    for k, level in enumerate(summary.levels):
        noun = "node" if level.nodes == 1 else "nodes"
        line = f"  {names[k]:<{width}}  {count(level.nodes):>{digits}} {noun}"
        if k > 0:
            line += f"   {level.children_per_parent:.1f} per {names[k - 1]}"
        if level is summary.levels[-1]:
            line += f"   {rows_per_leaf(summary)}"
        lines.append(line)
    return lines + [f"  {line}" for line in reused_lines(summary)]


def reused_lines(summary: IndexSummary) -> list[str]:
    """Say which labels occur under several parents, a line for each level that has any."""
    parents = {b.name: a.name for a, b in pairwise(summary.levels)}
    lines = []
    for name, reused in summary.reused_labels.items():
        several = reused.count > 1
        examples = ", ".join(reused.examples) + (
            ", ..." if reused.count > len(reused.examples) else ""
        )
        line = (
            f"note: {count(reused.count)} {name} label{'s' if several else ''} ({examples}) occur"
            f"{'' if several else 's'} under more than one {parents[name]}; "
            "each is a different node here."
        )
        lines.append(printable(line))
    return lines


def rows_per_leaf(summary: IndexSummary) -> str:
    """Say how many rows the leaves have."""
    least, most = summary.min_rows_per_leaf, summary.max_rows_per_leaf
    found = f"{count(least)} to {count(most)} rows each"
    if least == most:
        found = f"{count(least)} row{'' if least == 1 else 's'} each"
    if summary.single_row_leaves:
        found += f", {count(summary.single_row_leaves)} with one row"
    return found


def prior_groups(priors: ResolvedPriors) -> list[tuple[list[str], Mapping[str, Prior]]]:
    """Group the variables beta, tau and gamma by equal priors."""
    groups = {"beta": priors.beta}
    groups |= {f"tau_{level}": by_effect for level, by_effect in priors.tau.items()}
    groups |= {"gamma": priors.gamma}
    merged: list[tuple[list[str], Mapping[str, Prior]]] = []
    for name, by_effect in groups.items():
        if not by_effect:
            continue
        for names, known in merged:
            if _listed(known) == _listed(by_effect):
                names.append(name)
                break
        else:
            merged.append(([name], by_effect))
    return merged


def prior_lines(problem: Problem) -> list[str]:
    """List all priors, one line per variable; variables with equal priors share a line."""
    priors = problem.priors
    groups = prior_groups(priors)
    lines = [(printable(", ".join(names)), _listed(by_effect)) for names, by_effect in groups]
    for name, prior in priors.family.items():
        lines.append((name, f"= {prior.value:.4g}" if prior.is_fixed else short_prior(prior)))
    width = max(len(names) for names, _ in lines)
    note = " (scaled by the data where none was given)" if priors.automatic else ""
    return [f"Priors{note}", *(f"  {names:<{width}}  {text}" for names, text in lines)]


def _listed(priors: Mapping[str, Prior]) -> str:
    """Write the prior of each entry, or one for all if they are equal."""
    if len(priors) > 1 and len(set(priors.values())) == 1:
        return short_prior(next(iter(priors.values())))
    return "   ".join(f"{printable(e)} {short_prior(prior)}" for e, prior in priors.items())


def short_prior(prior: Prior) -> str:
    """A prior with four digits for each number."""
    if prior.is_fixed:
        return f"{prior.value:.4g}"
    return f"{prior.family}({', '.join(f'{a:.4g}' for a in prior.args)})"


def note_lines(problem: Problem, contenders: Sequence[Contender] = ()) -> list[str]:
    """Note what the data do not identify, and what will be hard for a contender: one line each."""
    lines = list(problem.notes)
    for contender in contenders:
        notes = sampling_notes(problem, contender.formulation)
        lines += [f"{contender.name}: {note}." for note in notes]
    return [f"note: {printable(line)}" for line in lines]


def independence(pair: PairResult, comparison: Comparison) -> str:
    """Say whether the two contenders implement the model independently."""
    by_name = {row.name: row.contender for row in comparison.rows}
    a, b = (registry.get(by_name[name].backend).backend.implementation for name in (pair.a, pair.b))
    if a == b:
        return (
            f"Both use one model implementation ({a}), so this says nothing about its correctness."
        )
    return "Two independent model implementations."


def chosen_lines(contenders: Iterable[Contender]) -> list[str]:
    """Say which formulation auto chose for each contender, and why: one line each."""
    lines = []
    for contender in contenders:
        if contender.reason:
            line = f"{contender.requested_name}: {contender.formulation} ({contender.reason})"
            can = registry.get(contender.backend).backend.capabilities()
            if not contender.formulation.is_marginalized and len(can.centering) > 1:
                line += "; the word centered or noncentered overrides it"
            lines.append(printable(line))
    return lines


def pair_sentences(pair: PairResult, comparison: Comparison) -> Iterator[str]:
    """Yield sentences about a pair: reasons, power, and whether its implementations are independent."""
    yield f"{pair.a} and {pair.b}: {sentence('; '.join(_reasons(pair, comparison)))}"
    if pair.verdict is Verdict.INCONCLUSIVE:
        yield from _why_no_further(pair, comparison)
    if pair.equivalence is not None and pair.equivalence.worst is not None:
        quantities = count(sum(group.scalars for group in pair.groups))
        yield f"Of {quantities} quantities the hardest to show equal: {pair.equivalence.worst}."
    if pair.detectable_shift is not None:
        yield f"A shift of {pair.detectable_shift:.2f} posterior sd would have been detected."
    if pair.negligible:
        yield f"Detectable, negligible: {_some(pair.negligible)}."
    if pair.shape is not None and pair.shape.n_tests:
        yield _shape_sentence(pair.shape)
    yield from (sentence(note) for note in pair.notes)
    yield independence(pair, comparison)


def _why_no_further(pair: PairResult, comparison: Comparison) -> Iterator[str]:
    """Say why chains stopped, where they were to go on until there is a verdict."""
    budget = comparison.criteria.until_verdict
    if budget is None:
        return
    rows = [row for row in comparison.rows if row.name in (pair.a, pair.b)]
    results = [row for row in rows if isinstance(row, EngineResult)]
    for row in results:
        if row.cannot_extend:
            why = row.cannot_extend.removeprefix("never: ").rstrip(".")
            anew = ""
            if row.restarts:
                draws = count(row.looks[-1])
                anew = f"; it was started anew {_times(row.restarts)}, at last with {draws} draws"
            yield f"The chains of {row.name} cannot go on: {why}{anew}."
    used = [row.name for row in results if budget in row.looks]
    if len(used) == len(rows):
        yield f"The budget of {count(budget)} draws per chain is used up."
    elif used:
        yield f"{' and '.join(used)} used up the budget of {count(budget)} draws per chain."


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _shape_sentence(shape: ShapeResult) -> str:
    found = f"{count(len(shape.rejected))} of {count(shape.n_tests)}"
    if not shape.rejected:
        found = f"none of {count(shape.n_tests)}"
    return (
        f"Rank ECDFs leave their simultaneous band for {found} quantities "
        f"(smallest adjusted p {number(shape.p_min or 0.0)})."
    )


def _reasons(pair: PairResult, comparison: Comparison) -> list[str]:
    """Return the pair's reasons; reasons that an engine's own line has already are shortened."""
    told = {
        row.name: f"{row.name}: {status_text(row.status)}, see above"
        for row in comparison.rows
        if row.status != "ok"
    }
    reasons = []
    for reason in pair.reasons:
        names = [name for name in (pair.a, pair.b) if reason.startswith(f"{name}: ")]
        reasons.append(told.get(names[0], reason) if names else reason)
    return list(dict.fromkeys(reasons))


def sentence(text: str) -> str:
    """The text with a full stop at its end."""
    return text if text.endswith(".") else f"{text}."


def _some(texts: Sequence[str], shown: int = 3) -> str:
    rest = len(texts) - shown
    return "; ".join(texts[:shown]) + (f"; and {rest} more" if rest > 0 else "")


def reasons_text(reasons: Sequence[str]) -> str:
    """The first of several reasons on one line, shortened, and how many more there are."""
    told = list(dict.fromkeys(" ".join(reason.split()) for reason in reasons))
    told = [reason for reason in told if reason]
    if not told:
        return ""
    first, more = told[0], len(told) - 1
    if len(first) > _REASON:
        first = f"{first[: _REASON - 1].rstrip()}…"
    return f"{first}; and {count(more)} more" if more else first


def power_lines(found: Calibration) -> Iterator[str]:
    """Say which faults a calibration of this size would have found."""
    power = found.judgement.detectable
    if power is None:
        return
    parts = []
    if power.shift is not None:
        parts.append(f"a posterior mean off by {power.shift:.2f} posterior sd")
    if power.narrow is not None:
        parts.append(f"an sd too small by {1 - power.narrow:.0%}")
    if power.wide is not None:
        parts.append(f"an sd too large by {power.wide - 1:.0%}")
    if parts:
        listed = ", ".join(parts[:-1]) + f" or {parts[-1]}" if len(parts) > 1 else parts[0]
        yield f"In any one quantity {listed} would have been found with 90% probability."
    else:
        yield "So few simulations would find no fault with 90% probability."
    if found.around == "posterior":
        yield (
            "The parameters came from the engine's own fit: a fault that it has there and here alike shows "
            "only in part, so calibrate it around the prior too."
        )


def cost_lines(found: Calibration) -> Iterator[str]:
    """Say what the calibration cost, and how many simulations failed."""
    good = [record for record in found.records if record.status == "ok"]
    if good:
        divergences = sum(record.divergences for record in good)
        longer = sum(record.draws > found.config.draws for record in good)
        middle = sorted(record.seconds for record in good)[len(good) // 2]
        yield (
            f"Median {duration(middle)} a simulation on one core; {count(divergences)} divergences in all; "
            f"{count(longer)} simulations took more than the {count(found.config.draws)} draws asked for."
        )
    if found.reuses is not None:
        once = "once for each process" if found.reuses else "for every simulation"
        yield f"Compiled {once}."
    if found.failures and found.judgement.verdict is not Calibrated.INCONCLUSIVE:
        yield (
            f"Simulations without ranks: {count(len(found.failures))}, few enough "
            f"(up to {count(found.judgement.failures_allowed)}) not to move the result."
        )
    if found.log is not None:
        yield f"Simulations crashed or ran out of time. Their log: {found.log}"
