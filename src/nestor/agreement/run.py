"""The main job: one problem, several engines; do they agree, and what does each cost?"""

from __future__ import annotations

import contextlib
import json
import traceback
from collections.abc import Generator
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nestor.agreement.arguments import (
    check_memory,
    check_timeout,
    read_contenders,
)
from nestor.agreement.comparison import Comparison
from nestor.agreement.criteria import Criteria
from nestor.agreement.density import DensityCheck, ReferenceDensity
from nestor.agreement.engine_result import EngineFailure, EngineResult, EngineRow
from nestor.agreement.events import (
    EngineFinished,
    Listener,
    LookFinished,
    WorkerEvent,
    ignore,
)
from nestor.agreement.pair_judge import PairJudge
from nestor.agreement.pipeline import check_density, engine_result, judge_density
from nestor.agreement.verdict import PairResult, Verdict
from nestor.data.problem import check_problem
from nestor.data.propriety import check_sigma
from nestor.engines import registry
from nestor.engines.protocol import SamplerConfig
from nestor.errors import EngineFailed
from nestor.errors.arguments import path as as_path
from nestor.runner import engine, store
from nestor.runner.contract import check_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import xarray as xr

    from nestor.data.problem import Problem
    from nestor.engines.contender import Contender
    from nestor.runner.job import Outcome


def compare(
    problem: Problem,
    engines: Sequence[str | Contender],
    *,
    config: SamplerConfig | None = None,
    criteria: Criteria | None = None,
    timeout: float | None = None,
    out: str | Path | None = None,
    listener: Listener = ignore,
) -> Comparison:
    """Run the same posterior on several engines and judge every pair.

    Densities are compared with the reference first; an engine that fails there is not sampled. Each
    engine then samples in a process of its own, one after another.

    Parameters
    ----------
    problem : Problem
        Model and data.
    engines : sequence of str or Contender
        Such as ``["pymc", "numpyro@centered"]``; at least two, all different.
    config : SamplerConfig, optional
        How hard each tries; by default 4 chains of 1000 + 1000 with each library's own settings.
    criteria : Criteria, optional
        What is asked of a pair before it is said to agree.
    timeout : float, optional
        Seconds that each engine may take: for its densities, and again to sample.
    out : path, optional
        Run directory: what is finished there under the same data, spec, settings and versions is used
        again. Without it nothing is written.
    listener : callable
        Hears of progress; see `nestor.agreement.events`.

    Raises
    ------
    SpecError, Unsupported, DataError
        If the engines, settings or directory are wrong; nothing has been run then.
    """
    check_problem(problem)
    config = config or SamplerConfig()
    contenders = read_contenders(engines, problem)
    criteria = criteria or Criteria()
    criteria.check(config.draws)
    check_timeout(timeout)
    check_memory(problem, config, criteria.until_verdict)
    check_sigma(problem)
    with _folder(out, problem) as (folder, logs):
        keep = out is not None
        run = ComparisonRun(problem, config, criteria, folder, timeout, listener, keep=keep)
        try:
            pairs = _run(run, contenders)
        except KeyboardInterrupt:
            run.interrupt(contenders)
            run.result(contenders, run.judge(contenders)).save()
            raise
        logs.update(run.failed_logs)
        result = run.result(contenders, pairs)
        result.save()
    return result


def _run(run: ComparisonRun, contenders: Sequence[Contender]) -> tuple[PairResult, ...]:
    """Evaluate, sample and judge, again and again while chains go on."""
    with contextlib.closing(run):
        for contender in contenders:
            run.check_density(contender)
        for contender in contenders:
            run.sample(contender)
        pairs = run.judge(contenders)
        while run.go_on(pairs):
            pairs = run.judge(contenders, before=pairs)
    run.finish()
    return pairs


@contextlib.contextmanager
def _folder(out: str | Path | None, problem: Problem) -> Iterator[tuple[Path, set[Path]]]:
    """Yield the run directory, or a temporary one that is removed except for the logs put into the set."""
    if out is None:
        with store.scratch_folder() as found:
            yield found
        return
    folder = as_path("out", out)
    store.claim(folder, problem)
    with store.locked(folder):
        yield folder, set()


