"""The command line: reads arguments, calls the library, prints. Heavy imports wait until a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from nestor.cli import (
    benching,
    calibrating,
    comparing,
    conforming,
    fitting,
    leaving,
    looking,
    new_backend,
    verifying,
)
from nestor.cli.arguments import Once, checks_paths
from nestor.cli.interrupting import interruptible

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
    comparing.compare,
    fitting.fit,
    leaving.loo,
    looking.index,
    looking.backends,
    comparing.demo,
    verifying.verify,
    calibrating.calibrate,
    conforming.conformance,
    new_backend.new_backend,
    benching.report,
    looking.schema,
):
    app.command(cls=Once)(_command)
app.add_typer(benching.app, name="bench")
for _registered in (*app.registered_commands, *benching.app.registered_commands):
    if _registered.callback is not None:
        _registered.callback = interruptible(checks_paths(_registered.callback))
