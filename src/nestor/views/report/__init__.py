"""The report: a table of benchmark results as one HTML file that needs nothing else.

The file opens without a network, in a wide window and on a telephone; every figure on it is computed from
the table alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nestor.views.report.scenario import ScenarioInfo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from nestor.bench.statistics import BenchStatistics
    from nestor.bench.table import StoredResults

__all__ = ["ScenarioInfo", "report_html", "report_results", "write_report"]


def report_html(table: pd.DataFrame, scenarios: Sequence[ScenarioInfo]) -> str:
    """Return the report as the text of an HTML file, to be written as UTF-8.

    Parameters
    ----------
    table : DataFrame
        Results with the columns of `nestor.bench.table.COLUMNS`, of one scenario or several.
    scenarios : sequence of ScenarioInfo
        What is said of them, in the order in which they are shown. A scenario that only the table knows
        is shown after them; one without cells is shown as not run.

    Raises
    ------
    Unsupported
        If plotly is not installed.
    DataError
        If it is no table of benchmark results.
    """
    from nestor.bench.statistics import BenchStatistics
    from nestor.views.report.page import page

    return page(BenchStatistics(table), scenarios)


def write_report(
    statistics: BenchStatistics, scenarios: Sequence[ScenarioInfo], path: Path
) -> Path:
    """Write the report to `path`, whole or not at all, and return it; see `report_html`.

    Raises
    ------
    Unsupported
        If plotly is not installed.
    DataError
        If it is no table of benchmark results, or the file cannot be written.
    """
    from nestor.runner.store import write_atomically
    from nestor.views.report.page import page

    text = page(statistics, scenarios)
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))
    return path


def report_results(results: Sequence[StoredResults], path: Path) -> Path:
    """Write the report of results directories; return its path.

    Parameters
    ----------
    results : sequence of StoredResults
        As `nestor.bench.table.read_results` reads them.
    path : Path
        The file.

    Raises
    ------
    DataError
        If there are no results, or the file cannot be written.
    Unsupported
        If plotly is not installed.
    """
    from nestor.bench.statistics import BenchStatistics
    from nestor.bench.table import join_tables
    from nestor.views.report.scenario import scenario_info

    statistics = BenchStatistics(join_tables(results))
    return write_report(statistics, [scenario_info(one) for one in results], path)