class ComparisonRun:
    """A comparison while it runs: its contenders, their chains, and their results so far.

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
        self._criteria, self._pair_judge = criteria, PairJudge(problem, criteria)
        self._timeout, self._listen, self._keep = timeout, listener, keep
        self._reference = ReferenceDensity(problem)
        self._chains: dict[str, Iterator[tuple[Outcome, xr.DataTree | None]]] = {}
        self._densities: dict[str, DensityCheck] = {}
        self._finished: dict[str, xr.DataTree] = {}
        self.look = 1
        self.rows: dict[str, EngineRow] = {}

    def _key(self, contender: Contender) -> str:
        versions = check_versions(registry.get(contender.backend).backend)
        config = contender.config(self._config)
        budget = self._criteria.until_verdict
        return store.key(self._problem, contender, config, versions, until_verdict=budget)

    def _path(self, contender: Contender, suffix: str) -> Path:
        return self._folder / f"{contender.file_stem}{suffix}"

    def check_density(self, contender: Contender) -> None:
        """Compare one contender's log densities with the reference's; a failure becomes its row."""
        try:
            key = self._key(contender)
        except EngineFailed as error:
            self._finish(self._failed_here(contender, error))
            return
        tree = store.load_tree(self._path(contender, ".nc"), key)
        if tree is not None and self._same_points(tree, contender):
            self._finished[contender.name] = tree
            stored = [float(text) for text in engine.read_attr(tree, "log_densities")]
            found = judge_density(contender, self._reference, stored, self._listen)
        else:
            log = self._path(contender, ".log")
            log.write_bytes(b"")
            found = check_density(
                self._problem,
                contender,
                self._reference,
                log,
                timeout=self._timeout,
                listener=self._listen,
            )
        if isinstance(found, EngineFailure):
            self._finish(found)
        else:
            self._densities[contender.name] = found

    def _failed_here(self, contender: Contender, error: EngineFailed) -> EngineFailure:
        """Return the failure of a contender whose process was not started, and write its log."""
        log = self._path(contender, ".log")
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        return EngineFailure(contender, "failed", f"{str(error).rstrip('.')}. Its log: {log}")

    @property
    def failed_logs(self) -> set[Path]:
        """Logs that are named in the message of a failure."""
        logs = {self._path(row.contender, ".log"): row.message for row in self.rows.values()}
        return {log for log, message in logs.items() if str(log) in message}

    def sample(self, contender: Contender) -> None:
        """Sample with one contender, or take its finished draws, and check them."""
        name = contender.name
        if name in self.rows:
            return
        if name not in self._finished:
            self._start(contender)
            self._take(contender)
            return
        tree = self._finished[name]
        looks = tuple(json.loads(tree.attrs.get("looks", "[]")))
        self.look = max(self.look, len(looks))
        reason = "its draws are those of an earlier run"
        self._finish(self._result(contender, tree, reused=True, looks=looks, cannot_extend=reason))

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
            self._chains[name] = engine.sample_until(
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

    def _take(self, contender: Contender, before: tuple[int, ...] = (), restarts: int = 0) -> None:
        """Take the next draws of a contender's chains.

        Parameters
        ----------
        contender : Contender
            Whose chains.
        before : tuple of int
            Draws per chain at each look before this one.
        restarts : int
            How often it has been started again.
        """
        outcome, tree = next(self._chains[contender.name])
        if tree is None:
            density = self._densities[contender.name]
            self._finish(EngineFailure.of_process(contender, outcome, density))
            return
        looks: tuple[int, ...] = ()
        if self._criteria.until_verdict is not None:
            looks = (*before, int(tree["posterior"].sizes["draw"]))
        tree.attrs["looks"] = json.dumps(looks)
        try:
            # First: it writes the gates into the attributes.
            result = self._result(
                contender,
                tree,
                elapsed_s=outcome.seconds,
                looks=looks,
                cannot_extend=str(outcome.result.get("cannot_extend", "")),
                restarts=restarts,
            )
        finally:
            self._store(contender, tree, finished=not looks)
        self._finish(result)

    def _result(self, contender: Contender, tree: xr.DataTree, **more: Any) -> EngineResult:
        density = self._densities[contender.name]
        return engine_result(
            self._problem, contender, tree, reference=self._reference, density=density, **more
        )

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
        there = [self._results[name] for name in self.rows if name in names]
        wanted = [row for row in there if self._has_budget(row)]
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
        draws = max(row.looks[-1] for row in there if row.looks)
        going_on = tuple(row.name for row in able)
        self._listen(LookFinished(self.look, draws, going_on, tuple(anew.items())))
        self.look += 1
        for row in wanted:
            if row.name in anew:
                self._close(row.name)
                self._start(row.contender, anew[row.name])
                self._take(row.contender, row.looks, row.restarts + 1)
            elif row in able:
                self._take(row.contender, row.looks, row.restarts)
        return True

    def _draws_may_decide(self, pair: PairResult) -> bool:
        """Whether a pair is inconclusive because both sides have too few draws."""
        results = self._results
        return (
            pair.verdict is Verdict.INCONCLUSIVE
            and not self._criteria.foregone(self._config.chains, self._config.draws)
            and all(
                n in results and results[n].status != "density_failed" for n in (pair.a, pair.b)
            )
        )

    @property
    def _results(self) -> dict[str, EngineResult]:
        """The contenders that have draws."""
        return {name: row for name, row in self.rows.items() if isinstance(row, EngineResult)}

    def _has_budget(self, row: EngineResult) -> bool:
        budget = self._criteria.until_verdict
        return budget is not None and bool(row.looks) and row.looks[-1] < budget

    def _is_anew_cheaper(
        self, row: EngineResult, pairs: Sequence[PairResult], able: Sequence[EngineResult]
    ) -> bool:
        """Whether a new run takes no longer than the partners need to use up their budget.

        Those that could use up their budget and still not decide the pair do not count.
        """
        others = {
            name
            for pair in pairs
            for name in {pair.a, pair.b} - {row.name}
            if row.name in (pair.a, pair.b)
            and self._is_enough_alone(self._results[name], row, pair)
        }
        partners = [one for one in able if one.name in others]
        if not partners:
            return True
        budget = self._criteria.until_verdict or 0
        to_budget = sum(self._seconds_per_draw(one) * (budget - one.looks[-1]) for one in partners)
        return self._seconds_anew(row, self._draws_anew(row, pairs)) <= to_budget

    def _is_enough_alone(self, row: EngineResult, stuck: EngineResult, pair: PairResult) -> bool:
        """Whether more draws of one side alone may decide a pair; true where this cannot be computed.

        The variance of a difference of means is the sum of 1 / ESS of both sides; it has to shrink by the
        factor by which both sides' draws would have to grow.
        """
        budget = self._criteria.until_verdict
        if pair.draw_factor is None or not budget:
            return True
        own, other = (1 / np.nanmedian(one.summaries.ess[0]) for one in (row, stuck))
        return bool(own * row.looks[-1] / budget + other <= (own + other) / pair.draw_factor)

    def _draws_anew(self, row: EngineResult, pairs: Sequence[PairResult]) -> int:
        """Draws per chain of a new run: the first look that includes the missing draws."""
        missing = [
            pair.missing_draws[0 if row.name == pair.a else 1]
            for pair in pairs
            if row.name in (pair.a, pair.b) and pair.missing_draws is not None
        ]
        later = [n for n in self._criteria.looks(self._config.draws) if n > row.looks[-1]]
        wanted = row.looks[-1] + max(missing, default=0)
        return next((n for n in later if n >= wanted), later[-1])

    def _seconds_anew(self, row: EngineResult, draws: int) -> float:
        """Seconds that a new run of so many draws takes, extrapolated from the last one."""
        more = self._seconds_per_draw(row) * (draws - row.looks[-1])
        return (row.timings["total_s"] or 0.0) + more

    def _seconds_per_draw(self, row: EngineResult) -> float:
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

    def _too_late(self, row: EngineResult, draws: int) -> str:
        """Say that a new run would not end within the timeout; empty if it would."""
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
        """Mark draws of several looks as finished, so that the same comparison uses them again."""
        for row in self._results.values():
            if row.looks and not row.reused:
                self._store(row.contender, row.tree, finished=True)

    def _store(self, contender: Contender, tree: xr.DataTree, *, finished: bool) -> None:
        """Write the draws; they are used again only if the comparison did not break off before its end."""
        check = self._densities[contender.name]
        tree.attrs["log_densities"] = _texts(check.found)
        tree.attrs["reference_log_densities"] = _texts(check.reference)
        if self._keep:
            key = self._key(contender) if finished else "unfinished"
            store.save_tree(tree, self._path(contender, ".nc"), key)

    def _same_points(self, tree: xr.DataTree, contender: Contender) -> bool:
        """Whether stored log densities belong to the points, and the reference, of this run."""
        expected = self._reference.log_densities(contender.formulation)
        return tree.attrs.get("reference_log_densities") == _texts(expected)

    def _finish(self, row: EngineRow) -> None:
        self.rows[row.name] = row
        self._listen(EngineFinished(row))

    def interrupt(self, contenders: Sequence[Contender]) -> None:
        """Give contenders without a row one that says that they were interrupted."""
        for contender in contenders:
            density = self._densities.get(contender.name)
            row = EngineFailure(contender, "interrupted", "interrupted", density)
            self.rows.setdefault(contender.name, row)

    def judge(
        self, contenders: Sequence[Contender], before: Sequence[PairResult] = ()
    ) -> tuple[PairResult, ...]:
        """Judge every pair on what there is now; a verdict reached at a look before stands."""
        rows = [self.rows[contender.name] for contender in contenders]
        decided = {(p.a, p.b): p for p in before if p.verdict is not Verdict.INCONCLUSIVE}
        return tuple(
            decided.get((a.name, b.name)) or self._pair_judge.judge(a, b, self.look)
            for a, b in combinations(rows, 2)
        )

    def result(self, contenders: Sequence[Contender], pairs: tuple[PairResult, ...]) -> Comparison:
        """Return the comparison as it stands."""
        rows = tuple(self.rows[contender.name] for contender in contenders)
        return Comparison(
            problem=self._problem,
            config=self._config,
            criteria=self._criteria,
            rows=rows,
            pairs=pairs,
            folder=self._folder if self._keep else None,
        )


def _texts(values: Sequence[float]) -> str:
    """Numbers as JSON text that keeps infinities and every digit."""
    return json.dumps([repr(float(value)) for value in values])
