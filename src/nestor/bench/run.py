"""Run a benchmark: keep finished cells, measure the others, judge all."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from nestor.bench.environment import environment
from nestor.bench.problems import build_problem
from nestor.bench.run_cell import DensityGate, FinishedCell, run_cell, skipped
from nestor.bench.scenario import REFERENCE_RUN
from nestor.bench.store import Results, check_owner, claimed, read_manifest
from nestor.bench.table import StoredResults, save_table
from nestor.data.propriety import check_sigma
from nestor.errors import DataError, SpecError, arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

    from nestor.bench.grid import Cell
    from nestor.bench.plan import BenchPlan
    from nestor.bench.record import BenchRecord
    from nestor.bench.scenario import Scenario
    from nestor.data.problem import Problem


@dataclass(frozen=True)
class BenchEvent:
    """Something that happened while a grid runs.

    Parameters
    ----------
    kind : {"checking", "noted", "planned", "begin", "settled", "doing", "end", "judging"}
        The data of a size are made, to see whether they can be; their problem has notes; cells were planned,
        one began, had its formulation chosen, is doing something, or ended; all are being judged.
    cells : tuple of Cell
        Those that are still to run, with "planned".
    cell : Cell or None
        The one that it is about.
    doing : str
        Its phase.
    worker : dict
        What its process said.
    record : BenchRecord or None
        What became of it.
    notes : tuple of str
        Sentences for the user, with "noted" and "planned".
    """

    kind: Literal["checking", "noted", "planned", "begin", "settled", "doing", "end", "judging"]
    cells: tuple[Cell, ...] = ()
    cell: Cell | None = None
    doing: str = ""
    worker: Mapping[str, Any] = field(default_factory=dict)
    record: BenchRecord | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FinishedBench:
    """A benchmark after its run.

    Parameters
    ----------
    plan : BenchPlan
        As it stands now; its `left` are the cells for which a budget did not suffice, or that were skipped.
    results : StoredResults
        Records and table.
    """

    plan: BenchPlan
    results: StoredResults

    @property
    def table(self) -> pd.DataFrame:
        """The table of all cells."""
        return self.results.table


def run_bench(
    planned: BenchPlan,
    text: str,
    folder: Path,
    *,
    command: str = "",
    budget_s: float | None = None,
    listener: Callable[[BenchEvent], None] = lambda _: None,
) -> FinishedBench:
    """Run the cells of a plan that are not finished.

    Each record is on disk before the next cell begins: a run that is killed at any moment goes on from
    there, and loses no more than the cell that was running.

    Parameters
    ----------
    planned : BenchPlan
        What to run, and what of it is finished.
    text : str
        The scenario's TOML, kept beside the results.
    folder : Path
        Results directory; made if need be.
    command : str
        The command line, kept beside the results.
    budget_s : float, optional
        Seconds after which no cell is begun, and the one that runs is stopped, without a record: the same
        call goes on from there.
    listener : callable
        Hears of progress.

    Raises
    ------
    SpecError, DataError
        If the scenario, its data or the directory are wrong, or the disk is full.
    """
    scenario, quick = planned.scenario, planned.quick
    check_owner(folder, scenario, quick=quick)
    _check_problems(planned, listener)
    with claimed(folder, scenario, text, command, quick=quick) as results, _scratch(results.work):
        planned = _sort_out(planned, results)
        listener(BenchEvent("planned", cells=planned.left, notes=tuple(_notes(planned))))
        records = dict(planned.records)
        bench = _Bench(scenario, results, records, listener)
        deadline = None if budget_s is None else time.monotonic() + budget_s
        try:
            for cell in planned.left:
                if not bench.run(cell, deadline):
                    break
        finally:
            listener(BenchEvent("judging"))
            table = save_table(results, dict(sorted(records.items())), scenario.target_ess)
    stored = StoredResults(folder, read_manifest(folder), records, table)
    return FinishedBench(replace(planned, records=records, rerun=False), stored)


def _check_problems(planned: BenchPlan, listener: Callable[[BenchEvent], None]) -> None:
    """Make the problem of each size that is to be run, before anything is written or measured.

    Raises
    ------
    SpecError, DataError
        If the data or the model of one are wrong, or do not fit into memory.
    """
    values = dict.fromkeys(cell.value for cell in planned.left if not cell.refusal)
    for value in values:
        listener(BenchEvent("checking", doing="" if value is None else f"{value:,g}"))
        try:
            problem = build_problem(planned.scenario, value)
            check_sigma(problem)
            if problem.notes:
                listener(BenchEvent("noted", notes=problem.notes))
        except (SpecError, DataError) as error:
            sweep = planned.scenario.sweep
            where = "" if sweep is None else f"{sweep.parameter} = {value:g}: "
            raise type(error)(f"{where}{error}") from None
        except MemoryError:
            size = "" if value is None else f" of size {value:g}"
            raise DataError(f"the data{size} do not fit into memory.") from None


def _sort_out(planned: BenchPlan, results: Results) -> BenchPlan:
    """Put aside records of an earlier form of the scenario, and those to be measured again."""
    if results.files() != planned.files:  # another run has ended since the plan was made
        planned = planned.with_records(results)
    results.put_aside(planned.superseded)
    ids = [cell.id for cell in planned.cells]
    records = dict(planned.records)
    if planned.rerun:
        results.retire(ids)
        records = {i: record for i, record in records.items() if i not in set(ids)}
    else:
        records |= results.bring_back(ids)
    return replace(planned, records=records)


def check_budget(budget_s: object) -> None:
    """Refuse a budget that is not a number of seconds greater than zero.

    Raises
    ------
    SpecError
        If it is not.
    """
    arguments.seconds("the budget", budget_s)


class _Bench:
    """Runs cells; keeps the last problem, which the next cells mostly share."""

    def __init__(
        self,
        scenario: Scenario,
        results: Results,
        records: dict[str, BenchRecord],
        listener: Callable[[BenchEvent], None],
    ) -> None:
        self._scenario, self._results, self._listener = scenario, results, listener
        self._records = records
        self._gate: DensityGate | None = None
        self._absent: dict[tuple[str, str], str] = {}

    def run(self, cell: Cell, deadline: float | None) -> bool:
        """Measure a cell, and return when its record is on disk; False if there was no time for it."""
        limited = _until(cell, deadline)
        if limited is None:
            return False
        self._listener(BenchEvent("begin", cell=cell))
        finished = self._measure(limited)
        if limited.timeout_s < cell.timeout_s and self._cut_short(finished.record):
            return False
        self._results.add(finished.record, finished.summaries, finished.labels)
        self._records[cell.id] = finished.record
        self._listener(BenchEvent("end", cell=cell, record=finished.record))
        return True

    def _cut_short(self, record: BenchRecord) -> bool:
        """Whether a process may have been stopped by the budget: then the cell is run whole the next time."""
        warm = self._scenario.warm_compile and record.cell.track != REFERENCE_RUN
        seconds = None if record.diagnostics is None else record.seconds
        lacks_warm = seconds is not None and seconds.warm_compile_s is None
        return record.status == "timeout" or (warm and lacks_warm)

    def _measure(self, cell: Cell) -> FinishedCell:
        contender = cell.contender
        if contender is None or cell.refusal:
            return FinishedCell(skipped(cell, cell.refusal))
        where = (contender.backend, contender.device)
        if where in self._absent:
            return FinishedCell(skipped(cell, self._absent[where]))

        def listen(doing: str, event: Mapping[str, Any]) -> None:
            self._listener(BenchEvent("doing", cell=cell, doing=doing, worker=event))

        listen("making the data", {})
        gate = self._gate_of(build_problem(self._scenario, cell.value))
        if contender.auto:
            contender = contender.resolve_formulation(gate.problem)
            cell = replace(cell, contender=contender)
            self._listener(BenchEvent("settled", cell=cell))
        warm = self._scenario.warm_compile and cell.track != REFERENCE_RUN
        finished = run_cell(cell, contender, gate, self._results, warm=warm, listen=listen)
        if finished.record.status == "skipped" and contender.device != "cpu":
            # A device that is not there is not looked for again by every cell.
            self._absent[where] = finished.record.message
        return finished

    def _gate_of(self, problem: Problem) -> DensityGate:
        if self._gate is None or self._gate.problem is not problem:
            self._gate = DensityGate(problem)
        return self._gate


def _until(cell: Cell, deadline: float | None) -> Cell | None:
    """Limit a cell's timeout by the deadline; None if the deadline has passed."""
    if deadline is None:
        return cell
    left = deadline - time.monotonic()
    return None if left <= 0 else replace(cell, timeout_s=min(cell.timeout_s, left))


def _notes(planned: BenchPlan) -> Iterator[str]:
    """Sentences for the user about existing records."""
    if planned.superseded:
        yield (
            f"{len(planned.superseded)} records are of an earlier form of this scenario (its data, model or "
            "settings were others): they are put aside in superseded/, and are in no table."
        )
    for name in planned.damaged:
        yield f"{name} cannot be read as a record: that cell is measured again."
    here = environment()
    other = [
        record
        for record in planned.finished.values()
        if any(record.environment.get(n) != here[n] for n in ("cpu", "gpu", "libraries"))
    ]
    if other:
        yield (
            f"{len(other)} finished cells were measured on another machine or with other libraries, and "
            "are kept; --rerun measures all anew."
        )


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[None]:
    """Put temporary files into a folder that the next run removes, if this one is killed."""
    before = tempfile.tempdir
    tempfile.tempdir = str(folder.resolve())
    try:
        yield
    finally:
        tempfile.tempdir = before
