"""The verdict beside each speed: every run against the yardstick, or an independent engine's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nestor import registry
from nestor.agreement.run import Run
from nestor.agreement.verdict import Verdict, judge
from nestor.bench.metrics import worst_ess
from nestor.bench.scenario import YARDSTICK
from nestor.diagnostics.gates import gates_of
from nestor.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nestor.bench.record import BenchRecord
    from nestor.bench.store import Results

#: Family-wise level of the tests of differences, over all runs on one problem.
LEVEL = 0.01


def judge_all(results: Results, records: Mapping[str, BenchRecord]) -> dict[str, dict[str, Any]]:
    """Judge every run that has draws, or failed its density check.

    Means, sds and quantiles of every scalar are compared as `nestor compare` does (steps 2 and 3; the
    shapes of the marginals would need the draws, which are not kept).

    Parameters
    ----------
    results : Results
        Where the summaries are.
    records : mapping of str to BenchRecord
        All records, by cell.

    Returns
    -------
    dict
        For each judged cell's id: verdict, against, margin_needed, reason.
    """
    by_problem: dict[str, list[BenchRecord]] = {}
    for record in records.values():
        if record.size is not None and record.status != "skipped":
            by_problem.setdefault(record.size.fingerprint, []).append(record)
    found: dict[str, dict[str, Any]] = {}
    for same in by_problem.values():
        found |= _judge_problem(results, same)
    return found


def _judge_problem(results: Results, records: Sequence[BenchRecord]) -> dict[str, dict[str, Any]]:
    runs = {record.cell.id: _run(results, record) for record in records}
    judged = [record for record in records if record.cell.track != YARDSTICK]
    found = {}
    for record in judged:
        if record.status == "density_failed":
            found[record.cell.id] = _answer(Verdict.DISAGREE, "reference", None, record.message)
            continue
        run = runs[record.cell.id]
        if run is None:
            continue
        against = _against(record, records, runs)
        other = None if against is None else runs[against.cell.id]
        if against is None or other is None:
            text = "there was no run of an independent engine to judge it by"
            found[record.cell.id] = _answer(Verdict.INCONCLUSIVE, "", None, text)
            continue
        pair = judge(run, other, disagree_level=LEVEL / max(len(judged), 1))
        reason = "; ".join(pair.reasons)
        name = against.cell.contender
        found[record.cell.id] = _answer(pair.verdict, name, pair.smallest_margin, reason)
    return found


def _answer(verdict: Verdict, against: str, margin: float | None, reason: str) -> dict[str, Any]:
    return {
        "verdict": verdict.value,
        "against": against,
        "margin_needed": margin,
        "reason": reason,
    }


def _against(
    record: BenchRecord, records: Iterable[BenchRecord], runs: Mapping[str, Run | None]
) -> BenchRecord | None:
    """Whom to judge a run by: the yardstick; else the independent run with most effective draws.

    Only runs that passed their gates will do.
    """
    own = _implementation(record)
    able = [
        other
        for other in records
        if other.status == "ok"
        and runs[other.cell.id] is not None
        and _implementation(other) != own
    ]
    yardsticks = [other for other in able if other.cell.track == YARDSTICK]
    return max(yardsticks or able, key=_effective, default=None)


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


def _run(results: Results, record: BenchRecord) -> Run | None:
    """A record as one side of a comparison; None without summaries."""
    stored = results.summary(record.cell.id)
    found = record.diagnostics
    if stored is None or found is None:
        return None
    summaries, labels = stored
    passed = gates_of(summaries, labels, [False] * len(labels))
    passed = replace(passed, passed=found.passed, failures=tuple(found.failures))
    density, sampled = record.density, record.sampled_density
    return Run(
        name=record.cell.contender,
        labels=labels,
        summaries=summaries,
        gates=passed,
        density_ok=None if density is None else density.same,
        sampled_ok=None if sampled is None else sampled.same,
    )
