"""The plan of a benchmark: its cells, the finished ones, and a forecast of the cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

from nestor.bench.grid import Cell, cells, known_ids
from nestor.bench.problems import data_size
from nestor.bench.store import Results
from nestor.engines import registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from nestor.bench.grid import Cell
    from nestor.bench.record import BenchRecord, SecondsDocument, SizeDocument
    from nestor.bench.scenario import Scenario
    from nestor.engines.contender import Contender


@dataclass(frozen=True)
class BenchPlan:
    """A scenario's grid, and the records of its finished cells.

    Parameters
    ----------
    scenario : Scenario
        What is run.
    quick : bool
        Whether the scenario is its quick form.
    cells : tuple of Cell
        The grid, in the order in which it runs.
    folder : Path or None
        Results directory, if one is named.
    rerun : bool
        Whether finished cells are measured again.
    records : mapping of str to BenchRecord
        All that the directory has of this scenario, by cell.
    damaged : tuple of str
        Names of files that cannot be read as records.
    superseded : tuple of str
        Cells of an earlier form of the scenario, whose records are put aside.
    files : frozenset of (str, int)
        What has been read; see `Results.files`.
    """

    scenario: Scenario
    quick: bool
    cells: tuple[Cell, ...]
    folder: Path | None = None
    rerun: bool = False
    records: Mapping[str, BenchRecord] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()
    files: frozenset[tuple[str, int]] = frozenset()

    @cached_property
    def finished(self) -> Mapping[str, BenchRecord]:
        """Cells that will not be run again, by id."""
        if self.rerun:
            return {}
        known = self.records
        return {c.id: known[c.id] for c in self.cells if _stands(known.get(c.id), c)}

    @property
    def left(self) -> tuple[Cell, ...]:
        """Cells that are to be run."""
        return tuple(cell for cell in self.cells if cell.id not in self.finished)

    @property
    def forecast(self) -> CostForecast:
        """The forecast of their cost."""
        return CostForecast(self.scenario, self.finished)

    def with_records(self, results: Results) -> BenchPlan:
        """Return the plan with what a results directory holds now.

        Raises
        ------
        DataError
            If the directory has records of another schema.
        """
        files = results.files()
        known = results.records()
        ours = _belonging(self.scenario, known)
        return replace(
            self,
            records={i: record for i, record in known.items() if i in ours},
            damaged=tuple(path.name for path in results.damaged),
            superseded=tuple(i for i in known if i not in ours),
            files=files,
        )


def plan(
    scenario: Scenario,
    *,
    quick: bool = False,
    folder: Path | None = None,
    rerun: bool = False,
    device: str | None = None,
) -> BenchPlan:
    """Lay out the grid, and look up what of it is finished in a results directory.

    Parameters
    ----------
    scenario : Scenario
        What to run.
    quick : bool
        Whether the scenario is its quick form.
    folder : Path, optional
        Results directory, if there is one.
    rerun : bool
        Whether to measure again what is finished; the old records are put aside.
    device : {"cpu", "gpu"}, optional
        Run on this device only; see `Scenario.on_device`.

    Raises
    ------
    SpecError
        If an engine or a level is unknown.
    DataError
        If the directory has records of another schema.
    """
    chosen = scenario if device is None else scenario.on_device(device)
    found = BenchPlan(scenario, quick, tuple(cells(chosen, quick=quick)), folder, rerun)
    if folder is None or not folder.is_dir():
        return found
    return found.with_records(Results(folder))


def _belonging(scenario: Scenario, records: Mapping[str, BenchRecord]) -> set[str]:
    """Return the cells whose records belong to the scenario as it is now, from any machine.

    Those of an engine that is not installed here cannot be told, and stay.
    """
    ids = known_ids(scenario, {record.cell.cores for record in records.values()})
    return {i for i, record in records.items() if i in ids or not _installed(record)}


def _installed(record: BenchRecord) -> bool:
    entry = registry.backends().get(record.cell.engine.partition(":")[0])
    return entry is not None and entry.installed


def _stands(record: BenchRecord | None, cell: Cell) -> bool:
    """Whether a record makes a new run unnecessary: not if it was skipped, or stopped at a smaller limit."""
    if record is None or record.status == "skipped":
        return False
    if record.status == "timeout":
        return record.cell.timeout_s >= cell.timeout_s
    if record.status == "out_of_memory":
        return record.cell.memory_bytes >= cell.memory_bytes
    return True


# Orders of magnitude, of runs on Chem97 on two cores: processes and imports with the density gate; compiling
# twice; gradients of an iteration; seconds of a gradient for each row, and for each node.
_START_S = 15.0
_COMPILE_S = 30.0
_GRADIENTS = 31.0
_ROW_S = 4e-9
_NODE_S = 30e-9
_GRADIENT_S = 5e-6


class CostForecast:
    """Forecasts the seconds that cells take.

    Parameters
    ----------
    scenario : Scenario
        What is run.
    records : mapping of str to BenchRecord
        What is finished, by cell; other sizes and seeds of a contender tell about those to come.
    """

    def __init__(self, scenario: Scenario, records: Mapping[str, BenchRecord]) -> None:
        self._scenario = scenario
        self._known: dict[tuple[str, str], list[tuple[SecondsDocument, SizeDocument]]] = {}
        for record in records.values():
            if record.seconds is not None and record.size is not None:
                key = (record.cell.contender, record.cell.track)
                self._known.setdefault(key, []).append((record.seconds, record.size))

    def seconds(self, cell: Cell) -> float:
        """Return the seconds that a cell will take, roughly; never more than it may."""
        if cell.refusal:
            return 0.0
        alike = self._known.get((cell.name, cell.track), [])
        own = self._guess(cell)
        if alike:
            ratios = [_spent(s) / max(_guess_of(size, cell), 1e-9) for s, size in alike]
            own *= median(ratios)
        return min(own, 3 * cell.timeout_s)

    def from_records(self, cell: Cell) -> bool:
        """Whether the forecast rests on finished cells of the same contender."""
        return (cell.name, cell.track) in self._known

    def _guess(self, cell: Cell) -> float:
        rows, nodes = data_size(self._scenario, cell.value)
        return _guess(rows, nodes, cell)


def _guess_of(size: SizeDocument, cell: Cell) -> float:
    return _guess(size.rows, sum(size.levels.values()), cell)


def _guess(rows: int, nodes: int, cell: Cell) -> float:
    config = cell.config
    iterations = (config.warmup + config.draws) * config.chains
    at_once = 1.0 if cell.contender is None else _at_once(cell, cell.contender)
    gradient = _GRADIENT_S + rows * _ROW_S + nodes * _NODE_S
    return _START_S + _COMPILE_S + iterations * _GRADIENTS * gradient / at_once


def _at_once(cell: Cell, contender: Contender) -> float:
    if contender.device == "gpu":
        return 16.0 * cell.cores
    return float(min(cell.cores, cell.config.chains))


def _spent(seconds: SecondsDocument) -> float:
    """Seconds that a cell took: its process, and once more its second compilation."""
    return _START_S + seconds.elapsed_s + (seconds.warm_compile_s or 0.0)


def total(forecast: CostForecast, cells: Iterable[Cell]) -> float:
    """Return the seconds of several cells, one after another."""
    return sum(forecast.seconds(cell) for cell in cells)
