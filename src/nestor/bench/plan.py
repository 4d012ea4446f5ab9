"""What of a scenario's grid is finished, and what is left to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nestor.bench.estimate import Estimate
from nestor.bench.grid import Cell, cells, known_ids
from nestor.bench.store import Results
from nestor.engines import registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nestor.bench.record import BenchRecord
    from nestor.bench.scenario import Scenario


@dataclass(frozen=True)
class Plan:
    """A grid and what of it is finished.

    Parameters
    ----------
    scenario : Scenario
        What is run.
    cells : tuple of Cell
        All of them, in order.
    finished : mapping of str to BenchRecord
        Those that will not be run again, by id.
    damaged : tuple of str
        Names of files that cannot be read as records.
    superseded : int
        Records of an earlier form of the scenario, which are put aside.
    """

    scenario: Scenario
    cells: tuple[Cell, ...]
    finished: Mapping[str, BenchRecord]
    damaged: tuple[str, ...] = ()
    superseded: int = 0

    @property
    def left(self) -> tuple[Cell, ...]:
        """Cells that are to be run."""
        return tuple(cell for cell in self.cells if cell.id not in self.finished)

    @property
    def estimate(self) -> Estimate:
        """Tells how long they will take."""
        return Estimate(self.scenario, self.finished)


def plan(
    scenario: Scenario,
    *,
    quick: bool,
    folder: Path | None = None,
    rerun: bool = False,
    device: str | None = None,
) -> Plan:
    """Lay out the grid, and look up what of it is finished in a results directory.

    Parameters
    ----------
    scenario, quick, rerun, device
        As for `run_bench`.
    folder : Path, optional
        Results directory, if there is one.

    Raises
    ------
    SpecError
        If an engine or a level is unknown.
    DataError
        If the directory has records of another schema.
    """
    chosen = scenario if device is None else scenario.on_device(device)
    grid = tuple(cells(chosen, quick=quick))
    results = Results(folder) if folder is not None and folder.is_dir() else None
    known = {} if results is None else results.records()
    usable = {} if rerun else {c.id: known[c.id] for c in grid if _stands(known.get(c.id), c)}
    damaged = () if results is None else tuple(path.name for path in results.damaged)
    return Plan(scenario, grid, usable, damaged, len(set(known) - belonging(scenario, known)))


def belonging(scenario: Scenario, records: Mapping[str, BenchRecord]) -> set[str]:
    """Return whose records are of this scenario as it is now, on whatever machine they were measured.

    Those of an engine that is not installed here cannot be told, and stay.
    """
    ids = known_ids(scenario, {record.cell.cores for record in records.values()})
    return {i for i, record in records.items() if i in ids or not _installed(record)}


def _installed(record: BenchRecord) -> bool:
    entry = registry.backends().get(record.cell.engine.partition(":")[0])
    return entry is not None and entry.installed


def _stands(record: BenchRecord | None, cell: Cell) -> bool:
    """Whether a record answers a cell: not if it was skipped, or ended at a smaller limit."""
    if record is None or record.status == "skipped":
        return False
    if record.status == "timeout":
        return record.cell.timeout_s >= cell.timeout_s
    if record.status == "out_of_memory":
        return record.cell.memory_bytes >= cell.memory_bytes
    return True
