"""What a grid will cost, before it runs: from cells like it that are finished, else a rough guess."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from nestor.bench.problems import data_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nestor.bench.grid import Cell
    from nestor.bench.record import BenchRecord
    from nestor.bench.scenario import Scenario

# Orders of magnitude, of runs on Chem97 on two cores: processes and imports with the density gate; compiling
# twice; gradients of an iteration; seconds of a gradient for each row, and for each node.
_START_S = 15.0
_COMPILE_S = 30.0
_GRADIENTS = 31.0
_ROW_S = 4e-9
_NODE_S = 30e-9
_GRADIENT_S = 5e-6


class Estimate:
    """Tells how long cells will take.

    Parameters
    ----------
    scenario : Scenario
        What is run.
    records : mapping of str to BenchRecord
        What is finished, by cell; other sizes and seeds of a contender tell about those to come.
    """

    def __init__(self, scenario: Scenario, records: Mapping[str, BenchRecord]) -> None:
        self._scenario = scenario
        self._known: dict[tuple[str, str], list[BenchRecord]] = {}
        for record in records.values():
            if record.seconds is not None and record.size is not None:
                key = (record.cell.contender, record.cell.track)
                self._known.setdefault(key, []).append(record)

    def seconds(self, cell: Cell) -> float:
        """Return the seconds that a cell will take, roughly; never more than it may."""
        if cell.refusal:
            return 0.0
        alike = self._known.get((cell.name, cell.track), [])
        own = self._guess(cell)
        if alike:
            ratios = [record_seconds(r) / max(self._guess_of(r, cell), 1e-9) for r in alike]
            own *= median(ratios)
        return min(own, 3 * cell.timeout_s)

    def from_records(self, cell: Cell) -> bool:
        """Whether finished cells of the same contender told."""
        return (cell.name, cell.track) in self._known

    def _guess(self, cell: Cell) -> float:
        rows, nodes = data_size(self._scenario, cell.value)
        return _guess(rows, nodes, cell)

    def _guess_of(self, record: BenchRecord, cell: Cell) -> float:
        assert record.size is not None  # noqa: S101 - only such records are kept
        return _guess(record.size.rows, sum(record.size.levels.values()), cell)


def _guess(rows: int, nodes: int, cell: Cell) -> float:
    config = cell.config
    iterations = (config.warmup + config.draws) * config.chains
    at_once = 1.0 if cell.contender is None else _at_once(cell)
    gradient = _GRADIENT_S + rows * _ROW_S + nodes * _NODE_S
    return _START_S + _COMPILE_S + iterations * _GRADIENTS * gradient / at_once


def _at_once(cell: Cell) -> float:
    assert cell.contender is not None  # noqa: S101 - the caller has looked
    if cell.contender.device == "gpu":
        return 16.0 * cell.cores
    return float(min(cell.cores, cell.config.chains))


def record_seconds(record: BenchRecord) -> float:
    """Seconds that a cell took: its process, and once more its second compilation."""
    assert record.seconds is not None  # noqa: S101 - skipped cells took none
    return _START_S + record.seconds.elapsed_s + (record.seconds.warm_compile_s or 0.0)


def total(estimate: Estimate, cells: Iterable[Cell]) -> float:
    """Return the seconds of several cells, one after another."""
    return sum(estimate.seconds(cell) for cell in cells)
