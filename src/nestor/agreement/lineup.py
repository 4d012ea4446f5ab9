"""The contenders of a comparison while it runs: densities, draws, looks, and what is stored of them."""

from __future__ import annotations

import json
import traceback
from collections.abc import Generator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.comparison import Comparison, EngineRow
from nestor.agreement.density import DensityCheck, compare_densities
from nestor.agreement.events import (
    DensityFinished,
    EngineFinished,
    Listener,
    LookFinished,
    WorkerEvent,
)
from nestor.agreement.measure import check_density_of_draws, measure, posterior_of, stats_of
from nestor.agreement.oracle import Oracle
from nestor.agreement.pairing import Pairing
from nestor.agreement.verdict import PairResult, Verdict
from nestor.engines import registry
from nestor.errors import EngineFailed
from nestor.runner import engine, store
from nestor.runner.contract import check_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import xarray as xr

    from nestor.agreement.criteria import Criteria
    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.engines.protocol import SamplerConfig
    from nestor.runner.job import Outcome


class Lineup:
    """The contenders of one comparison while it runs: what is known of each so far.

    Parameters
    ----------
    problem : Problem
        Model and data.
    config : SamplerConfig
        How hard each contender tries.
    criteria : Criteria
        What is asked of the pairs.
    folder : Path
        Where logs and draws go.
    timeout : float or None
        Seconds for each task of a contender.
    listener : callable
        Hears of progress.
    keep : bool
        Whether finished draws are written, to be used again.
    """

    def __init__(
        self,
        problem: Problem,
        config: SamplerConfig,
        criteria: Criteria,
        folder: Path,
        timeout: float | None,
        listener: Listener,
        *,
        keep: bool,
    ) -> None:
        self._problem, self._config, self._folder = problem, config, folder
        self._criteria, self._pairing = criteria, Pairing(problem, criteria)
        self._timeout, self._listen, self._keep = timeout, listener, keep
        self._oracle = Oracle(problem)
        self._chains: dict[str, Iterator[tuple[Outcome, xr.DataTree | None]]] = {}
        self.look = 1
        self.rows: dict[str, EngineRow] = {}
        self.checks: dict[str, DensityCheck] = {}
        self._finished: dict[str, xr.DataTree] = {}

    def _key(self, contender: Contender) -> str:
        versions = check_versions(registry.get(contender.backend).backend)
        config = contender.config(self._config)
        budget = self._criteria.until_verdict
        return store.key(self._problem, contender, config, versions, until_verdict=budget)

    def _path(self, contender: Contender, suffix: str) -> Path:
        return self._folder / f"{contender.file_stem}{suffix}"

    def check_density(self, contender: Contender) -> None:
        """Step 0 for one contender; a failure becomes its row."""
        name = contender.name
        try:
            key = self._key(contender)
        except EngineFailed as error:
            self._failed_here(contender, error)
            return
        tree = store.load_tree(self._path(contender, ".nc"), key)
        if tree is not None and self._same_points(tree, contender):
            self._finished[name] = tree
            found = [float(text) for text in engine.read_attr(tree, "log_densities")]
        else:
            log = self._path(contender, ".log")
            log.write_bytes(b"")
            outcome, values = engine.evaluate(
                self._problem,
                contender,
                self._oracle.points,
                log,
                timeout=self._timeout,
                listener=lambda event: self._listen(WorkerEvent(name, "density", event)),
            )
            if values is None:
                message = f"log density: {outcome.message}"
                self._finish(EngineRow(contender, outcome.status, message))
                return
            found = values
        # Only now: what cannot be marginalized its engine has refused, and that is its row.
        expected = self._oracle.log_densities(contender.formulation)
        rounding = self._oracle.rounding(contender.formulation)
        check = compare_densities(name, contender.dtype, expected, found, rounding)
        self.checks[name] = check
        self._listen(DensityFinished(check))
        if not check.same:
            message = (
                f"its log density differs from the reference's by {check.largest:.2g} relative "
                f"(bound {check.tolerance:g}); it was not sampled"
            )
            self._finish(EngineRow(contender, "density_failed", message))

    def _failed_here(self, contender: Contender, error: EngineFailed) -> None:
        """Give a contender its row that failed before its process was started, and a log as any other."""
        log = self._path(contender, ".log")
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        message = f"{str(error).rstrip('.')}. Its log: {log}"
        self._finish(EngineRow(contender, "failed", message))

    @property
    def failed_logs(self) -> set[Path]:
        """Logs that the message of a row names."""
        logs = {self._path(row.contender, ".log"): row.message for row in self.rows.values()}
        return {log for log, message in logs.items() if str(log) in message}

    def sample(self, contender: Contender) -> None:
        """Sample with one contender, or take what is finished; measure it."""
        name = contender.name
        if name in self.rows:
            return
        if name in self._finished:
            tree = self._finished[name]
            looks = tuple(json.loads(tree.attrs.get("looks", "[]")))
            self.look = max(self.look, len(looks))
            reason = "its draws are those of an earlier run"
            row = EngineRow(contender, "ok", reused=True, looks=looks, cannot_extend=reason)
            self._measure(row, tree)
            return
        self._start(contender)
        self._take(EngineRow(contender, "ok"))

    def _start(self, contender: Contender, draws: int | None = None) -> None:
        """Set up the contender's chains, for `draws` at their first look; they start when asked for draws."""
        name, config = contender.name, contender.config(self._config)
        log = self._path(contender, ".log")
        looks = self._criteria.looks(config.draws)
        if draws is not None:
            config = replace(config, draws=draws)
            looks = tuple(look for look in looks if look >= draws)

        def listen(event: dict[str, Any]) -> None:
            self._listen(WorkerEvent(name, "sample", event))

        if looks:
            self._chains[name] = engine.sample_in_looks(
                self._problem, contender, config, looks, log, timeout=self._timeout, listener=listen
            )
        else:
            self._chains[name] = iter(
                [
                    engine.sample(
                        self._problem,
                        contender,
                        config,
                        log,
                        timeout=self._timeout,
                        listener=listen,
                    )
                ]
            )

    def _take(self, row: EngineRow) -> None:
        """Take the next draws of a contender's chains."""
        outcome, tree = next(self._chains[row.name])
        if tree is None:
            self._finish(
                EngineRow(
                    row.contender, outcome.status, outcome.message, peak_bytes=outcome.peak_bytes
                )
            )
            return
        looks: tuple[int, ...] = ()
        if self._criteria.until_verdict is not None:
            looks = (*row.looks, int(tree["posterior"].sizes["draw"]))
        reason = str(outcome.result.get("cannot_extend", ""))
        fresh = EngineRow(
            row.contender, "ok", looks=looks, cannot_extend=reason, restarts=row.restarts
        )
        tree.attrs["looks"] = json.dumps(looks)
        try:
            self._measure(fresh, tree)  # first: it writes the gates into the attributes
        finally:
            self._store(row.contender, tree, finished=not looks)

    def _measure(self, row: EngineRow, tree: xr.DataTree) -> None:
        """Fill in what the draws say, and check the density that was sampled and what was not."""
        found = measure(self._problem, row, tree)
        values = posterior_of(self._problem, tree)
        density, recovery, what = check_density_of_draws(
            self._problem, row.name, row.contender, values, stats_of(tree), self._oracle
        )
        found = replace(found, sampled_density=density, recovery=recovery)
        self._finish(replace(found, status="density_failed", message=what) if what else found)

    def go_on(self, pairs: Sequence[PairResult]) -> bool:
        """Get more draws for inconclusive pairs where that can decide them; return whether there are any.

        Chains go on from where they stand. Where they cannot, the contender is started anew with more
        draws: at once if that takes no longer than its partners would to their budget, and otherwise when
        those have used it up.
        """
        if self._criteria.until_verdict is None:
            return False
        open_pairs = [pair for pair in pairs if self._draws_may_decide(pair)]
        names = {name for pair in open_pairs for name in (pair.a, pair.b)}
        wanted = [self.rows[name] for name in self.rows if name in names and self._has_budget(name)]
        able = [row for row in wanted if not row.cannot_extend]
        anew = {}
        for row in wanted:
            if row.cannot_extend and self._is_anew_cheaper(row, open_pairs, able):
                anew[row.name] = self._draws_anew(row, open_pairs)
        for row in wanted:
            if row.name in anew and (late := self._too_late(row, anew[row.name])):
                self.rows[row.name] = replace(row, cannot_extend=late)
                del anew[row.name]
        if not able and not anew:
            return False
        draws = max(self.rows[name].looks[-1] for name in names if self.rows[name].looks)
        going_on = tuple(row.name for row in able)
        self._listen(LookFinished(self.look, draws, going_on, tuple(anew.items())))
        self.look += 1
        for row in wanted:
            if row.name in anew:
                self._close(row.name)
                self._start(row.contender, anew[row.name])
                self._take(replace(row, restarts=row.restarts + 1))
            elif row in able:
                self._take(row)
        return True

    def _draws_may_decide(self, pair: PairResult) -> bool:
        """Whether a pair is inconclusive for want of draws, and not because one side has none."""
        rows = self.rows[pair.a], self.rows[pair.b]
        return (
            pair.verdict is Verdict.INCONCLUSIVE
            and not self._criteria.foregone(self._config.chains, self._config.draws)
            and all(row.has_draws and row.status != "density_failed" for row in rows)
        )

    def _has_budget(self, name: str) -> bool:
        row, budget = self.rows[name], self._criteria.until_verdict
        return budget is not None and bool(row.looks) and row.looks[-1] < budget

    def _is_anew_cheaper(
        self, row: EngineRow, pairs: Sequence[PairResult], able: Sequence[EngineRow]
    ) -> bool:
        """Whether a fresh run takes no longer than the partners whose chains can go on, to their budget.

        Those that could use up their budget and still not decide the pair do not count.
        """
        others = {
            name
            for pair in pairs
            for name in {pair.a, pair.b} - {row.name}
            if row.name in (pair.a, pair.b) and self._is_enough_alone(self.rows[name], row, pair)
        }
        partners = [one for one in able if one.name in others]
        if not partners:
            return True
        budget = self._criteria.until_verdict or 0
        to_budget = sum(self._seconds_per_draw(one) * (budget - one.looks[-1]) for one in partners)
        return self._seconds_anew(row, self._draws_anew(row, pairs)) <= to_budget

    def _is_enough_alone(self, row: EngineRow, stuck: EngineRow, pair: PairResult) -> bool:
        """Whether one side's draws may decide a pair while the other's stay: true where nobody can say.

        The variance of a difference of means is the sum of 1 / ESS of both sides; it has to shrink by the
        factor by which both sides' draws would have to grow.
        """
        budget = self._criteria.until_verdict
        ours, theirs = row.summaries, stuck.summaries
        if pair.draw_factor is None or ours is None or theirs is None or not budget:
            return True
        own, other = (1 / np.nanmedian(found.ess[0]) for found in (ours, theirs))
        return bool(own * row.looks[-1] / budget + other <= (own + other) / pair.draw_factor)

    def _draws_anew(self, row: EngineRow, pairs: Sequence[PairResult]) -> int:
        """Draws per chain of a fresh run: the first look that has those said to be missing."""
        missing = [
            pair.missing_draws[0 if row.name == pair.a else 1]
            for pair in pairs
            if row.name in (pair.a, pair.b) and pair.missing_draws is not None
        ]
        later = [n for n in self._criteria.looks(self._config.draws) if n > row.looks[-1]]
        wanted = row.looks[-1] + max(missing, default=0)
        return next((n for n in later if n >= wanted), later[-1])

    def _seconds_anew(self, row: EngineRow, draws: int) -> float:
        """Seconds that a fresh run of so many draws takes, by what the last one took."""
        more = self._seconds_per_draw(row) * (draws - row.looks[-1])
        return (row.timings["total_s"] or 0.0) + more

    def _seconds_per_draw(self, row: EngineRow) -> float:
        """Seconds for one more draw of every chain.

        Where warmup and sampling are not told apart, or are not believed, a draw takes its share of all
        iterations' time.
        """
        known = row.timings
        if known["sampling_s"] is not None and not row.speed_void:
            return known["sampling_s"] / row.looks[-1]
        fixed = sum(known[name] or 0.0 for name in ("import_s", "upload_s", "compile_s"))
        iterations = row.looks[-1] + self._config.warmup
        return max((known["total_s"] or 0.0) - fixed, 0.0) / iterations

    def _too_late(self, row: EngineRow, draws: int) -> str:
        """Say that a fresh run would not end within the timeout; empty if it would."""
        seconds = self._seconds_anew(row, draws)
        if self._timeout is None or seconds <= self._timeout:
            return ""
        return (
            f"{row.cannot_extend.rstrip('.')}; and a fresh run of {draws} draws would take about "
            f"{seconds:.0f} s, longer than the timeout"
        )

    def _close(self, name: str) -> None:
        """End a contender's chains, if they still rest."""
        if isinstance(chains := self._chains.pop(name, None), Generator):
            chains.close()

    def close(self) -> None:
        """End all chains that still rest."""
        for name in list(self._chains):
            self._close(name)

    def finish(self) -> None:
        """Mark what was drawn in looks as finished: the same comparison uses it again."""
        for row in self.rows.values():
            if row.tree is not None and row.looks and not row.reused:
                self._store(row.contender, row.tree, finished=True)

    def _store(self, contender: Contender, tree: xr.DataTree, *, finished: bool) -> None:
        """Write the draws; they are used again only if the comparison did not break off before its end."""
        check = self.checks[contender.name]
        tree.attrs["log_densities"] = _texts(check.found)
        tree.attrs["reference_log_densities"] = _texts(check.reference)
        if self._keep:
            key = self._key(contender) if finished else "unfinished"
            store.save_tree(tree, self._path(contender, ".nc"), key)

    def _same_points(self, tree: xr.DataTree, contender: Contender) -> bool:
        """Whether stored log densities belong to the points, and the reference, of this run."""
        expected = self._oracle.log_densities(contender.formulation)
        return tree.attrs.get("reference_log_densities") == _texts(expected)

    def _finish(self, row: EngineRow) -> None:
        self.rows[row.name] = row
        self._listen(EngineFinished(row))

    def interrupt(self, contenders: Sequence[Contender]) -> None:
        """Give contenders without a row one that says that they were interrupted."""
        for contender in contenders:
            self.rows.setdefault(contender.name, EngineRow(contender, "interrupted", "interrupted"))

    def judge(
        self, contenders: Sequence[Contender], before: Sequence[PairResult] = ()
    ) -> tuple[PairResult, ...]:
        """Judge every pair on what there is now; a verdict reached at a look before stands."""
        rows = [self.rows[contender.name] for contender in contenders]
        decided = {(p.a, p.b): p for p in before if p.verdict is not Verdict.INCONCLUSIVE}
        return tuple(
            decided.get((a.name, b.name)) or self._pairing.judge(a, b, self.checks, self.look)
            for a, b in combinations(rows, 2)
        )

    def result(self, contenders: Sequence[Contender], pairs: tuple[PairResult, ...]) -> Comparison:
        """Return the comparison as it stands."""
        rows = tuple(self.rows[contender.name] for contender in contenders)
        return Comparison(
            problem=self._problem,
            config=self._config,
            criteria=self._criteria,
            densities=tuple(self.checks[r.name] for r in rows if r.name in self.checks),
            rows=rows,
            pairs=pairs,
            folder=self._folder if self._keep else None,
        )


def _texts(values: Sequence[float]) -> str:
    """Numbers as JSON text that keeps infinities and every digit."""
    return json.dumps([repr(float(value)) for value in values])
