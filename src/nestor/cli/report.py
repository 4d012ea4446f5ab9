"""``nestor report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nestor.cli.arguments import Directories


def report(
    directories: Directories,
    *,
    out: Annotated[
        Path | None, typer.Option(help="The file; default report.html in the first directory.")
    ] = None,
) -> None:
    """Write benchmark results as one self-contained HTML page."""
    from nestor.bench.table import read_results
    from nestor.views.report import report_results

    target = directories[0] / "report.html" if out is None else out
    typer.echo(str(report_results(read_results(directories), target)))
