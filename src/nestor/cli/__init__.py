"""The command line: reads arguments, calls the library, prints. Heavy imports wait until a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from nestor.cli import bench
from nestor.cli.backends import backends
from nestor.cli.calibrate import calibrate
from nestor.cli.command import Once, checks_paths, interruptible
from nestor.cli.compare import compare
from nestor.cli.conformance import conformance
from nestor.cli.demo import demo
from nestor.cli.fit import fit
from nestor.cli.index import index
from nestor.cli.loo import loo
from nestor.cli.new_backend import new_backend
from nestor.cli.report import report
from nestor.cli.schema import schema
from nestor.cli.verify import verify

EXIT_CODES = """
Exit codes, the first that applies: 2 bad input; 1 disagree, not calibrated,
slower than before, or a check failed; 4 an engine failed; 3 inconclusive, or
draws of fit that have not converged; 0 agree, calibrated, conforming, or
converged; 70 internal error, 130 interrupted.
"""


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"nestor {version('nestor')}")
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Describe a nested hierarchical model once; run it on several backends."""


app = typer.Typer(
    name="nestor",
    callback=root,
    help="Describe a nested hierarchical model once; run the same posterior on several backends; see "
    "whether they agree and what each costs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _command in (
    compare,
    fit,
    loo,
    index,
    backends,
    demo,
    verify,
    calibrate,
    conformance,
    new_backend,
    report,
    schema,
):
    app.command(cls=Once)(_command)
app.add_typer(bench.app, name="bench")
for _registered in (*app.registered_commands, *bench.app.registered_commands):
    if _registered.callback is not None:
        _registered.callback = interruptible(checks_paths(_registered.callback))
