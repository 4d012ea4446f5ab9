"""``nestor new-backend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_backend(
    name: Annotated[str, typer.Argument(help="The backend's name.", metavar="NAME")],
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Where the package goes.  [default: nestor-NAME]")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Borrow the model of this backend, numba or numpyro; bring a sampler only."
        ),
    ] = None,
) -> None:
    """Write the package of a new backend: it installs, and the conformance kit says what is to do.

    Exit codes: 0 written, 2 bad input.
    """
    from nestor.engines.scaffold import write_package

    target = Path(f"nestor-{name}") if folder is None else folder
    for path in write_package(name, target, model):
        typer.echo(path)
    typer.echo(
        f"\nNext: pip install -e {target}; nestor conformance {name} --tier api --tier density"
    )
