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
    from nestor.views.report import report_results

    typer.echo(str(report_results(directories, out)))
