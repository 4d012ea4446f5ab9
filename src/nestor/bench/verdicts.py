"""The verdict beside each speed: every run against the reference run, or an independent engine's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nestor.agreement.verdict import PairSide, Verdict, judge
from nestor.bench.metrics import worst_ess
from nestor.bench.scenario import REFERENCE_RUN
from nestor.engines import registry
from nestor.errors import SpecError
from nestor.posterior.quantities import LOG_LIKELIHOOD
from nestor.stats.diagnostics.gates import gates_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nestor.bench.record import BenchRecord
    from nestor.bench.store import Results

#: Family-wise level of the tests of differences, over all runs on one problem.
LEVEL = 0.01


def judge_all(results: Results, records: Mapping[str, BenchRecord]) -> dict[str, dict[str, Any]]:
    """Judge every run that has draws, or failed its density check.

    Means, sds and quantiles of every scalar and of the log-likelihood are compared as `nestor compare` does
    (steps 2 and 3; the shapes of the marginals would need the draws, which are not kept).

    Parameters
    ----------
    results : Results
        Where the summaries are.
    records : mapping of str to BenchRecord
        All records, by cell.

    Returns
    -------
    dict
        For each judged cell's id: verdict, against, margin_needed, reason, and when the record that was
        judged was started.
    """
    by_problem: dict[str, list[BenchRecord]] = {}
    for record in records.values():
        if record.size is not None and record.status != "skipped":
            by_problem.setdefault(record.size.fingerprint, []).append(record)
    found: dict[str, dict[str, Any]] = {}
    for same in by_problem.values():
        found |= _judge_problem(results, same)
    return {i: verdict | {"started": records[i].started} for i, verdict in found.items()}


def standing(
    results: Results, records: Mapping[str, BenchRecord], *, anew: bool = False
) -> dict[str, dict[str, Any]]:
    """Return the verdict on each cell: stored ones while their records are unchanged, else new ones.

    Parameters
    ----------
    anew : bool
        Whether to judge all again, as after a run: the reference run may be a new one. A verdict stands where
        there is no longer anything to judge by.
    """
    given = {
        i: verdict
        for i, verdict in results.verdicts().items()
        if i in records and verdict["started"] == records[i].started
    }
    measured = {i for i, r in records.items() if r.cell.track != REFERENCE_RUN and _measured(r)}
    if not anew and measured <= set(given):
        return given
    fresh = judge_all(results, records)
    return given | {i: v for i, v in fresh.items() if i not in given or v["against"]}


def _measured(record: BenchRecord) -> bool:
    return record.diagnostics is not None or record.status == "density_failed"


def _judge_problem(results: Results, records: Sequence[BenchRecord]) -> dict[str, dict[str, Any]]:
    runs = {record.cell.id: _run(results, record) for record in records}
    judged = [record for record in records if record.cell.track != REFERENCE_RUN]
    found = {}
    for record in judged:
        if record.status == "density_failed":
            found[record.cell.id] = _answer(Verdict.DISAGREE, "reference", None, record.message)
        elif (run := runs[record.cell.id]) is not None:
            others = _others(record, records, runs)
            # One level for all comparisons that are made on this problem.
            level = LEVEL / max(len(judged) * max(len(others), 1), 1)
            found[record.cell.id] = _judge_run(run, others, level)
    return found


def _judge_run(
    run: PairSide, others: Sequence[tuple[str, PairSide]], level: float
) -> dict[str, Any]:
    """Judge a run by the reference run, or by the majority of independent implementations.

    Where two disagree and there is no third, each disagrees: nobody can say which is wrong. Where as many
    agree as disagree the run is not the odd one out.
    """
    if not others:
        text = "there was no run of an independent engine to judge it by"
        return _answer(Verdict.INCONCLUSIVE, "", None, text)
    pairs = [(how, judge(*_alike(run, other), disagree_level=level)) for how, other in others]
    by = {
        verdict: [(how, pair) for how, pair in pairs if pair.verdict is verdict]
        for verdict in Verdict
    }
    agreeing = {how for how, _ in by[Verdict.AGREE]}
    disagreeing = {how for how, _ in by[Verdict.DISAGREE]} - agreeing
    if len(disagreeing) > len(agreeing):
        verdict = Verdict.DISAGREE
    else:
        verdict = Verdict.AGREE if agreeing else Verdict.INCONCLUSIVE
    shown = by[verdict][0][1]
    reason = "; ".join(shown.reasons)
    if verdict is Verdict.AGREE and disagreeing:
        names = ", ".join(dict.fromkeys(pair.b for _, pair in by[Verdict.DISAGREE]))
        reason += f"; but it and {names} disagree"
    return _answer(verdict, shown.b, shown.smallest_margin, reason)


def _alike(one: PairSide, other: PairSide) -> tuple[PairSide, PairSide]:
    """Compare what both runs have: records of older versions lack the log-likelihood."""
    have = [run.labels[-1:] == (LOG_LIKELIHOOD,) for run in (one, other)]
    if have[0] == have[1]:
        return one, other
    return tuple(  # type: ignore[return-value]
        replace(run, labels=run.labels[:-1], summaries=run.summaries.first(len(run.labels) - 1))
        if has and run.summaries is not None
        else run
        for run, has in zip((one, other), have, strict=True)
    )


def _answer(verdict: Verdict, against: str, margin: float | None, reason: str) -> dict[str, Any]:
    return {
        "verdict": verdict.value,
        "against": against,
        "margin_needed": margin,
        "reason": reason,
    }


def _others(
    record: BenchRecord, records: Iterable[BenchRecord], runs: Mapping[str, PairSide | None]
) -> list[tuple[str, PairSide]]:
    """Return the runs to judge a run by: the reference run, else one run of each independent contender.

    Only runs that passed their gates will do: of a contender the one with the same seed, or else with most
    effective draws. Each comes with its model's implementation.
    """
    own = _implementation(record)
    able = [
        other
        for other in records
        if other.status == "ok"
        and runs[other.cell.id] is not None
        and _implementation(other) != own
    ]
    reference_runs = [other for other in able if other.cell.track == REFERENCE_RUN]
    best: dict[str, BenchRecord] = {}
    for other in reference_runs[:1] or able:
        known = best.get(other.cell.contender)
        if known is None or _rank(other, record) > _rank(known, record):
            best[other.cell.contender] = other
    found = [(_implementation(other), runs[other.cell.id]) for other in best.values()]
    return [(implementation, run) for implementation, run in found if run is not None]


def _rank(other: BenchRecord, record: BenchRecord) -> tuple[bool, float]:
    return other.cell.seed == record.cell.seed, _effective(other)


def _effective(record: BenchRecord) -> float:
    if record.diagnostics is None:
        return 0.0
    return worst_ess(record.diagnostics)[0] or 0.0


def _implementation(record: BenchRecord) -> str:
    """The model's implementation; of a backend that is not known here, its name."""
    name = record.cell.engine.partition(":")[0]
    try:
        return registry.get(name).backend.implementation
    except SpecError:
        return name


def _run(results: Results, record: BenchRecord) -> PairSide | None:
    """A record as one side of a comparison; None without summaries."""
    stored = results.summary(record.cell.id)
    found = record.diagnostics
    if stored is None or found is None:
        return None
    summaries, labels = stored
    passed = gates_of(summaries, labels, [False] * len(labels))
    passed = replace(passed, passed=found.passed, failures=tuple(found.failures))
    density, sampled, recovery = record.density, record.sampled_density, record.recovery
    return PairSide(
        name=record.cell.contender,
        labels=labels,
        summaries=summaries,
        gates=passed,
        density_ok=None if density is None else density.same,
        sampled_ok=None if sampled is None else sampled.same,
        recovered_ok=None if recovery is None else recovery.exact,
    )
