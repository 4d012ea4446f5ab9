"""``nestor conformance``."""

from __future__ import annotations

from typing import Annotated

import typer

from nestor.cli.arguments import Json, make_console


def conformance(
    name: Annotated[
        str,
        typer.Argument(help="An installed backend; nestor backends lists them.", metavar="NAME"),
    ],
    *,
    tier: Annotated[
        list[str] | None,
        typer.Option(help="Only this tier: api, density or posterior. Repeatable; default: all."),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Only this one of the backend's samplers.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Only checks that have this text in their ids.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A part of the densities and posteriors.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds that a tier may take.")] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Print where each error was raised.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a backend against the contract: its interface, its densities, its draws.

    Exit codes: 0 it conforms, 1 a check failed, 2 bad input, 3 the time did not suffice.
    """
    from rich.text import Text

    from nestor.conformance.check import TIERS
    from nestor.conformance.isolated import run_isolated
    from nestor.views.terminal.conformance import ConformanceBar, report_view
    from nestor.views.terminal.layout import Unpadded

    bar = ConformanceBar(make_console(stderr=True))
    try:
        with bar:
            report = run_isolated(
                name,
                tiers=tier or TIERS,
                sampler=sampler,
                only=only,
                quick=quick,
                timeout=timeout,
                listener=bar,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(bar.so_far) from None
    console = make_console(stderr=json)
    console.print(Unpadded(report_view(report)))
    errors = [result for result in report.results if result.traceback]
    if traceback:
        for result in errors:
            console.print(Text(f"\n{result.id}", "bold"))
            console.print(Text(result.traceback.rstrip()), soft_wrap=True)
    elif errors:
        hint = "--traceback prints where each error was raised."
        console.print(hint, markup=False, highlight=False)
    if json:
        typer.echo(report.to_json())
    raise typer.Exit(0 if report.ok else 3 if report.out_of_time and not report.bad else 1)
